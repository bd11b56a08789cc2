"""Sparse cosine spectra of a series, with gaps or without: by fast transforms."""

from collections.abc import Callable

import numpy as np
from scipy.optimize import minimize_scalar

from symbias.estimators.descent import ROUGH, Fitted, Fold, over_folds
from symbias.estimators.observed import Observed
from symbias.penalties import Penalty, Spectral
from symbias.solvers import Loss, Spectrum

_FINE = {"xatol": 1e-10}
_EVEN = 1e-6  # steps that a stamp may be off the grid
MOST_GRID_POINTS = 20  # per time stamp, for frequencies over irregular stamps


def even(penalty: Penalty, grid: np.ndarray) -> bool:
    """Whether cosines are wanted, at stamps of an even grid."""
    return (
        isinstance(penalty, Spectral)
        and penalty.basis == "cosine"
        and bool(np.all(np.abs(grid - np.round(grid)) <= _EVEN))
    )


def length(grid: np.ndarray) -> int:
    """Points of the even grid that stamps, in typical steps, span.

    Raises
    ------
    ValueError
        Where they are too uneven for frequencies.
    """
    size = round(grid[-1]) + 1
    if size > MOST_GRID_POINTS * len(grid):
        raise ValueError(
            f"the time stamps are too uneven for frequencies: their span is {size} typical steps"
        )
    return size


def fitted(
    seen: Observed,
    grid: np.ndarray,
    loss: Loss,
    strength: float,
    tol: float,
    max_iter: int | None = None,
    callback: Callable[[int, float], None] | None = None,
) -> Fitted:
    """Fit at one strength; ``grid`` are the stamps at which the fit is wanted, from 0 on."""
    spectrum = _spectrum(seen, length(grid), loss)
    found = spectrum.solve(strength, tol=tol, max_iter=max_iter or 500, callback=callback)
    coefficients = found.coefficients.copy()
    coefficients[0] = 0.0  # the level costs nothing
    return Fitted(
        np.asarray(loss.mean(found.signal[_positions(grid)])),
        strength,
        spectrum.strength_max,
        found.objective + seen.within(loss),
        found.gap,
        found.n_iter,
        found.converged,
        np.flatnonzero(coefficients),
        coefficients,
    )


def validated(
    seen: Observed,
    grid: np.ndarray,
    loss: Loss,
    folds: int,
    tol: float,
    max_iter: int | None = None,
    callback: Callable[[int, int, float], None] | None = None,
) -> Fitted:
    """Fit at the strength of the one-standard-error rule, over folds that are interleaved."""
    size = length(grid)
    return over_folds(
        seen,
        folds,
        lambda: _spectrum(seen, size, loss).strength_max,
        lambda strength: fitted(seen, grid, loss, strength, tol, max_iter),
        lambda train, test: _fold(seen, size, loss, train, test),
        callback,
    )


def _fold(seen: Observed, size: int, loss: Loss, train: np.ndarray, test: np.ndarray) -> Fold:
    spectrum, at = _spectrum(seen.subset(train), size, loss), _positions(seen.times[test])
    start = None

    def errors(strength: float) -> tuple[float, float]:
        nonlocal start
        found = spectrum.solve(strength, start, tol=ROUGH)
        start = found.coefficients
        return seen.error(test, np.asarray(loss.mean(found.signal[at]))), found.objective

    return errors


def period_near(seen: Observed, frequency: float, spacing: float) -> float:
    """The period, in steps, of the cosine of any phase that explains most near a frequency.

    Cosines of a grid of frequencies cannot be met by every phase: least squares of 1, cos and sin
    over one and a half spacings to either side.
    """
    weights = np.sqrt(seen.counts)

    def left(f: float) -> float:
        angle = 2 * np.pi * f * seen.times
        basis = np.column_stack([np.ones_like(angle), np.cos(angle), np.sin(angle)])
        basis, y = basis * weights[:, None], seen.values * weights
        rest = y - basis @ np.linalg.lstsq(basis, y)[0]
        return float(rest @ rest)

    low, high = max(frequency - 1.5 * spacing, spacing / 4), min(frequency + 1.5 * spacing, 0.5)
    grid = np.linspace(low, high, 25)
    best = int(np.argmin([left(f) for f in grid]))
    around = grid[max(best - 1, 0)], grid[min(best + 1, len(grid) - 1)]
    return 1 / float(minimize_scalar(left, bounds=around, method="bounded", options=_FINE).x)


def _spectrum(seen: Observed, size: int, loss: Loss) -> Spectrum:
    at = _positions(seen.times)
    y, weights = np.zeros(size), np.zeros(size)
    y[at], weights[at] = seen.values, seen.weights
    return Spectrum(y, weights, loss)


def _positions(times: np.ndarray) -> np.ndarray:
    return np.round(times).astype(np.intp)
