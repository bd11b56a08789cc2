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

from symbias.training.problem import Factors
from symbias.training.quadratic import Quadratic, judge, residual, strong

MAX_ITER = 5_000
CHUNK = 100  # steps between two reports
_CHECK_EVERY = 5
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
    objective: Any
    violation: Any
    moved: Any


def begin(factors: Factors, data: Quadratic, form: str, steps: int = 0) -> State:
    """Start at the scales of ``factors``, which are equal for all powers."""
    t = jnp.asarray(np.pad(factors.t[0], (0, len(data.labels) - factors.t.shape[1])))
    return strong(State(t, _OPTIMIZER.init(t), steps, np.inf, np.inf, np.inf))


def revise(state: State, start: Factors, data: Quadratic, form: str) -> State:
    """Forget the curvature where the line search found no way down."""
    if float(state.moved) > 0:
        return state
    return strong(state._replace(optimizer=_OPTIMIZER.init(state.t), moved=np.inf))


def factors_of(state: State, data: Quadratic, strength: float, power: int, form: str) -> Factors:
    """u and t at ``state``, padding included."""
    u = _ridge_jit(data, state.t, strength, power, form)
    return Factors(np.asarray(u), np.tile(np.asarray(state.t), (power, 1)))


def _ridge(data: Quadratic, t: Any, strength: Any, power: int, form: str) -> Any:
    """argmin_u 1/2 |y - B (v u)|^2 + strength/2 |u|^2."""
    v = t[data.labels] ** power
    if form == "gram":
        system = v[:, None] * data.matrix * v + strength * jnp.eye(len(v))
        return cho_solve(cho_factor(system), v * data.vector)
    scaled = data.matrix * v
    system = scaled @ scaled.T + strength * jnp.eye(scaled.shape[0])
    return scaled.T @ cho_solve(cho_factor(system), data.vector)


_ridge_jit = jax.jit(_ridge, static_argnames=("power", "form"))


def _loss(t: Any, data: Quadratic, strength: Any, power: int, form: str) -> Any:
    # the envelope theorem: u is optimal, so the gradient need not pass through it
    u = jax.lax.stop_gradient(_ridge(data, t, strength, power, form))
    squared_residual, _, _ = residual(data, u * t[data.labels] ** power, form)
    return 0.5 * squared_residual + 0.5 * strength * (u @ u + power * (t @ t))


@partial(jax.jit, static_argnames=("power", "form"))
def advance(
    state: State, data: Quadratic, strength: Any, tol: Any, steps: Any, *, power: int, form: str
) -> State:
    """L-BFGS until the violation is at most ``tol``, progress ends, or ``steps`` are made."""
    loss = partial(_loss, data=data, strength=strength, power=power, form=form)
    value_and_grad = optax.value_and_grad_from_state(loss)
    last = state.steps + steps

    def go_on(s: State) -> Any:
        return (s.steps < last) & (s.violation > tol) & (s.moved > 0)

    def check(t: Any) -> tuple[Any, Any]:
        z = _ridge(data, t, strength, power, form) * t[data.labels] ** power
        return judge(data, z, strength, power, form)

    def step(s: State) -> State:
        value, gradient = value_and_grad(s.t, state=s.optimizer)
        update, optimizer = _OPTIMIZER.update(
            gradient, s.optimizer, s.t, value=value, grad=gradient, value_fn=loss
        )
        t, moved = s.t + update, jnp.abs(update).max()
        due = ((s.steps + 1) % _CHECK_EVERY == 0) | (moved == 0)
        objective, violation = jax.lax.cond(due, check, lambda _: (s.objective, s.violation), t)
        return State(t, optimizer, s.steps + 1, objective, violation, moved)

    return jax.lax.while_loop(go_on, step, state)
