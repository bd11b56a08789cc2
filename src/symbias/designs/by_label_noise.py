"""Designs for label noise: the least squared gradient on the orbit is the penalty."""

from functools import singledispatch

import numpy as np

from symbias._core.arrays import Shape
from symbias.designs.by_weight_decay import by_weight_decay
from symbias.designs.penalties import (
    L1,
    Differences,
    Elementwise,
    GroupLasso,
    Lq,
    Penalty,
    Schatten,
    Spectral,
    TotalVariation,
    TrendFilter,
)
from symbias.parameterizations import (
    Diagonal,
    GroupProduct,
    Hadamard,
    Linked,
    MatrixProduct,
    Parameterization,
    Synthesis,
    TabulatedLink,
)

_GAUSS = np.polynomial.legendre.leggauss(24)
_PIECES = 400


@singledispatch
def by_label_noise(penalty: Penalty, shape: Shape) -> Parameterization:
    """The parameterization with least squared gradient equal to ``penalty``, for whitened inputs.

    Then `LabelNoise.penalty` is eta sigma^2 / (4 B) times ``penalty``; other inputs weigh it by
    their second moments.

    Raises
    ------
    ValueError
        If there is none in the family; the message says why and what would work.
    """
    raise ValueError(f"no parameterization has the bias {penalty!r} under label noise")


@by_label_noise.register
def _(penalty: Elementwise, shape: Shape) -> Parameterization:
    """w = h(u v) with h^-1(w) = 1/2 (integral of 1 / sqrt R from 0 to w)^2."""
    p = penalty.exponent
    if not 1 - 1e-3 <= p < 2 - 1e-3:
        raise ValueError(
            f"{penalty!r} grows like |w|^{p:.3g} at 0; label noise reaches exponents from 1 to "
            "below 2 (sb.L1() is the nearest of the sparse ones). Weight decay takes the others"
        )
    low, high = 1e-9, getattr(penalty, "high", 1e3)
    return Linked(Hadamard(shape), TabulatedLink(_root_integral(penalty, low, high), low, high))


def _root_integral(penalty: Elementwise, low: float, high: float):  # type: ignore[no-untyped-def]
    """1/2 (integral of 1 / sqrt R)^2 as a function of w, by Gauss quadrature in log w."""
    link = penalty.link()
    nodes, weights = _GAUSS
    edges = np.linspace(np.log(low / 2), np.log(2 * high), _PIECES + 1)

    def pieces(begin: np.ndarray, end: np.ndarray) -> np.ndarray:
        half = (end - begin)[..., None] / 2
        t = begin[..., None] + half * (nodes + 1)
        values = np.exp(t) / np.sqrt(link.inverse(np.exp(t)))
        return np.sum(half * weights * values, axis=-1)

    # below the first edge R is a power
    start = low / 2 / np.sqrt(link.inverse(np.array(low / 2))) / (1 - penalty.exponent / 2)
    cumulated = start + np.concatenate([[0.0], np.cumsum(pieces(edges[:-1], edges[1:]))])

    def function(w: np.ndarray) -> np.ndarray:
        t = np.log(w)
        cell = np.clip(np.searchsorted(edges, t) - 1, 0, _PIECES - 1)
        return 0.5 * (cumulated[cell] + pieces(edges[cell], t)) ** 2

    function.__name__ = f"label_noise_{type(penalty).__name__}"
    return function


@by_label_noise.register
def _(penalty: L1, shape: Shape) -> Parameterization:
    if penalty.weights is not None:
        raise ValueError("label noise weighs coefficients by their inputs; scale the inputs")
    return _scaled(2.0, shape, Hadamard(shape))


@by_label_noise.register
def _(penalty: Lq, shape: Shape) -> Parameterization:
    q = penalty.q
    if not 1 <= q < 2:
        raise ValueError(
            f"label noise on products reaches |w|^(2 - 2/depth), 1 <= q < 2, not q = {q}: it does "
            "not go below l1. Weight decay does"
        )
    depth = round(2 / (2 - q))
    if abs(2 - 2 / depth - q) > 1e-9:
        return by_label_noise.dispatch(Elementwise)(penalty, shape)
    return _scaled(depth ** (depth / 2), shape, Hadamard(shape, depth))


@by_label_noise.register
def _(penalty: GroupLasso, shape: Shape) -> Parameterization:
    labels = penalty.labels(shape)
    whole = GroupProduct(shape, groups=labels)
    weights = penalty.group_weights(whole)
    if not np.all(weights > 0):
        raise ValueError("label noise penalises every group: weights must be positive")
    sizes = np.bincount(whole.labels, minlength=len(weights))
    scale = (2 * np.sqrt(sizes) / weights)[whole.labels].reshape(shape)
    return Synthesis(Diagonal(scale), whole)


@by_label_noise.register
def _(penalty: Schatten, shape: Shape) -> Parameterization:
    if len(shape) != 2 or penalty.p != 1:
        raise ValueError(f"label noise reaches the nuclear norm of a matrix, not {penalty!r}")
    rows, cols = shape
    return _scaled(2 * (rows * cols) ** 0.5, shape, MatrixProduct(rows, cols, penalty.rank))


@by_label_noise.register(TotalVariation)
@by_label_noise.register(TrendFilter)
@by_label_noise.register(Differences)
@by_label_noise.register(Spectral)
def _(penalty: Penalty, shape: Shape) -> Parameterization:
    """Behind a transform A the inputs of z are A^T x: their moments are undone by a scale."""
    p = by_weight_decay(penalty, shape)
    if len(shape) != 1 or not isinstance(p, Synthesis) or not isinstance(p.inner, Hadamard):
        raise ValueError(
            f"label noise reaches {type(penalty).__name__} of a vector, not of {shape}"
        )
    columns = p.transform.forward(np.eye(shape[0]))[:, p.transform.free :]
    scale = 2 * np.sum(columns**2, axis=0)
    return Synthesis(p.transform, Synthesis(Diagonal(scale), p.inner))


def _scaled(scale: float, shape: Shape, inner: Parameterization) -> Parameterization:
    return Synthesis(Diagonal(np.full(shape[0], scale)), inner)
