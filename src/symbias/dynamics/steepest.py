"""Steps that fall steepest in a norm, as an optax transformation."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import optax

from symbias._core.norms import as_norm
from symbias._core.numbers import positive

Tree = Any


def steepest_descent(norm: str, learning_rate: float = 0.3) -> optax.GradientTransformation:
    r"""theta <- theta - learning_rate/sqrt(t) d, d the direction of norm 1 that falls steepest.

    "l2": the gradient over its length; "linf": its signs; "l1": its largest entry alone;
    "spectral": U V^T of its singular vectors, array by array, as Muon orthogonalises. For `Optax`,
    with `log_logistic_loss`, whose gradients do not vanish. Steps relative to |theta|, as those of
    `NormalizedDescent`, go astray in other norms than l2: |theta| then grows so fast that a step
    sees one sample alone.

    Parameters
    ----------
    norm : "l1", "l2", "linf" or "spectral"
    learning_rate : float

    Raises
    ------
    ValueError
        For another norm, a rate that is not positive, and spectral steps of arrays that are no
        matrices.
    """
    direction = _DIRECTIONS[as_norm(norm)]
    positive("learning_rate", learning_rate)

    def init(params: Tree) -> Any:
        if norm == "spectral" and any(leaf.ndim != 2 for leaf in jax.tree.leaves(params)):
            raise ValueError("spectral steps are of matrices: take l2 for what has other shapes")
        return jnp.uint32(0)

    def update(grads: Tree, state: Any, params: Tree = None) -> tuple[Tree, Any]:
        dtype = jax.tree.leaves(grads)[0].dtype
        rate = learning_rate / jnp.sqrt(1.0 + state.astype(dtype))
        return jax.tree.map(lambda d: -rate * d, direction(grads)), state + 1

    return optax.GradientTransformation(init, update)


def _unit(grads: Tree) -> Tree:
    length = optax.tree.norm(grads)
    return jax.tree.map(lambda g: g / jnp.where(length > 0, length, 1.0), grads)


def _signs(grads: Tree) -> Tree:
    return jax.tree.map(jnp.sign, grads)


def _largest_entry(grads: Tree) -> Tree:
    top = jnp.max(jnp.stack([jnp.max(jnp.abs(g)) for g in jax.tree.leaves(grads)]))
    return jax.tree.map(lambda g: jnp.where(jnp.abs(g) == top, jnp.sign(g), 0.0), grads)


def _orthogonal(grads: Tree) -> Tree:
    def one(g: Any) -> Any:
        u, _, vt = jnp.linalg.svd(g, full_matrices=False)
        return u @ vt

    return jax.tree.map(one, grads)


_DIRECTIONS: dict[str, Callable[[Tree], Tree]] = {
    "l1": _largest_entry,
    "l2": _unit,
    "linf": _signs,
    "spectral": _orthogonal,
}
