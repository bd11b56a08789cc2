"""Inputs B = X diag(scale) as solvers see them: products, gathered columns, no copy of X."""

from collections.abc import Iterator
from typing import Any, Protocol, Self

import numpy as np
from scipy import sparse

# entries of a block of X: one that stays in the cache of a core, one that is worth a call
_CACHED, _WHOLE = 1 << 16, 1 << 18


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
    """B = (X - 1 centre^T) diag(scale), (n, m), for X dense (any order) or sparse (csr or csc).

    X is not copied. All products run in float64: where X is float32 or has a centre, block by
    block. A sparse X has no centre; one in rows is turned into columns once, when columns are first
    gathered.

    Raises
    ------
    ValueError, TypeError
        Where X is not a matrix of float32 or float64, has no rows, or `scale` is not (m,).
    """

    def __init__(
        self, X: Any, scale: np.ndarray | None = None, centre: np.ndarray | None = None
    ) -> None:
        self.sparse = sparse.issparse(X)
        if self.sparse and X.format not in ("csr", "csc"):
            raise TypeError(f"a sparse X must be csr or csc, got {X.format}")
        if not self.sparse and not isinstance(X, np.ndarray):
            raise TypeError(f"X must be an array or a scipy.sparse matrix, got {type(X).__name__}")
        if X.ndim != 2 or X.shape[0] == 0:
            raise ValueError(f"X must be a matrix with rows, got shape {X.shape}")
        if X.dtype not in (np.float64, np.float32):
            raise TypeError(f"X must be float32 or float64, got {X.dtype}")
        self.X, self.shape = X, (int(X.shape[0]), int(X.shape[1]))
        self.by_rows = X.format == "csr" if self.sparse else not X.flags.f_contiguous
        if scale is not None:
            scale = np.asarray(scale, dtype=float)
            if scale.shape != (self.shape[1],):
                raise ValueError(f"scale must have shape ({self.shape[1]},), got {scale.shape}")
        self.scale, self.centre = scale, centre
        self.plain = X.dtype == np.float64 and centre is None

    def pull(self, v: np.ndarray) -> np.ndarray:
        """B^T v, shape (m,)."""
        if self.plain:
            product = np.asarray(self.X.T @ v)
        elif self.by_rows:
            product = np.zeros(self.shape[1])
            for rows, block in self._blocks(_WHOLE, True):
                product += block.T @ v[rows]
        else:
            product = np.empty(self.shape[1])
            for columns, block in self._blocks(_WHOLE, False):
                product[columns] = block.T @ v
        return product if self.scale is None else product * self.scale

    def push(self, c: np.ndarray) -> np.ndarray:
        """B c, shape (n,); cost of the columns where c is not zero."""
        used = np.flatnonzero(c)
        if 4 * len(used) < len(c):
            return self.gather(used).push(c[used])
        c = c if self.scale is None else c * self.scale
        if self.plain:
            return np.asarray(self.X @ c)
        product = np.zeros(self.shape[0])
        for part, block in self._blocks(_WHOLE, self.by_rows):
            if self.by_rows:
                product[part] = block @ c
            else:
                product += block @ c[part]
        return product

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
        if self.centre is not None:
            rows = rows - self.centre[indices][:, None]
        return DenseColumns(rows if scale is None else rows * scale[:, None])

    def scan(self, vectors: np.ndarray, weights: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """B^T `vectors` (n, k) and the squared norms sum_i weights_i B_ij^2, in one pass over X."""
        m, count = self.shape[1], vectors.shape[1]
        pulls, norms = np.zeros((m, count)), np.zeros(m)
        vectors = np.asfortranarray(vectors)
        for part, block in self._blocks(_CACHED, self.by_rows):
            rows, columns = (part, slice(None)) if self.by_rows else (slice(None), part)
            for k in range(count):
                pulls[columns, k] += block.T @ vectors[rows, k]
            squares = block.multiply(block) if self.sparse else np.square(block)
            norms[columns] += squares.T @ weights[rows]
        if self.scale is not None:
            pulls, norms = pulls * self.scale[:, None], norms * self.scale**2
        return pulls, norms

    def gram(self, weights: np.ndarray | None) -> np.ndarray:
        """B^T diag(weights) B, (m, m), in one pass; weights of 1/n each where None."""
        n, m = self.shape
        gram = np.zeros((m, m))
        if self.sparse:
            X = self.X.astype(float)
            right = X if weights is None else sparse.diags_array(weights) @ X
            gram = (X.T @ right).toarray(order="C")
        else:
            for rows, block in self._blocks(_WHOLE, True):
                if weights is not None:
                    block = block * np.sqrt(weights[rows])[:, None]
                gram += block.T @ block  # by BLAS's product for symmetric matrices
        if weights is None:
            gram /= n
        return gram if self.scale is None else gram * self.scale * self.scale[:, None]

    def _blocks(self, entries: int, by_rows: bool) -> Iterator[tuple[slice, Any]]:
        """X - 1 centre^T in float64, in blocks of rows or of columns, of about so many entries.

        A block lasts until the next one.
        """
        X = self.X if by_rows else self.X.T
        stored = X.nnz if self.sparse else X.size
        step = max(entries * X.shape[0] // max(stored, 1), 1)
        copied = not self.sparse and not self.plain
        room = np.empty((min(step, X.shape[0]) if copied else 0, X.shape[1]))
        for start in range(0, X.shape[0], step):
            part = slice(start, start + step)
            if not copied:
                block = X[part].astype(float, copy=False)
            elif self.centre is None:
                block = room[: len(X[part])]
                block[...] = X[part]
            else:
                centre = self.centre if by_rows else self.centre[part, None]
                block = np.subtract(X[part], centre, out=room[: len(X[part])])
            yield part, block if by_rows else block.T
