"""Penalties behind a linear map: differences along series, trees and grids, and frequencies."""

from dataclasses import dataclass
from typing import Any, ClassVar

from array_api_compat import array_namespace

from symbias._core.arrays import Array
from symbias.designs.penalty import Penalty
from symbias.parameterizations import (
    Cosine,
    CumulativeSum,
    GridSum,
    GroupProduct,
    Transform,
    TreeSum,
    Wavelet,
)


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
        coarsest coefficients are not penalised.
    level : int, optional
        Of the wavelet; the most that the length allows by default.
    image : (rows, cols), optional
        w holds the flattened entries of an image, for wavelets.
    """

    formula: ClassVar[str] = "sum_k |c_k|, c the coefficients of w in the basis"
    belief: ClassVar[str] = "few frequencies or wavelets"

    basis: str = "cosine"
    level: int | None = None
    image: tuple[int, int] | None = None

    def transform(self, size: int) -> Transform:
        """From coefficients to w."""
        if self.basis == "cosine":
            return Cosine()
        return Wavelet(self.basis, self.image or size, level=self.level, free=True)

    def __call__(self, w: Array) -> Array:
        xp = array_namespace(w)
        transform = self.transform(w.shape[0])
        return xp.sum(xp.abs(transform.inverse(w)[transform.free :, ...]))


def _sizes(z: Array, joint: bool) -> Array:
    xp = array_namespace(z)
    if joint and z.ndim > 1:
        return xp.sum(GroupProduct(tuple(z.shape), axis=0).group_norms(z))
    return xp.sum(xp.abs(z))
