"""From a penalty and a training mechanism to the parameterization that has this bias."""

from collections.abc import Callable
from typing import Any

import numpy as np

from symbias._arrays import Shape
from symbias.designs.penalties import (
    L1,
    GroupLasso,
    Lq,
    Penalty,
    Spectral,
    TotalVariation,
    TrendFilter,
    as_penalty,
)
from symbias.mechanisms import WeightDecay
from symbias.parameterizations import (
    Cosine,
    CumulativeSum,
    Diagonal,
    GroupProduct,
    Hadamard,
    Parameterization,
    Synthesis,
)
from symbias.parameterizations.base import as_shape


def design(
    penalty: Penalty | str, mechanism: WeightDecay, *, shape: int | Shape
) -> Parameterization:
    """The parameterization whose bias under ``mechanism`` is ``penalty``.

    For weight decay of any strength: ``mechanism.penalty(p, w) == strength * penalty(w)``.

    Parameters
    ----------
    penalty : Penalty or str
        What to prefer, such as ``sb.TotalVariation()`` or its short name ``"tv"``.
    mechanism : WeightDecay
        How it will be trained.
    shape : int or tuple of int
        Shape of the effective parameter.

    Raises
    ------
    ValueError
        If no parameterization of the family reaches this penalty; the message says why and what
        would work.
    TypeError
        If the mechanism is not one that can be designed for.
    """
    penalty, shape = as_penalty(penalty), as_shape(shape)
    if not isinstance(mechanism, WeightDecay):
        raise TypeError(
            f"cannot design for {mechanism!r}: expected a mechanism such as "
            "sb.WeightDecay(1e-2). Adam and AdamW minimise another objective"
        )
    for kind, compile_ in _WEIGHT_DECAY.items():
        if isinstance(penalty, kind):
            return compile_(penalty, shape)
    raise ValueError(f"no parameterization has the bias {penalty!r} under weight decay")


def _l1(penalty: L1, shape: Shape) -> Parameterization:
    if penalty.weights is None:
        return Hadamard(shape)
    weights = _weights(penalty.weights, shape)
    if len(shape) > 1:
        return Synthesis(Diagonal(weights), Hadamard(shape))
    diagonal = Diagonal(weights)
    return Synthesis(diagonal, Hadamard(shape[0] - diagonal.free))


def _lq(penalty: Lq, shape: Shape) -> Parameterization:
    q = penalty.q
    if not 0 < q < 2:
        raise ValueError(
            f"Lq needs 0 < q < 2, got q = {q}"
            + (": ridge is plain weight decay, without a design" if q == 2 else "")
        )
    depth = round(2 / q)
    if depth < 2 or abs(2 / depth - q) > 1e-9:
        near = max(depth, 2)
        raise ValueError(
            f"weight decay on products reaches Lq only for q = 2/depth (1, 2/3, 1/2, "
            f"2/5, ...), not q = {q}; the nearest is q = 2/{near} = {2 / near:.4g}"
        )
    # (depth / 2) |scale w|^q = |w|^q
    scale = (2 / depth) ** (depth / 2)
    return Synthesis(Diagonal(np.full(shape[0], scale)), Hadamard(shape, depth=depth))


def _group(penalty: GroupLasso, shape: Shape) -> Parameterization:
    labels = penalty.labels(shape)
    whole = GroupProduct(shape, groups=labels)
    weights = Diagonal(penalty.group_weights(whole)[whole.labels].reshape(shape))
    if not weights.free:
        return Synthesis(weights, whole)
    penalised = weights.weights > 0
    return Synthesis(weights, GroupProduct(int(penalised.sum()), groups=labels[penalised]))


def _differences(order: int, spacing: Any, shape: Shape, name: str) -> Parameterization:
    if len(shape) != 1:
        raise ValueError(
            f"{name} acts on a series, not on shape {shape}: total variation on a "
            "grid has no exact square synthesis. Use one design per row or column"
        )
    order = min(order, shape[0])
    if spacing is not None and np.shape(spacing) != (max(shape[0] - 1, 0),):
        raise ValueError(f"spacing must have {shape[0] - 1} entries, got shape {np.shape(spacing)}")
    return Synthesis(
        CumulativeSum(order, spacing=spacing) if order else Cosine(), Hadamard(shape[0] - order)
    )


def _spectral(penalty: Spectral, shape: Shape) -> Parameterization:
    return Synthesis(Cosine(), Hadamard(shape))


def _weights(weights: Any, shape: Shape) -> np.ndarray:
    array = np.asarray(weights, dtype=float)
    if array.shape != shape:
        raise ValueError(f"weights has shape {array.shape}, expected one per coefficient: {shape}")
    return array


_WEIGHT_DECAY: dict[type[Penalty], Callable[[Any, Shape], Parameterization]] = {
    L1: _l1,
    Lq: _lq,
    GroupLasso: _group,
    TotalVariation: lambda p, shape: _differences(1, None, shape, "TotalVariation"),
    TrendFilter: lambda p, shape: _differences(2, p.spacing, shape, "TrendFilter"),
    Spectral: _spectral,
}
