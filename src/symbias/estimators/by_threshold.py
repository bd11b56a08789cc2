r"""The fused lasso of a series that was observed at every stamp: total variation, then a threshold.

.. math:: \min_w \frac1{2n}\sum_i (y_i - w_i)^2 + s\Bigl(a\sum_i|w_i| + b\sum_i|w_{i+1} - w_i|\Bigr)

is solved by w = sgn(v) max(|v| - n s a, 0), v the solution at a = 0: thresholding moves no two
neighbours past each other, so the multipliers of the differences of v are some of w too.

References
----------
Friedman, Hastie, Höfling, Tibshirani, "Pathwise coordinate optimization", Annals of Applied
Statistics 2007.
"""

from collections.abc import Callable
from dataclasses import replace
from typing import NamedTuple

import numpy as np

from symbias.estimators import by_knots
from symbias.estimators.descent import ROUGH, Fitted, Fold, over_folds
from symbias.estimators.observed import Observed
from symbias.maps import IntervalSum
from symbias.penalties import Behind, Composed, Penalty
from symbias.solvers import Loss, SquaredError

_LOSS = SquaredError()
_ROUNDS = 60


class Fused(NamedTuple):
    """a and b, the strengths of l1 and of total variation."""

    level: float
    jump: float


def applies(penalty: Penalty, grid: np.ndarray, seen: Observed, loss: Loss) -> Fused | None:
    """The two strengths where the rule holds: one series, squares, equal weights, no gap."""
    if not isinstance(penalty, Composed) or not isinstance(loss, SquaredError):
        return None
    if not seen.once or seen.values.shape != grid.shape:
        return None
    map_ = intervals(penalty, len(grid))
    if map_ is None or np.ptp(map_.weights) > 0:
        return None
    return Fused(float(map_.weights[0]), map_.jump)


def intervals(penalty: Composed, size: int) -> IntervalSum | None:
    """The intervals of l1 plus total variation; None for another sum, which may be refused."""
    form = penalty.form((size,))
    found = form.transform if isinstance(form, Behind) else None
    return found if isinstance(found, IntervalSum) else None


def fitted(
    seen: Observed,
    fused: Fused,
    strength: float,
    tol: float,
    max_iter: int | None = None,
    callback: Callable[[int, float], None] | None = None,
) -> Fitted:
    """Fit at one strength, with the duality gap of the sum."""
    y, times = seen.values, seen.times
    jump = strength * fused.jump
    smooth = by_knots.fitted(seen, 1, times, _LOSS, jump, tol, max_iter, callback)
    v = smooth.fitted.reshape(-1)
    w = _threshold(v, len(y) * strength * fused.level)
    variation = np.abs(np.diff(w)).sum()
    cost = strength * fused.level * np.abs(w).sum() + jump * variation
    objective = float(np.sum((y - w) ** 2)) / (2 * len(y)) + cost
    # a dual point: y - v, scaled until its sums are at most jump, and v - w, within the threshold
    pull = (y - v) / len(y)
    largest = np.abs(np.cumsum(pull)[:-1]).max(initial=0.0)
    dual = min(1.0, jump / largest if largest else 1.0) * (y - v) + (v - w)
    dual -= np.mean(y - v)
    gap = objective - float(dual @ y - dual @ dual / 2) / len(y)
    return replace(
        smooth,
        fitted=w.reshape(smooth.fitted.shape),
        coefficients=w.reshape(smooth.coefficients.shape),
        strength=strength,
        strength_max=strength_max(y, fused),
        objective=objective,
        dual_gap=max(gap, 0.0),
        converged=gap <= max(tol, 1e-14) * max(objective, 1e-300) or smooth.converged,
        changes=np.flatnonzero(np.diff(w)),
    )


def validated(
    seen: Observed,
    fused: Fused,
    folds: int,
    tol: float,
    max_iter: int | None = None,
    callback: Callable[[int, int, float], None] | None = None,
) -> Fitted:
    """Fit at the strength of the one-standard-error rule, over folds that are interleaved.

    In a fold the stamps that are left out pass their cost |w| on to the others.
    """
    return over_folds(
        seen,
        folds,
        lambda: strength_max(seen.values, fused),
        lambda strength: fitted(seen, fused, strength, tol, max_iter),
        lambda train, test: _fold(seen, fused, train, test),
        callback,
    )


def _fold(seen: Observed, fused: Fused, train: np.ndarray, test: np.ndarray) -> Fold:
    series, knots = by_knots.series_of(seen.subset(train), 1, _LOSS), np.zeros(0, dtype=int)

    def errors(strength: float) -> tuple[float, float]:
        nonlocal knots
        found = series.solve(strength * fused.jump, knots, tol=ROUGH)
        knots = found.knots
        signal = _threshold(found.signal, len(seen.values) * strength * fused.level)
        guess = by_knots.between(1, seen.times[test], seen.times[train], signal).T
        return seen.error(test, guess), found.objective

    return errors


def _threshold(v: np.ndarray, by: float) -> np.ndarray:
    return np.sign(v) * np.maximum(np.abs(v) - by, 0.0) + 0.0  # no -0.


def strength_max(y: np.ndarray, fused: Fused) -> float:
    """The smallest s at which w = 0: max over intervals of |sum_I y| / n over the cost of I.

    By Dinkelbach's rule for the ratio, with the best interval by cumulated maxima: O(n) a round.
    """
    strength = 0.0
    for _ in range(_ROUNDS):
        ratios = [_best_ratio(sign * y / len(y), fused, strength) for sign in (1.0, -1.0)]
        if max(ratios) <= strength * (1 + 1e-15):
            break
        strength = max(ratios)
    return strength


def _best_ratio(pull: np.ndarray, fused: Fused, strength: float) -> float:
    """The ratio of the interval with the largest sum of pulls less strength times its cost."""
    n = len(pull)
    total = np.concatenate([[0.0], np.cumsum(pull - strength * fused.level)])
    inside = np.ones(n + 1)
    inside[[0, n]] = 0.0
    begin = -total - strength * fused.jump * inside
    best = np.maximum.accumulate(begin[:n])
    last = int(np.argmax(total[1:] - strength * fused.jump * inside[1:] + best))
    first = int(np.argmax(begin[: last + 1]))
    cost = fused.level * (last + 1 - first) + fused.jump * (inside[first] + inside[last + 1])
    return float(pull[first : last + 1].sum()) / cost
