"""Any penalty of a series on the dense matrix of what is measured where."""

from typing import Any

import numpy as np

from symbias.estimators.by_spectrum import length
from symbias.estimators.cross_validation import DesignedRegressorCV
from symbias.estimators.descent import Fitted
from symbias.estimators.observed import Observed, interleaved_folds
from symbias.estimators.regressor import DesignedRegressor
from symbias.maps import Cosine
from symbias.penalties import Composed, Penalty, Spectral, TrendFilter
from symbias.solvers import Loss, SquaredError

LONGEST = 4000  # time stamps: matrices are dense, of their square


def fitted(
    penalty: Penalty,
    grid: np.ndarray,
    at: np.ndarray,
    seen: Observed,
    strength: float | str,
    folds: int,
    callback: Any,
    *,
    loss: Loss,
    **options: Any,
) -> Fitted:
    """Fit by `DesignedRegressor`, or `DesignedRegressorCV` for the strength "auto".

    ``grid`` are all stamps in typical steps, ``at`` the index of those that were observed.

    Raises
    ------
    ValueError
        For more than 4,000 stamps, or stamps too uneven for frequencies.
    """
    if len(grid) > LONGEST:
        raise ValueError(
            f"a series of {len(grid)} time stamps is too long for dense matrices (frequencies at "
            f"uneven stamps, wavelets, or trained factors): they go up to {LONGEST}"
        )
    measure = _measurements(penalty, grid)
    where = np.repeat(at, seen.repeats)
    sparse = isinstance(penalty, Composed)  # whose level is penalised
    options |= {"fit_intercept": not sparse}
    model: Any
    if strength == "auto":
        if not isinstance(loss, SquaredError):
            raise ValueError("a cross-validation of this series is for the squared error")
        cv = interleaved_folds(len(seen.each), folds)
        model = DesignedRegressorCV(penalty, cv=cv, callback=callback, **options)
    else:
        model = DesignedRegressor(penalty, float(strength), loss=loss, callback=callback, **options)
    model.fit(measure[where], seen.each)
    changes = np.flatnonzero(model.support_.reshape(len(model.support_), -1).any(axis=1))
    if isinstance(penalty, Spectral):
        coefficients = model.penalized_
    else:
        coefficients = model.coef_.T + model.intercept_
    if sparse:
        changes = np.flatnonzero(np.diff(coefficients[at]))
    elif not isinstance(penalty, Spectral):
        changes = changes + isinstance(penalty, TrendFilter)
        changes = np.unique(np.maximum(np.searchsorted(at, changes, side="right") - 1, 0))
    return Fitted(
        loss.mean(measure @ model.coef_.T + model.intercept_),
        float(getattr(model, "strength_", getattr(model, "strength", 0.0))),
        model.strength_max_,
        model.objective_,
        model.dual_gap_,
        model.n_iter_,
        model.converged_,
        changes,
        coefficients,
        getattr(model, "strengths_", None),
        getattr(model, "mse_path_", None),
    )


def _measurements(penalty: Penalty, positions: np.ndarray) -> np.ndarray:
    """What the value at each stamp is, in terms of the effective parameter."""
    if not isinstance(penalty, Spectral):
        return np.eye(len(positions))
    size = length(positions)
    # trigonometric interpolation; on the grid itself it is the identity
    k = np.arange(size)
    waves = np.cos(np.pi * k * (positions[:, None] + 0.5) / size)
    waves *= np.where(k == 0, np.sqrt(1 / size), np.sqrt(2 / size))
    return waves @ Cosine().inverse(np.eye(size))
