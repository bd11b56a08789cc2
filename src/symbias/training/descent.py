"""Momentum descent with weight decay on all factors: nothing special is needed."""

from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax

from symbias.training.problem import Factors
from symbias.training.quadratic import Quadratic, judge, residual, strong

MOMENTUM = 0.99
MAX_ITER = 500_000
CHUNK = 5_000  # steps between two reports
_CHECK_EVERY = 500


class State(NamedTuple):
    factors: Factors
    optimizer: Any
    steps: Any
    objective: Any
    violation: Any
    rate: Any


def _optimizer(strength: Any, learning_rate: Any) -> optax.GradientTransformation:
    return optax.chain(
        optax.add_decayed_weights(strength),
        optax.trace(decay=MOMENTUM),
        optax.scale(-learning_rate),
    )


def begin(factors: Factors, data: Quadratic, form: str, steps: int = 0) -> State:
    """Start at ``factors``, with a learning rate that fits the curvature there."""
    extra = len(data.labels) - len(factors.u)
    u = jnp.asarray(np.pad(factors.u, (0, extra)))
    width = len(data.labels) - factors.t.shape[1]
    start = Factors(u, jnp.asarray(np.pad(factors.t, ((0, 0), (0, width)))))
    rate = _stable_rate(start, data, form)
    return strong(State(start, _optimizer(0.0, 0.0).init(start), steps, np.inf, np.inf, rate))


def revise(state: State, start: Factors, data: Quadratic, form: str) -> State:
    """Slow down where the scales have grown; start again, slower, after an overflow."""
    if not np.isfinite(float(state.objective)):
        again = begin(start, data, form, int(state.steps))
        return again._replace(rate=state.rate / 4)
    return state._replace(rate=jnp.minimum(state.rate, _stable_rate(state.factors, data, form)))


def factors_of(state: State, data: Quadratic, strength: float, power: int, form: str) -> Factors:
    """u and t at ``state``, padding included."""
    return Factors(np.asarray(state.factors.u), np.asarray(state.factors.t))


def _loss(factors: Factors, data: Quadratic, form: str) -> Any:
    return 0.5 * residual(data, _product(factors, data), form)[0]


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
    state: State,
    data: Quadratic,
    strength: Any,
    tol: Any,
    steps: Any,
    *,
    power: int,
    form: str,
) -> State:
    """Full-batch descent steps until the violation is at most ``tol`` or ``steps`` are made."""
    optimizer = _optimizer(strength, state.rate)
    gradient = jax.grad(partial(_loss, data=data, form=form))
    last = state.steps + steps

    def descend(carry: tuple[Factors, Any], _: None) -> tuple[tuple[Factors, Any], None]:
        factors, inner = carry
        update, inner = optimizer.update(gradient(factors), inner, factors)
        return (optax.apply_updates(factors, update), inner), None

    def go_on(s: State) -> Any:
        return (s.steps < last) & ~(s.violation <= tol) & ~jnp.isnan(s.objective)

    def block(s: State) -> State:
        carry, _ = jax.lax.scan(descend, (s.factors, s.optimizer), None, length=_CHECK_EVERY)
        objective, violation = judge(data, _product(carry[0], data), strength, power, form)
        # after an overflow the last finite factors stay
        kept = jax.tree.map(partial(jnp.where, jnp.isnan(objective)), s.factors, carry[0])
        return State(kept, carry[1], s.steps + _CHECK_EVERY, objective, violation, s.rate)

    return jax.lax.while_loop(go_on, block, state)
