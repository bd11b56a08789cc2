"""The factors of w with the least sum of squared gradients: in closed form, or by sweeps."""

from collections.abc import Callable
from functools import lru_cache
from typing import Any

import numpy as np

from symbias._core.arrays import Array, concrete, constant
from symbias._core.extras import needed_by
from symbias._core.refusal import Refused
from symbias.parameterizations import Parameterization, compressed, measurements


def least_over_orbit(p: Parameterization, w: Array, inputs: Array) -> Array:
    """Minimum over the orbit of sum_i |d f_i / d theta|^2, in closed form or by sweeps."""
    found = p.least_gradients(w, inputs)
    if found is not None:
        return found
    seen, data = concrete(w), concrete(inputs)
    if seen is None or data is None:
        raise Refused(f"no closed form is known for {p!r}: its penalty cannot be traced")
    return constant(least_gradients(p, seen, data)[1], w)


def least_gradients(
    p: Parameterization, w: np.ndarray, inputs: np.ndarray
) -> tuple[dict[str, np.ndarray], float]:
    """The factors of w with the least sum of squared gradients of <a_i, w>, and that sum.

    The function is geodesically convex along the group; bonds are settled one after the other, as
    for the equilibrium of SGD.
    """
    with needed_by("label noise without a closed form"):
        import jax

        from symbias.dynamics import SGD
        from symbias.mechanisms.sgd import settle

    rows = compressed(measurements(compressed(inputs), p.shape))
    w = np.asarray(w, dtype=float)
    p = p.live(w)
    with jax.enable_x64(True):
        theta = {k: np.asarray(v) for k, v in p.section(w).items()}
        grads = sample_gradients(p)(theta, rows)
        stack = {k: v[None] for k, v in theta.items()}
        stack, grads = settle(p.symmetry, SGD(1.0), stack, grads)
        total = sum(float(np.sum(np.asarray(g) ** 2)) for k, g in grads.items() if k not in p.free)
        return {k: np.asarray(v[0]) for k, v in stack.items()}, total


@lru_cache(maxsize=32)
def sample_gradients(p: Parameterization) -> Callable[[Any, Array], Any]:
    """Gradients of <a, p(theta)>, for every row a; compiled once for each parameterization."""
    import jax

    def pulled(theta: Any, rows: Array) -> Any:
        pull = jax.vjp(p, theta)[1]
        return jax.vmap(lambda a: pull(a.reshape(p.shape))[0])(rows)

    return jax.jit(pulled)
