"""The normal form of every penalty: functions of sizes, behind linear maps.

    R(w) = min over f and c with w = A_free f + A c  of  sum_k sum_i R_k(t_i(c_k)).

A form is a tree: its leaves are `Piece`, its branches `Behind` a transform, `Placed` on parts of w,
and `Added` into one w. A is square for most penalties, and there is one such c; where it is wide
(overlapping groups, sums of designs) the minimum is over all splits of w.
"""

import math
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from array_api_compat import array_namespace

from symbias._core.arrays import Array, Shape, constant
from symbias._core.refusal import Refused
from symbias.maps import Linear, Transform
from symbias.penalties.scalars import Scalar, scaled
from symbias.penalties.sizes import Sizes


class Form(ABC):
    """A penalty on w of one shape, in normal form."""

    @property
    @abstractmethod
    def shape(self) -> Shape:
        """Of w."""

    @property
    @abstractmethod
    def pieces(self) -> tuple["Piece", ...]:
        """What is penalised, in the order of the coordinates c."""

    @cached_property
    @abstractmethod
    def linear(self) -> Linear:
        """From (f, c), flat, to w, flat. Dense where a transform mixes coordinates."""

    @abstractmethod
    def sizes_at(self, w: Array) -> list[Array]:
        """The sizes t of every piece at w: how large each is that the penalty sums.

        Raises Refused for a minimum over splits of w, which has no sizes of its own.
        """

    @property
    def noun(self) -> str:
        """What the sizes are, for several of them."""
        nouns = {piece.sizes.noun for piece in self.pieces}
        return nouns.pop() if len(nouns) == 1 else "sizes"

    @property
    @abstractmethod
    def mixes(self) -> bool:
        """Whether an entry of w may be made of several coordinates c, or of shared ones."""

    @abstractmethod
    def scaled(self, strength: float) -> "Form":
        """The form of strength * R."""

    @property
    def convex(self) -> bool:
        return all(piece.scalar.convex for piece in self.pieces)

    @property
    def size(self) -> int:
        """Number of penalised coordinates."""
        return sum(math.prod(piece.shape) for piece in self.pieces)

    def split(self, c: np.ndarray) -> list[np.ndarray]:
        """The part of c that belongs to each piece, in its shape."""
        sizes = [math.prod(piece.shape) for piece in self.pieces]
        parts = np.split(c, np.cumsum(sizes)[:-1])
        return [a.reshape(piece.shape) for a, piece in zip(parts, self.pieces, strict=True)]

    def value(self, c: np.ndarray) -> float:
        """sum_k R_k(c_k), for c flat."""
        parts = zip(self.pieces, self.split(c), strict=True)
        return sum(piece.cost(part) for piece, part in parts)


@dataclass(frozen=True)
class Piece(Form):
    """sum_i R(t_i(c)) of c = w itself: a scalar function of its sizes."""

    sizes: Sizes
    scalar: Scalar

    @property
    def shape(self) -> Shape:
        return self.sizes.shape

    @property
    def pieces(self) -> tuple["Piece", ...]:
        return (self,)

    @cached_property
    def linear(self) -> Linear:
        return Linear.identity(math.prod(self.shape))

    def sizes_at(self, w: Array) -> list[Array]:
        return [self.sizes.of(w)]

    @property
    def mixes(self) -> bool:
        return False

    def scaled(self, strength: float) -> "Piece":
        return Piece(self.sizes, scaled(self.scalar, strength))

    @property
    def formula(self) -> str:
        return f"sum {self.scalar.formula(self.sizes.symbol)}"

    @property
    def norm(self) -> bool:
        """Whether R(t) = t up to a factor: the polar sizes are then a constraint."""
        return self.scalar.corner is not None and self.scalar.corner[1] == 0

    def total(self, c: Array) -> Array:
        """The penalty of c, of `shape`, in any array library."""
        return array_namespace(c).sum(self.scalar(self.sizes.of(c)))

    def cost(self, c: np.ndarray) -> float:
        """The penalty of c, as a number."""
        return float(self.total(c))

    def prox(self, c: np.ndarray, tau: float) -> np.ndarray:
        """argmin over d of |d - c|^2 / 2 + tau R(d)."""
        return self.sizes.resize(c, lambda t: self.scalar.prox(t, tau))

    def conjugate(self, g: np.ndarray, strength: float, budget: float) -> float:
        """sup over c of <g, c> - strength R(c), with strength R <= ``budget`` for every size.

        No other c can be the solution where the budget is the value of the objective somewhere.
        For norms 0, provided that the sizes of g are at most the strength times the slope.
        """
        if self.norm:
            return 0.0
        pull = np.asarray(self.sizes.of(g))
        return strength * float(np.sum(self.scalar.conjugate(pull / strength, budget / strength)))

    def distance(
        self, c: np.ndarray, g: np.ndarray, strength: float
    ) -> tuple[np.ndarray, np.ndarray]:
        """How far -g is from the subdifferential of strength R at c, size by size; the sizes."""
        return self.sizes.distance(
            c, g, lambda t: strength * self.scalar.slope(t), strength * self.scalar.slope_at_zero
        )


@dataclass(frozen=True)
class Behind(Form):
    """R(w) = inner(z) with w = A (f, z): the transform's free coordinates f come first."""

    transform: Transform
    inner: Form

    @property
    def _coordinates(self) -> Shape:
        rows, *rest = self.inner.shape
        return (rows + self.transform.free, *rest)

    @property
    def shape(self) -> Shape:
        rows, *rest = self._coordinates
        return (self.transform.rows(rows), *rest)

    @property
    def pieces(self) -> tuple[Piece, ...]:
        return self.inner.pieces

    @cached_property
    def linear(self) -> Linear:
        return self.inner.linear.behind(self.transform, self._coordinates)

    def sizes_at(self, w: Array) -> list[Array]:
        return self.inner.sizes_at(self.transform.inverse(w)[self.transform.free :])

    @property
    def noun(self) -> str:
        return self.transform.noun if self.transform.mixes else self.inner.noun

    @property
    def mixes(self) -> bool:
        return self.transform.mixes or self.inner.mixes

    def scaled(self, strength: float) -> "Behind":
        return Behind(self.transform, self.inner.scaled(strength))


@dataclass(frozen=True)
class Placed(Form):
    """The sum of penalties on parts of w, each given by the flat indices of its entries."""

    whole: Shape
    parts: tuple[tuple[np.ndarray, Form], ...]

    @property
    def shape(self) -> Shape:
        return self.whole

    @property
    def pieces(self) -> tuple[Piece, ...]:
        return tuple(piece for _, form in self.parts for piece in form.pieces)

    @cached_property
    def linear(self) -> Linear:
        size = math.prod(self.whole)
        return Linear.joined([form.linear.placed(index, size) for index, form in self.parts])

    def sizes_at(self, w: Array) -> list[Array]:
        xp = array_namespace(w)
        flat, found = xp.reshape(w, (-1,)), []
        for index, form in self.parts:
            part = xp.take(flat, constant(index, w, index=True), axis=0)
            found += form.sizes_at(xp.reshape(part, form.shape))
        return found

    @property
    def noun(self) -> str:
        nouns = {form.noun for _, form in self.parts}
        return nouns.pop() if len(nouns) == 1 else "sizes"

    @property
    def mixes(self) -> bool:
        return any(form.mixes for _, form in self.parts)

    def scaled(self, strength: float) -> "Placed":
        return Placed(self.whole, tuple((i, form.scaled(strength)) for i, form in self.parts))


@dataclass(frozen=True)
class Added(Form):
    """min over w = w_1 + w_2 + ... of the sum of their penalties: an infimal convolution."""

    terms: Sequence[Form]

    @property
    def shape(self) -> Shape:
        return self.terms[0].shape

    @property
    def pieces(self) -> tuple[Piece, ...]:
        return tuple(piece for form in self.terms for piece in form.pieces)

    @cached_property
    def linear(self) -> Linear:
        return Linear.joined([form.linear for form in self.terms])

    def sizes_at(self, w: Array) -> list[Array]:
        raise Refused("a minimum over all splits of w has no sizes of its own at w")

    @property
    def mixes(self) -> bool:
        return True

    def scaled(self, strength: float) -> "Added":
        return Added([form.scaled(strength) for form in self.terms])
