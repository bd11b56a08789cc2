"""Fit a series: missing values are masked, irregular time stamps are taken as they are."""

from dataclasses import dataclass
from typing import Any

import numpy as np

from symbias.designs import Penalty, Spectral, TotalVariation, TrendFilter, as_penalty
from symbias.estimators.cross_validation import DesignedRegressorCV
from symbias.estimators.regressor import DesignedRegressor
from symbias.parameterizations import Cosine

_LONGEST = 4000  # time stamps: matrices are dense, of their square
_MOST_GRID_POINTS = 20  # per time stamp, for frequencies over irregular stamps


@dataclass(frozen=True)
class SeriesFit:
    """A fitted series.

    Attributes
    ----------
    times : array (n,)
        Distinct time stamps in order, those of missing values included.
    fitted : array (n,)
        The fit at ``times``.
    design : array (n_observed, p)
        The measurement matrix: which coefficients each observed value measures.
    observed_times, observed : array (n_observed,)
    model : DesignedRegressor or DesignedRegressorCV
        Fitted to (design, observed).
    penalty : Penalty
        With the spacing of this series.
    step : float
        The typical (median) time between neighbours.
    """

    times: np.ndarray
    fitted: np.ndarray
    design: np.ndarray
    observed_times: np.ndarray
    observed: np.ndarray
    model: Any
    penalty: Penalty
    step: float

    @property
    def breaks(self) -> np.ndarray:
        """Pairs (before, after) of times between which the level jumps (TotalVariation), or
        (at, at) where the slope changes (TrendFilter); shape (k, 2), empty otherwise."""
        found = np.flatnonzero(self.model.support_)
        if isinstance(self.penalty, TotalVariation):
            return np.column_stack([self.times[found], self.times[found + 1]])
        if isinstance(self.penalty, TrendFilter):
            return np.column_stack([self.times[found + 1]] * 2)
        return np.zeros((0, 2))

    @property
    def spectrum(self) -> tuple[np.ndarray, np.ndarray]:
        """Periods (in time units, longest first) and cosine coefficients (Spectral)."""
        k = np.arange(1, len(self.model.coef_))
        return 2 * len(self.model.coef_) * self.step / k, self.model.penalized_[1:]


def fit_series(
    times: Any,
    values: Any,
    penalty: str | Penalty,
    strength: float | str = "auto",
    *,
    folds: int = 5,
    callback: Any = None,
    **options: Any,
) -> SeriesFit:
    """Fit ``values`` (nan where missing) at ``times`` with a penalty on differences or frequencies.

    The effective parameter lives on all distinct time stamps (for "spectral": on the regular grid
    of the median step, seen through trigonometric interpolation); missing values and repeated
    stamps are a matter of which of its entries are measured. "trend" takes slopes per typical
    step. ``strength="auto"`` cross-validates over interleaved folds with the one-standard-error
    rule.

    Raises
    ------
    ValueError
        For a penalty that is not "tv", "trend" or "spectral", times that are not finite, fewer
        than 3 observed values, more than 4,000 distinct stamps (memory and time grow with their
        square and more), or stamps too uneven for frequencies.
    """
    penalty = as_penalty(penalty)
    times, values = np.asarray(times, dtype=float), np.asarray(values, dtype=float)
    if times.shape != values.shape or times.ndim != 1:
        raise ValueError(f"times {times.shape} and values {values.shape} must be two equal lists")
    if not np.all(np.isfinite(times)) or np.any(np.isinf(values)):
        raise ValueError("times must be finite, and values finite or nan")
    stamps, where = np.unique(times, return_inverse=True)
    seen = ~np.isnan(values)
    if seen.sum() < 3:
        raise ValueError(f"a series needs at least 3 observed values, got {seen.sum()}")
    if len(stamps) < 3:
        raise ValueError(f"a series needs at least 3 distinct times, got {len(stamps)}")
    if len(stamps) > _LONGEST:
        raise ValueError(
            f"a series of {len(stamps)} time stamps is too long: the solver works on dense "
            f"matrices, up to {_LONGEST}. Average it, or fit it in parts"
        )
    step = float(np.median(np.diff(stamps)))
    penalty = _spaced(penalty, np.diff(stamps) / step)
    measure = _measurements(penalty, (stamps - stamps[0]) / step)
    order = np.flatnonzero(seen)[np.argsort(times[seen], kind="stable")]
    design, observed = measure[where[order]], values[order]
    model: Any
    if strength == "auto":
        cv = interleaved_folds(len(observed), folds)
        model = DesignedRegressorCV(penalty, cv=cv, callback=callback, **options)
    else:
        model = DesignedRegressor(penalty, float(strength), callback=callback, **options)
    model.fit(design, observed)
    fitted = measure @ model.coef_ + model.intercept_
    return SeriesFit(stamps, fitted, design, times[order], observed, model, penalty, step)


def interleaved_folds(count: int, folds: int) -> list[tuple[np.ndarray, np.ndarray]]:
    """Fold k holds the samples k, k + folds, k + 2 folds, ...: neighbours stay measured."""
    folds = min(folds, count)
    index = np.arange(count)
    return [(index[index % folds != k], index[index % folds == k]) for k in range(folds)]


def _spaced(penalty: Penalty, spacing: np.ndarray) -> Penalty:
    if isinstance(penalty, TrendFilter):
        return penalty if np.allclose(spacing, 1) else TrendFilter(spacing)
    if isinstance(penalty, TotalVariation | Spectral):
        return penalty
    raise ValueError(
        f"{type(penalty).__name__} is a penalty for tables; a series takes tv, trend or spectral"
    )


def _measurements(penalty: Penalty, positions: np.ndarray) -> np.ndarray:
    """What the value at each stamp is, in terms of the effective parameter."""
    if not isinstance(penalty, Spectral):
        return np.eye(len(positions))
    size = round(positions[-1]) + 1
    if size > _MOST_GRID_POINTS * len(positions):
        raise ValueError(
            f"the time stamps are too uneven for frequencies: their span is {size} typical steps"
        )
    # trigonometric interpolation; on the grid itself it is the identity
    k = np.arange(size)
    waves = np.cos(np.pi * k * (positions[:, None] + 0.5) / size)
    waves *= np.where(k == 0, np.sqrt(1 / size), np.sqrt(2 / size))
    return waves @ Cosine().inverse(np.eye(size))
