"""The same problem by other means: an independent convex solver, and trained factors."""

from typing import Any

import numpy as np

from symbias.estimators import DesignedClassifier, DesignedRegressor, SeriesFit, fit_series
from symbias.penalties import Penalty, Spectral, TotalVariation, TrendFilter
from symbias.solvers import SquaredError
from symbias.solvers.reference import LARGEST, convex_reference, series_reference

_LARGEST_TABLE = 4_000_000  # numbers
_QUICK_TABLE, _QUICK_SERIES, _QUICK_SPECTRUM = 50_000, 5_000, 200  # within a second, unasked


def constant(y: np.ndarray) -> bool:
    """Whether a target, or every channel of it, has one value only."""
    return bool(np.all(np.nanmax(y, axis=0) == np.nanmin(y, axis=0)))


def compare_table(
    model: Any, penalty: Penalty, X: np.ndarray, y: np.ndarray, asked: bool
) -> dict[str, Any]:
    """How an estimator's solution compares with that of the convex solver.

    On request, and where it takes no time.
    """
    if isinstance(model, DesignedClassifier):
        return _none("it is for squared errors")
    if constant(y):
        return _none("the target is constant")
    if not asked and X.size > _QUICK_TABLE:
        return _none(f"--verify asks for it (unasked up to {_QUICK_TABLE:,} numbers)")
    if X.size > _LARGEST_TABLE:
        return _none(f"it is for tables of up to {_LARGEST_TABLE:,} numbers")
    strength = float(getattr(model, "strength_", getattr(model, "strength", 0.0)))
    try:
        reference = convex_reference(penalty, strength, X, y)
    except ValueError as error:
        return _none(str(error))
    ours, theirs = (X @ c + b for c, b in ((model.coef_, model.intercept_), reference[1:3]))
    return _agreement(ours, theirs, model.objective_, reference.objective, y)


def compare_series(fit: SeriesFit, asked: bool) -> dict[str, Any]:
    """How the fit of a series compares with that of the convex solver, likewise."""
    if fit.seen.constant:
        return _none("the target is constant")
    quick = _QUICK_SPECTRUM if isinstance(fit.penalty, Spectral) else _QUICK_SERIES
    if not asked and len(fit.times) > quick:
        return _none(f"--verify asks for it (unasked up to {quick:,} time stamps)")
    if len(fit.times) > LARGEST:
        return _none(f"it is for series of up to {LARGEST:,} time stamps")
    seen, spread = fit.seen, fit.seen.within(SquaredError())
    try:
        if isinstance(fit.penalty, TotalVariation | TrendFilter):
            order = 1 if isinstance(fit.penalty, TotalVariation) else 2
            rows = (seen.times, seen.weights)
            signal, objective = series_reference(seen.values, fit.strength, order, *rows)
        elif len(seen.times) == len(fit.times) <= _LARGEST_TABLE**0.5 and seen.once:
            found = convex_reference(fit.penalty, fit.strength, np.eye(len(fit.times)), seen.values)
            signal, objective = found.coef + found.intercept, found.objective
        else:
            return _none("it is for spectra without gaps, of up to 2,000 values")
    except ValueError as error:
        return _none(str(error))
    ours = fit.fitted[np.isin(fit.times, fit.observed_times)]
    return _agreement(ours, signal, fit.objective, objective + spread, fit.observed)


def train_table(model: Any, penalty: Penalty, X: np.ndarray, y: np.ndarray) -> dict[str, Any]:
    """The factors trained by variable projection, at the strength of a direct fit."""
    strength = float(getattr(model, "strength_", getattr(model, "strength", 0.0)))
    kind = DesignedClassifier if isinstance(model, DesignedClassifier) else DesignedRegressor
    try:
        trained = kind(penalty, strength, solver="varpro").fit(X, y)
    except ImportError as error:  # some designs are differentiated by JAX, an extra
        return {"trained": None, "trained_note": str(error)}
    direct = float(np.sum(model.objective_))
    scale = direct if isinstance(model, DesignedClassifier) else _of_constant(y)
    return _trained(float(np.sum(trained.objective_)), direct, scale)


def train_series(fit: SeriesFit) -> dict[str, Any]:
    """The factors of a series, trained likewise; None for more than 4,000 stamps."""
    times = np.concatenate([fit.observed_times, np.setdiff1d(fit.times, fit.observed_times)])
    missing = np.full((len(times) - len(fit.observed), *fit.observed.shape[1:]), np.nan)
    values = np.concatenate([fit.observed, missing])
    try:
        trained = fit_series(times, values, fit.penalty, fit.strength, solver="varpro")
    except (ImportError, ValueError) as error:
        return {"trained": None, "trained_note": str(error)}
    return _trained(trained.objective, fit.objective, _of_constant(fit.observed))


def _of_constant(y: np.ndarray) -> float:
    """The objective of the best constant (for each channel): the scale of all objectives."""
    squares = float(np.nansum((y - np.nanmean(y, axis=0)) ** 2))
    return max(squares / 2 / len(y), float(np.finfo(float).tiny))


def _trained(objective: float, direct: float, scale: float) -> dict[str, Any]:
    return {
        "trained": {
            "solver": "varpro",
            "objective": objective,
            "relative_objective_difference": (objective - direct) / scale,
        }
    }


def _none(why: str) -> dict[str, Any]:
    return {"reference": None, "reference_note": why}


def _agreement(
    ours: np.ndarray, theirs: np.ndarray, mine: float, best: float, y: np.ndarray
) -> dict[str, Any]:
    """Objectives in units of that of the best constant, fits in units of the range of y."""
    spread = float(np.max(np.nanmax(y, axis=0) - np.nanmin(y, axis=0)))
    return {
        "reference": {
            "solver": "Clarabel",
            "objective": best,
            "relative_objective_difference": float(mine - best) / _of_constant(y),
            "relative_fit_difference": float(np.max(np.abs(ours - theirs))) / spread,
        }
    }
