"""Penalties behind a linear map: differences along series, trees and grids, and frequencies."""

from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
from array_api_compat import array_namespace

from symbias._core.arrays import Array, Shape
from symbias._core.refusal import Refused
from symbias.maps import Cosine, CumulativeSum, GridSum, Transform, TreeSum, Wavelet
from symbias.penalties.base import Penalty
from symbias.penalties.form import Behind, Form, Piece, Placed
from symbias.penalties.scalars import Power
from symbias.penalties.sizes import Entries, Groups


@dataclass(frozen=True, eq=False)
class TotalVariation(Penalty):
    """sum_i |w_(i+1) - w_i|: piecewise constant. The level is not penalised.

    Parameters
    ----------
    axis : int, optional
        Of a matrix: every line along this axis is a series of its own. Both axes at once (a grid)
        have no exact synthesis.
    joint : bool
        Of a matrix (n, channels): sum_i |w_(i+1) - w_i|_2, so that channels jump together.
    tree : array of int, optional
        Parent of every node, -1 for roots: sum_i |w_i - w_parent(i)| instead.
    """

    formula: ClassVar[str] = "sum_i |w_(i+1) - w_i|"
    belief: ClassVar[str] = "piecewise constant"

    axis: int | None = None
    joint: bool = False
    tree: Any = None

    def __post_init__(self) -> None:
        if self.axis not in (None, 0, 1, -1, -2) or isinstance(self.axis, bool):
            raise ValueError(
                f"axis must be 0 or 1, got {self.axis!r}: one axis of a matrix, line by line. A "
                "full grid has no exact synthesis"
            )
        if self.tree is not None and self.axis not in (None, 0):
            raise ValueError(f"a tree is over the first axis, got axis {self.axis}")

    @property
    def couples(self) -> bool:
        return self.joint or self.axis is not None

    def transform(self, shape: Shape) -> Transform:
        """From level and jumps to w, along axis 0."""
        if self.tree is None:
            return CumulativeSum(1)
        if len(self.tree) != shape[0]:
            raise ValueError(f"the tree has {len(self.tree)} nodes, w has {shape[0]}")
        return TreeSum(self.tree)

    def form(self, shape: Shape) -> Form:
        if len(shape) == 2 and not self.joint and self.axis is None and self.tree is None:
            raise Refused(
                f"total variation on a grid, here {shape}, has no exact square synthesis. "
                "Weight decay takes sb.TotalVariation(axis=0) or (axis=1), line by line; "
                "(joint=True), rows that jump together; and of the flattened w a spanning tree "
                "(tree=parents), mixed differences, sb.Differences(1, grid=shape), and "
                "sb.Spectral('haar', image=shape)"
            )
        if len(shape) == 2 and self.tree is None and self.axis in (1, -1):
            turned = np.arange(shape[0] * shape[1]).reshape(shape).T.ravel()
            lines = _behind(CumulativeSum(1), shape[::-1], self.joint)
            return Placed(shape, ((turned, lines),))
        return _behind(self.transform(shape), shape, self.joint)

    def __call__(self, w: Array) -> Array:
        xp = array_namespace(w)
        if self.tree is not None:
            tree = TreeSum(self.tree)
            return _sizes(tree.inverse(w)[tree.free :, ...], self.joint)
        lines = xp.permute_dims(w, (1, 0)) if w.ndim == 2 and self.axis in (1, -1) else w
        return _sizes(lines[1:, ...] - lines[:-1, ...], self.joint)


@dataclass(frozen=True, eq=False)
class TrendFilter(Penalty):
    """sum_i |change of slope at i|: piecewise linear. Level and slope are not penalised.

    Slopes are (w_(i+1) - w_i) / spacing_i, spacing 1 by default. With `joint` the channels of w
    (n, channels) bend together.
    """

    formula: ClassVar[str] = "sum_i |change of slope at i|"
    belief: ClassVar[str] = "piecewise linear"

    spacing: Any = None
    joint: bool = False

    @property
    def couples(self) -> bool:
        return self.joint

    def transform(self, shape: Shape) -> Transform:
        """From level, slope and changes of slope to w."""
        spacing = self.spacing
        if spacing is not None and np.shape(spacing) != (max(shape[0] - 1, 0),):
            raise ValueError(
                f"spacing must have {shape[0] - 1} entries, got shape {np.shape(spacing)}"
            )
        return CumulativeSum(min(2, max(shape[0], 1)), spacing=spacing)

    def form(self, shape: Shape) -> Form:
        return _behind(self.transform(shape), shape, self.joint)

    def __call__(self, w: Array) -> Array:
        changes = CumulativeSum(min(2, max(w.shape[0], 1)), spacing=self.spacing).inverse(w)
        return _sizes(changes[2:, ...], self.joint)


@dataclass(frozen=True, eq=False)
class Differences(Penalty):
    """sum |differences of an order|: piecewise polynomials of degree order - 1.

    Parameters
    ----------
    order : int
        1 is total variation, 2 trend filtering.
    grid : (rows, cols), optional
        w holds the flattened entries of a grid, and the differences are mixed ones, along both
        axes: surfaces a(i) + b(j) (for order 1) cost nothing.
    """

    formula: ClassVar[str] = "sum |differences of w of the given order|"
    belief: ClassVar[str] = "piecewise polynomial"

    order: int = 3
    grid: tuple[int, int] | None = None

    def transform(self, size: int) -> Transform:
        """From differences to w."""
        if self.grid is not None:
            return GridSum(*self.grid, order=self.order)
        return CumulativeSum(min(self.order, size))

    def form(self, shape: Shape) -> Form:
        if self.grid is not None and shape != (int(np.prod(self.grid)),):
            raise ValueError(f"a grid {self.grid} has {np.prod(self.grid)} entries, w {shape}")
        return _behind(self.transform(shape[0]), shape)

    def __call__(self, w: Array) -> Array:
        transform = self.transform(w.shape[0])
        xp = array_namespace(w)
        return xp.sum(xp.abs(transform.inverse(w)[transform.free :, ...]))


@dataclass(frozen=True, eq=False)
class Spectral(Penalty):
    """sum_k |c_k| over coefficients c of w: few frequencies, or few wavelets.

    Parameters
    ----------
    basis : str
        "cosine" (orthonormal), or a discrete wavelet of PyWavelets ("haar", "db4", ...), whose
        coarsest coefficients are not penalised: of a length that is k times even, one of 2^k.
    level : int, optional
        Of the wavelet; the most that the length allows by default.
    image : (rows, cols), optional
        w holds the flattened entries of an image, for wavelets.

    Raises
    ------
    ValueError
        For a name that PyWavelets does not know.
    """

    formula: ClassVar[str] = "sum_k |c_k|, c the coefficients of w in the basis"
    belief: ClassVar[str] = "few frequencies or wavelets"

    basis: str = "cosine"
    level: int | None = None
    image: tuple[int, int] | None = None

    def __post_init__(self) -> None:
        if self.basis != "cosine":
            Wavelet(self.basis, level=0)

    def transform(self, size: int) -> Transform:
        """From coefficients to w."""
        if self.basis == "cosine":
            return Cosine()
        found = Wavelet(self.basis, self.image or size, level=self.level, free=True)
        if 1 < size == found.free:
            raise ValueError(
                f"{self.basis!r} wavelets of {self.image or size} values would penalise none: a "
                "length is halved as often as it is even and the filter fits. Continue w to a "
                "power of 2, or take sb.Spectral() (cosines)"
            )
        return found

    def form(self, shape: Shape) -> Form:
        return _behind(self.transform(shape[0]), shape)

    def __call__(self, w: Array) -> Array:
        xp = array_namespace(w)
        transform = self.transform(w.shape[0])
        return xp.sum(xp.abs(transform.inverse(w)[transform.free :, ...]))


def _behind(transform: Transform, shape: Shape, joint: bool = False) -> Form:
    """|z| of every penalised coordinate z, or |z|_2 of every row of them."""
    inner = (shape[0] - transform.free, *shape[1:])
    if joint and len(shape) == 2:
        rows = np.broadcast_to(np.arange(inner[0])[:, None], inner)
        return Behind(transform, Piece(Groups(rows), Power()))
    return Behind(transform, Piece(Entries(inner), Power()))


def _sizes(z: Array, joint: bool) -> Array:
    xp = array_namespace(z)
    if joint and z.ndim > 1:
        rows = np.broadcast_to(np.arange(z.shape[0])[:, None], tuple(z.shape))
        return xp.sum(Groups(rows).of(z))
    return xp.sum(xp.abs(z))
