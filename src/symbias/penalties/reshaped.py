"""A penalty on the entries of w in another shape: a matrix penalty on kernels and on vectors."""

import math
from dataclasses import dataclass

import numpy as np
from array_api_compat import array_namespace

from symbias._core.arrays import Array, Shape
from symbias._core.numbers import is_whole
from symbias.penalties.base import Penalty
from symbias.penalties.form import Form, Placed


@dataclass(frozen=True, eq=False)
class Reshaped(Penalty):
    """R(w reshaped), in row-major order: low rank of a kernel, or of a w that models flatten.

    ``sb.Reshaped(sb.Nuclear(), (out, -1))`` is the nuclear norm of the unfolding (out, in kh kw)
    of a convolution's kernel (out, in, kh, kw): of rank r the layer is one with r channels and
    then a 1 x 1 one.

    Parameters
    ----------
    penalty : Penalty
    shape : tuple of int
        The shape it acts on. One size may be -1, for what is left.

    Raises
    ------
    ValueError
        By `form`, for a w whose entries do not fill the shape.
    """

    penalty: Penalty
    shape: tuple[int, ...]

    def __post_init__(self) -> None:
        sizes = self.shape if isinstance(self.shape, tuple | list) else ()
        whole = [n for n in sizes if is_whole(n) and (n > 0 or n == -1)]
        if not sizes or len(whole) < len(sizes) or list(sizes).count(-1) > 1:
            raise ValueError(
                f"the shape must be positive integers, one of them -1 at most, got {self.shape!r}"
            )
        if not isinstance(self.penalty, Penalty):
            raise ValueError(f"expected a penalty such as sb.Nuclear(), got {self.penalty!r}")

    @property
    def formula(self) -> str:  # type: ignore[override]
        return f"{self.penalty.formula}, w of shape {tuple(self.shape)}"

    @property
    def belief(self) -> str:  # type: ignore[override]
        return self.penalty.belief

    @property
    def convex(self) -> bool:
        return self.penalty.convex

    def inner(self, shape: Shape) -> Shape:
        """The shape that a w of ``shape`` is given."""
        size, known = math.prod(shape), math.prod(n for n in self.shape if n != -1)
        free = -1 in self.shape
        if size % known if free else size != known:
            raise ValueError(f"w of shape {shape} cannot be reshaped to {tuple(self.shape)}")
        return tuple(size // known if n == -1 else n for n in self.shape)

    def __call__(self, w: Array) -> Array:
        return self.penalty(array_namespace(w).reshape(w, self.inner(tuple(w.shape))))

    def form(self, shape: Shape) -> Form:
        inside = self.penalty.form(self.inner(shape))
        return Placed(shape, ((np.arange(math.prod(shape)), inside),))
