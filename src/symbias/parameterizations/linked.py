"""An elementwise link behind a parameterization: any increasing penalty from weight decay."""

from collections.abc import Mapping

import numpy as np
from array_api_compat import array_namespace

from symbias._core.arrays import Array, Params, Shape
from symbias._core.refusal import Refused
from symbias.maps import Link, check_link
from symbias.parameterizations.base import Parameterization
from symbias.parameterizations.inputs import whole
from symbias.parameterizations.normal import BoxImage, Products
from symbias.penalties import Form, Piece, Through
from symbias.symmetry import Symmetry


class Linked(Parameterization):
    """w = h(inner(theta)), elementwise.

    With z = u v (`Hadamard`) weight decay lam is the penalty lam sum |h^-1(w_i)|: every R with a
    corner at 0 is reached by h = R^-1. With z = u (`Plain`) it is (lam/2) sum h^-1(w_i)^2, for
    penalties that are smooth at 0.

    Parameters
    ----------
    inner : Parameterization
        Of z.
    link : Link
    """

    def __init__(self, inner: Parameterization, link: Link) -> None:
        self.inner, self.link = inner, check_link(link)
        self.shape, self.free, self.signed = inner.shape, inner.free, inner.signed
        self.balanced_section = inner.balanced_section

    def __repr__(self) -> str:
        return f"Linked({self.inner!r}, {self.link!r})"

    @property
    def shapes(self) -> dict[str, Shape]:
        return self.inner.shapes

    @property
    def symmetry(self) -> Symmetry:
        return self.inner.symmetry

    def _effective(self, params: Params) -> Array:
        return self.link.forward(self.inner(params))

    def _section(self, w: Array, charge: float) -> dict[str, Array]:
        return self.inner.section(self.link.inverse(w), charge)

    def balanced_form(self) -> Form:
        """The inner one as a function of h^-1(w), where that is a sum over entries of w."""
        inside = self.inner.balanced_form()
        if not isinstance(inside, Piece) or not inside.sizes.elementwise:
            raise Refused(
                f"{self!r}: behind a link the penalty of {self.inner!r} is no sum over sizes of w"
            )
        return Piece(inside.sizes, Through(inside.scalar, self.link))

    def least_gradients(self, w: Array, inputs: Array) -> Array | None:
        """That of the inner one, for the inputs a h'(z): the chain rule."""
        z = self.link.inverse(w)
        return self.inner.least_gradients(
            z, whole(inputs, self.shape) * self.link.slope(z)[None, ...]
        )

    def box_image(self) -> BoxImage:
        """h of the inner one: h is odd and increasing."""
        inside = self.inner.box_image()
        return BoxImage(
            lambda b: float(self.link.forward(np.asarray(inside.reach(b)))),
            f"h({inside.formula})",
            inside.whole,
        )

    def within_tables(self, w: Array) -> Array:
        xp = array_namespace(w)
        inside = self.inner.within_tables(self.link.inverse(w))
        return xp.all(xp.abs(w) <= self.link.high) & inside

    def products(self, theta: Mapping[str, np.ndarray]) -> Products | None:
        inside = self.inner.products(theta)
        return None if inside is None or inside.link else inside._replace(link=self.link)

    def resized(self, shape: Shape) -> "Linked":
        return Linked(self.inner.resized(shape), self.link)
