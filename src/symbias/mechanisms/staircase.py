r"""Incremental learning: from small starts, flow on products switches entries on one by one.

For :math:`w = uv` from charges c, the flow of :math:`\frac1{2n}|Xw - y|^2` integrates
:math:`\nu = \int (b - Hw)\,dt` with :math:`b = X^Ty/n`, :math:`H = X^TX/n` and
:math:`w = \frac c2 \sinh 2\nu`: an entry is of order 1 only where :math:`|\nu| \approx
\frac12\log(4/c)`, and until then nothing.

References
----------
Berthier, "Incremental learning in diagonal linear networks", JMLR 2023; Pesme, Flammarion,
"Saddle-to-saddle dynamics in diagonal linear networks", NeurIPS 2023: the limit c -> 0.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from scipy.optimize import nnls

from symbias._core.numbers import positive

APART = 0.05  # of its time, that an event is away from others where it can be told from them
_COPY = 1e-9  # of its length, within which one column is another
FLAT = 1e-10  # of the largest gradient at the start: nothing moves any more


@dataclass(frozen=True)
class Event:
    """An entry that switches on, or off.

    ``separable`` unless another switched, or was about to, within 5% of the time.
    """

    entry: int
    on: bool
    time: float
    separable: bool = True


@dataclass(frozen=True, eq=False)
class Staircase:
    """Events in the order of their times, plateaus between them, and the loss on each."""

    events: tuple[Any, ...]
    plateaus: np.ndarray
    losses: np.ndarray
    charge: float

    def loss_at(self, times: Any) -> np.ndarray:
        """The staircase of the loss."""
        at = np.searchsorted([event.time for event in self.events], times, side="right")
        return np.asarray(self.losses[at])


@dataclass(frozen=True, eq=False)
class Incremental(Staircase):
    """What is learned when.

    Attributes
    ----------
    events : tuple of Event
        In the order of their times.
    plateaus : array (events + 1, p)
        w before the first event and after each.
    losses : array (events + 1,)
        |X w - y|^2 / 2n of the plateaus: a staircase.
    charge : float
    """

    events: tuple[Event, ...]


def incremental(X: Any, y: Any, *, charge: float, limit: bool = False) -> Incremental:
    r"""When gradient flow on w = u v from w = 0 switches which entry on.

    Between switches w is the least-squares point of the entries S that are on, with their signs;
    where a sign would turn, the entry goes off. On such a plateau

    .. math:: \int w_S = H_{SS}^{-1}(t\,b_S - \nu_S), \qquad \nu_j = t\,b_j - H_{jS}\int w_S,

    with :math:`\nu_i = \pm\frac12\log(4|w_i|/c)` for the entries that are on, and entry j switches
    when :math:`|\nu_j| = \frac12\log(4K_j/c)`, K_j its size on the next plateau; its time is that
    at which it passes half of it.

    Parameters
    ----------
    X, y : arrays (n, p) and (n,)
    charge : float
        c = u^2 - v^2 at the start, as in ``GradientFlow(init_scale)`` with c = init_scale^2.
    limit : bool
        The law for c -> 0 in its place, in which all sizes in the logarithms are 1: its times are
        right to O(1 / log(1/c)).

    Raises
    ------
    ValueError
        For data that are not finite or do not fit each other, columns that are copies of each
        other, or a charge that is not below the square of what is learned: there nothing is
        incremental.

    Notes
    -----
    Events that are closer than 5% of their time are not separable: such entries rise together, and
    their order is not promised; nor is the return of an entry that went off, which is right to
    about 1%. Nor are times where inputs are strongly correlated, since plateaus
    are then not reached before the next event. Cost O(events p |S|^3).
    """
    x, target = _checked(X, y, charge)
    n, p = x.shape
    flow = _Flow(x.T @ x / n, x.T @ target / n, charge, limit)
    on: dict[int, float] = {}  # entry -> sign
    spent: dict[int, float] = {}  # entry that went off -> integral of w
    w, time = np.zeros(p), 0.0
    found: list[Event] = []
    plateaus = [w]
    for _ in range(8 * p):
        following = _following(flow, x, target, on, spent, w, time)
        if not following:
            break
        (time, entry, sign), *later = following
        alone = not any(when - time < APART * time for when, _, _ in later)
        past = flow.integrals(on, spent, w, time)
        on = {**on, entry: sign}
        spent.pop(entry, None)
        w = _plateau(x, target, on)
        found.append(Event(entry, True, time, alone))
        plateaus.append(w)
        for i in [i for i in on if w[i] == 0]:
            del on[i]
            spent[i] = past[i]
            found.append(Event(i, False, time, alone))
            plateaus.append(w)
    losses = np.sum((np.array(plateaus) @ x.T - target) ** 2, axis=1) / (2 * n)
    return Incremental(_apart(found), np.array(plateaus), losses, float(charge))


@dataclass(frozen=True)
class _Flow:
    """The linear laws of nu between switches."""

    H: np.ndarray
    b: np.ndarray
    charge: float
    limit: bool

    def height(self, w: np.ndarray | float) -> Any:
        """|nu| at which an entry has the size |w|."""
        size = np.ones_like(w) if self.limit else np.abs(w)
        return (np.log(4 * size) - np.log(self.charge)) / 2

    def _nu(self, on: dict[int, float], w: np.ndarray) -> np.ndarray:
        """nu of the entries that are on."""
        return np.array(list(on.values())) * self.height(w[list(on)])

    def lines(
        self, on: dict[int, float], spent: dict[int, float], w: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray]:
        """nu = at + slope t for every entry, on the plateau w."""
        S, off = list(on), list(spent)
        past = self.H[:, off] @ np.array([spent[i] for i in off])
        if not S:
            return np.zeros_like(self.b), self.b
        nu = self._nu(on, w)
        inverse = np.linalg.inv(self.H[np.ix_(S, S)])
        at = self.H[:, S] @ inverse @ (nu + past[S]) - past
        return at, self.b - self.H[:, S] @ inverse @ self.b[S]

    def integrals(
        self, on: dict[int, float], spent: dict[int, float], w: np.ndarray, time: float
    ) -> np.ndarray:
        """The integral of w up to a time on the plateau w."""
        total = np.zeros(len(self.b))
        S, off = list(on), list(spent)
        total[off] = list(spent.values())
        if S:
            rest = time * self.b[S] - self._nu(on, w) - self.H[np.ix_(S, off)] @ total[off]
            total[S] = np.linalg.solve(self.H[np.ix_(S, S)], rest)
        return total


def _following(
    flow: _Flow,
    x: np.ndarray,
    y: np.ndarray,
    on: dict[int, float],
    spent: dict[int, float],
    w: np.ndarray,
    time: float,
) -> list[tuple[float, int, float]]:
    """Time, entry and sign of all that would switch if the plateau lasted, the next one first."""
    at, slope = flow.lines(on, spent, w)
    moving = np.flatnonzero(np.abs(slope) > FLAT * np.abs(flow.b).max())
    found = []
    for j in (int(j) for j in moving if j not in on):
        sign = math.copysign(1.0, slope[j])
        size = abs(_plateau(x, y, {**on, j: sign})[j])
        if size:
            when = float(sign * flow.height(size) - at[j]) / float(slope[j])
            found.append((max(when, time), j, sign))  # at once where it is there already
    return sorted(found)


def _plateau(x: np.ndarray, y: np.ndarray, on: dict[int, float]) -> np.ndarray:
    """The least-squares point of the entries that are on, with their signs."""
    S, signs = list(on), np.array(list(on.values()))
    w = np.zeros(x.shape[1])
    w[S] = signs * nnls(x[:, S] * signs, y)[0]
    return w


def _apart(found: Sequence[Event]) -> tuple[Event, ...]:
    """The events, not separable either where the one before was too near."""
    times = [event.time for event in found if event.on]

    def near(event: Event) -> int:
        return sum(abs(other - event.time) < APART * event.time for other in times)

    return tuple(replace(e, separable=bool(e.separable and near(e) <= 1)) for e in found)


def _checked(X: Any, y: Any, charge: float) -> tuple[np.ndarray, np.ndarray]:
    x, target = np.asarray(X, dtype=float), np.asarray(y, dtype=float)
    if x.ndim != 2 or target.shape != (len(x),) or not x.size:
        raise ValueError(
            f"X and y must be (n, p) and (n,), got {x.shape} and {target.shape}; for matrices W "
            "take sb.greedy_rank"
        )
    if not (np.all(np.isfinite(x)) and np.all(np.isfinite(target))):
        raise ValueError("X and y must be finite")
    positive("charge", charge)
    if not np.any(x.T @ target):
        raise ValueError("y says nothing of w: the gradient at w = 0 is zero")
    _refuse_copies(x)
    largest = float(np.abs(np.linalg.lstsq(x, target, rcond=None)[0]).max())
    if not charge < largest**2 / 100:
        raise ValueError(
            f"a charge of {charge:g} is no small start beside weights of {largest:.3g}: entries "
            f"rise together. Take one below {largest**2 / 100:.2g}"
        )
    return x, target


def _refuse_copies(x: np.ndarray) -> None:
    """Copies of a column rise together and share its weight; multiples of one do not."""
    for j in range(1, x.shape[1]):
        for other in (x[:, j], -x[:, j]):
            apart = np.linalg.norm(x[:, :j] - other[:, None], axis=0)
            same = np.flatnonzero(apart <= _COPY * np.linalg.norm(other))
            if len(same) and np.any(other):
                raise ValueError(
                    f"columns {same[0]} and {j} of X are equal up to sign: they are learned at "
                    "once, each with half the weight. Leave one out"
                )
