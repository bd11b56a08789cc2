r"""Incremental learning of groups: from small starts, w_g = s_g v_g switches on group by group.

With g the negative gradient in w_g the flow is :math:`\dot s = g \cdot v`, :math:`\dot v = s\,g`:
(s, v) is boosted, by the vector :math:`\int g\,dt` where g keeps its direction, and grows like
:math:`e^{|g| t}` towards (1, g/|g|). What it has grown to along other directions before counts by
its part of that. A group that is on may turn as it likes, and has no sign that could stop it.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy.integrate import solve_ivp

from symbias._core.numbers import positive
from symbias.mechanisms.staircase import APART, Event, Incremental, apart
from symbias.penalties import Groups

FLAT = 1e-9  # of the largest gradient at the start: nothing moves any more
SEED = 1e-4  # of its size on the next plateau, from where on a group is followed
LONGEST = 1e9
RTOL, ATOL = 1e-9, 1e-11


@dataclass(frozen=True, eq=False)
class Boosted:
    """(s, v) of a group that is off, as a unit vector and the logarithm of its length."""

    unit: np.ndarray
    log: float

    @property
    def w(self) -> np.ndarray:
        """s v."""
        return math.exp(2 * self.log) * self.unit[0] * self.unit[1:]

    def by(self, a: np.ndarray) -> "Boosted":
        """After a boost by the vector a."""
        size = float(np.linalg.norm(a))
        if size == 0:
            return self
        s, v, e = self.unit[0], self.unit[1:], a / size
        along = float(v @ e)
        plus, minus = (s + along) / 2, (s - along) / 2 * math.exp(-2 * size)
        rest = (v - along * e) * math.exp(-size)
        moved = np.concatenate([[plus + minus], (plus - minus) * e + rest])
        length = float(np.linalg.norm(moved))
        return Boosted(moved / length, self.log + size + math.log(length))

    def time_to(self, size: float, g: np.ndarray) -> float:
        """When |w| = s |v| is of this size, for a constant g, while what falls is negligible."""
        rate = float(np.linalg.norm(g))
        part = float(self.unit[0] + self.unit[1:] @ g / rate) / 2
        if part <= 0:
            return math.inf
        return (math.log(size) / 2 - math.log(part) - self.log) / rate


def incremental_groups(X: Any, y: Any, groups: Any, *, charge: float) -> Incremental:
    r"""When gradient flow on w_g = s_g v_g from w = 0 switches which group on.

    Between switches w is the least-squares point of the groups that are on. Group g is nothing
    until it has grown from s = sqrt(c), v = 0 to the size K_g of its next plateau: the first, of
    the largest :math:`|b_g|`, b = X^T y/n, at :math:`\log(4K_g/c)/2|b_g|` to leading order. As

    .. math:: |w_g| \approx \tfrac c4\,e^{2\sum_k |g_k|\tau_k} \prod_k \cos^4(\phi_k/2)

    after times tau_k on plateaus with the gradients g_k, phi_k the angles between one and the next,
    it is the integral of the *norm* of its gradient that reaches log(4K_g/c)/2 in the end, less
    what turning costs. The flow of the groups that are on, from where one is 1e-4 of its next
    plateau, says what of the others' gradients is different on the way there.

    Parameters
    ----------
    X, y : arrays (n, p) and (n,)
        Columns of X independent.
    groups : array of integers or strings, (p,)
        One label for each entry of w; at least two entries for each.
    charge : float
        c = s^2 - |v|^2 at the start, as in ``GradientFlow(init_scale)`` of ``GroupProduct`` with
        c = init_scale^2.

    Returns
    -------
    Incremental
        Whose ``entry`` of an event is the place of its group among the sorted labels; its time is
        that at which |w_g| passes half of its next plateau.

    Raises
    ------
    ValueError
        For data that are not finite or do not fit each other, groups of one entry, and a charge
        that is not below 2% of the largest group: there nothing is incremental.

    Notes
    -----
    Events that are closer than 5% of their time are not separable, and their order is not promised.
    Cost: a flow (LSODA) for each event.
    """
    x, target, sizes = _checked(X, y, groups)
    members = [np.flatnonzero(sizes.labels == k) for k in range(len(sizes.names))]
    _check_small(x, target, members, positive("charge", charge))
    flow = _Flow(x, target, members)
    off = {
        k: Boosted(np.eye(1, 1 + len(m))[0], math.log(charge) / 2) for k, m in enumerate(members)
    }
    on: list[int] = []
    w, time = np.zeros(x.shape[1]), 0.0
    found, plateaus = list[Event](), [w]
    flat = FLAT * float(np.abs(flow.pull(w)).max())
    while off:
        g = flow.pull(w)
        rising = [k for k in off if np.linalg.norm(g[members[k]]) > flat]
        if not rising:
            break
        ends = {k: flow.plateau([*on, k]) for k in rising}
        size = {k: float(np.linalg.norm(ends[k][members[k]])) for k in rising}
        when = {k: off[k].time_to(size[k], g[members[k]]) for k in rising}
        j = min(when, key=when.__getitem__)
        if not math.isfinite(when[j]):
            break
        begin = max(off[j].time_to(SEED * size[j], g[members[j]]), 0.0)
        seeded = w.copy()
        seeded[members[j]] = off[j].by(begin * g[members[j]]).w
        on, w = [*on, j], ends[j]
        half, pulled = flow.to_plateau(seeded, w, on, size[j] / 2)
        del off[j]
        step, rest = (begin + half) * g, pulled - half * (g - flow.pull(w))
        off = {k: z.by(step[members[k]]).by(rest[members[k]]) for k, z in off.items()}
        later = [time + t for k, t in when.items() if k != j]
        alone = not any(t - (time + when[j]) < APART * (time + when[j]) for t in later)
        time += begin + half
        found.append(Event(j, True, time, alone))
        plateaus.append(w)
    losses = np.sum((np.array(plateaus) @ x.T - target) ** 2, axis=1) / (2 * len(x))
    return Incremental(apart(found), np.array(plateaus), losses, float(charge))


@dataclass(frozen=True, eq=False)
class _Flow:
    """Of the groups that are on, whose charges are negligible beside w."""

    x: np.ndarray
    y: np.ndarray
    members: Sequence[np.ndarray]

    def pull(self, w: np.ndarray) -> np.ndarray:
        """The negative gradient."""
        return np.asarray(self.x.T @ (self.y - self.x @ w) / len(self.x))

    def plateau(self, on: Sequence[int]) -> np.ndarray:
        """The least-squares point of the groups that are on."""
        S, w = np.concatenate([self.members[k] for k in on]), np.zeros(self.x.shape[1])
        w[S] = np.linalg.lstsq(self.x[:, S], self.y, rcond=None)[0]
        return w

    def to_plateau(
        self, w: np.ndarray, end: np.ndarray, on: Sequence[int], half: float
    ) -> tuple[float, np.ndarray]:
        """When the last group passes ``half``, and int pull(w) - pull(end) dt, from w to the end.

        By dw_g/dt = |w_g| g + w_g (w_g . g)/|w_g|, that of s v for s = |v|.
        """
        last, size, near = self.members[on[-1]], len(w), ATOL * float(np.abs(end).max())

        def field(_: float, state: np.ndarray) -> np.ndarray:
            w, moved = state[:size], np.zeros(size)
            g = self.pull(w)
            for k in on:
                m = self.members[k]
                length = np.linalg.norm(w[m])
                moved[m] = length * g[m] + w[m] * (w[m] @ g[m]) / max(length, near)
            return np.concatenate([moved, w - end])

        def passed(_: float, state: np.ndarray) -> float:
            return float(np.linalg.norm(state[last])) - half

        def settled(_: float, state: np.ndarray) -> float:
            return float(np.abs(state[:size] - end).max()) - 1e-7 * float(np.abs(end).max())

        settled.terminal = True  # type: ignore[attr-defined]
        start = np.concatenate([w, np.zeros(size)])
        flow = solve_ivp(field, (0.0, LONGEST), start, method="LSODA", rtol=RTOL, atol=near,
                         events=[passed, settled])  # fmt: skip
        integral = flow.y[size:, -1]
        halves = flow.t_events[0]
        return float(halves[0]) if len(halves) else 0.0, -self.x.T @ (self.x @ integral) / len(
            self.x
        )


def _checked(X: Any, y: Any, groups: Any) -> tuple[np.ndarray, np.ndarray, Groups]:
    x, target, labels = np.asarray(X, dtype=float), np.asarray(y, dtype=float), np.asarray(groups)
    if x.ndim != 2 or target.shape != (len(x),) or labels.shape != x.shape[1:] or not x.size:
        raise ValueError(
            f"X, y and groups must be (n, p), (n,) and (p,), got {x.shape}, {target.shape} and "
            f"{labels.shape}"
        )
    if not (np.all(np.isfinite(x)) and np.all(np.isfinite(target))):
        raise ValueError("X and y must be finite")
    sizes = Groups(labels)
    counts = np.bincount(sizes.labels)
    if np.any(counts == 1):
        raise ValueError(
            f"group {sizes.names[np.argmin(counts)]} has one entry, whose sign can stop it: give "
            "groups of two or more, and take sb.incremental for entries by themselves"
        )
    if np.linalg.matrix_rank(x) < x.shape[1]:
        raise ValueError(f"the {x.shape[1]} columns of X are not linearly independent")
    return x, target, sizes


def _check_small(
    x: np.ndarray, y: np.ndarray, members: Sequence[np.ndarray], charge: float
) -> None:
    w = np.linalg.lstsq(x, y, rcond=None)[0]
    largest = max(float(np.linalg.norm(w[m])) for m in members)
    if not charge < 0.02 * largest:
        raise ValueError(
            f"a charge of {charge:g} is no small start beside groups of {largest:.3g}: they rise "
            f"together. Take one below {0.02 * largest:.2g}"
        )
