"""What a penalty is: a wish on w, with what a solver asks of it."""

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import ClassVar

from symbias._core.arrays import Array, Shape
from symbias._core.numbers import positive
from symbias.penalties.form import Form


class Penalty(ABC):
    """A penalty R(w) on the effective parameter. Call it with w for its value, a scalar.

    It says nothing about how to reach it. What a solver needs, its proximal map, conjugate and
    subdifferential, belongs to the pieces of its normal form.

    Attributes
    ----------
    formula : str
        R(w), to be read.
    belief : str
        What it expresses about w.
    convex : bool
    couples : bool
        Whether it acts on all columns of a matrix w (n_features, n_targets) together.
    """

    formula: ClassVar[str]
    belief: ClassVar[str]

    @property
    def convex(self) -> bool:
        return True

    @property
    def couples(self) -> bool:
        return False

    @abstractmethod
    def __call__(self, w: Array) -> Array: ...

    @abstractmethod
    def form(self, shape: Shape) -> Form:
        """The penalty on w of this shape as sizes behind a linear map.

        Raises
        ------
        ValueError
            Where the penalty is not defined for this shape, or has no such form; with the reason.
        """

    def __rmul__(self, strength: float) -> "Penalty":
        return Scaled(self, positive("a strength", strength))

    def __add__(self, other: "Penalty") -> "Penalty":
        """The sum of two penalties of the same w (see `symbias.penalties.Composed`)."""
        from symbias.penalties.composed import Composed

        if not isinstance(other, Penalty):
            return NotImplemented
        return Composed((*_terms(self), *_terms(other)))


def _terms(penalty: Penalty) -> tuple[Penalty, ...]:
    return getattr(penalty, "terms", (penalty,))


@dataclass(frozen=True, eq=False)
class Scaled(Penalty):
    """strength * R(w)."""

    penalty: Penalty
    strength: float

    def __repr__(self) -> str:
        inside = repr(self.penalty)
        return f"{self.strength!r} * " + (f"({inside})" if " + " in inside else inside)

    @property
    def formula(self) -> str:  # type: ignore[override]
        return f"{self.strength:g} ({self.penalty.formula})"

    @property
    def belief(self) -> str:  # type: ignore[override]
        return self.penalty.belief

    @property
    def convex(self) -> bool:
        return self.penalty.convex

    @property
    def couples(self) -> bool:
        return self.penalty.couples

    def __call__(self, w: Array) -> Array:
        return self.strength * self.penalty(w)

    def form(self, shape: Shape) -> Form:
        return self.penalty.form(shape).scaled(self.strength)
