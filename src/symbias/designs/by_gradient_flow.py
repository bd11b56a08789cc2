"""Designs for gradient flow: the potential of its mirror descent is the penalty, in a limit."""

import math
from typing import TYPE_CHECKING

from symbias._core.arrays import Shape
from symbias._core.refusal import Refused
from symbias.designs.by_weight_decay import tree_of
from symbias.maps import PowerLink
from symbias.parameterizations import Linked, Parameterization, Plain
from symbias.penalties import Behind, Penalty, Piece, Power

if TYPE_CHECKING:
    from symbias.mechanisms import GradientFlow


def by_gradient_flow(penalty: Penalty, mechanism: "GradientFlow", shape: Shape) -> Parameterization:
    """The parameterization whose interpolator of least potential is that of least ``penalty``.

    Squares: plain parameters from zero, scaled, exactly. l1, alone or behind a linear map: products
    u v, in the limit of a small `init_scale` (psi'(w) = asinh(2 w / init_scale^2) / 2), slowly: the
    ratio of penalties at 1 and 0.1 is 10 (1 - O(1 / log(1 / init_scale))).

    Raises
    ------
    Refused
        For other penalties: no product with a potential has them.
    """
    inner = form = penalty.form(shape)
    while isinstance(inner, Behind):
        inner = inner.inner
    if isinstance(inner, Piece) and inner.sizes.elementwise:
        if inner is form and isinstance(inner.scalar, Power) and inner.scalar.exponent == 2:
            plain, unit = Plain(form.shape), math.sqrt(2 * inner.scalar.coefficient)  # z^2/2 = R(w)
            return plain if unit == 1 else Linked(plain, PowerLink(1.0, unit))
        if inner.scalar == Power():
            return tree_of(form)
    raise Refused(
        f"gradient flow has no potential like {penalty!r}: products of numbers give l1 (from small "
        "starts) to l2, alone or behind a linear map; matrix products and groups have none at all"
    )
