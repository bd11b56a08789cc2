"""The linear equations that the generators of a predictor's symmetries satisfy.

An unknown matrix ``A`` on every axis of every array moves the arrays; a symmetry leaves the
predictor where it is, whatever the parameters. Every output at every draw of the parameters is one
linear equation in the unknowns, and symmetries are the null space.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import scipy

Numpy = np.ndarray[Any, Any]
Shapes = Mapping[str, tuple[int, ...]]
Axis = tuple[str, int]


@dataclass(frozen=True)
class Unknowns:
    """One matrix per axis of every array, all flattened into a vector. Scalars have one axis.

    A *coordinate* is an entry of an axis, numbered through all axes; a *position* is an unknown,
    which moves its row coordinate by its column coordinate.
    """

    shapes: dict[str, tuple[int, ...]]

    @cached_property
    def axes(self) -> dict[Axis, tuple[int, int]]:
        """Length of each axis, and its first coordinate."""
        result, first = {}, 0
        for name, shape in self.shapes.items():
            for axis, n in enumerate(shape or (1,)):
                result[name, axis] = (n, first)
                first += n
        return result

    @property
    def count(self) -> int:
        """Number of unknowns."""
        return sum(n * n for n, _ in self.axes.values())

    @cached_property
    def spaces(self) -> Numpy:
        """Number of the space that each coordinate lies in: unknowns mix within one space."""
        return np.repeat(np.arange(len(self.axes)), [n for n, _ in self.axes.values()])

    @cached_property
    def places(self) -> tuple[Numpy, Numpy]:
        """Row and column coordinate of every position."""
        parts = [first + np.indices((n, n)).reshape(2, -1) for n, first in self.axes.values()]
        rows, columns = np.concatenate(parts, axis=1)
        return rows, columns

    @cached_property
    def diagonal(self) -> Numpy:
        """Positions of the diagonal entries, in the order of coordinates."""
        rows, columns = self.places
        return np.flatnonzero(rows == columns)

    @cached_property
    def position(self) -> dict[tuple[int, int], int]:
        """Position of a pair of coordinates."""
        return {(int(i), int(j)): k for k, (i, j) in enumerate(zip(*self.places, strict=True))}

    def axis(self, coordinate: int) -> tuple[Axis, int]:
        """Axis of a coordinate, and its place there."""
        axis = list(self.axes)[np.searchsorted(self._firsts, coordinate, side="right") - 1]
        return axis, coordinate - self.axes[axis][1]

    @cached_property
    def _firsts(self) -> Numpy:
        return np.array([first for _, first in self.axes.values()])

    def place(self, axis: Axis) -> tuple[str, int | None]:
        """Array and axis as the end of a bond names them."""
        name, position = axis
        return name, position if self.shapes[name] else None

    def rows(self, gradients: Mapping[str, Numpy], params: Mapping[str, Numpy]) -> Numpy:
        """One equation per gradient: ``<gradient, A applied to params> = 0``.

        Gradients have a leading axis for equations, params too.
        """
        count = len(next(iter(gradients.values())))
        parts = []
        for (name, axis), (n, _) in self.axes.items():
            shape = (count, *(self.shapes[name] or (1,)))
            front = [
                np.moveaxis(a[name].reshape(shape), axis + 1, 1).reshape(count, n, -1)
                for a in (gradients, params)
            ]
            parts.append((front[0] @ np.swapaxes(front[1], 1, 2)).reshape(count, n * n))
        return normalised(np.concatenate(parts, axis=1))


class Entries(Unknowns):
    """One matrix over all entries of all arrays: every linear map of the parameters."""

    def __init__(self, shapes: Shapes) -> None:
        super().__init__({name: (int(np.prod(shape)),) for name, shape in shapes.items()})
        object.__setattr__(self, "_flat", {k for k, shape in shapes.items() if len(shape) == 1})

    @property
    def size(self) -> int:
        """Number of parameters."""
        return sum(n for n, _ in self.axes.values())

    @property
    def count(self) -> int:
        return self.size**2

    @cached_property
    def spaces(self) -> Numpy:
        return np.zeros(self.size, dtype=int)

    @cached_property
    def places(self) -> tuple[Numpy, Numpy]:
        rows, columns = np.indices((self.size, self.size)).reshape(2, -1)
        return rows, columns

    def place(self, axis: Axis) -> tuple[str, int | None]:
        return axis[0], 0 if axis[0] in self.__dict__["_flat"] else None


def normalised(rows: Numpy) -> Numpy:
    """Rows of unit norm; rows of zeros stay."""
    norms = np.linalg.norm(rows, axis=1, keepdims=True)
    return rows / np.where(norms > 0, norms, 1)


def null_space(rows: Numpy, tolerance: float) -> Numpy:
    """Orthonormal columns that all rows send to something of at most this norm."""
    if len(rows) > rows.shape[1]:
        rows = np.asarray(np.linalg.qr(rows, mode="r"))
    _, s, vt = np.linalg.svd(rows, full_matrices=True)
    return vt[int(np.sum(s > tolerance)) :].T


def large_null_space(rows: Numpy) -> Numpy:
    """Orthonormal columns that many rows of unit norm send to zero, or nearly.

    Inverse iteration in blocks that grow until one reaches beyond the null space: a Cholesky
    factor of the Gram matrix, ``n^3 / 3``, in place of all singular vectors. The square of the
    condition that this costs is won back by refinement with the rows themselves.
    """
    gram = rows.T @ rows
    count, scale = len(gram), max(np.trace(gram) / len(gram), 1e-300)
    shifted = gram.copy()
    shifted.flat[:: count + 1] += 1e-12 * scale
    factor = scipy.linalg.cho_factor(shifted, overwrite_a=True, check_finite=False)
    rng = np.random.default_rng(0)
    block = np.zeros((count, 0))
    while True:
        size = min(count, max(64, 2 * block.shape[1]))
        fresh = rng.standard_normal((count, size - block.shape[1]))
        block = np.concatenate([block, fresh], axis=1)
        for _ in range(3):
            block = np.asarray(
                np.linalg.qr(scipy.linalg.cho_solve(factor, block, check_finite=False))[0]
            )
        values, vectors = np.linalg.eigh(block.T @ (gram @ block))
        if size == count or values[-1] > 1e-8 * scale:
            break
    basis = confirmed(block @ vectors[:, values < 1e-8 * scale], rows, 1e-6 * scale**0.5)
    for _ in range(2):
        basis = basis - scipy.linalg.cho_solve(factor, rows.T @ (rows @ basis))
        basis = np.asarray(np.linalg.qr(basis)[0])
    return basis


def confirmed(basis: Numpy, rows: Numpy, tolerance: float = 1e-7) -> Numpy:
    """The part of a space, given by orthonormal columns, that satisfies more equations."""
    return basis @ null_space(rows @ basis, tolerance)


def held_out(basis: Numpy, batches: Iterator[Numpy], tolerance: float = 1e-7) -> Numpy:
    """The part of a space that satisfies batches of equations until a whole one removes nothing.

    Where few of many outputs see an array, no fixed number of draws pins what moves it.
    """
    for rows in batches:
        kept = confirmed(basis, rows, tolerance)
        if kept.shape[1] == basis.shape[1]:
            break
        basis = kept
    return basis
