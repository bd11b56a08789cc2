"""Momentum descent with weight decay on all factors: nothing special is needed."""

from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax

from symbias.training.quadratic import Quadratic, filled, loss, strong

MOMENTUM = 0.99
MAX_ITER = 500_000
CHUNK = 500  # steps between two certificates


class Factors(NamedTuple):
    """u (m,), and ``power`` scales t of equal roles, (power, groups)."""

    u: Any
    t: Any


class State(NamedTuple):
    factors: Factors
    optimizer: Any
    steps: Any
    rate: Any
    start: Factors
    finite: Any


def _optimizer(strength: Any, learning_rate: Any) -> optax.GradientTransformation:
    return optax.chain(
        optax.add_decayed_weights(strength),
        optax.trace(decay=MOMENTUM),
        optax.scale(-learning_rate),
    )


def begin(u: np.ndarray, t: np.ndarray, data: Quadratic, form: str, *, power: int) -> State:
    """Start at these factors, with a learning rate that fits the curvature there."""
    size = len(data.labels)
    start = Factors(filled(u, size), jnp.tile(filled(t, size), (power, 1)))
    return _from(start, 0, _stable_rate(start, data, form))


def _from(start: Factors, steps: Any, rate: Any) -> State:
    return strong(State(start, _optimizer(0.0, 0.0).init(start), steps, rate, start, True))


def revise(state: State, data: Quadratic, form: str) -> State:
    """Slow down where the scales have grown; start again, slower, after an overflow."""
    if not state.finite:
        return _from(state.start, state.steps, state.rate / 4)
    return state._replace(rate=jnp.minimum(state.rate, _stable_rate(state.factors, data, form)))


def product(state: State, data: Quadratic, strength: float, *, power: int, form: str) -> Any:
    """z at ``state``, padding included."""
    return _product(state.factors, data)


def _loss(factors: Factors, data: Quadratic, form: str) -> Any:
    return loss(data, _product(factors, data), form)


def _product(factors: Factors, data: Quadratic) -> Any:
    return factors.u * jnp.prod(factors.t, axis=0)[data.labels]


@partial(jax.jit, static_argnames="form")
def _stable_rate(factors: Factors, data: Quadratic, form: str) -> Any:
    """Half the largest stable step: 2 over the largest curvature, by 30 power iterations."""
    gradient = jax.grad(partial(_loss, data=data, form=form))

    def step(_: int, carry: tuple[Factors, Any]) -> tuple[Factors, Any]:
        v, norm = carry
        unit = jax.tree.map(lambda a: a / norm, v)
        v = jax.jvp(gradient, (factors,), (unit,))[1]
        return v, jnp.sqrt(sum(jnp.sum(a * a) for a in v))

    ones = jax.tree.map(jnp.ones_like, factors)
    return 2.0 / jax.lax.fori_loop(0, 30, step, (ones, jnp.sqrt(1.0 * ones.u.size)))[1]


@partial(jax.jit, static_argnames=("power", "form"))
def advance(
    state: State, data: Quadratic, strength: Any, steps: Any, *, power: int, form: str
) -> State:
    """A chunk of full-batch descent steps; after an overflow the last finite factors stay."""
    optimizer = _optimizer(strength, state.rate)
    gradient = jax.grad(partial(_loss, data=data, form=form))

    def descend(carry: tuple[Factors, Any], _: None) -> tuple[tuple[Factors, Any], None]:
        factors, inner = carry
        update, inner = optimizer.update(gradient(factors), inner, factors)
        return (optax.apply_updates(factors, update), inner), None

    carry, _ = jax.lax.scan(descend, (state.factors, state.optimizer), None, length=CHUNK)
    finite = jnp.isfinite(_loss(carry[0], data, form))
    kept = jax.tree.map(partial(jnp.where, finite), carry[0], state.factors)
    done = state.steps + CHUNK
    return State(kept, carry[1], done, state.rate, state.start, finite)
