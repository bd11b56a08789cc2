"""Elementwise products: sparsity from plain weight decay."""

import math
from collections.abc import Mapping
from typing import Any

import numpy as np
from array_api_compat import array_namespace

from symbias._core.arrays import Array, Params, Shape, as_shape, namespace
from symbias.parameterizations.base import Parameterization
from symbias.parameterizations.inputs import second_moments
from symbias.parameterizations.normal import BoxImage, Products, Scales
from symbias.penalties import Entries, Form, Piece, Power
from symbias.symmetry import Bond, Rescaling, Symmetry

# Newton on a convex increasing function, from the right: 8 steps reach rounding for depths to 10.
_NEWTON_STEPS = 30


class Hadamard(Parameterization):
    """w = u1 * u2 * ... * uL, elementwise.

    Weight decay lam on the factors is the penalty lam (L/2) sum |w|^(2/L): the l1 norm at depth
    2, lq quasi-norms with q = 2/L beyond. The symmetry is L - 1 Rescaling bonds in a chain, with
    charges u_k^2 - u_(k+1)^2.

    Parameters
    ----------
    shape : int or tuple of int
        Shape of w and of each of the factors ``u1 ... uL``.
    depth : int
        Number of factors L, at least 2.

    References
    ----------
    Hoff, "Lasso, fractional norm and structured sparse estimation using a Hadamard product
    parametrization", CSDA 2017.
    """

    balanced_section = True

    def __init__(self, shape: int | Shape, depth: int = 2) -> None:
        if not isinstance(depth, int) or depth < 2:
            raise ValueError(f"depth must be an integer of at least 2, got {depth!r}")
        self.shape = as_shape(shape)
        self.depth = depth

    def __repr__(self) -> str:
        return f"Hadamard({self.shape}, depth={self.depth})"

    @property
    def names(self) -> list[str]:
        """The factors in order, ``u1`` to ``uL``."""
        return [f"u{k}" for k in range(1, self.depth + 1)]

    @property
    def shapes(self) -> dict[str, Shape]:
        return dict.fromkeys(self.names, self.shape)

    @property
    def symmetry(self) -> Symmetry:
        size = math.prod(self.shape)
        if size == 0:
            return Symmetry([])
        group = Rescaling(size)
        pairs = zip(self.names, self.names[1:], strict=False)
        return Symmetry(
            [
                Bond(group, vectors=[(a, None)], covectors=[(b, None)], name=f"{a}-{b}")
                for a, b in pairs
            ]
        )

    def _effective(self, params: Params) -> Array:
        return math.prod((params[name] for name in self.names[1:]), start=params[self.names[0]])

    def _section(self, w: Array, charge: float) -> dict[str, Array]:
        return dict(zip(self.names, chain_factors(w, charge, self.depth), strict=True))

    def balanced_form(self) -> Form:
        """(L / 2) sum |w_i|^(2 / L)."""
        return Piece(Entries(self.shape), Power(2 / self.depth, self.depth / 2))

    def box_image(self) -> BoxImage:
        """All of |w_i| <= b^L: by factors of one size."""
        return BoxImage.power(self.depth)

    def least_gradients(self, w: Array, inputs: Array) -> Array:
        """sum_j S_jj L |w_j|^(2 - 2 / L), S the sum of a a^T."""
        xp = array_namespace(w, inputs)
        moments = second_moments(inputs, w)
        return self.depth * xp.sum(moments * xp.abs(w) ** (2 - 2 / self.depth))

    @property
    def gradients_formula(self) -> str:
        power = "" if self.depth == 2 else f"^{2 - 2 / self.depth:.4g}"
        return f"sum_j S_jj {self.depth} |w_j|{power}"

    @property
    def law_formula(self) -> str:
        return "(T / 2) sum log |w_i|" if self.depth == 2 else super().law_formula

    @property
    def scales(self) -> Scales:
        """All factors but one are of the same size where they are balanced."""
        return Scales(np.arange(math.prod(self.shape)), self.depth - 1)

    def products(self, theta: Mapping[str, np.ndarray]) -> Products:
        return Products(np.stack([theta[k].ravel() for k in self.names]), np.zeros(0))

    def resized(self, shape: Shape) -> "Hadamard":
        return Hadamard(shape, self.depth)


def chain_factors(w: Array, charge: float, depth: int) -> list[Array]:
    """u1 ... uL with product w, elementwise, and u_k^2 - u_(k+1)^2 = charge; uL has the sign."""
    xp = namespace({"w": w})
    last = _smallest_factor(xp, xp.abs(w), charge, depth)
    # u_k^2 = u_L^2 + (L - k) charge
    others = [
        xp.hypot(last, xp.full_like(last, math.sqrt((depth - k) * charge))) for k in range(1, depth)
    ]
    product = math.prod(others[1:], start=others[0])
    # exact by construction: the last factor takes what is left of w
    return [*others, w / xp.where(product > 0, product, xp.ones_like(product))]


def _smallest_factor(xp: Any, magnitude: Array, charge: float, depth: int) -> Array:
    """y >= 0 with prod_(k=0..L-1) sqrt(y^2 + k charge) = magnitude; depth 2 has a closed form."""
    if charge == 0:
        return magnitude ** (1 / depth)
    if depth == 2:
        half = xp.full_like(magnitude, charge / 2)
        return magnitude / xp.sqrt(half + xp.hypot(half, magnitude))
    positive = xp.where(magnitude > 0, magnitude, xp.ones_like(magnitude))
    target, log_y = xp.log(positive), xp.log(positive) / depth
    for _ in range(_NEWTON_STEPS):
        y = xp.exp(log_y)
        value, slope = log_y, xp.ones_like(log_y)
        for k in range(1, depth):
            factor = xp.hypot(y, xp.full_like(y, math.sqrt(k * charge)))
            value, slope = value + xp.log(factor), slope + (y / factor) ** 2
        log_y = log_y - (value - target) / slope
    return xp.where(magnitude > 0, xp.exp(log_y), xp.zeros_like(magnitude))
