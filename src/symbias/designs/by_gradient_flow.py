"""Designs for gradient flow: the potential of its mirror descent is the penalty, in a limit."""

from symbias._core.arrays import Shape
from symbias.designs.by_weight_decay import by_weight_decay
from symbias.designs.penalties import (
    L1,
    Differences,
    Penalty,
    Ridge,
    Spectral,
    TotalVariation,
    TrendFilter,
)
from symbias.mechanisms import GradientFlow
from symbias.parameterizations import Hadamard, Parameterization, Plain, Synthesis


def by_gradient_flow(penalty: Penalty, mechanism: GradientFlow, shape: Shape) -> Parameterization:
    """The parameterization whose interpolator of least potential is that of least ``penalty``.

    Ridge: plain parameters from zero, exactly. l1 and l1 behind a linear map: products u v, in the
    limit of a small `init_scale` (psi'(w) = asinh(2 w / init_scale^2) / 2), slowly: the ratio of
    penalties at 1 and 0.1 is 10 (1 - O(1 / log(1 / init_scale))).

    Raises
    ------
    ValueError
        For other penalties: no product with a potential has them.
    """
    if isinstance(penalty, Ridge):
        return Plain(shape)
    if isinstance(penalty, L1 | TotalVariation | TrendFilter | Differences | Spectral):
        p = by_weight_decay(penalty, shape)
        inner = p
        while isinstance(inner, Synthesis):
            inner = inner.inner
        if isinstance(inner, Hadamard):
            return p
    raise ValueError(
        f"gradient flow has no potential like {penalty!r}: products of numbers give l1 (from small "
        "starts) to l2, alone or behind a linear map; matrix products and groups have none at all. "
        "Weight decay takes this penalty"
    )
