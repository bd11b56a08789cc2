"""Fit a series: missing values are masked, irregular time stamps are taken as they are."""

import warnings
from dataclasses import replace
from typing import Any

import numpy as np

from symbias._core.numbers import whole
from symbias.estimators import by_design, by_knots, by_spectrum, by_threshold
from symbias.estimators.base import check_size, check_strength, check_underflow
from symbias.estimators.descent import Fitted
from symbias.estimators.observed import Observed, since
from symbias.estimators.series_fit import SeriesFit
from symbias.penalties import (
    Composed,
    Penalty,
    Spectral,
    TotalVariation,
    TrendFilter,
    as_penalty,
)
from symbias.solvers import as_loss

_NOTHING = 1e-6  # of the largest strength: as good as no penalty


def fit_series(
    times: Any,
    values: Any,
    penalty: str | Penalty,
    strength: float | str = "auto",
    *,
    folds: int = 5,
    loss: Any = "squared",
    solver: str = "auto",
    tol: float = 1e-8,
    max_iter: int | None = None,
    callback: Any = None,
) -> SeriesFit:
    """Fit ``values`` (nan where missing) at ``times`` with a penalty on differences or frequencies.

    Values of shape (n, channels) change together, under ``sb.TotalVariation(joint=True)`` or
    ``sb.TrendFilter(joint=True)``: the penalty is the sum of norms over the channels.

    The signal lives on all distinct time stamps (for "spectral": on the regular grid of the median
    step, seen through trigonometric interpolation); missing values and repeated stamps are a matter
    of which of its entries are measured. "trend" takes slopes per typical step.
    ``strength="auto"`` cross-validates over interleaved folds with the one-standard-error rule.

    Jumps and kinks are found by a growing set of knots (`symbias.solvers.Series`), in O(n) time
    and memory; cosine spectra over an even grid, with gaps or without, by fast transforms
    (`symbias.solvers.Spectrum`). ``sb.L1() + sb.TotalVariation()``, the fused lasso, is total
    variation and then a threshold where every stamp was observed once. What is left (frequencies
    at uneven stamps, wavelets, l1 plus total variation with gaps,
    ``solver="varpro"`` or "gd", which train factors) works on dense matrices.

    Parameters
    ----------
    times : array (n,)
        Numbers, or dates (datetime64, without a zone), whose unit is then the day.
    folds : int
        Of the cross-validation, at least 2.
    loss : "squared", "huber", "poisson" or Loss
    solver, tol, max_iter
        As in `DesignedRegressor`; ``tol`` bounds the duality gap relative to the objective.
    callback : callable, optional
        Called with (steps, objective); in a cross-validation (done, in all, objective).

    Raises
    ------
    TypeError, ValueError
        For a penalty that is not "tv", "trend", "spectral" or l1 plus total variation, channels
        without one that is joint,
        times that are not finite or all equal, fewer than 3 observed values, a strength that is
        not positive, stamps too uneven for frequencies, or more than 4,000 of them where matrices
        are dense.
    """
    penalty = as_penalty(penalty)
    together = getattr(penalty, "joint", False) and getattr(penalty, "axis", None) in (None, 0, -2)
    stamps, positions, seen = _checked(times, values, together)
    if max_iter is not None:
        whole("max_iter", max_iter, 1)
    if not isinstance(strength, str):
        check_strength(strength)
    elif strength != "auto":
        raise ValueError(f'strength must be a number or "auto", got {strength!r}')
    elif whole("folds", folds, 1) < 2:
        raise ValueError(f"a cross-validation needs at least 2 folds, got {folds}")
    step = float(np.median(np.diff(positions)))
    grid, at = positions / step, np.searchsorted(positions, seen.times)
    penalty = _spaced(penalty, np.diff(grid))
    options = {"solver": solver, "tol": tol, "max_iter": max_iter}
    loss = as_loss(loss)
    shifted = replace(seen, times=grid[at])
    direct = solver == "auto" and seen.mergeable(loss)
    found: Fitted | None = None
    if direct and isinstance(penalty, TotalVariation | TrendFilter) and not _tree(penalty):
        rows = (shifted, 1 if isinstance(penalty, TotalVariation) else 2, grid, loss)
        if strength == "auto":
            found = by_knots.validated(*rows, folds, tol, max_iter, callback)
        else:
            found = by_knots.fitted(*rows, float(strength), tol, max_iter, callback)
    elif direct and (fused := by_threshold.applies(penalty, grid, shifted, loss)):
        series = (shifted, fused)
        if strength == "auto":
            found = by_threshold.validated(*series, folds, tol, max_iter, callback)
        else:
            found = by_threshold.fitted(*series, float(strength), tol, max_iter, callback)
    elif direct and by_spectrum.even(penalty, grid):
        waves = (shifted, grid, loss)
        if strength == "auto":
            found = by_spectrum.validated(*waves, folds, tol, max_iter, callback)
        else:
            found = by_spectrum.fitted(*waves, float(strength), tol, max_iter, callback)
        if not found.converged and max_iter is None and len(grid) <= by_design.LONGEST:
            found = None  # nearly interpolation: the gaps leave too much open
    if found is None:
        found = by_design.fitted(
            penalty, grid, at, seen, strength, folds, callback, loss=loss, **options
        )
    _warn_of_interpolation(found, len(seen.each))
    return SeriesFit(
        **vars(found),
        times=stamps,
        observed_times=np.repeat(stamps[at], seen.repeats),
        observed=seen.each,
        penalty=penalty,
        step=step,
        loss=loss,
    )


def _warn_of_interpolation(found: Fitted, count: int) -> None:
    tried = found.strengths
    if tried is None or found.strength > max(tried.min(), _NOTHING * tried.max()):
        return
    share = found.strength / tried.max()
    warnings.warn(
        f"cross-validation went down to {share:.1g} of the largest strength: the fit all but goes "
        f"through the {count} values. Give a strength, or more values",
        stacklevel=3,
    )


def _checked(times: Any, values: Any, joint: bool) -> tuple[np.ndarray, np.ndarray, Observed]:
    """All distinct stamps, their distances from the first, and what was observed there."""
    if np.iscomplexobj(times) or np.iscomplexobj(values):
        raise ValueError("times and values must be real: fit the parts of complex ones one by one")
    times, values = _stamps(times), np.asarray(values, dtype=float)
    if times.ndim != 1 or values.ndim not in (1, 2) or times.shape != values.shape[:1]:
        raise ValueError(f"times {times.shape} and values {values.shape} must be two equal lists")
    if values.ndim == 2 and not joint:
        raise ValueError(
            f"values {values.shape} are channels: sb.TotalVariation(joint=True) and "
            "sb.TrendFilter(joint=True) fit them together; fit any other penalty one by one"
        )
    if not np.all(np.isfinite(times)) or np.any(np.isinf(values)):
        raise ValueError("times must be finite, and values finite or nan")
    check_underflow("values are", values)
    known = np.atleast_1d(np.sum(~np.isnan(values), axis=0))
    if not known.size or known.min() < 3:
        where = f" in channel {np.argmin(known)}" if known.size > 1 else ""
        least = known.min() if known.size else 0
        raise ValueError(f"a series needs at least 3 observed values, got {least}{where}")
    stamps = np.unique(times)
    if len(stamps) == 1:
        first = f"{stamps[0]:g}" if stamps.dtype.kind == "f" else stamps[0]
        raise ValueError(f"all {len(times)} time stamps are equal ({first})")
    if len(stamps) < 3:
        raise ValueError(f"a series needs at least 3 distinct times, got {len(stamps)}")
    positions = since(stamps[0], stamps)
    check_size(positions, values)
    if not np.all(np.diff(positions) > 0):
        raise ValueError("time stamps lie so close that rounding hides their distances")
    return stamps, positions, Observed.of(since(stamps[0], times), values)


def _stamps(times: Any) -> np.ndarray:
    """Times as floats, whole numbers or dates."""
    times = np.asarray(times)
    if times.dtype.kind in "iuM":
        return times
    try:
        return times.astype(float)
    except (TypeError, ValueError):
        pass
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error")  # a zone is dropped with a warning
            return times.astype("datetime64[us]")
    except (TypeError, ValueError, UserWarning):
        raise ValueError(
            "times must be numbers, or dates without a zone (datetime64, in UTC where zones differ)"
        ) from None


def _tree(penalty: Penalty) -> bool:
    return getattr(penalty, "tree", None) is not None


def _spaced(penalty: Penalty, spacing: np.ndarray) -> Penalty:
    if isinstance(penalty, TrendFilter):
        return penalty if np.allclose(spacing, 1) else replace(penalty, spacing=spacing)
    if isinstance(penalty, TotalVariation | Spectral):
        return penalty
    if isinstance(penalty, Composed) and by_threshold.intervals(penalty, len(spacing) + 1):
        return penalty
    raise ValueError(
        f"{penalty!r} is a penalty for tables; a series takes tv, trend, spectral or "
        "sb.L1() + sb.TotalVariation()"
    )
