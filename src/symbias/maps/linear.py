"""Linear maps on flattened arrays: w = free @ f + columns @ c, with f not penalised."""

import math
from collections.abc import Sequence
from typing import NamedTuple, Self, TypeAlias

import numpy as np
import scipy.sparse

from symbias._core.arrays import Shape
from symbias.maps.transforms import Diagonal, Transform

Columns: TypeAlias = np.ndarray | scipy.sparse.csc_array


class Linear(NamedTuple):
    """w, flattened, is ``free @ f + columns @ c``.

    Attributes
    ----------
    free : array (size of w, k)
    columns : array or sparse array (size of w, m)
        Sparse where nothing is mixed: one entry per column.
    """

    free: np.ndarray
    columns: Columns

    @classmethod
    def identity(cls, size: int) -> Self:
        """w = c."""
        index = np.arange(size + 1, dtype=np.int32)
        columns = scipy.sparse.csc_array((np.ones(size), index[:-1], index), shape=(size, size))
        return cls(np.zeros((size, 0)), columns)

    @property
    def selection(self) -> tuple[np.ndarray, np.ndarray] | None:
        """Where each column has its one entry, and the entry; None for other maps."""
        A = self.columns
        if isinstance(A, np.ndarray) or not np.all(np.diff(A.indptr) == 1):
            return None
        return A.indices, A.data

    def forward(self, f: np.ndarray, c: np.ndarray) -> np.ndarray:
        """w, flattened."""
        return self.free @ f + self.columns @ c

    def behind(self, transform: Transform, shape: Shape) -> Self:
        """This map into the penalised coordinates of ``transform``, which gives w.

        ``shape`` is that of all coordinates, those that the transform leaves free included; they
        come first.
        """
        A, count = _matrix(transform, shape), transform.free * math.prod(shape[1:])
        if self.selection is not None and scipy.sparse.issparse(A):
            columns = scipy.sparse.csc_array(A[:, count:] @ self.columns)
        else:
            columns = np.asarray(_dense(A)[:, count:] @ self.columns)
        free = np.hstack([_dense(A[:, :count]), A[:, count:] @ self.free])
        return type(self)(free, columns)

    def placed(self, index: np.ndarray, size: int) -> Self:
        """The rows of this map at ``index`` among ``size`` rows."""
        rows = scipy.sparse.csc_array(
            (np.ones(len(index)), (index, np.arange(len(index)))), shape=(size, len(index))
        )
        if self.selection is not None:
            return type(self)(rows @ self.free, scipy.sparse.csc_array(rows @ self.columns))
        return type(self)(rows @ self.free, rows @ self.columns)

    @classmethod
    def joined(cls, parts: Sequence["Linear"]) -> Self:
        """The sum of several maps into the same w: their coordinates side by side."""
        free = np.hstack([part.free for part in parts])
        columns = [part.columns for part in parts]
        if all(scipy.sparse.issparse(A) for A in columns):
            return cls(free, scipy.sparse.csc_array(scipy.sparse.hstack(columns)))
        return cls(free, np.hstack([_dense(A) for A in columns]))


def _matrix(transform: Transform, shape: Shape) -> Columns:
    """The transform on flattened coordinates; sparse for weights."""
    size = math.prod(shape)
    if isinstance(transform, Diagonal):
        # entry i is its weight times one coordinate, told by its number
        entries = transform.forward(np.ones(shape)).ravel()
        order = transform.forward(np.arange(1.0, size + 1).reshape(shape)).ravel()
        at = np.rint(order / entries).astype(int) - 1
        return scipy.sparse.csc_array((entries, (np.arange(size), at)), shape=(size, size))
    return transform.dense(shape)


def _dense(matrix: Columns) -> np.ndarray:
    return matrix if isinstance(matrix, np.ndarray) else matrix.toarray()
