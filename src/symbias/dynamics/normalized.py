"""Normalised descent: where gradient descent on an exponential-tailed loss goes, in fewer steps."""

import math
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from symbias._core.numbers import positive
from symbias.dynamics.problem import Array, Batch, Params, Problem

_SAME = 1e-3  # relative: twice the parameters multiply predictions by 2^degree


@dataclass(frozen=True)
class NormalizedDescent:
    r"""Full-batch gradient descent by relative steps, for predictions of one degree.

    .. math:: \theta \leftarrow \theta - \frac{\eta}{\sqrt t}\,|\theta|\,
        \frac{\nabla \ell(\theta)}{|\nabla \ell(\theta)|}

    The direction of theta goes where that of plain gradient descent does, whose own way there is
    logarithmic in the number of steps. theta itself would overflow: a run holds theta / |theta|
    (`Run.final`, observables) and keeps log|theta| in the state of the rule, starting from the
    |theta| of the problem; a prediction is |theta|^degree times that of theta / |theta|. A run
    continued by ``start=`` begins with |theta| = 1 again.

    Parameters
    ----------
    learning_rate : float
        eta, the first step as a share of |theta|.
    degree : float
        L with predict(s theta) = s^L predict(theta): the number of factors.

    Raises
    ------
    ValueError
        Unless both are positive; at a run, for a problem without data or of another degree.

    Notes
    -----
    Take `log_logistic_loss` for the loss: losses far below the smallest float have no gradient.
    """

    learning_rate: float = 0.3
    degree: float = 1.0

    def __post_init__(self) -> None:
        positive("learning_rate", self.learning_rate)
        positive("degree", self.degree)

    def check(self, problem: Problem) -> None:
        if problem.data is None:
            raise ValueError("NormalizedDescent takes all data at every step: give data=(x, y)")
        x, params = problem.arrays()[0], problem.initial(jax.random.key(0))  # type: ignore[index]
        once, twice = (problem.predict({k: s * v for k, v in params.items()}, x) for s in (1, 2))
        wanted = 2**self.degree * np.asarray(once)
        if np.abs(np.asarray(twice) - wanted).max() > _SAME * np.abs(wanted).max():
            raise ValueError(
                f"predictions are not homogeneous of degree {self.degree:g}: twice the parameters "
                f"do not make them {2**self.degree:g} times as large. Give the degree of the model"
            )

    def init(self, params: Params) -> Any:
        """Steps done, and log|theta| beyond the length of the parameters that are held."""
        dtype = next(iter(params.values())).dtype
        return jnp.uint32(0), jnp.zeros((), dtype)

    def draw(self, problem: Problem, data: Batch, key: Array, steps: Array, sign: Array) -> Any:
        return None

    def step(
        self, problem: Problem, data: Batch, params: Params, state: Any, noise: Any
    ) -> tuple[Params, Any]:
        assert data is not None
        (done, log_size), (x, y) = state, data
        unit, length = _unit(params)
        log_size = log_size + jnp.log(length)
        largest = 0.9 * math.log(float(jnp.finfo(log_size.dtype).max))
        factor = jnp.exp(jnp.minimum(self.degree * log_size, largest))

        def loss(theta: Params) -> Array:
            # of theta |theta|, over |theta|^degree: gradients of the same direction, of order one
            return problem.loss(factor * problem.predict(theta, x), y) / factor

        downhill, _ = _unit(jax.grad(loss)(unit))
        rate = self.learning_rate / jnp.sqrt(1.0 + done.astype(log_size.dtype))
        moved, length = _unit({k: unit[k] - rate * downhill[k] for k in unit})
        return moved, (done + 1, log_size + jnp.log(length))


def _unit(params: Params) -> tuple[Params, Array]:
    """params / |params| and |params|; as they are where they vanish."""
    square = sum(jnp.sum(v**2) for v in params.values())
    length = jnp.sqrt(jnp.where(square > 0, square, 1.0))
    return {k: v / length for k, v in params.items()}, length
