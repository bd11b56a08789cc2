"""Figures of an audit: heat maps over layers and heads, spectra, bonds without heads."""

from collections.abc import Callable, Sequence

import numpy as np

from symbias.audit.measure import Row
from symbias.checkpoints import Numpy
from symbias.report.style import DATA, FIT, INK, MARK, SOFT, axes, svg

Value = Callable[[Row], float | None]
KINDS = 4  # of bonds, at most, with a figure of their own


def heat_maps(title: str, rows: Sequence[Row], value: Value) -> dict[str, str]:
    """Kind of bond to its values over layers and heads; one colour scale for all kinds."""
    found = _grids(rows, value)
    if not found:
        return {}
    values = np.concat([grid.reshape(-1) for _, grid in found.values()])
    low, high = float(np.nanmin(values)), float(np.nanmax(values))
    figures = {}
    for kind, (layers, grid) in found.items():
        with axes(4.6, min(8.0, 1.4 + 0.2 * max(len(grid), 4))) as (figure, ax):
            image = ax.imshow(grid, aspect="auto", cmap="viridis", vmin=low, vmax=high)
            ax.grid(visible=False)
            ax.set_xticks(range(0, grid.shape[1], max(1, -(-grid.shape[1] // 12))))
            places = range(0, len(layers), max(1, -(-len(layers) // 12)))
            ax.set_yticks(places, [str(layers[i]) for i in places])
            ax.set(xlabel="head", ylabel="layer", title=f"{kind}: {title}")
            figure.colorbar(image, ax=ax)
            figures[kind] = svg(figure)
    return figures


def _grids(rows: Sequence[Row], value: Value) -> dict[str, tuple[list[int], Numpy]]:
    found: dict[str, dict[tuple[int, int], float]] = {}
    for row in rows:
        number = value(row)
        if (
            row.layer is not None
            and row.head is not None
            and row.dimension > 1
            and number is not None
        ):
            found.setdefault(row.kind, {})[row.layer, row.head] = number
    result = {}
    for kind, cells in list(found.items())[:KINDS]:
        layers = sorted({layer for layer, _ in cells})
        grid = np.full((len(layers), max(head for _, head in cells) + 1), np.nan)
        for (layer, head), number in cells.items():
            grid[layers.index(layer), head] = number
        result[kind] = layers, grid
    return result


def spectra(rows: Sequence[Row], found: dict[str, Numpy]) -> dict[str, str]:
    """Kind of bond to the spectra of what it leaves unchanged, over the largest: a line a layer."""
    from matplotlib import colormaps

    kinds: dict[str, dict[str, tuple[int, Numpy]]] = {}
    for row in rows:
        values = found.get(row.bond)
        if values is None or values.shape[1] < 2 or row.layer is None or not values[:, 0].all():
            continue
        median = np.median(values / values[:, :1], axis=0)
        kinds.setdefault(row.kind, {})[row.bond] = row.layer, np.maximum(median, 1e-9)
    figures = {}
    for kind, lines in list(kinds.items())[:KINDS]:
        deepest = max(1, *(layer for layer, _ in lines.values()), 1)
        with axes(4.6, 2.9) as (figure, ax):
            for layer, line in lines.values():
                color = colormaps["viridis"](0.9 * layer / deepest)
                ax.plot(np.linspace(0, 1, len(line)), line, color=color, lw=1)
            ax.set_yscale("log")
            ax.set(xlabel="index over size", ylabel="over the largest", title=f"{kind}: spectra")
            figures[kind] = svg(figure)
    return figures


def profile(rows: Sequence[Row]) -> str | None:
    """Imbalance of bonds that have no heads, in their order."""
    kinds: dict[str, list[float]] = {}
    for row in rows:
        if row.head is None and row.imbalance is not None:
            kinds.setdefault(row.kind, []).append(row.imbalance)
    kinds = {kind: values for kind, values in kinds.items() if len(values) > 1}
    if not kinds:
        return None
    with axes(4.6, 2.9) as (figure, ax):
        colors = (FIT, MARK, SOFT, INK, DATA, "#CC79A7")
        for (kind, values), marker, color in zip(kinds.items(), "os^vDx", colors, strict=False):
            ax.plot(values, marker=marker, ms=3.5, lw=1, label=kind, color=color)
        ax.xaxis.get_major_locator().set_params(integer=True)
        ax.set(xlabel="bond, in order", ylabel="imbalance", title="Bonds without heads")
        ax.legend(ncols=3)
        return svg(figure)
