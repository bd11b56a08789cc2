"""Normalised descent: where gradient descent on an exponential-tailed loss goes, in fewer steps."""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from symbias._core.norms import as_norm
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

    Other norms take the step that falls steepest in them, of the same length: the signs of the
    gradient ("linf"), U V^T of its singular vectors, array by array ("spectral", as Muon), its
    largest entry alone ("l1").

    Parameters
    ----------
    learning_rate : float
        eta, the first step as a share of |theta|.
    degree : float
        L with predict(s theta) = s^L predict(theta): the number of factors.
    norm : "l2", "l1", "linf" or "spectral"

    Raises
    ------
    ValueError
        Unless both are positive, and for another norm; at a run, for a problem without data or of
        another degree, and where spectral steps meet arrays that are no matrices.

    Notes
    -----
    Take `log_logistic_loss` for the loss: losses far below the smallest float have no gradient.
    """

    learning_rate: float = 0.3
    degree: float = 1.0
    norm: str = "l2"

    def __post_init__(self) -> None:
        positive("learning_rate", self.learning_rate)
        positive("degree", self.degree)
        as_norm(self.norm)

    def check(self, problem: Problem) -> None:
        if problem.data is None:
            raise ValueError("NormalizedDescent takes all data at every step: give data=(x, y)")
        x, params = problem.arrays()[0], problem.initial(jax.random.key(0))  # type: ignore[index]
        vectors = sorted(name for name, a in params.items() if a.ndim != 2)
        if self.norm == "spectral" and vectors:
            raise ValueError(f"spectral steps are of matrices, and {vectors} have other shapes")
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

        downhill, _ = _unit(_STEEPEST[self.norm](jax.grad(loss)(unit)))
        rate = self.learning_rate / jnp.sqrt(1.0 + done.astype(log_size.dtype))
        moved, length = _unit({k: unit[k] - rate * downhill[k] for k in unit})
        return moved, (done + 1, log_size + jnp.log(length))


def _unit(params: Params) -> tuple[Params, Array]:
    """params / |params| and |params|; as they are where they vanish."""
    square = sum(jnp.sum(v**2) for v in params.values())
    length = jnp.sqrt(jnp.where(square > 0, square, 1.0))
    return {k: v / length for k, v in params.items()}, length


def _signs(grads: Params) -> Params:
    return {k: jnp.sign(g) for k, g in grads.items()}


def _largest_entry(grads: Params) -> Params:
    top = jnp.max(jnp.stack([jnp.max(jnp.abs(g)) for g in grads.values()]))
    return {k: jnp.where(jnp.abs(g) == top, g, 0.0) for k, g in grads.items()}


def _orthogonal(grads: Params) -> Params:
    parts = {k: jnp.linalg.svd(g, full_matrices=False) for k, g in grads.items()}
    return {k: u @ vt for k, (u, _, vt) in parts.items()}


_STEEPEST: dict[str, Callable[[Params], Params]] = {
    "l1": _largest_entry,
    "l2": lambda grads: grads,
    "linf": _signs,
    "spectral": _orthogonal,
}
