"""Penalties on the singular values of a matrix."""

from dataclasses import dataclass
from typing import ClassVar

from array_api_compat import array_namespace

from symbias._core.arrays import Array, Shape
from symbias._core.refusal import Refused
from symbias.penalties.base import Penalty
from symbias.penalties.form import Form, Piece
from symbias.penalties.scalars import Power
from symbias.penalties.sizes import Entries, SingularValues


@dataclass(frozen=True, eq=False)
class Schatten(Penalty):
    """sum_i sigma_i^p over the singular values of w: low rank, the more so the smaller p.

    Parameters
    ----------
    p : float
        2 / depth of the product that reaches it: 1 (convex), 2/3, 1/2, ...; or 2, all squares.
    rank : int, optional
        Bound on the rank; none by default. With one the minimum may be cut off.
    """

    formula: ClassVar[str] = "sum_i sigma_i(w)^p"
    belief: ClassVar[str] = "very low rank"

    p: float = 2 / 3
    rank: int | None = None

    @property
    def convex(self) -> bool:
        return self.p >= 1

    @property
    def couples(self) -> bool:
        return True

    def __call__(self, w: Array) -> Array:
        xp = array_namespace(w)
        return xp.sum(xp.linalg.svdvals(w) ** self.p)

    def form(self, shape: Shape) -> Form:
        if len(shape) != 2:
            how = f": sb.Reshaped(sb.{self!r}, ({shape[0]}, -1)) takes it" if len(shape) > 2 else ""
            raise Refused(f"{self!r} is a penalty on matrices, w has the shape {shape}{how}")
        if self.p == 2 and self.rank is None:  # the sum of squares of the entries
            return Piece(Entries(shape), Power(2.0))
        return Piece(SingularValues(shape, self.rank), Power(self.p))


@dataclass(frozen=True, eq=False)
class Nuclear(Schatten):
    """sum_i sigma_i: the nuclear norm, low rank.

    References
    ----------
    Fazel, Hindi, Boyd, "A rank minimization heuristic", 2001.
    """

    formula: ClassVar[str] = "sum_i sigma_i(w)"
    belief: ClassVar[str] = "low rank"

    p: float = 1.0

    def __post_init__(self) -> None:
        if self.p != 1:
            raise ValueError(f"Nuclear has p = 1, got {self.p}: take sb.Schatten")
