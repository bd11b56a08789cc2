"""Designs for label noise: the least squared gradient on the orbit is the penalty."""

import math
from collections.abc import Callable
from functools import singledispatch

import numpy as np

from symbias._core.arrays import Shape
from symbias._core.refusal import Refused
from symbias.designs.by_weight_decay import tree_of
from symbias.maps import Diagonal, TabulatedLink
from symbias.mechanisms import LabelNoise
from symbias.parameterizations import (
    GroupProduct,
    Hadamard,
    Linked,
    MatrixProduct,
    Parameterization,
    Parts,
    Synthesis,
)
from symbias.penalties import (
    L1,
    Behind,
    Entries,
    Form,
    Groups,
    Nuclear,
    Penalty,
    Piece,
    Placed,
    Power,
    Scalar,
    SingularValues,
    Sizes,
)

_GAUSS = np.polynomial.legendre.leggauss(24)
_PIECES = 400


def by_label_noise(penalty: Penalty, mechanism: LabelNoise, shape: Shape) -> Parameterization:
    """The parameterization with least squared gradient equal to ``penalty``, for whitened inputs.

    Then the penalty induced is eta sigma^2 / (4 B) times ``penalty``; other inputs weigh it by
    their second moments. Behind a transform A the inputs of z are A^T x: their moments are undone
    by a scale.

    Raises
    ------
    Refused
        If there is none in the family; the message says why and what would work.
    """
    return _of(penalty, penalty.form(shape))


def _of(penalty: Penalty, form: Form) -> Parameterization:
    if isinstance(form, Placed):
        return Parts(form.whole, [(index, _of(penalty, part)) for index, part in form.parts])
    if isinstance(form, Piece):
        return _core(form.sizes, form.scalar)
    if isinstance(form, Behind) and isinstance(form.transform, Diagonal):
        return _weighted(penalty, form)
    inner = form.inner if isinstance(form, Behind) else None
    plain = isinstance(inner, Piece) and inner.sizes.elementwise and inner.scalar == Power()
    if isinstance(form, Behind) and form.linear.columns.shape[1] > math.prod(form.shape):
        raise Refused(
            f"{penalty!r} takes more coordinates than w has entries: how label noise moves w among "
            "its splits is not known"
        )
    if not isinstance(form, Behind) or not plain or len(form.shape) != 1:
        raise Refused(
            f"label noise reaches sums over the entries of a vector behind an invertible map, not "
            f"{penalty!r} of shape {form.shape}"
        )
    columns = form.linear.columns
    dense = columns if isinstance(columns, np.ndarray) else columns.toarray()
    scale = 2 * np.sum(dense**2, axis=0)
    return Synthesis(form.transform, Synthesis(Diagonal(scale), tree_of(form.inner)))


def _weighted(penalty: Penalty, form: Behind) -> Parameterization:
    """Weights of groups: sum_g 2 sqrt(n_g) |scale w_g| = sum_g weight_g |w_g|."""
    inner = form.inner
    if not isinstance(inner, Piece) or not isinstance(inner.sizes, Groups):
        raise Refused("label noise weighs coefficients by their inputs; scale the inputs")
    assert isinstance(form.transform, Diagonal)
    if form.transform.free:
        raise Refused("label noise penalises every group: weights must be positive")
    groups = inner.sizes
    sizes = np.bincount(groups.labels)[groups.labels].reshape(form.shape)
    scale = 2 * np.sqrt(sizes) / form.transform.weights
    whole = GroupProduct(form.shape, groups=groups.labels.reshape(form.shape))
    return Synthesis(Diagonal(scale), whole)


@singledispatch
def _core(sizes: Sizes, scalar: Scalar) -> Parameterization:
    raise Refused(f"no parameterization has such a bias on {type(sizes).__name__}")


@_core.register
def _(sizes: Entries, scalar: Scalar) -> Parameterization:
    """A product of depth L for |w|^(2 - 2/L); else h^-1(w) = 1/2 (int_0^w 1 / sqrt R)^2."""
    p = scalar.exponent
    if not 1 - 1e-3 <= p < 2 - 1e-3:
        raise Refused(
            f"the penalty grows like |w|^{p:.3g} at 0; label noise reaches exponents from 1 to "
            "below 2",
            near=(L1(),),
        )
    depth = round(2 / (2 - p))
    if isinstance(scalar, Power) and abs(2 - 2 / depth - p) <= 1e-9:
        # inputs shrink by the scale: L scale^-2 (scale w)^p = a w^p
        scale = (depth / scalar.coefficient) ** (1 / (2 - p))
        return _scaled(scale, Hadamard(sizes.shape, depth))
    link = scalar.link()
    low, high = 1e-9, link.high if math.isfinite(link.high) else 1e3
    return Linked(
        Hadamard(sizes.shape), TabulatedLink(_root_integral(scalar, low, high), low, high)
    )


@_core.register
def _(sizes: Groups, scalar: Scalar) -> Parameterization:
    if scalar != Power():
        raise Refused(f"label noise reaches sums of norms, not {scalar.formula('|w_g|')}")
    size = np.bincount(sizes.labels)[sizes.labels].reshape(sizes.shape)
    whole = GroupProduct(sizes.shape, groups=sizes.labels.reshape(sizes.shape))
    return Synthesis(Diagonal(2 * np.sqrt(size)), whole)


@_core.register
def _(sizes: SingularValues, scalar: Scalar) -> Parameterization:
    if scalar != Power():
        raise Refused(
            f"label noise reaches the nuclear norm of a matrix, not sum {scalar.formula('sigma')}",
            near=(Nuclear(),),
        )
    rows, cols = sizes.shape
    return _scaled(2 * (rows * cols) ** 0.5, MatrixProduct(rows, cols, sizes.rank))


def _scaled(scale: float, inner: Parameterization) -> Parameterization:
    return Synthesis(Diagonal(np.full(inner.shape[0], scale)), inner)


def _root_integral(scalar: Scalar, low: float, high: float) -> Callable[[np.ndarray], np.ndarray]:
    """1/2 (integral of 1 / sqrt R)^2 as a function of w, by Gauss quadrature in log w."""
    nodes, weights = _GAUSS
    edges = np.linspace(np.log(low / 2), np.log(2 * high), _PIECES + 1)

    def pieces(begin: np.ndarray, end: np.ndarray) -> np.ndarray:
        half = (end - begin)[..., None] / 2
        t = begin[..., None] + half * (nodes + 1)
        values = np.exp(t) / np.sqrt(np.asarray(scalar(np.exp(t))))
        return np.sum(half * weights * values, axis=-1)

    # below the first edge R is a power
    start = low / 2 / np.sqrt(float(scalar(np.array(low / 2)))) / (1 - scalar.exponent / 2)
    cumulated = start + np.concatenate([[0.0], np.cumsum(pieces(edges[:-1], edges[1:]))])

    def function(w: np.ndarray) -> np.ndarray:
        t = np.log(w)
        cell = np.clip(np.searchsorted(edges, t) - 1, 0, _PIECES - 1)
        return 0.5 * (cumulated[cell] + pieces(edges[cell], t)) ** 2

    function.__name__ = f"label_noise_{type(scalar).__name__}"
    return function
