"""Jumps and kinks of a series, by knots: one strength, or the one that cross-validation picks."""

from collections.abc import Callable

import numpy as np

from symbias.estimators.descent import ROUGH, Fitted, Fold, over_folds
from symbias.estimators.observed import Observed
from symbias.solvers import Loss, Series


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
    max_iter: int | None = None,
    callback: Callable[[int, int, float], None] | None = None,
) -> Fitted:
    """Fit at the strength of the one-standard-error rule, over folds that are interleaved."""
    return over_folds(
        seen,
        folds,
        lambda: series_of(seen, order, loss).strength_max,
        lambda strength: fitted(seen, order, grid, loss, strength, tol, max_iter),
        lambda train, test: _fold(seen, order, loss, train, test),
        callback,
    )


def _fold(seen: Observed, order: int, loss: Loss, train: np.ndarray, test: np.ndarray) -> Fold:
    series, knots = series_of(seen.subset(train), order, loss), np.zeros(0, dtype=int)

    def errors(strength: float) -> tuple[float, float]:
        nonlocal knots
        found = series.solve(strength, knots, tol=ROUGH)
        knots = found.knots
        guess = between(order, seen.times[test], seen.times[train], found.signal).T
        return seen.error(test, np.asarray(loss.mean(guess))), found.objective

    return errors


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
