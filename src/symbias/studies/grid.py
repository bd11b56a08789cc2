"""Every parameterization under every mechanism: verified, or refused with the reason."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

import jax

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
from symbias.studies.finite_steps import check_sgd_noise
from symbias.studies.grid_checks import (
    check_adam,
    check_adamw,
    check_directions,
    check_entries,
    check_max_margin,
    check_step_size,
)
from symbias.studies.lengths import (
    check_decay_of_lengths,
    check_flow_of_lengths,
    check_steps_of_lengths,
)
from symbias.studies.verification import (
    Verification,
    attempt,
    check_gradient_flow,
    check_label_noise,
    check_langevin,
    check_weight_decay,
)

STRENGTH = 0.05
_FEW: dict[str, Any] = {"pairs": 12, "relaxations": 60}
_SOME: dict[str, Any] = {"pairs": 16, "relaxations": 100}


@dataclass(frozen=True)
class Entry:
    """A row of the grid: a penalty's design for weight decay, of two sizes."""

    name: str
    penalty: Penalty | None
    shape: tuple[int, ...]
    smallest: tuple[int, ...] = (1,)
    quick: bool = False

    @property
    def design(self) -> Parameterization:
        return self.of(self.shape)

    def of(self, shape: tuple[int, ...]) -> Parameterization:
        """The same design of another shape."""
        if self.penalty is None:
            return Radial(shape, 3, PowerLink(2.0))
        return design(self.penalty, WeightDecay(STRENGTH), shape=shape)


Check = Callable[[Entry, bool], Verification]

ENTRIES = (
    Entry("u v", L1(), (12,), quick=True),
    Entry("u1 u2 u3", Lq(2 / 3), (12,)),
    Entry("s v, groups of 3", GroupLasso(3), (12,), (2,), quick=True),
    Entry("P Q", Nuclear(), (4, 3), (2, 2)),
    Entry("h(u v), log-sum", LogSum(0.3), (12,)),
    Entry("h(u v), elastic net", ElasticNet(0.5), (12,)),
    Entry("u, ridge", Ridge(), (12,), quick=True),
    Entry("cumsum(u v)", TotalVariation(), (12,)),
    Entry("cosines of u v", Spectral(), (12,)),
    Entry("|x|^2", None, (6,), (), quick=True),
)


def fill(quick: bool, say: Callable[[str], None]) -> dict[str, dict[str, Verification]]:
    """A cell for every row and mechanism, in the order of `CHECKS`; ``quick``: four rows."""
    entries = [entry for entry in ENTRIES if entry.quick or not quick]
    grid: dict[str, dict[str, Verification]] = {}
    for entry in entries:
        grid[entry.name] = {}
        for mechanism, check in CHECKS.items():
            cell = attempt(mechanism, partial(check, entry, quick))
            grid[entry.name][mechanism] = cell
            number = f"{cell.quantity} {cell.value:.2g}" if cell.quantity else cell.note
            say(f"{entry.name}, {mechanism}: {cell.verdict}; {number}")
        jax.clear_caches()  # programs of its own for each cell: a process may map only so many
    return grid


def _weight_decay(entry: Entry, quick: bool) -> Verification:
    if entry.penalty is None:
        return check_decay_of_lengths(entry.design, STRENGTH)
    return check_weight_decay(entry.penalty, STRENGTH, entry.shape)


def _label_noise(entry: Entry, quick: bool) -> Verification:
    most = (4,) if len(entry.shape) == 1 and not quick else (2, 2)
    shape = tuple(map(min, entry.shape, most))
    p = entry.of(max(shape, entry.smallest))
    return check_label_noise(p, **(_FEW if quick else _SOME))


def _gradient_flow(entry: Entry, quick: bool) -> Verification:
    if entry.penalty is None:
        return check_flow_of_lengths(entry.design)
    return check_gradient_flow(entry.design)


def _sgd_noise(entry: Entry, quick: bool) -> Verification:
    if entry.penalty is None:
        return check_steps_of_lengths(entry.design)
    return check_sgd_noise(entry.design)


def _langevin(entry: Entry, quick: bool) -> Verification:
    """The law of the smallest design of this kind; behind a transform that of its coordinate z."""
    core = entry.design.normal_form().cores[0].design
    p = core.resized(entry.smallest)
    few = len(entry.smallest) == 2  # the test of several numbers takes their square
    return check_langevin(p, replicas=(1000 if few else 2000) // (2 if quick else 1))


def _small_start(entry: Entry, quick: bool) -> Verification:
    matrix = len(entry.shape) == 2
    return check_directions(entry.shape) if matrix else check_entries(entry.design)


def _of_design(check: Callable[[Parameterization], Verification]) -> Check:
    return lambda entry, quick: check(entry.design)


CHECKS: dict[str, Check] = {
    "weight decay": _weight_decay,
    "label noise": _label_noise,
    "gradient flow": _gradient_flow,
    "SGD noise": _sgd_noise,
    "Langevin": _langevin,
    "max margin": _of_design(check_max_margin),
    "Adam": _of_design(check_adam),
    "AdamW": _of_design(check_adamw),
    "step size": _of_design(check_step_size),
    "small start": _small_start,
}
