"""Every parameterization under every mechanism: verified, or refused with the reason."""

import json
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from symbias._version import __version__
from symbias.designs import design
from symbias.maps import PowerLink
from symbias.mechanisms import WeightDecay
from symbias.parameterizations import Parameterization, Radial
from symbias.penalties import (
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
)
from symbias.report.page import render
from symbias.studies import flow_limits, label_shift
from symbias.studies.clock import Clock
from symbias.studies.finite_steps import check_sgd_noise
from symbias.studies.grid_page import grid_section, limit_section, shift_section
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
_FEW: dict[str, Any] = {"pairs": 12, "relaxations": 60}
_SOME: dict[str, Any] = {"pairs": 16, "relaxations": 100}
SCALES = tuple(10.0**-k for k in range(7))


@dataclass(frozen=True)
class Entry:
    """A row of the grid: a penalty's design for weight decay, of two sizes."""

    name: str
    penalty: Penalty | None
    shape: tuple[int, ...]
    smallest: tuple[int, ...] = (1,)

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
    Entry("s v, groups of 3", GroupLasso(3), (12,), (2,)),
    Entry("P Q", Nuclear(), (6, 4), (2, 2)),
    Entry("h(u v), log-sum", LogSum(0.3), (12,)),
    Entry("h(u v), elastic net", ElasticNet(0.5), (12,)),
    Entry("u, ridge", Ridge(), (12,)),
    Entry("cumsum(u v)", TotalVariation(), (12,)),
    Entry("cosines of u v", Spectral(), (12,)),
    Entry("|x|^2", None, (6,), ()),
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
    folder, clock = Path(out), Clock(progress)
    folder.mkdir(parents=True, exist_ok=True)
    entries = (*ENTRIES[:4], ENTRIES[-1]) if quick else ENTRIES
    grid: dict[str, list[Verification]] = {}
    for entry in entries:
        grid[entry.name] = []
        for mechanism in MECHANISMS:
            cell = attempt(mechanism, partial(CHECKS[mechanism], entry, quick))
            grid[entry.name].append(cell)
            number = f"{cell.quantity} {cell.value:.2g}" if cell.quantity else cell.note
            clock.say(f"{entry.name}, {mechanism}: {cell.verdict}; {number}")
    result: dict[str, Any] = {
        "symbias": __version__,
        "quick": quick,
        "grid": {name: [c.to_dict() for c in cells] for name, cells in grid.items()},
    }
    sections = [grid_section(grid, MECHANISMS, folder)]
    if not quick:
        result["shifts"] = [r for case in _shift_cases() for r in label_shift.rows([case], **_SOME)]
        result["limits"] = flow_limits.rows(flow_limits.cases()[:1], SCALES, rates=())
        result["descent"] = flow_limits.rows(flow_limits.cases()[:1], (1.0, 1e-2))
        sections += [
            shift_section(result["shifts"]),
            limit_section(result["limits"], result["descent"]),
        ]
    result["seconds"] = clock.seconds
    footer = f"Made by symbias {__version__}. This page is self-contained."
    intro = "What each way of training makes of each parameterization, computed and checked."
    (folder / "index.html").write_text(render("symbias: the design grid", intro, sections, footer))
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
    return check_label_noise(entry.of(shape), **(_FEW if quick else _SOME))


def _gradient_flow(entry: Entry, quick: bool) -> Verification:
    if entry.penalty is None:
        raise ValueError("w = |x|^2 is never negative: it does not fit data of both signs")
    return check_gradient_flow(entry.design)


def _langevin(entry: Entry, quick: bool) -> Verification:
    """The law of the smallest design of this kind; behind a transform that of its coordinate z."""
    core = entry.design.normal_form().cores[0].design
    p = core.resized(entry.smallest)
    few = quick or len(entry.smallest) == 2  # the test of several numbers takes their square
    return check_langevin(p, replicas=1000 if few else 2000)


def _sgd_noise(entry: Entry, quick: bool) -> Verification:
    return check_sgd_noise(entry.design)


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


def _shift_cases() -> list[label_shift.Setting]:
    wanted = ("Hadamard", "groups", "P Q, x @ W")
    return [case for case in label_shift.settings() if case[0] in wanted]
