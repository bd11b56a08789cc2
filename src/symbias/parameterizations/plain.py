"""The parameter itself: no redundancy, and weight decay is ridge."""

from collections.abc import Mapping

import numpy as np
from array_api_compat import array_namespace

from symbias._core.arrays import Array, Params, Shape, as_shape
from symbias.parameterizations.base import Parameterization
from symbias.parameterizations.inputs import second_moments
from symbias.parameterizations.normal import BoxImage, Products
from symbias.penalties import Entries, Form, Piece, Power
from symbias.symmetry import Symmetry


class Plain(Parameterization):
    """w = u: no symmetry. Weight decay lam on u is the penalty (lam/2) |w|^2.

    Behind a `Linked` it is the one-factor design of penalties that are smooth at 0.
    """

    balanced_section = True
    is_identity = True

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

    def balanced_form(self) -> Form:
        return Piece(Entries(self.shape), Power(2.0, 0.5))

    def box_image(self) -> BoxImage:
        return BoxImage.power(1)

    def least_gradients(self, w: Array, inputs: Array) -> Array:
        xp = array_namespace(w, inputs)
        return xp.sum(second_moments(inputs, w) * xp.ones_like(w))

    @property
    def gradients_formula(self) -> str:
        return "tr S, the same for every w"

    @property
    def law_formula(self) -> str:
        return "0 (flat)"

    def products(self, theta: Mapping[str, np.ndarray]) -> Products:
        return Products(np.zeros((2, 0)), theta["u"].ravel())

    def resized(self, shape: Shape) -> "Plain":
        return Plain(shape)
