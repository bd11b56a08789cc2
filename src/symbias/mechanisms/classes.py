"""Labelled data of a linear classifier, as one row for every margin."""

from dataclasses import dataclass
from typing import Any

import numpy as np

from symbias._core.arrays import Shape
from symbias._core.refusal import Refused
from symbias.parameterizations import check_inputs, measurements

_ROUNDING = 1e-11  # of the largest input: a mean of samples that is zero


@dataclass(frozen=True, eq=False)
class Labelled:
    """Rows a with margin <a, w>: y_i x_i, or x_i at its own class less x_i at another.

    Attributes
    ----------
    rows : array (margins, size of w)
    y : array (n,)
        +1 and -1 for two classes, else the column of the own class.
    classes : int
    """

    rows: np.ndarray
    y: np.ndarray
    classes: int

    def margins(self, w: np.ndarray) -> np.ndarray:
        """The least margin of every sample, for w flat; (n,)."""
        return (self.rows @ w.ravel()).reshape(len(self.y), -1).min(axis=1)

    def per_sample(self, multipliers: np.ndarray) -> np.ndarray:
        """Multipliers by sample, (n,), or by sample and class, (n, classes), 0 at the own one."""
        if self.classes == 2 and len(multipliers) == len(self.y) and np.any(self.y < 0):
            return multipliers
        table = np.zeros((len(self.y), self.classes))
        table[_others(self.y, self.classes)] = multipliers
        return table


def labelled(shape: Shape, X: Any, y: Any) -> Labelled:
    """Checked data for w of this shape; see `MaxMargin.direction` for what fits what.

    Raises
    ------
    ValueError
        For inputs of another shape or not finite, labels of another length, of one class, or of
        another number of classes than w can tell apart.
    """
    try:
        X = np.asarray(X, dtype=float)
    except (TypeError, ValueError):
        raise ValueError("X must be an array of numbers") from None
    check_inputs(X, shape)
    names, index = _classes(y, len(X))
    columns = int(np.prod(shape[1:])) if X.shape[1:] != tuple(shape) else 1
    if columns == 1:
        if len(names) != 2:
            raise ValueError(
                f"y has {len(names)} different values, and the sign of <x, w> tells 2 classes "
                f"apart: for {len(names)} classes give w the shape ({X.shape[1]}, {len(names)})"
            )
        sign = 2.0 * index - 1
        return Labelled(sign[:, None] * measurements(X, shape), sign, 2)
    if len(shape) != 2 or len(names) != columns:
        raise ValueError(
            f"y has {len(names)} classes, and w of shape {shape} scores {columns}: give w the "
            f"shape ({shape[0]}, {len(names)})"
        )
    scores = measurements(X, shape).reshape(len(X), columns, -1)
    own = scores[np.arange(len(X)), index]
    apart = own[:, None] - scores
    return Labelled(apart[_others(index, columns)], index, columns)


def not_separable(data: Labelled, alpha: np.ndarray, *, signed: bool = True) -> Refused:
    """The refusal of data without a margin, alpha >= 0 the multipliers that prove it."""
    mean = alpha @ data.rows
    largest = float(np.abs(data.rows).max())
    left = float(np.abs(mean).max() if signed else mean.max())
    proof = f"the mean 0 (largest entry {left:.0e}), so that no w gives"
    if not signed:
        proof = f"a mean without positive entries (largest {left:.0e}), so that no w >= 0 gives"
    used = int(np.count_nonzero(data.per_sample(alpha).reshape(len(data.y), -1).sum(axis=1) > 0))
    if left > _ROUNDING * largest:
        return Refused(
            f"the data are not separable, or by too little to tell: a mean of {used} samples, "
            f"times their labels, has a largest entry of {left:.0e} beside inputs of "
            f"{largest:.0e}. Take the means out of the inputs: a column of ones then is the "
            "intercept"
        )
    return Refused(
        f"the data are not separable: {used} samples, times their labels and in weights alpha >= 0 "
        f"that sum to 1, have {proof} all of them a positive margin "
        f"({'Gordan' if signed else 'Farkas'}). The loss has a finite minimum there: ask for a "
        "penalised fit instead, as sb.DesignedClassifier and sb.WeightDecay(strength) have it"
    )


def _classes(y: Any, count: int) -> tuple[np.ndarray, np.ndarray]:
    """The sorted labels, and the number of every sample's own."""
    y = np.asarray(y)
    if y.shape != (count,):
        raise ValueError(f"y has shape {y.shape}, expected one label for each of {count} samples")
    if np.issubdtype(y.dtype, np.inexact) and not np.all(np.isfinite(y)):
        raise ValueError("y has labels that are not finite")
    if np.issubdtype(y.dtype, np.inexact) and np.any(y != np.round(y)):
        raise ValueError("y holds numbers that are no labels: give classes, such as y > 0")
    try:
        names, index = np.unique(y, return_inverse=True)
    except TypeError:
        raise ValueError("y has labels of several kinds, which have no order") from None
    if len(names) < 2:
        raise ValueError(
            f"y has one class only, {names[0]}: nothing is separated, and a margin needs two"
        )
    return names, index


def _others(index: np.ndarray, classes: int) -> np.ndarray:
    """Which class is another one, sample by sample."""
    return index[:, None] != np.arange(classes)
