"""Every parameterization under every mechanism: verified, or refused with the reason."""

import json
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from symbias._version import __version__
from symbias.designs import (
    L1,
    ElasticNet,
    GroupLasso,
    LogSum,
    Lq,
    Nuclear,
    Penalty,
    Ridge,
    Spectral,
    TotalVariation,
    design,
)
from symbias.mechanisms import WeightDecay
from symbias.parameterizations import Parameterization, PowerLink, Radial
from symbias.report.cards import SGD_NOISE, small
from symbias.report.page import Section, render
from symbias.studies.verification import (
    Verification,
    adaptive_gap,
    attempt,
    check_gradient_flow,
    check_label_noise,
    check_langevin,
    check_weight_decay,
    refused,
)

MECHANISMS = ("weight decay", "label noise", "gradient flow", "Langevin", "SGD noise", "AdamW")
STRENGTH = 0.05


@dataclass(frozen=True)
class Entry:
    """A row of the grid: a penalty's design for weight decay, of two sizes."""

    name: str
    penalty: Penalty | None
    shape: tuple[int, ...]

    @property
    def design(self) -> Parameterization:
        return self.of(self.shape)

    def of(self, shape: tuple[int, ...]) -> Parameterization:
        """The same design of another shape."""
        if self.penalty is None:
            return Radial(shape, 3, PowerLink(2.0))
        return design(self.penalty, WeightDecay(STRENGTH), shape=shape)


ENTRIES = (
    Entry("u v", L1(), (12,)),
    Entry("u1 u2 u3", Lq(2 / 3), (12,)),
    Entry("s v, groups of 3", GroupLasso(3), (12,)),
    Entry("P Q", Nuclear(), (6, 4)),
    Entry("h(u v), log-sum", LogSum(0.3), (12,)),
    Entry("h(u v), elastic net", ElasticNet(0.5), (12,)),
    Entry("u, ridge", Ridge(), (12,)),
    Entry("cumsum(u v)", TotalVariation(), (12,)),
    Entry("cosines of u v", Spectral(), (12,)),
    Entry("|x|^2", None, (6,)),
)


def run(out: str | Path, quick: bool = False, progress: bool = True) -> dict[str, Any]:
    """Fill the grid of parameterization x mechanism; write ``design-grid.json`` and a page.

    Parameters
    ----------
    out : path
        Folder, made if needed.
    quick : bool
        Fewer rows, fewer replicas.
    progress : bool
        A line for every cell.
    """
    folder = Path(out)
    folder.mkdir(parents=True, exist_ok=True)
    begun = time.monotonic()
    entries = ENTRIES[:4] if quick else ENTRIES
    grid: dict[str, list[Verification]] = {}
    for entry in entries:
        grid[entry.name] = []
        for mechanism in MECHANISMS:
            cell = attempt(mechanism, partial(CHECKS[mechanism], entry, quick))
            grid[entry.name].append(cell)
            if progress:
                number = f"{cell.quantity} {cell.value:.2g}" if cell.quantity else cell.note
                passed = f"[{time.monotonic() - begun:5.0f} s]"
                print(f"{passed} {entry.name}, {mechanism}: {cell.verdict}; {number}", flush=True)
    result: dict[str, Any] = {
        "symbias": __version__,
        "quick": quick,
        "grid": {name: [c.to_dict() for c in cells] for name, cells in grid.items()},
        "seconds": time.monotonic() - begun,
    }
    (folder / "index.html").write_text(_page(entries, grid, folder))
    (folder / "design-grid.json").write_text(json.dumps(result, indent=1))
    return result


def _weight_decay(entry: Entry, quick: bool) -> Verification:
    if entry.penalty is None:
        raise ValueError(
            "w = |x|^2 is never negative: weight decay lam is lam/2 w there, a linear cost, and no "
            "penalty on all w"
        )
    return check_weight_decay(entry.penalty, STRENGTH, entry.shape)


def _label_noise(entry: Entry, quick: bool) -> Verification:
    shape = tuple(min(n, 4) for n in entry.shape)
    options = {"pairs": 12, "relaxations": 60} if quick else {}
    return check_label_noise(entry.of(shape), **options)


def _gradient_flow(entry: Entry, quick: bool) -> Verification:
    if entry.penalty is None:
        raise ValueError("w = |x|^2 is never negative: it does not fit data of both signs")
    return check_gradient_flow(entry.design)


def _langevin(entry: Entry, quick: bool) -> Verification:
    p = small(entry.design)
    shape: tuple[int, ...] = (2, 2) if len(entry.shape) == 2 else (1,)
    if isinstance(p, Radial):
        p = Radial((), p.n, p.link)
    elif len(shape) == 1 and entry.name != "s v, groups of 3":
        p = small_of_one(entry)
    return check_langevin(p, replicas=1000 if quick else 4000)


def small_of_one(entry: Entry) -> Parameterization:
    """The design of one number; behind a transform that of its coordinate z."""
    penalty = entry.penalty
    if isinstance(penalty, TotalVariation | Spectral):
        penalty = L1()
    assert penalty is not None
    return design(penalty, WeightDecay(STRENGTH), shape=(1,))


def _sgd_noise(entry: Entry, quick: bool) -> Verification:
    return refused("SGD noise", SGD_NOISE)


def _adamw(entry: Entry, quick: bool) -> Verification:
    reason = "another objective: decoupled decay"
    if entry.penalty is None:
        return refused("AdamW", f"{reason}; and w = |x|^2 has no penalty to miss")
    gap = adaptive_gap(entry.design, STRENGTH, entry.penalty)
    return refused("AdamW", f"{reason} ends {100 * gap:.2g}% above the optimum of weight decay")


CHECKS: dict[str, Callable[[Entry, bool], Verification]] = dict(
    zip(
        MECHANISMS,
        (_weight_decay, _label_noise, _gradient_flow, _langevin, _sgd_noise, _adamw),
        strict=True,
    )
)


def _page(entries: Any, grid: dict[str, list[Verification]], folder: Path) -> str:
    from symbias.report.style import svg_text

    figure = _figure(grid)
    (folder / "design-grid.svg").write_text(svg_text(figure))
    counts = {v: sum(c.verdict == v for cells in grid.values() for c in cells) for v in _VERDICTS}
    overview = [["parameterization", *MECHANISMS]]
    overview += [[name, *(c.verdict for c in cells)] for name, cells in grid.items()]
    rows = [["parameterization", "training", "verdict", "what", "value", "bound", "notes"]]
    for name, cells in grid.items():
        for c in cells:
            number = (f"{c.value:.2g}", f"{c.bound:.2g}") if c.quantity else ("", "")
            rows.append([name, c.mechanism, c.verdict, c.quantity, *number, c.note])
    section = Section(
        title="Parameterization by mechanism",
        lead="Each cell was trained and held against a computation without factors, or refused.",
        findings=[", ".join(f"{n} {v}" for v, n in counts.items()) + "."],
        figures=[("Predicted (across) against measured (up); for laws, samples and law.", figure)],
        tables=[("Verdicts.", overview), ("All numbers and reasons.", rows)],
    )
    footer = f"Made by symbias {__version__}. This page is self-contained."
    intro = "What each way of training makes of each parameterization, computed and checked."
    return render("symbias: the design grid", intro, [section], footer)


_VERDICTS = ("verified", "failed", "refused")


def _figure(grid: dict[str, list[Verification]]) -> str:
    from matplotlib.figure import Figure

    from symbias.report.style import FIT, MARK, svg

    figure = Figure(figsize=(9.6, 1.55 * len(grid)), layout="constrained")
    axes = figure.subplots(len(grid), 4, squeeze=False)
    for row, (name, cells) in zip(axes, grid.items(), strict=True):
        for ax, cell in zip(row, cells, strict=False):
            ax.tick_params(labelsize=5)
            if row is axes[0]:
                ax.set_title(cell.mechanism, fontsize=9)
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
            text = f"{cell.value:.1g}"
            ax.text(0.04, 0.86, text, transform=ax.transAxes, fontsize=6, color=color)
    return svg(figure)
