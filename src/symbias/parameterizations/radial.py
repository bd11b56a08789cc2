"""A number as a function of a vector's length: rotations as the redundancy."""

import math
from collections.abc import Mapping

import numpy as np
from array_api_compat import array_namespace

from symbias._core.arrays import Array, Params, Shape, as_shape, concrete, namespace
from symbias._core.refusal import Refused
from symbias.maps import Link, PowerLink, check_link
from symbias.parameterizations.base import Parameterization
from symbias.parameterizations.inputs import second_moments
from symbias.parameterizations.normal import BoxImage, Products
from symbias.symmetry import Bond, Orthogonal, Symmetry


class Radial(Parameterization):
    """w_i = h(|x_i|) with a vector x_i of n numbers behind every entry of w.

    The symmetry is one Orthogonal(n) bond for each entry (as heads of one bond), whose orbits are
    spheres of log volume (n - 1) log |x_i|. Only the range of h is reached: w >= 0 for a power.

    Parameters
    ----------
    shape : int or tuple of int
        Shape of w; the factor ``x`` has the shape (entries of w * n,).
    n : int
        At least 2.
    link : Link, optional
        h; the identity by default, w = |x|.
    """

    balanced_section = True
    signed = False

    def __init__(self, shape: int | Shape, n: int, link: Link | None = None) -> None:
        if not isinstance(n, int) or n < 2:
            raise ValueError(f"n must be an integer of at least 2, got {n!r}")
        self.shape, self.n = as_shape(shape), n
        self.link = PowerLink(1.0) if link is None else check_link(link)
        self._count = math.prod(self.shape)

    def __repr__(self) -> str:
        return f"Radial({self.shape}, {self.n}, {self.link!r})"

    @property
    def shapes(self) -> dict[str, Shape]:
        return {"x": (self._count * self.n,)}

    @property
    def symmetry(self) -> Symmetry:
        if self._count == 0:
            return Symmetry([])
        heads = self._count if self._count > 1 else None
        return Symmetry([Bond(Orthogonal(self.n), [("x", 0)], heads=heads, name="rotations")])

    def _effective(self, params: Params) -> Array:
        xp = namespace(params)
        squares = xp.sum(xp.reshape(params["x"], (self._count, self.n)) ** 2, axis=1)
        some = squares > 0  # the slope at |x| = 0 is 0, as where |x| underflows, and not nan
        lengths = xp.where(some, xp.sqrt(xp.where(some, squares, xp.ones_like(squares))), squares)
        return xp.reshape(self.link.forward(lengths), self.shape)

    def _section(self, w: Array, charge: float) -> dict[str, Array]:
        """Along the first axis of every sphere; there are no charges.

        Raises ValueError outside of the range of h on lengths.
        """
        xp = namespace({"w": w})
        length = xp.reshape(self.link.inverse(w), (self._count, 1))
        seen = concrete(length)
        if seen is not None and not np.all(np.isfinite(seen) & (seen >= 0)):
            raise ValueError(
                f"w has entries outside of the range of {self!r}: h(|x|) = w has no length |x|"
            )
        rest = xp.zeros_like(xp.broadcast_to(length, (self._count, self.n - 1)))
        return {"x": xp.reshape(xp.concat([length, rest], axis=1), (self._count * self.n,))}

    def least_gradients(self, w: Array, inputs: Array) -> Array:
        """sum_j S_jj h'(|x_j|)^2: the same everywhere on the sphere."""
        slope = self.link.slope(self.link.inverse(w))
        return array_namespace(w, inputs).sum(second_moments(inputs, w) * slope**2)

    def box_image(self) -> BoxImage:
        """All of 0 <= w_i <= h(sqrt(n) b): |x_i| is longest in a corner."""
        longest = math.sqrt(self.n)
        return BoxImage(
            lambda b: float(self.link.forward(np.asarray(longest * b))), f"h(sqrt({self.n}) / lam)"
        )

    @property
    def gradients_formula(self) -> str:
        return "sum_j S_jj h'(|x_j|)^2, |x| = h^-1(w)"

    @property
    def law_formula(self) -> str:
        return "-T sum log |d h^-1 / dw|, h^-1(w) = |x|"

    @property
    def norm_formula(self) -> str:
        return "1/2 sum h^-1(w_i)^2"

    def within_tables(self, w: Array) -> Array:
        xp = array_namespace(w)
        return xp.all(xp.abs(w) <= self.link.high)

    def products(self, theta: Mapping[str, np.ndarray]) -> Products:
        """|x| moves as a parameter of its own: gradients have no component along the sphere."""
        lengths = np.linalg.norm(theta["x"].reshape(-1, self.n), axis=1)
        if not np.all(lengths > 0):
            raise Refused(f"{self!r} starts at |x| = 0: it never moves. Give a start above 0")
        return Products(np.zeros((2, 0)), lengths, self.link)

    def resized(self, shape: Shape) -> "Radial":
        return Radial(shape, self.n, self.link)
