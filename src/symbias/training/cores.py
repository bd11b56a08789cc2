"""What the penalty of each kind of core is: as a function of sizes, and its convex conjugate.

Weight decay on a core is sum_i R(t_i) with t the sizes of c: absolute values, norms of groups, or
singular values. Gauges (R(t) = t, products of two factors) have the polar size as a constraint.
"""

import math
from collections.abc import Callable
from functools import cache
from typing import Any

import jax
import numpy as np

from symbias.maps import ElasticLink
from symbias.parameterizations import (
    GroupProduct,
    Hadamard,
    Linked,
    MatrixProduct,
    Parameterization,
    Plain,
)
from symbias.penalties import is_convex as grid_convex
from symbias.penalties import supremum

Scalar = Callable[[np.ndarray], np.ndarray]


def penalty(p: Parameterization, c: np.ndarray) -> float:
    """1/2 |balanced theta|^2, what unit weight decay on the factors of ``c`` costs."""
    return 0.5 * sum(float(np.sum(a * a)) for a in p.section(c).values())


def sizes(p: Parameterization, c: np.ndarray) -> np.ndarray:
    """The numbers that the penalty acts on, one by one: none is negative."""
    match p:
        case GroupProduct():
            return p.sizes.of(c)
        case MatrixProduct():
            return np.linalg.svd(c, compute_uv=False)
    return np.abs(c).reshape(-1)


def resize(p: Parameterization, c: np.ndarray, change: Callable[[Any], Any]) -> np.ndarray:
    """``c`` with its sizes t replaced by ``change(t)``, directions kept."""
    match p:
        case GroupProduct():
            norms = p.sizes.of(c)
            factor = change(norms) / np.where(norms > 0, norms, 1.0)
            return c * factor[p.labels].reshape(c.shape)
        case MatrixProduct():
            u, s, vt = np.linalg.svd(c, full_matrices=False)
            return (u * change(s)) @ vt
    return np.sign(c) * change(np.abs(c).reshape(-1)).reshape(c.shape)


def scalar(p: Parameterization) -> Scalar | None:
    """R as a function of one size, where the penalty is a sum over sizes."""
    match p:
        case Hadamard() | MatrixProduct():
            return lambda t: p.depth / 2 * t ** (2 / p.depth)
        case GroupProduct():
            return lambda t: t
        case Plain():
            return lambda t: t**2 / 2
        case Linked(inner=Hadamard() | Plain()):
            inside = scalar(p.inner)
            assert inside is not None
            return lambda t: inside(np.abs(p.link.inverse(t)))
    return None


def is_gauge(p: Parameterization) -> bool:
    """Whether the penalty is the sum of the sizes itself: convex, with a corner at zero."""
    depth = getattr(p, "depth", 2)
    return isinstance(p, GroupProduct | Hadamard | MatrixProduct) and depth == 2


def is_convex(p: Parameterization) -> bool:
    """Whether the penalty is convex; a sum of scalar functions is tested on a grid of sizes."""
    if is_gauge(p) or isinstance(p, Plain):
        return True
    if isinstance(p, Linked) and isinstance(p.link, ElasticLink):
        return True
    R = scalar(p)
    if R is None or isinstance(p, Hadamard | MatrixProduct):
        return False
    return grid_convex(R)


def slope_at_zero(p: Parameterization) -> float:
    """R'(0+): below it the pull of the loss moves no size away from zero."""
    match p:
        case Plain() | Linked(inner=Plain()):
            return 0.0
        case Linked(inner=Hadamard(depth=2)):
            # R = |h^-1|, so R'(0+) = 1 / h'(0)
            slope = float(_link_slope(p.link)(np.zeros(1))[0])
            return 1 / slope if slope > 0 else math.inf
    return 1.0 if is_gauge(p) else math.inf


def conjugate(p: Parameterization, g: np.ndarray, strength: float, budget: float) -> float:
    """sup over c of <g, c> - strength R(c), over all c with strength R(c_i) <= ``budget``.

    No other c can be the solution where the budget is the value of the objective somewhere. For
    gauges 0: they take sizes of g up to the strength.
    """
    if is_gauge(p):
        return 0.0
    pull = np.abs(g).reshape(-1)
    match p:
        case Plain():
            return float(np.sum(pull**2)) / (2 * strength)
        case Linked(link=ElasticLink(l1=l1, l2=l2)) if l2 > 0:
            return float(np.sum(np.maximum(pull - strength * l1, 0) ** 2)) / (2 * strength * l2)
    R = scalar(p)
    assert R is not None
    return strength * float(np.sum(supremum(R, pull / strength, budget / strength)))


def link_slope(p: Linked, z: np.ndarray) -> np.ndarray:
    """h'(z), elementwise."""
    return np.asarray(_link_slope(p.link)(z.reshape(-1))).reshape(z.shape)


@cache
def _link_slope(link: Any) -> Callable[[np.ndarray], np.ndarray]:
    derivative = jax.jit(jax.vmap(jax.grad(lambda z: link.forward(z[None])[0])))

    def evaluate(z: np.ndarray) -> np.ndarray:
        with jax.enable_x64(True):
            return np.asarray(derivative(np.asarray(z, dtype=np.float64)))

    return evaluate


def stationarity(p: Parameterization, c: np.ndarray, g: np.ndarray, strength: float) -> float:
    """How far ``c`` is from stationary under the gradient ``g`` of the loss: zero there only.

    With z behind the link and g_z its gradient: sum |z g_z + strength |z|^(2/L)| over the sizes
    (for matrices in the frame of the singular vectors, off-diagonal entries included), and for
    two factors what exceeds |g_z| = strength where z is zero.
    """
    if isinstance(p, Linked):
        z = p.link.inverse(c)
        return stationarity(p.inner, z, g * link_slope(p, z), strength)
    match p:
        case Plain():
            return float(np.sum(np.abs(c * (g + strength * c))))
        case GroupProduct():
            products = np.bincount(p.labels, weights=(c * g).reshape(-1))
        case MatrixProduct():
            u, s, vt = np.linalg.svd(c, full_matrices=False)
            turned = s[:, None] * (u.T @ g @ vt.T)
            apart = np.abs(turned - np.diag(np.diag(turned))).sum()
            products = np.diag(turned)
            terms = np.abs(products + strength * s ** (2 / p.depth)).sum() + apart
            return float(terms + _excess(p, c, g, strength))
        case Hadamard():
            products = (c * g).reshape(-1)
        case _:
            return math.nan
    t = sizes(p, c)
    depth = getattr(p, "depth", 2)
    terms = np.abs(products + strength * t ** (2 / depth)).sum()
    return float(terms + _excess(p, c, g, strength))


def _excess(p: Parameterization, c: np.ndarray, g: np.ndarray, strength: float) -> float:
    """What the pull at zero sizes has in excess of the strength, times the largest size."""
    if not is_gauge(p):
        return 0.0
    t = sizes(p, c)
    if isinstance(p, MatrixProduct):
        u, s, vt = np.linalg.svd(c)
        rank = int(np.sum(s > 0))
        rest = u[:, rank:].T @ g @ vt[rank:].T
        pull = np.linalg.svd(rest, compute_uv=False) if rest.size else np.zeros(0)
    else:
        pull = sizes(p, g)[t == 0]
    return float(np.maximum(pull - strength, 0).sum() * max(t.max(initial=0.0), 1e-300))
