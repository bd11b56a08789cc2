"""Jumps and kinks of a series, by knots: one strength, or the one that cross-validation picks."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from symbias.estimators.cross_validation import choose
from symbias.estimators.observed import Observed, interleaved_folds
from symbias.solvers import Loss, Series

_STRENGTHS, _RATIO = 30, 1e-2  # of the largest; and on as long as the error falls
_LONG, _COARSE = 10_000, 0.6  # values of a long series, and the factor between its strengths
_LEAST = 1e-10
_SETTLED = 4  # strengths in a row that are clearly worse
_ROUGH = 1e-5  # relative gap of the fits of folds


@dataclass(frozen=True, eq=False)
class Fitted:
    """What every way to fit a series finds; see `SeriesFit`."""

    fitted: np.ndarray
    strength: float
    strength_max: float
    objective: float
    dual_gap: float
    n_iter: int
    converged: bool
    changes: np.ndarray
    coefficients: np.ndarray
    strengths: np.ndarray | None = None
    errors: np.ndarray | None = None


def fitted(
    seen: Observed,
    order: int,
    grid: np.ndarray,
    loss: Loss,
    strength: float,
    tol: float,
    max_iter: int | None = None,
    callback: Callable[[int, float], None] | None = None,
    knots: np.ndarray | None = None,
) -> Fitted:
    """Fit at one strength; ``grid`` are the stamps at which the fit is wanted."""
    series = series_of(seen, order, loss)
    found = series.solve(strength, knots, tol=tol, max_iter=max_iter or 100, callback=callback)
    return Fitted(
        np.asarray(loss.mean(between(order, grid, seen.times, found.signal))).T,
        strength,
        series.strength_max,
        found.objective + seen.within(loss),
        found.gap,
        found.n_iter,
        found.converged,
        found.knots + (order - 1),
        found.signal.T,
    )


def validated(
    seen: Observed,
    order: int,
    grid: np.ndarray,
    loss: Loss,
    folds: int,
    tol: float,
    callback: Callable[[int, int, float], None] | None = None,
) -> Fitted:
    """Fit at the strength of the one-standard-error rule, over folds that are interleaved.

    All folds come down from the largest strength together, each from its own knots: to 1% of it,
    and on as long as the error falls (to 1e-10); they stop where it is clearly worse.
    """
    if seen.constant:  # every strength gives the same
        return fitted(seen, order, grid, loss, 1.0, tol)
    parts = interleaved_folds(len(seen.values), folds)
    factor = _RATIO ** (1 / (_STRENGTHS - 1)) if len(seen.values) <= _LONG else _COARSE
    trained = [series_of(seen.subset(train), order, loss) for train, _ in parts]
    knots: list[np.ndarray | None] = [None] * len(parts)
    largest = series_of(seen, order, loss).strength_max or 1.0
    strengths: list[float] = []
    errors: list[list[float]] = []
    while not _done(strengths, errors, largest):
        strength = largest * factor ** len(strengths)
        row = []
        for k, (train, test) in enumerate(parts):
            found = trained[k].solve(strength, knots[k], tol=_ROUGH)
            knots[k] = found.knots
            guess = between(order, seen.times[test], seen.times[train], found.signal).T
            left = (seen.values[test] - loss.mean(guess)) ** 2
            row.append(float(np.average(left, weights=seen.counts[test])))
        strengths.append(strength)
        errors.append(row)
        if callback:
            done, steps = len(strengths), int(np.ceil(np.log(_RATIO) / np.log(factor))) + 1
            callback(done, max(steps, done + 1), found.objective)
    table, tried = np.array(errors), np.array(strengths)
    strength = float(tried[choose(table)])
    best = fitted(seen, order, grid, loss, strength, tol)
    return Fitted(**{**vars(best), "strengths": tried, "errors": table})


def series_of(seen: Observed, order: int, loss: Loss) -> Series:
    """The series between distinct stamps, its channels in rows."""
    weights = None if seen.once else np.ascontiguousarray(seen.weights.T)
    return Series(np.ascontiguousarray(seen.values.T), order, seen.times, weights, loss)


def between(order: int, wanted: np.ndarray, times: np.ndarray, signal: np.ndarray) -> np.ndarray:
    """A signal (..., n) at other times: constant from each stamp on, or linear between them.

    No other continuation costs less: a jump or kink in a gap may stand anywhere in it.
    """
    if len(wanted) == len(times) and np.array_equal(wanted, times):
        return signal
    if order == 1:
        at = np.searchsorted(times, wanted, side="right") - 1
        return signal[..., np.maximum(at, 0)]
    at = np.clip(np.searchsorted(times, wanted, side="right") - 1, 0, len(times) - 2)
    slope = (signal[..., at + 1] - signal[..., at]) / (times[at + 1] - times[at])
    return signal[..., at] + slope * (wanted - times[at])


def _done(strengths: list[float], errors: list[list[float]], largest: float) -> bool:
    if not errors:
        return False
    means = np.mean(errors, axis=1)
    best = int(np.argmin(means))
    bound = means[best] + np.std(errors[best], ddof=1) / np.sqrt(len(errors[best]))
    after = means[best + 1 :]
    if len(after) >= _SETTLED and np.all(after[-_SETTLED:] > bound):
        return True
    falling = best >= len(means) - 3 and strengths[-1] > _LEAST * largest
    return strengths[-1] <= _RATIO * largest * (1 + 1e-9) and not falling
