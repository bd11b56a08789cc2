"""Fits of a series over folds, which come down in strength together, and where they may stop."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np

from symbias.estimators.cross_validation import choose
from symbias.estimators.observed import Observed, interleaved_folds

_STRENGTHS, _RATIO = 30, 1e-2  # of the largest; and on as long as the error falls
_LONG, _COARSE = 10_000, 0.6  # values of a long series, and the factor between its strengths
_LEAST = 1e-10
_SETTLED = 4  # strengths in a row that are clearly worse

ROUGH = 1e-5  # relative gap of the fits of folds

Fold = Callable[[float], tuple[float, float]]


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


def over_folds(
    seen: Observed,
    folds: int,
    largest: Callable[[], float],
    fit: Callable[[float], Fitted],
    fold: Callable[[np.ndarray, np.ndarray], Fold],
    callback: Callable[[int, int, float], None] | None,
) -> Fitted:
    """Fit at the strength of the one-standard-error rule, over folds that are interleaved.

    ``fold`` makes of training and left-out stamps what `descend` asks at a strength.
    """
    if seen.constant:  # every strength gives the same
        return fit(1.0)
    parts = [fold(*part) for part in interleaved_folds(len(seen.values), folds)]
    strength, tried, errors = descend(parts, largest() or 1.0, len(seen.values), callback)
    return replace(fit(strength), strengths=tried, errors=errors)


def descend(
    folds: Sequence[Fold],
    largest: float,
    values: int,
    callback: Callable[[int, int, float], None] | None = None,
) -> tuple[float, np.ndarray, np.ndarray]:
    """The strength of the one-standard-error rule, all that were tried, and the errors there.

    All folds come down from the largest strength together, each warm from its own fit before: to
    1% of it, and on as long as the error falls (to 1e-10); they stop where it is clearly worse. A
    fold gives its error on left-out values and its objective at a strength.
    """
    factor = _RATIO ** (1 / (_STRENGTHS - 1)) if values <= _LONG else _COARSE
    strengths: list[float] = []
    errors: list[list[float]] = []
    while not _done(strengths, errors, largest):
        strength = largest * factor ** len(strengths)
        found = [fold(strength) for fold in folds]
        strengths.append(strength)
        errors.append([error for error, _ in found])
        if callback:
            done, steps = len(strengths), int(np.ceil(np.log(_RATIO) / np.log(factor))) + 1
            callback(done, max(steps, done + 1), found[-1][1])
    table, tried = np.array(errors), np.array(strengths)
    return float(tried[choose(table)]), tried, table


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
