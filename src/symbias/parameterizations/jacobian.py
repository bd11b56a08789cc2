"""The Jacobian dw/d theta, once for all who ask."""

from collections.abc import Callable, Mapping

from symbias._core.arrays import Array, Params
from symbias._core.extras import needed_by


def jacobian(p: Callable[[Params], Array], params: Mapping[str, Array]) -> Array:
    """dw/d theta as a matrix (size of w, number of parameters), by JAX, traceable.

    Columns follow the names of ``params`` in sorted order, entries of an array in order.
    """
    with needed_by("dw/d theta"):
        import jax
        import jax.numpy as jnp
        from jax.flatten_util import ravel_pytree

    flat, unravel = ravel_pytree(dict(params))
    return jax.jacobian(lambda v: jnp.ravel(p(unravel(v))))(flat)
