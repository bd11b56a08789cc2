"""Strengths that folds come down together, and where they may stop."""

from collections.abc import Callable, Sequence

import numpy as np

from symbias.estimators.cross_validation import choose

_STRENGTHS, _RATIO = 30, 1e-2  # of the largest; and on as long as the error falls
_LONG, _COARSE = 10_000, 0.6  # values of a long series, and the factor between its strengths
_LEAST = 1e-10
_SETTLED = 4  # strengths in a row that are clearly worse

ROUGH = 1e-5  # relative gap of the fits of folds


def descend(
    folds: Sequence[Callable[[float], tuple[float, float]]],
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
