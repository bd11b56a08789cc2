"""The rounds of a fit by knots: solve between them, look where the dual variable is too large."""

from collections.abc import Callable
from dataclasses import replace

import numpy as np

from symbias.solvers.series.between import Changed, least_squares, reweighted
from symbias.solvers.series.found import slack
from symbias.solvers.series.observations import Observations, SeriesSolution
from symbias.solvers.series.stretches import Stretches, sizes

_PATIENCE = 4


def search(
    series: Observations,
    strength: float,
    knots: np.ndarray | None,
    tol: float,
    max_iter: int,
    callback: Callable[[int, float], None] | None,
) -> SeriesSolution:
    """Fit below the largest strength, from scratch or from some knots."""
    w, u = series.null, series.dual(series.null)
    if knots is None or not len(knots):
        none = Stretches(series.order, series.t, np.zeros(0, dtype=int))
        knots = none.worst(sizes(u), strength)
    else:
        knots = np.unique(np.asarray(knots, dtype=int))
    best: SeriesSolution | None = None
    waited, lowest, reason = 0, np.inf, "max_iter"
    back, rounds = np.zeros(0, dtype=int), 0
    while rounds < max_iter:
        rounds += 1
        stretches = Stretches(series.order, series.t, knots)
        kept = np.where(np.isin(knots, back), np.sign(u[..., knots]), 0.0)
        w, jumps, live = _between(series, stretches, w, strength, kept)
        w = series.polish(w)
        u, rest = _anchored(series, strength, w, series.dual(w), knots[live], jumps[..., live])
        objective, gap = _certify(series, strength, w, u, knots, jumps)
        gap += rest
        floor = series.floor(objective)
        lower = best is None or objective < lowest - 1e-10 * floor
        waited = 0 if lower or best is None or gap < 0.9 * best.gap else waited + 1
        lowest = min(objective, lowest)
        if best is None or gap < best.gap:
            best = SeriesSolution(
                signal=w,
                knots=knots[live],
                objective=objective,
                gap=gap,
                violation=gap / floor,
                n_iter=rounds,
                reason="",
            )
        if callback:
            callback(rounds, objective)
        # a gap is only known up to rounding
        if best.violation <= tol or best.gap <= 1e-15 * series.null_loss:
            reason = "converged"
            break
        if waited >= _PATIENCE:
            reason = "stalled: rounding hides what is left of the gap"
            break
        missed = stretches.worst(sizes(u), strength * (1 + 1e-13))
        # let go for a change that is too small to see, and missed at once: real after all
        back = np.union1d(back, np.intersect1d(missed, knots[~live]))
        knots = np.union1d(knots[live], missed)
    assert best is not None
    return replace(best, n_iter=rounds, reason=reason)


def _between(
    series: Observations, stretches: Stretches, w: np.ndarray, strength: float, kept: np.ndarray
) -> Changed:
    if series.quadratic:
        return least_squares(stretches, series.a, series.y, strength, kept)
    return reweighted(series, stretches, w, strength, kept)


def _anchored(
    series: Observations,
    strength: float,
    w: np.ndarray,
    u: np.ndarray,
    knots: np.ndarray,
    jumps: np.ndarray,
) -> tuple[np.ndarray, float]:
    """u without the drift of two cumulative sums, and what that adds to the gap.

    At a change u is strength times its direction, and it begins and ends in 0: what it is off
    there, linear in time between, is taken away. Then D^T u = -a l'(w) + e with e at these points
    alone, which costs the gap of the squared loss e^2 / (2 a) there; in channels with gaps only
    points that were observed are taken.
    """
    if series.order == 1 or not series.quadratic or not len(knots):
        return u, 0.0
    off = u[..., knots] - strength * jumps / sizes(jumps)
    if np.abs(off).max() > 1e-6 * strength:
        return u, 0.0
    last = series.a[..., -1] * series.loss.gradient(w[..., -1], series.y[..., -1])
    ends = np.atleast_1d(u[..., -1] + last * (series.t[-1] - series.t[-2]))
    rows = [x.reshape(-1, x.shape[-1]) for x in (u, off, series.a)]
    moved = [_without_drift(series.t, knots + 1, *row) for row in zip(*rows, ends, strict=True)]
    return np.reshape([row for row, _ in moved], u.shape), sum(cost for _, cost in moved)


def _without_drift(
    t: np.ndarray, at: np.ndarray, u: np.ndarray, off: np.ndarray, a: np.ndarray, end: float
) -> tuple[np.ndarray, float]:
    """u (n - 2,) less the line through what it is off at some points; and what that costs."""
    known = np.flatnonzero(a)
    first, last = known[0], known[-1]
    whole = np.concatenate([[0.0], u, [end]])
    inner = (a[at] > 0) & (at > first) & (at < last)
    at = np.concatenate([[first], at[inner], [last]])
    off = np.concatenate([[0.0], off[inner], [whole[last]]])
    slopes = np.concatenate([[0.0], np.diff(off) / np.diff(t[at]), [0.0]])
    e = np.diff(slopes)
    line = np.interp(t[1:-1], t[at], off)
    line[last:] = u[last:]
    return u - line, float(np.sum(e**2 / (2 * a[at])))


def _certify(
    series: Observations,
    s: float,
    w: np.ndarray,
    u: np.ndarray,
    knots: np.ndarray,
    jumps: np.ndarray,
) -> tuple[float, float]:
    """Objective and Fenchel gap, with u scaled into the balls as the dual point.

    gap = slack(t) + sum (s |Dw| - t <u, Dw>); slack is the loss plus its conjugate at t l'.
    """
    loss = series.value(w)
    costs = s * sizes(jumps)
    largest = float(sizes(u).max(initial=0.0))
    t = min(1.0, s / largest) if largest > 0 else 1.0
    along = (u[..., knots] * jumps).reshape(-1, len(knots)).sum(axis=0)
    gap = slack(series.loss, series.a, series.y, w, loss, t) + float(np.sum(costs - t * along))
    return loss + float(costs.sum()), max(gap, 0.0)
