"""How sure an answer is: intervals, false alarms, and what stays when data are left out."""

import warnings
from typing import Any

import numpy as np

from symbias.cli.record import Options
from symbias.estimators import SeriesFit, left_out, selection_frequency
from symbias.penalties import Spectral

LEVEL, DRAWS, PARTS, REPEATS = 0.95, 200, 10, 10
_SECONDS = 20.0  # of fits, unasked
_STAMPS = 20_000  # of series that are drawn anew, unasked
_FEW_ROWS = 20


def sure_of_series(
    fit: SeriesFit, written: list[str], options: Options, seconds: float
) -> dict[str, Any]:
    """Intervals of the changes (as stamps are written) and false alarms; or how periods move."""
    if fit.seen.constant:
        return {}
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            if isinstance(fit.penalty, Spectral):
                return _of_period(fit, options, seconds)
            return _of_changes(fit, written, options)
    except ValueError as error:
        return {"note": str(error)}


def _of_changes(fit: SeriesFit, written: list[str], options: Options) -> dict[str, Any]:
    ends = np.searchsorted(fit.times, fit.intervals(LEVEL))
    sure: dict[str, Any] = {"level": LEVEL, "intervals": [[written[i] for i in p] for p in ends]}
    if len(fit.times) > _STAMPS and not options.verify:
        return sure | {"note": f"noise alone is tried for up to {_STAMPS:,} stamps, or by --verify"}
    return sure | {"draws": DRAWS, "false_alarms": fit.false_alarms(DRAWS)}


def _of_period(fit: SeriesFit, options: Options, seconds: float) -> dict[str, Any]:
    if fit.strongest_period is None:
        return {}
    if note := _too_long(seconds, PARTS, options):
        return {"note": note}
    found = [again.strongest_period for again in left_out(fit, PARTS)]
    return {"parts": PARTS, "periods": found}


def sure_of_table(
    model: Any, X: np.ndarray, y: np.ndarray, names: list[str], options: Options, seconds: float
) -> dict[str, Any]:
    """In how many random halves of the rows each feature is kept."""
    if len(y) < _FEW_ROWS:
        return {"note": f"halves of {len(y)} rows say little: from {_FEW_ROWS} rows on"}
    if note := _too_long(seconds, 2 * REPEATS, options):
        return {"note": note}
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            share = np.atleast_2d(selection_frequency(model, X, y, repeats=REPEATS))
    except ValueError as error:
        return {"note": str(error)}
    kept = np.rint(share.max(axis=0) * 2 * REPEATS).astype(int)
    return {"halves": 2 * REPEATS, "kept": dict(zip(names, kept.tolist(), strict=True))}


def _too_long(seconds: float, fits: int, options: Options) -> str:
    """Why fits to parts of the data are left out: they would take long."""
    if options.strength is not None:  # else cross-validation did more of them
        seconds *= fits
    if seconds <= _SECONDS or options.verify:
        return ""
    return f"{fits} fits to parts of the data would take about {seconds:.0f} s: --verify makes them"
