"""What a penalty is: a wish, which says nothing about how to reach it."""

from abc import ABC, abstractmethod
from typing import ClassVar

from symbias._core.arrays import Array


class Penalty(ABC):
    """A penalty R(w) on the effective parameter. Call it with w for its value, a scalar.

    Attributes
    ----------
    formula : str
        R(w), to be read.
    belief : str
        What it expresses about w.
    convex : bool
    """

    formula: ClassVar[str]
    belief: ClassVar[str]

    @property
    def convex(self) -> bool:
        return True

    @abstractmethod
    def __call__(self, w: Array) -> Array: ...
