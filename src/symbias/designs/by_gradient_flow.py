"""Designs for gradient flow: the potential of its mirror descent is the penalty."""

import math
from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from symbias._core.arrays import Shape
from symbias._core.refusal import Refused
from symbias.maps import CumulativeSum, Link, PowerLink, TabulatedLink
from symbias.parameterizations import Hadamard, Linked, Parameterization, Parts, Plain, Synthesis
from symbias.penalties import (
    Behind,
    Entropy,
    Form,
    Hypentropy,
    Penalty,
    Piece,
    Placed,
    Power,
    Ridge,
    Scalar,
)

if TYPE_CHECKING:
    from symbias.mechanisms import GradientFlow

DEPTHS = (2, 3, 4, 5, 6)
NEAR, FAR = 0.01, 0.5  # how far from l1 a product is near enough, and too far
NODES, WEIGHTS = np.polynomial.legendre.leggauss(20)
PANELS, LOW, HIGH = 2400, 1e-9, 1e6
REST = 1e-3  # of an exponent at zero that was found numerically

Core = Callable[[Piece], Parameterization]
Function = Callable[[np.ndarray], np.ndarray]


def by_gradient_flow(penalty: Penalty, mechanism: "GradientFlow", shape: Shape) -> Parameterization:
    r"""The parameterization whose interpolator of least potential is that of least ``penalty``.

    A sum of convex functions of entries, with R'' positive and finite, alone or behind a linear
    map: one factor, exactly,

    .. math:: w = h(u), \qquad h^{-1}(w) = \int_0^w \sqrt{R''(t)}\,dt,

    since the flow :math:`\dot u = -h'(u)\,g` of u is :math:`\dot w = -g / R''(w)`: mirror descent
    with the potential R. Entropies likewise: w = u^2/4 from the reference. l1 has a corner, which
    no potential has: products of numbers, in the limit of a small start, with the depth from 2 to
    6 whose potential of 1 over that of .1 is nearest to 10 (the least that is within 1%).

    Raises
    ------
    Refused
        For other penalties, with the reason.
    """
    if isinstance(penalty, Entropy):
        return _positive(penalty, mechanism, shape)

    def core(piece: Piece) -> Parameterization:
        if not piece.sizes.elementwise:
            raise Refused(
                f"gradient flow has no potential like {penalty!r}: matrix products and groups of "
                "more than one entry have none at all, sums over entries have"
            )
        if piece.scalar == Power():
            return Hadamard(piece.shape, depth_near_l1(mechanism))
        if piece.scalar == Power(2.0, 0.5):
            return Plain(piece.shape)
        return Linked(Plain(piece.shape), link_of(piece.scalar))

    return _tree(penalty.form(shape), core)


def _tree(form: Form, core: Core) -> Parameterization:
    """The same tree as ``form``, with a core at every piece."""
    if isinstance(form, Behind) and form.inner.shape[0] > form.shape[0]:
        raise Refused(
            "a w of more coordinates than entries has no potential in closed form: it is the least "
            "over all splits of w"
        )
    if isinstance(form, Behind):
        return Synthesis(form.transform, _tree(form.inner, core))
    if isinstance(form, Placed):
        return Parts(form.whole, [(index, _tree(part, core)) for index, part in form.parts])
    if isinstance(form, Piece):
        return core(form)
    raise Refused(
        "a sum of several penalties of one w is a minimum over splits of it, and no potential of a "
        "flow is known to be one"
    )


def depth_near_l1(mechanism: "GradientFlow") -> int:
    """The least depth whose potential is within 1% of l1, or the nearest."""
    if mechanism.init_scale is None:  # the factors are given, and with them the depth
        return 2
    off = {depth: abs(_contrast(mechanism, depth) / 10 - 1) for depth in DEPTHS}
    nearest = min(off, key=off.__getitem__)
    if off[nearest] > FAR:
        raise Refused(
            f"from init_scale {mechanism.init_scale:g} no product is near l1: the potential of 1 "
            f"over that of .1 is {_contrast(mechanism, nearest):.3g} at the best depth, {nearest}, "
            "where l1 has 10 and l2 has 100: start smaller",
        )
    return next((depth for depth in DEPTHS if off[depth] <= NEAR), nearest)


def _contrast(mechanism: "GradientFlow", depth: int) -> float:
    """The potential of 1 over that of .1 from w(0) = 0, in the mechanism's charges."""
    return replace(mechanism, start=None).induced(Hadamard(1, depth)).contrast


def link_of(scalar: Scalar) -> Link:
    """h with h^-1(w) = integral of sqrt(R'') from 0 to w.

    Raises
    ------
    Refused
        Where R has a corner, R''(0) is zero or infinite, or R'' is not positive.
    """
    if isinstance(scalar, Power) and scalar.exponent == 2:
        return PowerLink(1.0, math.sqrt(2 * scalar.coefficient))
    name = scalar.formula("|w|")
    if scalar.slope_at_zero > 0:
        raise Refused(
            f"{name} has a corner at 0, where the potential of a flow is smooth; l1 alone is "
            "reached, in the limit of a small start",
            near=(Hypentropy(0.01),),
        )
    if abs(scalar.exponent - 2) > REST:
        at_zero = "infinite" if scalar.exponent < 2 else "zero"
        what = "the flow never leaves w = 0" if scalar.exponent < 2 else "the map is singular there"
        raise Refused(
            f"the second derivative of {name} at 0 is {at_zero}, and {what}: R'' must be positive "
            "and finite",
            near=(Ridge(),),
        )
    low, high = LOW, min(scalar.range / 1.1, HIGH)  # differences look 8% ahead
    bend = scalar.smooth_curvature(low, high)
    at = np.geomspace(low, high, PANELS)
    if not np.all(positive := bend(at) > 0):
        raise Refused(
            f"{name} is not strictly convex at |w| = {at[int(np.argmin(positive))]:.3g}: the "
            "potential of a flow has a positive second derivative",
            near=(Ridge(),),
        )
    return TabulatedLink(_arc(bend, low, high), low, high)


def _arc(bend: Function, low: float, high: float) -> Function:
    """The integral of sqrt(R'') from 0, by Gauss-Legendre panels."""
    edges = np.concatenate([[0.0], np.geomspace(low / 4, high, PANELS)])

    def panel(a: np.ndarray, b: np.ndarray) -> np.ndarray:
        points = a[..., None] + (b - a)[..., None] * (1 + NODES) / 2
        return (b - a) / 2 * np.sum(WEIGHTS * np.sqrt(bend(points)), axis=-1)

    before = np.concatenate([[0.0], np.cumsum(panel(edges[:-1], edges[1:]))])

    def arc(w: np.ndarray) -> np.ndarray:
        k = np.clip(np.searchsorted(edges, w) - 1, 0, PANELS - 1)
        return before[k] + panel(edges[k], w)

    return arc


def _positive(penalty: Entropy, mechanism: "GradientFlow", shape: Shape) -> Parameterization:
    """w = u^2/4, or its cumulative sum, from the reference."""
    reference = np.broadcast_to(np.asarray(penalty.reference, dtype=float), shape)
    start = mechanism.start
    if not isinstance(start, np.ndarray | list | tuple | float | int) or not np.allclose(
        np.broadcast_to(np.asarray(start, dtype=float), shape), reference, rtol=1e-12
    ):
        raise Refused(
            "an entropy is relative to its reference, where the flow has to start: give "
            "sb.GradientFlow the same start"
        )
    inner = (shape[0] - 1,) if penalty.monotone else shape
    squares = Linked(Plain(inner), PowerLink(2.0, 2.0))
    return Synthesis(CumulativeSum(), squares) if penalty.monotone else squares
