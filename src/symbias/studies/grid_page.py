"""The design grid as sections of a page."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from symbias.report.page import Section
from symbias.studies.verification import Verification


def grid_section(
    grid: dict[str, list[Verification]], mechanisms: Sequence[str], folder: Path
) -> Section:
    """The grid as a figure and two tables; writes ``design-grid.svg``."""
    from symbias.report.style import svg_text

    figure = _figure(grid)
    (folder / "design-grid.svg").write_text(svg_text(figure))
    counts = {v: sum(c.verdict == v for cells in grid.values() for c in cells) for v in _VERDICTS}
    overview = [["parameterization", *mechanisms]]
    overview += [[name, *(c.verdict for c in cells)] for name, cells in grid.items()]
    rows = [["parameterization", "training", "verdict", "what", "value", "bound", "notes"]]
    for name, cells in grid.items():
        for c in cells:
            number = (f"{c.value:.2g}", f"{c.bound:.2g}") if c.quantity else ("", "")
            rows.append([name, c.mechanism, c.verdict, c.quantity, *number, c.note])
    return Section(
        title="Parameterization by mechanism",
        answer=f"{sum(counts.values())} cells: "
        + ", ".join(f"{n} {v}" for v, n in counts.items())
        + ".",
        lead="Each cell was trained and held against a computation without factors, or refused.",
        figures=[("Predicted (across) against measured (up); for laws, samples and law.", figure)],
        tables=[("Verdicts.", overview), ("All numbers and reasons.", rows)],
    )


def shift_section(rows: list[dict[str, Any]]) -> Section:
    """Shifts under label noise, predicted and measured."""
    table = [["setting", "learning rate", "predicted", "measured", "standard error", "error"]]
    for r in rows:
        numbers = [f"{r[k]:.4e}" for k in ("predicted", "measured")]
        cells = [r["setting"], f"{r['learning_rate']:g}", *numbers, f"{r['standard_error']:.1e}"]
        table.append([*cells, f"{100 * r['relative_error']:.2f}%"])
    worst = max(r["relative_error"] for r in rows)
    return Section(
        title="Label noise: the shift at three learning rates",
        lead="Length of the shift of the mean of w; the error is that of the whole vector.",
        answer=f"The largest error of a predicted shift is {100 * worst:.2f}%.",
        tables=[("Predicted and measured shifts, anisotropic inputs.", table)],
    )


def limit_section(limits: list[dict[str, Any]], descent: list[dict[str, Any]]) -> Section:
    """Where gradient flow and descent end."""
    from symbias.report.style import FIT, MARK, axes, svg

    scales = [r["init_scale"] for r in limits]
    with axes(6.0, 3.0) as (drawn, ax):
        ax.loglog(scales, [r["to_l2"] for r in limits], "o-", color=FIT, label="to least l2")
        ax.loglog(scales, [r["to_l1"] for r in limits], "s--", color=MARK, label="to least l1")
        ax.set(xlabel="scale of the start", ylabel="relative distance", title="From l2 to l1")
        ax.legend()
        figure = svg(drawn)
    table = [["scale", "flow less projection", "to least l2", "to least l1"]]
    for r in limits:
        numbers = [f"{r[k]:.1e}" for k in ("flow_error", "to_l2", "to_l1")]
        table.append([f"{r['init_scale']:g}", *numbers])
    steps = [["scale", "learning rate", "descent less projection"]]
    for r in descent:
        for rate, error in zip(r["learning_rates"], r["descent_errors"], strict=True):
            steps.append([f"{r['init_scale']:g}", f"{rate:g}", f"{error:.2e}"])
    worst = max(r["flow_error"] for r in limits)
    return Section(
        title="Gradient flow: which interpolator",
        lead="w = u v, 10 samples of 20 inputs: the flow by a stiff solver, and its prediction.",
        answer=f"The flow ends within {worst:.1e} of the Bregman projection at every scale.",
        figures=[("The selected interpolator, between least l2 and least l1 norm.", figure)],
        tables=[("The flow.", table), ("Gradient descent: errors follow its rate.", steps)],
    )


_VERDICTS = ("verified", "failed", "refused")


def _figure(grid: dict[str, list[Verification]]) -> str:
    from matplotlib.figure import Figure

    from symbias.report.style import FIT, MARK, svg

    figure = Figure(figsize=(9.6, 1.55 * len(grid)), layout="constrained")
    axes = figure.subplots(len(grid), 4, squeeze=False)
    for ax, mechanism in zip(axes[0], next(iter(grid.values())), strict=False):
        ax.set_title(mechanism.mechanism, fontsize=9)
    for row, (name, cells) in zip(axes, grid.items(), strict=True):
        for ax, cell in zip(row, cells, strict=False):
            ax.tick_params(labelsize=5)
            if ax is row[0]:
                ax.set_ylabel(name, fontsize=7)
            if cell.points is None:
                ax.set(xticks=[], yticks=[])
                ax.text(0.5, 0.5, "refused", ha="center", va="center", color="0.5", fontsize=8)
                continue
            color = FIT if cell.verdict == "verified" else MARK
            if cell.mechanism == "Langevin":
                samples, law = cell.points
                edges = np.quantile(law, np.linspace(0.005, 0.995, 25))
                middle = (edges[1:] + edges[:-1]) / 2
                ax.hist(samples, edges, density=True, color="0.8")
                ax.plot(middle, np.histogram(law, edges, density=True)[0], color=color, lw=1)
                ax.set_yticks([])
            else:
                x, y = cell.points
                span = [min(x.min(), y.min()), max(x.max(), y.max())]
                ax.plot(span, span, color="0.8", lw=1)
                ax.plot(x, y, ".", color=color, ms=4)
                ax.locator_params(nbins=4)
                ax.ticklabel_format(scilimits=(-2, 3))
                for side in (ax.xaxis, ax.yaxis):
                    side.get_offset_text().set_fontsize(5)
            text = f"{cell.value:.1g}"
            ax.text(0.04, 0.86, text, transform=ax.transAxes, fontsize=6, color=color)
    return svg(figure)
