"""The rounds of a fit by knots: solve between them, look where the dual variable is too large."""

from collections.abc import Callable

import numpy as np

from symbias.solvers.series.between import Changed, least_squares, reweighted
from symbias.solvers.series.observations import Observations, SeriesSolution
from symbias.solvers.series.stretches import Stretches

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
        knots = none.worst(np.abs(u), strength)
    else:
        knots = np.unique(np.asarray(knots, dtype=int))
    best: SeriesSolution | None = None
    waited, lowest, reason = 0, np.inf, "max_iter"
    back, rounds = np.zeros(0, dtype=int), 0
    while rounds < max_iter:
        rounds += 1
        stretches = Stretches(series.order, series.t, knots)
        kept = np.where(np.isin(knots, back), np.sign(u[knots]), 0.0)
        w, jumps, live = _between(series, stretches, w, strength, kept)
        w = series.polish(w)
        u, rest = _anchored(series, strength, series.dual(w), knots[live], jumps[live])
        objective, gap = _certify(series, strength, w, u, knots, jumps)
        gap += rest
        floor = series.floor(objective)
        lower = best is None or objective < lowest - 1e-10 * floor
        waited = 0 if lower or best is None or gap < 0.9 * best.gap else waited + 1
        lowest = min(objective, lowest)
        if best is None or gap < best.gap:
            best = SeriesSolution(w, knots[live], objective, gap, gap / floor, rounds, "")
        if callback:
            callback(rounds, objective)
        # a gap is only known up to rounding
        if best.violation <= tol or best.gap <= 1e-15 * series.null_loss:
            reason = "converged"
            break
        if waited >= _PATIENCE:
            reason = "stalled: rounding hides what is left of the gap"
            break
        missed = stretches.worst(np.abs(u), strength * (1 + 1e-13))
        # let go for a change that is too small to see, and missed at once: real after all
        back = np.union1d(back, np.intersect1d(missed, knots[~live]))
        knots = np.union1d(knots[live], missed)
    assert best is not None
    return SeriesSolution(
        best.signal, best.knots, best.objective, best.gap, best.violation, rounds, reason
    )


def _between(
    series: Observations, stretches: Stretches, w: np.ndarray, strength: float, kept: np.ndarray
) -> Changed:
    if series.quadratic:
        return least_squares(stretches, series.a, series.y, strength, kept)
    return reweighted(series, stretches, w, strength, kept)


def _anchored(
    series: Observations, strength: float, u: np.ndarray, knots: np.ndarray, jumps: np.ndarray
) -> tuple[np.ndarray, float]:
    """u without the drift of two cumulative sums, and what that adds to the gap.

    At a change u is strength * sign, and it ends in 0: what it is off there, linear in time
    between, is taken away. Then D^T u = -a l'(w) + e with e at these points alone, which costs
    the gap of the squared loss e^2 / (2 a) there.
    """
    if series.order == 1 or not series.quadratic or not len(knots):
        return u, 0.0
    n, t = len(series.y), series.t
    at = np.concatenate([[0], knots + 1, [n - 1]])
    end = u[-1] + (u[-1] - u[-2] if n > 3 else u[-1]) * (t[-1] - t[-2]) / (t[-2] - t[-3])
    off = np.concatenate([[0.0], u[knots] - strength * np.sign(jumps), [end]])
    if np.abs(off).max() > 1e-6 * strength:
        return u, 0.0
    slopes = np.concatenate([[0.0], np.diff(off) / np.diff(t[at]), [0.0]])
    e = np.diff(slopes)
    return u - np.interp(t[1:-1], t[at], off), float(np.sum(e**2 / (2 * series.a[at])))


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
    costs = s * np.abs(jumps)
    largest = float(np.abs(u).max(initial=0.0))
    t = min(1.0, s / largest) if largest > 0 else 1.0
    if series.quadratic:
        slack = (1 - t) ** 2 * loss
    else:
        slope = t * series.loss.gradient(w, series.y)
        each = series.loss.value(w, series.y) + series.loss.conjugate(slope, series.y)
        slack = float(series.a @ (each - slope * w))
    along = u[knots] * jumps
    gap = slack + float(np.sum(costs - t * along))
    return loss + float(costs.sum()), max(gap, 0.0)
