"""Linear syntheses w = A z: the penalty acts on z = A^-1 w, except on its first coordinates."""

from abc import ABC, abstractmethod
from functools import lru_cache
from typing import Any

import numpy as np
import scipy.fft
from array_api_compat import array_namespace

from symbias._arrays import Array, constant


class Transform(ABC):
    """An invertible linear map along axis 0 whose first `free` coordinates are not penalised."""

    free: int = 0

    @abstractmethod
    def forward(self, z: Array) -> Array:
        """Synthesis: w = A z, of the shape of z."""

    @abstractmethod
    def inverse(self, w: Array) -> Array:
        """Analysis: z = A^-1 w, of the shape of w."""


class CumulativeSum(Transform):
    """Repeated sums: z holds the differences of w of a given order, after level, slope, ...

    Order 1 (total variation): z = (w_1, w_2 - w_1, w_3 - w_2, ...). Order 2 (trend filtering): z =
    (level, slope, changes of slope). With ``spacing`` the differences are divided differences
    over times t with t_(i+1) - t_i = spacing_i, scaled as in Tibshirani, "Adaptive piecewise
    polynomial estimation via trend filtering", Annals of Statistics 2014. Cost O(order n).

    Parameters
    ----------
    order : int
        At least 1.
    spacing : array of n - 1 positive numbers, optional
        Time between neighbours; 1 by default. Order 1 does not depend on it.
    free : int, optional
        How many leading coordinates are not penalised: ``order`` by default, 0 for all of them.
    """

    def __init__(self, order: int = 1, *, spacing: Any = None, free: int | None = None) -> None:
        if not isinstance(order, int) or order < 1:
            raise ValueError(f"order must be an integer of at least 1, got {order!r}")
        self.order = order
        self.free = order if free is None else free
        if not 0 <= self.free <= order:
            raise ValueError(f"free must lie between 0 and the order {order}, got {free}")
        self.spacing = None if spacing is None else np.asarray(spacing, dtype=float)
        if self.spacing is not None and not (
            self.spacing.ndim == 1 and np.all(self.spacing > 0) and np.all(self.spacing < np.inf)
        ):
            raise ValueError("spacing must be a list of positive finite numbers")

    def __repr__(self) -> str:
        return f"CumulativeSum(order={self.order})"

    def forward(self, z: Array) -> Array:
        return self._sum(z, self.order)

    def inverse(self, w: Array) -> Array:
        return self._difference(w, self.order)

    def _steps(self, count: int, level: int, array: Array) -> Array:
        """What differences are divided by at ``level``: (t_(i+k) - t_i) / k; 1 at the last."""
        if self.spacing is None or level == 1:
            return 1.0
        k = self.order - level + 1
        if len(self.spacing) != count + k - 1:
            raise ValueError(f"spacing has {len(self.spacing)} entries, expected {count + k - 1}")
        times = np.concatenate([[0.0], np.cumsum(self.spacing)])
        steps = (times[k:] - times[:-k]) / k
        return constant(steps.reshape((-1,) + (1,) * (array.ndim - 1)), array)

    def _sum(self, z: Array, level: int) -> Array:
        if level == 0 or z.shape[0] <= 1:
            return z
        xp = array_namespace(z)
        increments = self._sum(z[1:, ...], level - 1)
        increments = increments * self._steps(increments.shape[0], level, z)
        return xp.cumulative_sum(xp.concat([z[:1, ...], increments]), axis=0)

    def _difference(self, w: Array, level: int) -> Array:
        if level == 0 or w.shape[0] <= 1:
            return w
        xp = array_namespace(w)
        increments = w[1:, ...] - w[:-1, ...]
        increments = increments / self._steps(increments.shape[0], level, w)
        return xp.concat([w[:1, ...], self._difference(increments, level - 1)])


class Cosine(Transform):
    """Orthonormal cosines: w_i = sum_k c_k z_k cos(pi k (i + 1/2) / n), the inverse DCT-II.

    Coefficient k has the period 2 n / k samples. Cost O(n^2), an (n, n) matrix that is kept.
    """

    def __repr__(self) -> str:
        return "Cosine()"

    def forward(self, z: Array) -> Array:
        return _apply(_cosines(z.shape[0]), z)

    def inverse(self, w: Array) -> Array:
        return _apply(_cosines(w.shape[0]).T, w)


@lru_cache(maxsize=8)
def _cosines(size: int) -> np.ndarray:
    if size == 0:
        return np.zeros((0, 0))
    return scipy.fft.idct(np.eye(size), axis=0, norm="ortho")


class Matrix(Transform):
    """A given square matrix A, columns ``free`` and beyond penalised. Inverse by a solve, O(n^3).

    Raises ValueError where A is not square, not finite, or numerically singular.
    """

    def __init__(self, matrix: Any, *, free: int = 0) -> None:
        self.matrix = np.asarray(matrix, dtype=float)
        if self.matrix.ndim != 2 or self.matrix.shape[0] != self.matrix.shape[1]:
            raise ValueError(f"the synthesis matrix must be square, got {self.matrix.shape}")
        if not np.all(np.isfinite(self.matrix)):
            raise ValueError("the synthesis matrix has entries that are not finite")
        if self.matrix.size and np.linalg.cond(self.matrix) > 1e12:
            raise ValueError("the synthesis matrix is singular: not every w has coordinates in it")
        if not 0 <= free <= len(self.matrix):
            raise ValueError(f"free must lie between 0 and {len(self.matrix)}, got {free}")
        self.free = free

    def __repr__(self) -> str:
        return f"Matrix({self.matrix.shape[0]})"

    def forward(self, z: Array) -> Array:
        return _apply(self.matrix, z)

    def inverse(self, w: Array) -> Array:
        xp = array_namespace(w)
        flat = xp.reshape(w, (w.shape[0], -1))
        return xp.reshape(xp.linalg.solve(constant(self.matrix, w), flat), w.shape)


class Diagonal(Transform):
    """z = weights * w: a weight per coordinate; those of weight zero come first and are free.

    Parameters
    ----------
    weights : array of non-negative finite numbers
        One per coordinate along axis 0, or of the full shape of w if none is zero.
    """

    def __init__(self, weights: Any) -> None:
        self.weights = np.asarray(weights, dtype=float)
        if not (np.all(self.weights >= 0) and np.all(self.weights < np.inf)):
            raise ValueError("weights must be finite and at least 0")
        self.free = int(np.sum(self.weights == 0))
        if self.free and self.weights.ndim != 1:
            raise ValueError("zero weights need one weight per coordinate along axis 0")
        self._order = np.argsort(self.weights != 0, kind="stable") if self.free else None
        self._scale = np.where(self.weights == 0, 1.0, self.weights)

    def __repr__(self) -> str:
        return f"Diagonal({self.weights.shape})"

    def _scales(self, array: Array) -> Array:
        missing = array.ndim - self._scale.ndim
        return constant(self._scale.reshape(self._scale.shape + (1,) * missing), array)

    def forward(self, z: Array) -> Array:
        if self._order is not None:
            z = array_namespace(z).take(z, constant(np.argsort(self._order), z, index=True), axis=0)
        return z / self._scales(z)

    def inverse(self, w: Array) -> Array:
        z = w * self._scales(w)
        if self._order is not None:
            z = array_namespace(z).take(z, constant(self._order, z, index=True), axis=0)
        return z


def _apply(matrix: np.ndarray, z: Array) -> Array:
    xp = array_namespace(z)
    flat = xp.reshape(z, (z.shape[0], -1)) if z.ndim != 2 and z.shape[0] else z
    return xp.reshape(xp.matmul(constant(matrix, z), flat), z.shape) if z.shape[0] else z
