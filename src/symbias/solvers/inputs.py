"""Inputs B = X diag(scale) as solvers see them: products, gathered columns, no copy of X."""

from typing import Any, Protocol, Self

import numpy as np
from scipy import sparse

_CHUNK = 1 << 16  # entries of a block of X that stays in the cache of a core


class Columns(Protocol):
    """Some columns of B in double precision, all n rows of them."""

    @property
    def count(self) -> int:
        """How many columns."""

    def append(self, other: Self) -> Self:
        """These columns and then the others."""

    def take(self, chosen: np.ndarray) -> Self:
        """Some of these columns."""

    def gram(self, h: np.ndarray | None, factor: float, other: Self) -> np.ndarray:
        """B_S^T diag(h) B_other, or factor times B_S^T B_other where h is None."""

    def push(self, c: np.ndarray) -> np.ndarray:
        """B_S c."""

    def pull(self, v: np.ndarray) -> np.ndarray:
        """B_S^T v."""

    def dense(self) -> np.ndarray:
        """B_S^T, (count, n), for reading only."""


class DenseColumns:
    """Columns as the rows of a contiguous array (count, n)."""

    def __init__(self, rows: np.ndarray) -> None:
        self.rows = rows

    @property
    def count(self) -> int:
        return len(self.rows)

    def append(self, other: Self) -> Self:
        return type(self)(np.concatenate([self.rows, other.rows]))

    def take(self, chosen: np.ndarray) -> Self:
        return type(self)(self.rows[chosen])

    def gram(self, h: np.ndarray | None, factor: float, other: Self) -> np.ndarray:
        if h is None:
            return factor * (self.rows @ other.rows.T)
        if other is self:  # one symmetric product costs half of a general one
            root = self.rows * np.sqrt(h)
            return root @ root.T
        return self.rows @ (other.rows * h).T

    def push(self, c: np.ndarray) -> np.ndarray:
        used = np.flatnonzero(c)
        if 4 * len(used) < len(c):
            return c[used] @ self.rows[used]
        return c @ self.rows

    def pull(self, v: np.ndarray) -> np.ndarray:
        return self.rows @ v

    def dense(self) -> np.ndarray:
        return self.rows


class SparseColumns:
    """Columns of a sparse matrix, kept sparse."""

    def __init__(self, matrix: Any) -> None:
        self.matrix = matrix

    @property
    def count(self) -> int:
        return int(self.matrix.shape[1])

    def append(self, other: Self) -> Self:
        return type(self)(sparse.hstack([self.matrix, other.matrix], format="csc"))

    def take(self, chosen: np.ndarray) -> Self:
        return type(self)(self.matrix[:, chosen])

    def gram(self, h: np.ndarray | None, factor: float, other: Self) -> np.ndarray:
        right = other.matrix
        if h is not None:
            right = sparse.csc_array(
                (right.data * h[right.indices], right.indices, right.indptr), shape=right.shape
            )
        product = (self.matrix.T @ right).toarray()
        return product if h is not None else factor * product

    def push(self, c: np.ndarray) -> np.ndarray:
        return np.asarray(self.matrix @ c)

    def pull(self, v: np.ndarray) -> np.ndarray:
        return np.asarray(self.matrix.T @ v)

    def dense(self) -> np.ndarray:
        return np.asarray(self.matrix.T.toarray())


class Inputs:
    """B = X diag(scale), shape (n, m), for X dense (any order) or scipy.sparse (csr or csc).

    X is neither copied nor centred. Products over all columns run in the precision of X (float32
    or float64), products over gathered columns in float64. A sparse X in rows is turned into
    columns once, when columns are first gathered.

    Raises
    ------
    ValueError, TypeError
        Where X is not a matrix of float32 or float64, has no rows, or `scale` is not (m,).
    """

    def __init__(self, X: Any, scale: np.ndarray | None = None) -> None:
        self.sparse = sparse.issparse(X)
        if self.sparse and X.format not in ("csr", "csc"):
            raise TypeError(f"a sparse X must be csr or csc, got {X.format}")
        if not self.sparse and not isinstance(X, np.ndarray):
            raise TypeError(f"X must be an array or a scipy.sparse matrix, got {type(X).__name__}")
        if X.ndim != 2 or X.shape[0] == 0:
            raise ValueError(f"X must be a matrix with rows, got shape {X.shape}")
        if X.dtype not in (np.float64, np.float32):
            raise TypeError(f"X must be float32 or float64, got {X.dtype}")
        self.X, self.shape, self.dtype = X, (int(X.shape[0]), int(X.shape[1])), X.dtype
        if scale is not None:
            scale = np.asarray(scale, dtype=float)
            if scale.shape != (self.shape[1],):
                raise ValueError(f"scale must have shape ({self.shape[1]},), got {scale.shape}")
        self.scale = scale

    def pull(self, v: np.ndarray) -> np.ndarray:
        """B^T v, shape (m,), as float64."""
        product = np.asarray(self.X.T @ v.astype(self.dtype, copy=False), dtype=float)
        return product if self.scale is None else product * self.scale

    def push(self, c: np.ndarray) -> np.ndarray:
        """B c, shape (n,), as float64; cost of the columns where c is not zero."""
        used = np.flatnonzero(c)
        if 4 * len(used) < len(c):
            return self.gather(used).push(c[used])
        c = c if self.scale is None else c * self.scale
        return np.asarray(self.X @ c.astype(self.dtype, copy=False), dtype=float)

    def gather(self, indices: np.ndarray) -> Columns:
        """The columns of these indices, in this order."""
        scale = None if self.scale is None else self.scale[indices]
        if self.sparse:
            if self.X.format == "csr":
                picked = sparse.csc_array(self.X[:, indices], dtype=float)
            else:
                picked = sparse.csc_array(self.X[:, indices].astype(float))
            return SparseColumns(picked if scale is None else picked @ sparse.diags_array(scale))
        whole = len(indices) == self.shape[1] and bool(np.all(np.diff(indices) == 1))
        rows = np.ascontiguousarray(self.X.T if whole else self.X.T[indices], dtype=float)
        return DenseColumns(rows if scale is None else rows * scale[:, None])

    def scan(self, vectors: np.ndarray, weights: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """B^T `vectors` (n, k) and the squared norms sum_i weights_i B_ij^2, in one pass over X."""
        n, m = self.shape
        if self.sparse:
            squares = type(self.X)((self.X.data**2, self.X.indices, self.X.indptr), self.X.shape)
            pulls, norms = self.X.T @ vectors, squares.T @ weights
        elif self.X.flags.c_contiguous or not self.X.flags.f_contiguous:
            pulls, norms = np.zeros((m, vectors.shape[1])), np.zeros(m)
            step = max(_CHUNK // max(m, 1), 32)
            for start in range(0, n, step):
                part = self.X[start : start + step]
                for k, v in enumerate(vectors[start : start + step].T.astype(self.dtype)):
                    pulls[:, k] += v @ part
                norms += weights[start : start + step].astype(self.dtype) @ np.square(part)
        else:
            pulls, norms = np.empty((m, vectors.shape[1])), np.empty(m)
            step = max(_CHUNK // n, 1)
            typed = np.asfortranarray(vectors, dtype=self.dtype)
            weights = weights.astype(self.dtype)
            for start in range(0, m, step):
                part = self.X.T[start : start + step]
                for k in range(vectors.shape[1]):
                    pulls[start : start + step, k] = part @ typed[:, k]
                norms[start : start + step] = np.square(part) @ weights
        pulls, norms = np.asarray(pulls, dtype=float), np.asarray(norms, dtype=float)
        if self.scale is not None:
            pulls, norms = pulls * self.scale[:, None], norms * self.scale**2
        return pulls, norms
