"""Which gradient flows have a potential, and in which coordinates."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from symbias._core.arrays import Array
from symbias._core.extras import needed_by
from symbias.parameterizations import Parameterization


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
    with needed_by("flow_bracket"):
        import jax
        import jax.numpy as jnp

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


def synthesis_matrix(p: Parameterization) -> np.ndarray:
    """The matrix from coordinates (free ones first, at every level) to w."""
    free, columns = p.normal_form().linear
    dense = columns if isinstance(columns, np.ndarray) else columns.toarray()
    return np.concatenate([free, dense], axis=1)
