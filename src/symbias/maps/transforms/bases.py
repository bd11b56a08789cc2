"""Bases: cosines, wavelets, any square matrix, weights."""

from functools import lru_cache
from typing import Any

import numpy as np
import scipy
from array_api_compat import array_namespace

from symbias._core.arrays import Array, constant
from symbias.maps.transforms.base import Transform, apply


class Cosine(Transform):
    """Orthonormal cosines: w_i = sum_k c_k z_k cos(pi k (i + 1/2) / n), the inverse DCT-II.

    Coefficient k has the period 2 n / k samples. Cost O(n log n) for NumPy arrays; elsewhere
    O(n^2), by an (n, n) matrix that is kept.
    """

    noun = "coefficients"

    def __repr__(self) -> str:
        return "Cosine()"

    def forward(self, z: Array) -> Array:
        if isinstance(z, np.ndarray) and z.size:
            return scipy.fft.idct(z, axis=0, norm="ortho")
        return apply(_cosines(z.shape[0]), z)

    def inverse(self, w: Array) -> Array:
        if isinstance(w, np.ndarray) and w.size:
            return scipy.fft.dct(w, axis=0, norm="ortho")
        return apply(_cosines(w.shape[0]).T, w)


@lru_cache(maxsize=8)
def _cosines(size: int) -> np.ndarray:
    if size == 0:
        return np.zeros((0, 0))
    return scipy.fft.idct(np.eye(size), axis=0, norm="ortho")


class Wavelet(Transform):
    """A wavelet basis, periodic: z holds the coefficients, coarsest first.

    Parameters
    ----------
    name : str
        A discrete wavelet of PyWavelets: "haar", "db4", "sym8", "bior2.2", ...
    size : int or (rows, cols)
        Length of w; or the shape of an image whose flattened entries w holds.
    level : int, optional
        How many times to halve; by default as often as the length can be halved and the filter
        fits.
    free : bool
        Whether the coarsest coefficients (the approximation) are left without a penalty.

    Raises
    ------
    ValueError
        For a name that PyWavelets does not know, or a length that `level` does not halve evenly.
    """

    noun = "coefficients"

    def __init__(
        self,
        name: str = "haar",
        size: int | tuple[int, int] = 1,
        *,
        level: int | None = None,
        free: bool = False,
    ) -> None:
        self.name, self.size = name, size
        self._synthesis, self._analysis, coarse = _wavelets(name, size, level)
        self.free = coarse if free else 0

    def __repr__(self) -> str:
        return f"Wavelet({self.name!r}, {self.size})"

    def forward(self, z: Array) -> Array:
        return apply(self._synthesis, z)

    def inverse(self, w: Array) -> Array:
        return apply(self._analysis, w)


@lru_cache(maxsize=8)
def _wavelets(
    name: str, size: int | tuple[int, int], level: int | None
) -> tuple[np.ndarray, np.ndarray, int]:
    """Synthesis and analysis matrices, and the number of coarsest coefficients."""
    import pywt

    if name not in pywt.wavelist(kind="discrete"):
        raise ValueError(f"{name!r} is not a discrete wavelet of PyWavelets, such as 'haar', 'db4'")
    shape = (size,) if isinstance(size, int) else tuple(size)
    most = min(*map(_halvings, shape), pywt.dwtn_max_level(shape, name))
    level = most if level is None else level
    if not 0 <= level <= most:
        raise ValueError(f"size {size} can be halved {most} times with {name!r}, not {level}")
    axes = tuple(range(1, len(shape) + 1))
    count = int(np.prod(shape))
    images = np.eye(count).reshape(count, *shape)
    coefficients = pywt.wavedecn(images, name, mode="periodization", level=level, axes=axes)
    flat = [coefficients[0].reshape(count, -1)]
    flat += [d[k].reshape(count, -1) for d in coefficients[1:] for k in sorted(d)]
    analysis = np.concatenate(flat, axis=1).T
    return np.linalg.inv(analysis), analysis, flat[0].shape[1]


def _halvings(size: int) -> int:
    return (size & -size).bit_length() - 1 if size else 0


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
        return apply(self.matrix, z)

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

    mixes = False

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

    def units(self, like: Array, shape: tuple[int, ...]) -> Array:
        """w per z of the penalised coordinates z, of the given shape."""
        scale = self._scale if self._order is None else self._scale[self._order]
        scale = scale[self.free :]
        scale = scale.reshape(scale.shape + (1,) * (len(shape) - scale.ndim))
        return constant(np.broadcast_to(1 / scale, shape).copy(), like)

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
