"""Which gradient flows have a potential, and in which coordinates."""

import math
from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from symbias._core.arrays import Array
from symbias.mechanisms.inputs import coordinates
from symbias.parameterizations import GroupProduct, Hadamard, Parameterization, Plain, Synthesis

COMMUTES = 1e-9


def flow_bracket(
    p: Parameterization, theta: Mapping[str, Array] | None = None, *, key: int = 0, pairs: int = 8
) -> float:
    r"""How far gradient flow on w = p(theta) is from having a potential; 0 where it has one.

    For entries or combinations a, b of w the bracket :math:`[\nabla a, \nabla b] =
    \nabla^2 b\,\nabla a - \nabla^2 a\,\nabla b` must not move w: the largest
    :math:`|J [\nabla a, \nabla b]| / (|J \nabla^2 b\,\nabla a| + |J \nabla^2 a\,\nabla b|)`, J =
    dw/d theta, over random pairs of combinations, each at another random point unless `theta` is
    given. Any value above rounding proves that there is none.
    """
    with jax.enable_x64(True):

        def both(theta: Any, a: Array, b: Array) -> Array:
            def gradient(c: Array, at: Any) -> Any:
                return jax.grad(lambda q: jnp.sum(c * p(q)))(at)

            def along(c: Array, d: Array) -> Array:
                turned = jax.jvp(lambda q: gradient(c, q), (theta,), (gradient(d, theta),))[1]
                return jax.jvp(p, (theta,), (turned,))[1]

            one, two = along(b, a), along(a, b)
            size = jnp.linalg.norm(one) + jnp.linalg.norm(two)
            return jnp.linalg.norm(one - two) / jnp.where(size > 0, size, 1.0)

        program, rng, worst = jax.jit(both), np.random.default_rng(key), 0.0
        for _ in range(pairs):
            at = p.init(rng) if theta is None else theta
            at = {k: jnp.asarray(np.asarray(v), jnp.float64) for k, v in at.items()}
            worst = max(
                worst, float(program(at, rng.normal(size=p.shape), rng.normal(size=p.shape)))
            )
        return worst


def product_factors(
    p: Parameterization, theta0: Mapping[str, np.ndarray]
) -> tuple[np.ndarray, np.ndarray]:
    """Factors of the product coordinates, (depth, size), and the plain ones, both at the start.

    Raises ValueError where the flow has no potential, with the measured brackets.
    """
    if isinstance(p, Synthesis):
        factors, free = product_factors(p.inner, {k: theta0[k] for k in p.inner.shapes})
        own = [theta0[k].ravel() for k in p.shapes if k not in p.inner.shapes]
        return factors, np.concatenate([*own, free])
    if isinstance(p, Plain):
        return np.zeros((2, 0)), theta0["u"].ravel()
    if isinstance(p, Hadamard):
        return np.stack([theta0[k].ravel() for k in p.names]), np.zeros(0)
    if isinstance(p, GroupProduct) and len(p.group_names) == math.prod(p.shape):
        return np.stack([theta0["s"][p.labels], theta0["v"].ravel()]), np.zeros(0)
    bracket = flow_bracket(p)
    if bracket > COMMUTES:
        raise ValueError(
            f"{p!r} has no potential: gradient flows of different entries of w do not commute "
            f"(relative bracket {bracket:.2g}), so the limit depends on the path"
        )
    raise ValueError(f"no potential is known for {p!r}")


def synthesis_matrix(p: Parameterization) -> np.ndarray:
    """The matrix from coordinates (free ones first, at every level) to w."""
    if not isinstance(p, Synthesis):
        return np.eye(math.prod(p.shape))
    shape = (p.inner.shape[0] + p.transform.free, *p.shape[1:])
    size = math.prod(shape)
    outer = p.transform.forward(np.eye(size).reshape(*shape, size)).reshape(-1, size)
    inner = synthesis_matrix(p.inner)
    free = size - len(inner)
    return np.concatenate([outer[:, :free], outer[:, free:] @ inner], axis=1)


def flat_coordinates(p: Parameterization, w: np.ndarray) -> np.ndarray:
    """Coordinates of w in the order of `synthesis_matrix`."""
    if not isinstance(p, Synthesis):
        return np.ravel(w)
    free, z = coordinates(p, w)
    return np.concatenate([np.ravel(free), flat_coordinates(p.inner, z)])
