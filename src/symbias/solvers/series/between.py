"""The least cost over signals that change at given knots: interior points, then exactly."""

from typing import NamedTuple, Protocol

import numpy as np
from scipy.linalg import LinAlgError

from symbias.solvers.losses import Loss
from symbias.solvers.series.joint import Joint
from symbias.solvers.series.restricted import Restricted
from symbias.solvers.series.stretches import Stretches, sizes

_FACES, _WALK = 4, 60  # faces that are tried
_NEWTON_STEPS = 50


class Changed(NamedTuple):
    """A signal (..., n), its changes at the knots, and which of them are there."""

    signal: np.ndarray
    jumps: np.ndarray
    live: np.ndarray


class Observed(Protocol):
    """What a loss is taken of."""

    @property
    def y(self) -> np.ndarray: ...
    @property
    def loss(self) -> Loss: ...
    @property
    def a(self) -> np.ndarray: ...
    def value(self, w: np.ndarray) -> float: ...


def least_squares(
    stretches: Stretches, weights: np.ndarray, y: np.ndarray, strength: float, kept: np.ndarray
) -> Changed:
    """Minimise sum weights (w - y)^2 / 2 + strength sum |Dw| between the knots.

    ``kept`` holds the direction of changes that are there whatever their size, else 0.
    """
    if y.ndim == 2:
        return _together(stretches, weights, y, strength, kept)
    problem = Restricted(*stretches.project(weights, y), stretches.stencil, strength)
    c, live = problem.solve()
    live |= kept != 0
    jumps = problem.differences(c)
    signs = np.where(kept != 0, kept, np.sign(jumps))
    for start in (None, c):  # all that turn at once first
        found = _on_faces(stretches, weights, y, strength, signs, live, start)
        if found is None:
            continue
        face, at, there, exact = found
        if exact.cost(at) <= problem.cost(c) + 1e-12 * problem.scale(c):
            jumps = np.zeros_like(jumps)
            jumps[there] = exact.differences(at)
            return Changed(face.signal(at), jumps, there)
    return Changed(stretches.signal(c), jumps, live)


def _on_faces(
    stretches: Stretches,
    weights: np.ndarray,
    y: np.ndarray,
    strength: float,
    signs: np.ndarray,
    live: np.ndarray,
    start: np.ndarray | None,
) -> tuple[Stretches, np.ndarray, np.ndarray, Restricted] | None:
    """The exact minimum with these signs, without the changes that turn theirs.

    With a ``start``, coordinates at all knots: by steps to the first change that vanishes, which
    is let go. Without, all that turn are let go together. None where that does not end.
    """
    order, there = stretches.order, live.copy()
    now = None
    if start is not None:
        ends = np.ones(1, dtype=bool)
        now = start[np.concatenate([ends, live, ends] if order == 2 else [ends, live])]
    for _ in range(_FACES if start is None else _WALK):
        face = Stretches(order, stretches.times, stretches.knots[there])
        exact = Restricted(*face.project(weights, y), face.stencil, strength)
        changes = signs[there] if now is None else exact.differences(now)
        found, same = exact.on_face(np.sign(changes))
        if np.all(same):
            return face, found, there, exact
        if now is None:
            there[there] = same
            continue
        towards = exact.differences(found)
        share = np.where(same, np.inf, changes / np.where(same, 1.0, changes - towards))
        first = int(np.argmin(share))
        now = now + max(float(share[first]), 0.0) * (found - now)
        now = np.delete(now, first + 1)
        there[np.flatnonzero(there)[first]] = False
    return None


def _together(
    stretches: Stretches, weights: np.ndarray, y: np.ndarray, strength: float, kept: np.ndarray
) -> Changed:
    """Channels that change together, (channels, n): those that vanish are let go again."""
    problem = Joint(*stretches.project(weights, y), stretches.stencil, strength)
    c, z, live = problem.solve()
    live |= np.any(kept != 0, axis=0)
    ends, there = np.ones(stretches.order, dtype=bool), live.copy()
    for _ in range(_FACES):
        face = Stretches(stretches.order, stretches.times, stretches.knots[there])
        exact = Joint(*face.project(weights, y), face.stencil, strength)
        nodes = np.concatenate([ends[:1], there, ends[1:]])
        try:
            at, same = exact.newton(c[:, nodes], z[:, there])
        except LinAlgError:
            break
        if np.all(same):
            if exact.cost(at) > problem.cost(c) + 1e-12 * problem.scale(c):
                break
            jumps = np.zeros_like(problem.differences(c))
            jumps[:, there] = exact.differences(at)
            return Changed(face.signal(at), jumps, there)
        there[there] = same
    return Changed(stretches.signal(c), problem.differences(c), live)


def reweighted(
    observed: Observed, stretches: Stretches, w: np.ndarray, strength: float, kept: np.ndarray
) -> Changed:
    """Minimise any loss + strength sum |Dw| between the knots, from a signal that changes there.

    Newton's quadratic model of the loss at w, minimised by `least_squares`, with halvings; where a
    step is cut short the next model has the largest curvature of the loss, if that is bounded.
    """
    loss, y, a = observed.loss, observed.y, observed.a
    at = Changed(w, stretches.changes(w), sizes(kept) > 0)
    value = observed.value(w) + strength * float(sizes(at.jumps).sum())
    careful, settled = False, False
    for _ in range(_NEWTON_STEPS):
        bend = loss.bend(at.signal, y, a)
        h = np.full_like(bend, loss.bound) if careful else bend
        target = at.signal - loss.gradient(at.signal, y) / h
        goal, size, before = least_squares(stretches, a * h, target, strength, kept), 1.0, value
        while size > 1e-8:
            signal = at.signal + size * (goal.signal - at.signal)
            jumps = at.jumps + size * (goal.jumps - at.jumps)
            value = observed.value(signal) + strength * float(sizes(jumps).sum())
            if value < before or (size == 1 and value <= before + 1e-14 * abs(before)):
                break
            size /= 2
        else:
            if careful or not np.isfinite(loss.bound):
                return Changed(at.signal, at.jumps, at.live | goal.live)
            careful, value = True, before
            continue
        careful = size < 0.1 and bool(np.isfinite(loss.bound))
        at = Changed(signal, jumps, goal.live if size == 1 else at.live | goal.live)
        if settled:  # one whole step more than the value can show
            break
        settled = size == 1 and before - value <= 1e-10 * abs(before)
    return at
