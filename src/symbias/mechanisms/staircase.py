r"""Incremental learning: from small starts, flow on products switches entries on one by one.

For :math:`w = uv` from charges c, the flow of :math:`\frac1{2n}|Xw - y|^2` integrates
:math:`\nu = \int (b - Hw)\,dt` with :math:`b = X^Ty/n`, :math:`H = X^TX/n` and
:math:`w = \frac c2 \sinh 2\nu`: an entry is of order 1 only where :math:`|\nu| \approx
\frac12\log(4/c)`, and until then nothing. So it is wherever :math:`\nu = \psi'(w)` is far from
0 before w is of order 1.

References
----------
Berthier, "Incremental learning in diagonal linear networks", JMLR 2023; Pesme, Flammarion,
"Saddle-to-saddle dynamics in diagonal linear networks", NeurIPS 2023: the limit c -> 0.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from symbias._core.numbers import positive
from symbias._core.refusal import Refused
from symbias.mechanisms.gradient_flow import GradientFlow
from symbias.mechanisms.heights import Heights
from symbias.mechanisms.potentials import synthesis_matrix
from symbias.parameterizations import Hadamard, Parameterization, check_inputs, measurements

WAITING = 2.0  # heights of entries over the last 90% of them, at least
APART = 0.05  # of its time, that an event is away from others where it can be told from them
_COPY = 1e-9  # of its length, within which one column is another


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
    plateaus : array (events + 1, size)
        w before the first event and after each; behind a synthesis w = A z, its coordinates z,
        free ones first, which the events number too.
    losses : array (events + 1,)
        |X w - y|^2 / 2n of the plateaus: a staircase.
    charge : float
        nan where factors were given.
    """

    events: tuple[Event, ...]


def incremental(
    X: Any,
    y: Any,
    *,
    charge: float | None = None,
    p: Parameterization | None = None,
    start: Mapping[str, Any] | None = None,
    limit: bool = False,
) -> Incremental:
    r"""When gradient flow from a small start switches which entry of w on.

    For w = u v, and for all parameterizations of which every coordinate z (w = A z) is a mirror
    descent by itself: products of any depth, behind links, lengths |x|^2. Free coordinates are on
    from the beginning. Between switches z is the least-squares point of the entries S that are on,
    with their signs; where a sign would turn, the entry goes off. On such a plateau

    .. math:: \int z_S = H_{SS}^{-1}(t\,b_S - \psi'_S(z_S)),
        \qquad \nu_j = t\,b_j - H_{jS}\int z_S,

    H and b those of the features X A, and entry j switches when :math:`|\nu_j|` is the height

    .. math:: \int_0^{K/2} \frac{\psi_j''(z)\,dz}{1 - z/K}

    to K_j, its size on the next plateau: :math:`\frac12\log(4K_j/c)` for u v, 1/h'(0) times as
    much behind a link h, and a power of the start from depth 3 on. Its time is that at which it
    passes half of K_j.

    Parameters
    ----------
    X, y : arrays (n, *p.shape) and (n,)
        (n, size) without a `p`.
    charge : float, optional
        c = u^2 - v^2 at the start, as in ``GradientFlow(init_scale)`` with c = init_scale^2.
    p : Parameterization, optional
        u v by default.
    start : dict of arrays, optional
        The factors at the start, in place of a charge: lengths have none.
    limit : bool
        The law for c -> 0 in its place, in which all sizes in the heights are 1: its times are
        right to O(1 / log(1/c)).

    Raises
    ------
    Refused
        Where coordinates are not independent, as in groups (`sb.incremental_groups`) and matrix
        products (`sb.greedy_rank`), or none waits: plain parameters.
    ValueError
        For data that are not finite or do not fit each other, columns that are copies of each
        other, or a start that is not small beside what is learned: there nothing is incremental.

    Notes
    -----
    Events that are closer than 5% of their time are not separable: such entries rise together, and
    their order is not promised; nor is the return of an entry that went off, which is right to
    about 1%. Nor are times where inputs are strongly correlated, since plateaus
    are then not reached before the next event. Cost O(events p |S|^3).
    """
    x, target, p = _checked(X, y, p)
    law = _heights(p, x, target, charge, start, limit)
    on = dict.fromkeys(np.flatnonzero(law.free).tolist(), 0.0)  # entry -> sign, 0 where free
    spent: dict[int, float] = {}  # entry that went off -> integral of z
    z, time = law.plateau(on), 0.0
    found: list[Event] = []
    plateaus = [z]
    for _ in range(8 * len(z)):
        following = law.following(on, spent, z, time)
        if not following:
            break
        (time, entry, sign), *later = following
        alone = not any(when - time < APART * time for when, _, _ in later)
        past = law.integrals(on, spent, z, time)
        on = {**on, entry: sign}
        spent.pop(entry, None)
        z = law.plateau(on)
        found.append(Event(entry, True, time, alone))
        plateaus.append(z)
        for i in [i for i, sign in on.items() if sign and z[i] == 0]:
            del on[i]
            spent[i] = past[i]
            found.append(Event(i, False, time, alone))
            plateaus.append(z)
    losses = np.sum((np.array(plateaus) @ law.x.T - target) ** 2, axis=1) / (2 * len(x))
    return Incremental(
        apart(found), np.array(plateaus), losses, np.nan if charge is None else float(charge)
    )


def apart(found: Sequence[Event]) -> tuple[Event, ...]:
    """The events, not separable either where the one before was too near."""
    times = [event.time for event in found if event.on]

    def near(event: Event) -> int:
        return sum(abs(other - event.time) < APART * event.time for other in times)

    return tuple(replace(e, separable=bool(e.separable and near(e) <= 1)) for e in found)


def _heights(
    p: Parameterization,
    x: np.ndarray,
    y: np.ndarray,
    charge: float | None,
    start: Mapping[str, Any] | None,
    limit: bool,
) -> Heights:
    """The law of p from this start; refused where it has none."""
    if (charge is None) == (start is None):
        raise ValueError("give a charge, or the factors at the start as start={name: array, ...}")
    scale = None if charge is None else positive("charge", charge) ** 0.5
    flow = GradientFlow(scale, start)
    found = p.products(flow.init(p))
    if found is None:
        raise Refused(
            f"{p!r}: its coordinates do not move each by itself. For groups take "
            "sb.incremental_groups, for matrix products sb.greedy_rank"
        )
    features = x @ synthesis_matrix(p)
    _refuse_copies(features)
    law = Heights.of(found, features, y, signed=p.signed, limit=limit)
    if np.all(law.free):
        raise Refused(
            f"{p!r}: plain parameters are learned from the start, at rates that do not depend on "
            "its size"
        )
    largest, wait = law.wait()
    if not wait >= WAITING:
        low = "" if charge is None else f" Take one below {0.02 * min(largest, charge):.2g}"
        what = "these factors are" if charge is None else f"a charge of {charge:g} is"
        raise ValueError(
            f"{what} no small start beside weights of {largest:.3g}: entries rise together.{low}"
        )
    return law


def _checked(
    X: Any, y: Any, p: Parameterization | None
) -> tuple[np.ndarray, np.ndarray, Parameterization]:
    x, target = np.asarray(X, dtype=float), np.asarray(y, dtype=float)
    if target.shape != x.shape[:1] or not x.size or (p is None and x.ndim != 2):
        raise ValueError(
            f"X and y must be (n, p) and (n,), got {x.shape} and {target.shape}; for matrices W "
            "take sb.greedy_rank"
        )
    if not (np.all(np.isfinite(x)) and np.all(np.isfinite(target))):
        raise ValueError("X and y must be finite")
    if not np.any(x.T @ target):
        raise ValueError("y says nothing of w: the gradient at w = 0 is zero")
    p = Hadamard(x.shape[1]) if p is None else p
    check_inputs(x, p.shape)
    return measurements(x, p.shape), target, p


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
