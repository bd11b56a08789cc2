"""The figure of a card: penalties along one coordinate, and level sets in two."""

import time
from typing import Any

import numpy as np

from symbias.report.cards import point
from symbias.report.style import DATA, FIT, INK, MARK, SOFT, axes, svg

_STYLES: dict[str, Any] = {
    "weight decay": {"color": FIT},
    "label noise": {"color": MARK, "linestyle": "--"},
    "gradient flow": {"color": SOFT, "linestyle": "-."},
    "Langevin, against dw": {"color": "#CC79A7"},
    "Langevin, ambient": {"color": "#E69F00", "linestyle": ":"},
}
_POINTS, _FEW, _GRID = 121, 25, 49
_REACH = 1.5
_PATIENCE = 2e-3  # seconds for one value, above which level sets are left out


def card_figure(card: Any) -> str:
    """Penalty curves (zero at 0 where finite, one at 1), and a level set for each mechanism.

    Max margin has the curve of weight decay, which stands for both.
    """
    rows = [row for row in card.rows if row.value is not None and row.mechanism in _STYLES]
    with axes(8.4, 3.4, columns=2) as (figure, (left, right)):
        for row in rows:
            _curve(left, card.sample, row)
            _level(right, card.sample, row)
        left.set(
            xlabel=_label(card, 0), ylabel="penalty, 1 or -1 at 1", title="Along one coordinate",
            ylim=(-1.3, 2.2),
        )  # fmt: skip
        left.legend(fontsize=8)
        right.axhline(0, color=DATA, lw=0.6)
        right.axvline(0, color=DATA, lw=0.6)
        title = "Level sets"
        right.set(xlabel=_label(card, 0), ylabel=_label(card, 1), title=title, aspect="equal")
        if not rows:
            right.text(0, 0, "no mechanism has a penalty here", ha="center", color=INK)
        return svg(figure)


def _label(card: Any, k: int) -> str:
    letter = "w" if card.variable == "w" else "z"
    return f"sigma_{k + 1}({letter})" if len(card.sample.shape) == 2 else f"{letter}_{k + 1}"


def _values(sample: Any, row: Any, points: list[tuple[float, float]]) -> np.ndarray:
    found = []
    for a, b in points:
        try:
            with np.errstate(all="ignore"):
                found.append(row.value(point(sample, a, b)))
        except ValueError:
            found.append(np.nan)
    return np.array(found)


def _curve(ax: Any, sample: Any, row: Any) -> None:
    logarithmic = row.mechanism.startswith("Langevin")
    second = 1e-3 if logarithmic else 0.0  # a log has no zero
    begun = time.perf_counter()
    base = _values(sample, row, [(0.0, second), (1.0, second)])
    slow = (time.perf_counter() - begun) / len(base) > 10 * _PATIENCE
    a = np.linspace(-_REACH, _REACH, _FEW if slow else _POINTS)
    values = _values(sample, row, [(x, second) for x in a])
    zero = base[0] if np.isfinite(base[0]) else base[1] - 1.0
    scale = abs(base[1] - zero) or 1.0
    ax.plot(a, (values - zero) / scale, label=row.mechanism, **_STYLES[row.mechanism])


def _level(ax: Any, sample: Any, row: Any) -> None:
    """The level through (1, 0), or through (0.6, 0.6) where that is not finite."""
    begun = time.perf_counter()
    level = _values(sample, row, [(1.0, 0.0), (0.6, 0.6), (0.6, -0.6), (0.3, 1.0)])
    if (time.perf_counter() - begun) / len(level) > _PATIENCE:
        return
    axis = np.linspace(-_REACH, _REACH, _GRID)
    grid = [(a, b) for b in axis for a in axis]
    values = _values(sample, row, grid).reshape(_GRID, _GRID)
    logarithmic = row.mechanism.startswith("Langevin")
    at = level[0] if np.isfinite(level[0]) and not logarithmic else level[1]
    finite = np.where(np.isfinite(values), values, np.nan)
    if np.isfinite(at) and np.nanmin(finite) < at < np.nanmax(finite):
        style = _STYLES[row.mechanism]
        lines = {"colors": [style["color"]], "linestyles": [style.get("linestyle", "-")]}
        ax.contour(axis, axis, np.ma.masked_invalid(finite), levels=[at], **lines)
