"""The parameter itself: no redundancy, and weight decay is ridge."""

from symbias._core.arrays import Array, Params, Shape
from symbias.parameterizations.base import Parameterization, as_shape
from symbias.symmetry import Symmetry


class Plain(Parameterization):
    """w = u: no symmetry. Weight decay lam on u is the penalty (lam/2) |w|^2.

    Behind a `Linked` it is the one-factor design of penalties that are smooth at 0.
    """

    def __init__(self, shape: int | Shape) -> None:
        self.shape = as_shape(shape)

    def __repr__(self) -> str:
        return f"Plain({self.shape})"

    @property
    def shapes(self) -> dict[str, Shape]:
        return {"u": self.shape}

    @property
    def symmetry(self) -> Symmetry:
        return Symmetry([])

    def _effective(self, params: Params) -> Array:
        return params["u"]

    def _section(self, w: Array, charge: float) -> dict[str, Array]:
        return {"u": w}
