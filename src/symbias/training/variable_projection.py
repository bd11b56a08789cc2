"""Variable projection: eliminate u by ridge regression, L-BFGS on the scales t.

With v = t^power spread over the groups, the loss in t is

    phi(t) = strength power/2 |t|^2 + min_u 1/2 |y - B (v u)|^2 + strength/2 |u|^2,

smooth, and for power 1 convex in t^2: no spurious minima. The inner minimum is one Cholesky
factorization, of size m (gram form) or n (design form).
Poon and Peyre, "Smooth over-parameterized solvers for non-smooth structured optimization",
Mathematical Programming 2023.
"""

from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax.scipy.linalg import cho_factor, cho_solve

from symbias.training.quadratic import Quadratic, filled, loss, strong

MAX_ITER = 5_000
CHUNK = 10  # steps between two certificates
_OPTIMIZER = optax.lbfgs(
    memory_size=30,
    linesearch=optax.scale_by_zoom_linesearch(
        max_linesearch_steps=20, initial_guess_strategy="one"
    ),
)


class State(NamedTuple):
    t: Any
    optimizer: Any
    steps: Any
    moved: Any


def begin(u: np.ndarray, t: np.ndarray, data: Quadratic, form: str, *, power: int) -> State:
    """Start at these scales, which are equal for all powers."""
    scales = filled(t, len(data.labels))
    return strong(State(scales, _OPTIMIZER.init(scales), 0, np.inf))


def revise(state: State, data: Quadratic, form: str) -> State:
    """Forget the curvature where the line search found no way down."""
    if float(state.moved) > 0:
        return state
    return strong(state._replace(optimizer=_OPTIMIZER.init(state.t), moved=np.inf))


@partial(jax.jit, static_argnames=("power", "form"))
def product(state: State, data: Quadratic, strength: Any, *, power: int, form: str) -> Any:
    """z at ``state``, padding included."""
    return _ridge(data, state.t, strength, power, form) * state.t[data.labels] ** power


def _ridge(data: Quadratic, t: Any, strength: Any, power: int, form: str) -> Any:
    """argmin_u 1/2 |y - B (v u)|^2 + strength/2 |u|^2."""
    v = t[data.labels] ** power
    if form == "gram":
        system = v[:, None] * data.matrix * v + strength * jnp.eye(len(v))
        return cho_solve(cho_factor(system), v * data.vector)
    scaled = data.matrix * v
    system = scaled @ scaled.T + strength * jnp.eye(scaled.shape[0])
    return scaled.T @ cho_solve(cho_factor(system), data.vector)


def _loss(t: Any, data: Quadratic, strength: Any, power: int, form: str) -> Any:
    # the envelope theorem: u is optimal, so the gradient need not pass through it
    u = jax.lax.stop_gradient(_ridge(data, t, strength, power, form))
    decay = 0.5 * strength * (u @ u + power * (t @ t))
    return loss(data, u * t[data.labels] ** power, form) + decay


@partial(jax.jit, static_argnames=("power", "form"))
def advance(
    state: State, data: Quadratic, strength: Any, steps: Any, *, power: int, form: str
) -> State:
    """L-BFGS until progress ends or ``steps`` are made."""
    objective = partial(_loss, data=data, strength=strength, power=power, form=form)
    value_and_grad = optax.value_and_grad_from_state(objective)
    last = state.steps + steps

    def go_on(s: State) -> Any:
        return (s.steps < last) & (s.moved > 0)

    def step(s: State) -> State:
        value, gradient = value_and_grad(s.t, state=s.optimizer)
        update, optimizer = _OPTIMIZER.update(
            gradient, s.optimizer, s.t, value=value, grad=gradient, value_fn=objective
        )
        return State(s.t + update, optimizer, s.steps + 1, jnp.abs(update).max())

    return jax.lax.while_loop(go_on, step, state)
