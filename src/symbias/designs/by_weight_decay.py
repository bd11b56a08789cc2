"""Designs for coupled weight decay: the least norm on the orbit is the penalty."""

from functools import singledispatch

import numpy as np

from symbias._core.arrays import Shape
from symbias.designs.penalties import (
    L1,
    Custom,
    Differences,
    Elementwise,
    GroupLasso,
    LatentGroupLasso,
    Lq,
    Penalty,
    Ridge,
    Schatten,
    Spectral,
    TotalVariation,
    TrendFilter,
)
from symbias.parameterizations import (
    CumulativeSum,
    Diagonal,
    GroupProduct,
    Hadamard,
    Linked,
    MatrixProduct,
    Parameterization,
    Parts,
    Plain,
    PowerLink,
    Synthesis,
    TabulatedLink,
    Transform,
    TreeSum,
)


@singledispatch
def by_weight_decay(penalty: Penalty, shape: Shape) -> Parameterization:
    """The parameterization whose weight-decay penalty, at strength 1, is ``penalty``.

    Raises
    ------
    ValueError
        If there is none in the family; the message says why and what would work.
    """
    raise ValueError(f"no parameterization has the bias {penalty!r} under weight decay")


@by_weight_decay.register
def _(penalty: Elementwise, shape: Shape) -> Parameterization:
    """Two factors w = h(u v) for a corner at 0, one factor w = h'(u) where R is smooth there."""
    if isinstance(penalty, Custom):
        penalty.warn_if_bounded()
    p = penalty.exponent
    if p > 2 + 1e-3:
        raise ValueError(
            f"{penalty!r} grows like |w|^{p:.3g} at 0: its link is singular there (the derivative "
            "of the inverse is infinite). Exponents up to 2 work; sb.Ridge() is the nearest"
        )
    if p <= 1 + 1e-3:
        return Linked(Hadamard(shape), penalty.link())
    return Linked(Plain(shape), _one_factor(penalty))


@by_weight_decay.register
def _(penalty: Ridge, shape: Shape) -> Parameterization:
    return Plain(shape)


def _one_factor(penalty: Elementwise) -> PowerLink | TabulatedLink:
    """w = sgn(u) R^-1(u^2 / 2)."""
    if isinstance(penalty, Custom):
        return TabulatedLink(lambda w: np.sqrt(2 * penalty.values(w)), penalty.low, penalty.high)
    link = penalty.link()
    if not isinstance(link, PowerLink):
        raise ValueError(f"no one-factor design for {penalty!r}")
    # (u^2 / 2 / scale)^e
    return PowerLink(2 * link.exponent, (2 * link.scale) ** 0.5)


@by_weight_decay.register
def _(penalty: L1, shape: Shape) -> Parameterization:
    if penalty.weights is None:
        return Hadamard(shape)
    weights = _weights(penalty.weights, shape)
    if len(shape) > 1:
        return Synthesis(Diagonal(weights), Hadamard(shape))
    diagonal = Diagonal(weights)
    return Synthesis(diagonal, Hadamard(shape[0] - diagonal.free))


@by_weight_decay.register
def _(penalty: Lq, shape: Shape) -> Parameterization:
    """Depth 2/q where that is a whole number, a link otherwise."""
    q = penalty.q
    if not 0 < q <= 2:
        raise ValueError(
            f"Lq needs 0 < q <= 2, got q = {q}"
            + (": its link is singular at 0; sb.Ridge() is the nearest" if q > 2 else "")
        )
    depth = round(2 / q)
    if depth < 2 or abs(2 / depth - q) > 1e-9:
        return by_weight_decay.dispatch(Elementwise)(penalty, shape)
    # (depth / 2) |scale w|^q = |w|^q
    scale = (2 / depth) ** (depth / 2)
    whole = Hadamard(shape, depth=depth)
    return Synthesis(Diagonal(np.full(shape[0], scale)), whole)


@by_weight_decay.register
def _(penalty: GroupLasso, shape: Shape) -> Parameterization:
    labels = penalty.labels(shape)
    whole = GroupProduct(shape, groups=labels)
    weights = Diagonal(penalty.group_weights(whole)[whole.labels].reshape(shape))
    if not weights.free:
        return Synthesis(weights, whole)
    penalised = weights.weights > 0
    return Synthesis(weights, GroupProduct(int(penalised.sum()), groups=labels[penalised]))


@by_weight_decay.register
def _(penalty: LatentGroupLasso, shape: Shape) -> Parameterization:
    if len(shape) != 1:
        raise ValueError(f"overlapping groups need a vector of coefficients, not shape {shape}")
    copies = penalty.copies(shape[0])
    weights = Diagonal(copies.weights[copies.labels])
    return Synthesis(
        copies, Synthesis(weights, GroupProduct(len(copies.index), groups=copies.labels))
    )


@by_weight_decay.register
def _(penalty: TotalVariation, shape: Shape) -> Parameterization:
    if penalty.tree is not None:
        if len(penalty.tree) != shape[0]:
            raise ValueError(f"the tree has {len(penalty.tree)} nodes, w has {shape[0]}")
        return _behind(TreeSum(penalty.tree), shape, penalty.joint)
    if len(shape) == 2 and not penalty.joint and penalty.axis is None:
        raise ValueError(
            f"total variation on a grid, here {shape}, has no exact square synthesis. Reachable: "
            "sb.TotalVariation(axis=0) or (axis=1), line by line; (joint=True), rows that jump "
            "together; a spanning tree of the grid (tree=parents of the flattened grid); "
            "sb.Differences(1, grid=shape), mixed differences; sb.Spectral('haar', image=shape)"
        )
    if len(shape) == 2 and penalty.axis in (1, -1):
        turned = np.arange(shape[0] * shape[1]).reshape(shape).T
        return Parts(shape, [(turned, _series(1, None, shape[::-1], penalty.joint))])
    return _series(1, None, shape, penalty.joint)


@by_weight_decay.register
def _(penalty: TrendFilter, shape: Shape) -> Parameterization:
    spacing = penalty.spacing
    if spacing is not None and np.shape(spacing) != (max(shape[0] - 1, 0),):
        raise ValueError(f"spacing must have {shape[0] - 1} entries, got shape {np.shape(spacing)}")
    return _series(2, spacing, shape, penalty.joint)


@by_weight_decay.register
def _(penalty: Differences, shape: Shape) -> Parameterization:
    if penalty.grid is not None and shape != (int(np.prod(penalty.grid)),):
        raise ValueError(f"a grid {penalty.grid} has {np.prod(penalty.grid)} entries, w {shape}")
    return _behind(penalty.transform(shape[0]), shape, joint=False)


@by_weight_decay.register
def _(penalty: Spectral, shape: Shape) -> Parameterization:
    return _behind(penalty.transform(shape[0]), shape, joint=False)


@by_weight_decay.register
def _(penalty: Schatten, shape: Shape) -> Parameterization:
    if len(shape) != 2:
        raise ValueError(f"{penalty!r} is a penalty on matrices, w has the shape {shape}")
    depth = round(2 / penalty.p) if 0 < penalty.p <= 1 else 0
    if depth < 2 or abs(2 / depth - penalty.p) > 1e-9:
        near = max(depth, 2)
        raise ValueError(
            f"weight decay on matrix products reaches Schatten-p only for p = 2/depth (1, 2/3, "
            f"1/2, ...), not p = {penalty.p}; the nearest is p = 2/{near} = {2 / near:.4g}"
        )
    whole = MatrixProduct(*shape, penalty.rank, depth=depth)
    if depth == 2:
        return whole
    # (depth / 2) (scale sigma)^p = sigma^p
    scale = (2 / depth) ** (depth / 2)
    return Synthesis(Diagonal(np.full(shape[0], scale)), whole)


def _series(order: int, spacing: object, shape: Shape, joint: bool) -> Parameterization:
    order = min(order, shape[0])
    if not order:
        return Hadamard(shape)
    return _behind(CumulativeSum(order, spacing=spacing), shape, joint)


def _behind(transform: Transform, shape: Shape, joint: bool) -> Parameterization:
    """w = A (free, z) with z a Hadamard product, or rows of z that share a scale."""
    inner = (shape[0] - transform.free, *shape[1:])
    together = joint and len(shape) == 2
    return Synthesis(transform, GroupProduct(inner, axis=0) if together else Hadamard(inner))


def _weights(weights: object, shape: Shape) -> np.ndarray:
    array = np.asarray(weights, dtype=float)
    if array.shape != shape:
        raise ValueError(f"weights has shape {array.shape}, expected one per coefficient: {shape}")
    return array
