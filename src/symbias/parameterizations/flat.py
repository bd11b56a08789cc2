"""A parameterization as a function of one flat array, with the derivatives that others take."""

import math
from collections.abc import Callable, Hashable, Mapping
from functools import lru_cache
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from symbias._core.arrays import Array
from symbias._core.extras import needed_by

if TYPE_CHECKING:
    from symbias.parameterizations.base import Parameterization

Function = Callable[..., np.ndarray]


class FlatMap(NamedTuple):
    """w(theta) and its derivatives; all arrays flat, in float64, compiled at the first call.

    Attributes
    ----------
    w, jacobian : callable
        Of the factors side by side, in the order of `shapes`.
    gradients, curvature : callable
        Of those and rows: rows @ jacobian, flat, and its derivative.
    traced : callable
        w in JAX.
    """

    w: Function
    jacobian: Function
    gradients: Function
    curvature: Function
    traced: Callable[[Array], Array]


def on_host(program: Callable[..., Any]) -> Function:
    """A JAX function of arrays as a compiled one of NumPy arrays, in float64."""
    with needed_by("a preference without a closed form"):
        import jax
        import jax.numpy as jnp

    compiled = jax.jit(program)

    def call(*arrays: np.ndarray) -> np.ndarray:
        with jax.enable_x64(True):
            return np.asarray(compiled(*(jnp.asarray(a, jnp.float64) for a in arrays)))

    return call


def flatten(p: "Parameterization", theta: Mapping[str, Array]) -> np.ndarray:
    """The factors side by side."""
    return np.concatenate([np.ravel(np.asarray(theta[k], float)) for k in p.shapes])


def unflatten(p: "Parameterization", flat: Array) -> dict[str, Array]:
    """Flat factors (NumPy or JAX) under their names."""
    stops = np.cumsum([0, *(math.prod(shape) for shape in p.shapes.values())])
    return {
        name: flat[a:b].reshape(shape)
        for (name, shape), a, b in zip(p.shapes.items(), stops[:-1], stops[1:], strict=True)
    }


def flat_map(p: "Parameterization") -> FlatMap:
    """`FlatMap` of p, made once where p can be remembered."""
    return _remembered(p) if isinstance(p, Hashable) else _flat_map(p)


def _flat_map(p: "Parameterization") -> FlatMap:
    with needed_by("a preference without a closed form"):
        import jax
        import jax.numpy as jnp

    def w(flat: Array) -> Array:
        return jnp.ravel(p(unflatten(p, flat)))

    def gradients(flat: Array, rows: Array) -> Array:
        return jnp.ravel(rows @ jax.jacrev(w)(flat))

    return FlatMap(
        on_host(w),
        on_host(jax.jacrev(w)),
        on_host(gradients),
        on_host(jax.jacfwd(gradients)),
        w,
    )


_remembered = lru_cache(maxsize=32)(_flat_map)
