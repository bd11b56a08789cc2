"""The grid of parameterizations and mechanisms as sections of a page."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from symbias.report.page import Section
from symbias.studies.theorems import Theorem
from symbias.studies.verification import Verification

Grid = Mapping[str, Mapping[str, Verification]]  # parameterization -> mechanism -> cell
_VERDICTS = ("verified", "failed", "refused")
_NOT_DRAWN = ("Adam", "step size")  # one number for each cell


def overview(grid: Grid, figure: str) -> Section:
    """All verdicts."""
    cells: list[str] = [cell.verdict for row in grid.values() for cell in row.values()]
    counts = {verdict: cells.count(verdict) for verdict in _VERDICTS}
    rows = [["parameterization", *next(iter(grid.values()))]]
    rows += [[name, *(c.verdict for c in row.values())] for name, row in grid.items()]
    return Section(
        title="Parameterization by mechanism",
        answer=f"{len(cells)} cells: " + ", ".join(f"{n} {v}" for v, n in counts.items()) + ".",
        lead="Each cell was trained and held against a computation that knows no run, or refused "
        "with the reason.",
        figures=[("Predicted (across) against measured (up); for laws, samples and law.", figure)],
        tables=[("Verdicts.", rows)],
    )


def column(theorem: Theorem, cells: Mapping[str, Verification]) -> Section:
    """A mechanism: its theorem, and prediction and run for each parameterization, if any."""
    judged = [c for c in cells.values() if c.verdict != "refused"]
    right = sum(c.verdict == "verified" for c in judged)
    rows = [["parameterization", "verdict", "what", "value", "bound", "notes"]]
    for name, c in cells.items():
        number = (f"{c.value:.2g}", f"{c.bound:.2g}") if c.quantity else ("", "")
        rows.append([name, c.verdict, c.quantity, *number, c.note])
    refused = len(cells) - len(judged)
    rest = f", {refused} refused" if refused else ""
    return Section(
        title=theorem.mechanism[0].upper() + theorem.mechanism[1:],
        lead=f"{theorem.says} ({theorem.source}.)",
        answer=f"{right} of {len(judged)} parameterizations verified{rest}." if cells else "",
        tables=[("", rows)] if cells else [],
    )


def figure(grid: Grid) -> str:
    """Predicted against measured numbers of all cells that have them, as a data URI."""
    from matplotlib.figure import Figure

    from symbias.report.style import svg

    shown = [name for name in next(iter(grid.values())) if name not in _NOT_DRAWN]
    drawn = Figure(figsize=(1.45 * len(shown), 1.3 * len(grid)), layout="constrained")
    axes = drawn.subplots(len(grid), len(shown), squeeze=False)
    for ax, mechanism in zip(axes[0], shown, strict=True):
        ax.set_title(mechanism, fontsize=9)
    for row, (name, cells) in zip(axes, grid.items(), strict=True):
        row[0].set_ylabel(name, fontsize=7)
        for ax, mechanism in zip(row, shown, strict=True):
            _draw(ax, cells[mechanism])
    return svg(drawn)


def _draw(ax: Any, cell: Verification) -> None:
    from symbias.report.style import FIT, MARK

    ax.tick_params(labelsize=5)
    if cell.points is None:
        ax.set(xticks=[], yticks=[])
        ax.text(0.5, 0.5, cell.verdict, ha="center", va="center", color="0.5", fontsize=8)
        return
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
    ax.text(0.04, 0.86, f"{cell.value:.1g}", transform=ax.transAxes, fontsize=6, color=color)
