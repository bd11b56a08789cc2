"""Designs for coupled weight decay: the least norm on the orbit is the penalty.

A penalty in normal form is a tree of functions of sizes behind linear maps; its design is the same
tree of parameterizations: a core for every piece, a synthesis for every transform.
"""

import warnings
from functools import singledispatch

import numpy as np

from symbias._core.arrays import Shape
from symbias._core.refusal import Refused
from symbias.maps import Diagonal, PowerLink, TabulatedLink
from symbias.mechanisms import WeightDecay
from symbias.parameterizations import (
    GroupProduct,
    Hadamard,
    Linked,
    MatrixProduct,
    Parameterization,
    Parts,
    Plain,
    Sum,
    Synthesis,
)
from symbias.penalties import (
    Added,
    Behind,
    Entries,
    Form,
    Groups,
    Penalty,
    Piece,
    Placed,
    Power,
    Ridge,
    Scalar,
    Schatten,
    SingularValues,
    Sizes,
)

TOLERANCE = 1e-3  # of an exponent at zero that was found numerically


def by_weight_decay(penalty: Penalty, mechanism: WeightDecay, shape: Shape) -> Parameterization:
    """The parameterization whose weight-decay penalty, at strength 1, is ``penalty``.

    Raises
    ------
    Refused
        If there is none in the family; the message says why and what would work.
    """
    if getattr(penalty, "bounded", False):
        warnings.warn(
            f"{penalty!r} levels off: the link of its design ends where it does, so the design "
            f"holds locally, for |w| well below {penalty.high:g}",  # type: ignore[attr-defined]
            UserWarning,
            stacklevel=3,
        )
    return tree_of(penalty.form(shape))


@singledispatch
def tree_of(form: Form) -> Parameterization:
    """The same tree as ``form``, with a parameterization at every node."""
    raise Refused(f"no parameterization is known for a penalty of the form {type(form).__name__}")


@tree_of.register
def _(form: Behind) -> Parameterization:
    return Synthesis(form.transform, tree_of(form.inner))


@tree_of.register
def _(form: Placed) -> Parameterization:
    return Parts(form.whole, [(index, tree_of(part)) for index, part in form.parts])


@tree_of.register
def _(form: Added) -> Parameterization:
    return Sum([tree_of(term) for term in form.terms])


@tree_of.register
def _(form: Piece) -> Parameterization:
    return _core(form.sizes, form.scalar)


@singledispatch
def _core(sizes: Sizes, scalar: Scalar) -> Parameterization:
    raise Refused(f"no parameterization is known for sizes {type(sizes).__name__}")


@_core.register
def _(sizes: Entries, scalar: Scalar) -> Parameterization:
    """A product where its depth gives the power; else two factors w = h(u v), or one."""
    depth = _depth(scalar)
    if depth is not None:
        return _scaled(scalar, depth, Hadamard(sizes.shape, depth))
    p = scalar.exponent
    if p > 2 + TOLERANCE:
        raise Refused(
            f"the penalty grows like |w|^{p:.3g} at 0: its link is singular there (the derivative "
            "of the inverse is infinite). Exponents up to 2 work",
            near=(Ridge(),),
        )
    if p <= 1 + TOLERANCE:
        return Linked(Hadamard(sizes.shape), scalar.link())
    if scalar == Power(2.0, 0.5):
        return Plain(sizes.shape)
    return Linked(Plain(sizes.shape), _one_factor(scalar))


@_core.register
def _(sizes: Groups, scalar: Scalar) -> Parameterization:
    if _depth(scalar) != 2:
        raise Refused(
            f"weight decay reaches sums of norms of groups, not of {scalar.formula('|w_g|')}"
        )
    return _scaled(scalar, 2, GroupProduct(sizes.shape, groups=sizes.labels.reshape(sizes.shape)))


@_core.register
def _(sizes: SingularValues, scalar: Scalar) -> Parameterization:
    depth = _depth(scalar)
    if depth is None:
        p = scalar.exponent
        near = max(round(2 / p) if 0 < p <= 1 else 0, 2)
        raise Refused(
            f"weight decay on matrix products reaches Schatten-p only for p = 2/depth (1, 2/3, "
            f"1/2, ...) and 2, not p = {p:g}",
            near=(Schatten(2 / near, sizes.rank if sizes.rank < min(sizes.shape) else None),),
        )
    rows, cols = sizes.shape
    return _scaled(scalar, depth, MatrixProduct(rows, cols, sizes.rank, depth=depth))


def _depth(scalar: Scalar) -> int | None:
    """L with R(t) = a t^(2/L), a whole number of at least 2."""
    if not isinstance(scalar, Power) or not 0 < scalar.exponent <= 1:
        return None
    depth = round(2 / scalar.exponent)
    return depth if abs(2 / depth - scalar.exponent) <= 1e-9 else None


def _scaled(scalar: Scalar, depth: int, whole: Parameterization) -> Parameterization:
    """(depth / 2) (scale t)^q = a t^q: the whole, in units in which that holds."""
    assert isinstance(scalar, Power)
    scale = (scalar.coefficient * 2 / depth) ** (depth / 2)
    if scale == 1 or not whole.shape:
        return whole
    return Synthesis(Diagonal(np.full(whole.shape[0], scale)), whole)


def _one_factor(scalar: Scalar) -> PowerLink | TabulatedLink:
    """w = sgn(u) R^-1(u^2 / 2)."""
    link = scalar.link()
    if isinstance(link, PowerLink):
        return PowerLink(2 * link.exponent, (2 * link.scale) ** 0.5)
    if isinstance(link, TabulatedLink):
        function = link.function
        return TabulatedLink(lambda w: np.sqrt(2 * function(w)), link.low, link.high)
    raise Refused(f"no one-factor design for {scalar.formula('|w|')}")
