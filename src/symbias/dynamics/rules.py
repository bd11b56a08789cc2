"""Training rules: how one step changes the parameters.

Every rule is the same small trio: ``init`` makes the optimizer state, ``draw`` the random input of
a block of steps, ``step`` takes one step. All three are traced by JAX inside `simulate`.
"""

import math
from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

import jax
import jax.numpy as jnp
import optax

from symbias._core.numbers import non_negative, number, positive
from symbias.dynamics.batches import ACCEPTANCE, KICK, draw_batches, step_keys, stream
from symbias.dynamics.problem import Array, Batch, Params, Problem


@runtime_checkable
class Rule(Protocol):
    """What `simulate` asks of a training rule."""

    def check(self, problem: Problem) -> None:
        """Raise ValueError where the rule cannot train this problem."""

    def init(self, params: Params) -> Any:
        """Optimizer state at the start."""

    def draw(self, problem: Problem, data: Batch, key: Array, steps: Array, sign: Array) -> Any:
        """Random input of consecutive steps, stacked along axis 0, from the key of a training."""

    def step(
        self, problem: Problem, data: Batch, params: Params, state: Any, noise: Any
    ) -> tuple[Params, Any]:
        """One step: new parameters and optimizer state."""


class _Minibatch:
    """Drawing and checking of batches, common to the rules that follow a minibatch gradient."""

    batch_size: int | None
    replace: bool
    label_noise: float

    def check(self, problem: Problem) -> None:
        if problem.sampler is not None and self.batch_size is None:
            raise ValueError("a problem with a sampler needs a batch_size")
        if self.batch_size is not None:
            if problem.sampler is None and problem.data is None:
                raise ValueError("batch_size is given but the problem has neither data nor sampler")
            if problem.samples is not None and self.batch_size > problem.samples:
                raise ValueError(
                    f"batch_size {self.batch_size} exceeds the {problem.samples} samples of data"
                )
        if self.label_noise and problem.data is None and problem.sampler is None:
            raise ValueError("label_noise needs labels: the problem has no data")

    def draw(self, problem: Problem, data: Batch, key: Array, steps: Array, sign: Array) -> Any:
        return draw_batches(
            problem,
            data,
            key,
            steps,
            batch_size=self.batch_size,
            replace=self.replace,
            label_noise=self.label_noise,
            sign=sign,
        )


@dataclass(frozen=True)
class SGD(_Minibatch):
    """Stochastic gradient descent with coupled (L2) weight decay.

    With the minibatch gradient G: ``g = G + weight_decay theta``, ``v <- momentum v + g`` and
    ``theta <- theta - learning_rate v``; Nesterov's way by ``g + momentum v`` in place of v.

    Parameters
    ----------
    learning_rate : float
    batch_size : int, optional
        None takes all data at every step.
    weight_decay : float
        Strength of ``weight_decay/2 |theta|^2`` added to the loss.
    label_noise : float
        Standard deviation of fresh Gaussian noise added to the labels at every step.
    momentum : float
        In [0, 1): heavy ball, or Nesterov's with `nesterov`.
    replace : bool
        Batches from a finite data set are drawn with replacement (True), or a new permutation
        is gone through in every epoch (False), dropping what does not fill a batch.
    nesterov : bool

    Raises
    ------
    ValueError
        For a learning rate that is not positive or another number outside its range.
    """

    learning_rate: float
    batch_size: int | None = None
    weight_decay: float = 0.0
    label_noise: float = 0.0
    momentum: float = 0.0
    replace: bool = True
    nesterov: bool = False

    def __post_init__(self) -> None:
        positive("learning_rate", self.learning_rate)
        _check_batch(self.batch_size, self.label_noise)
        non_negative("weight_decay", self.weight_decay)
        if not 0 <= number("momentum", self.momentum) < 1:
            raise ValueError(f"momentum must be in [0, 1), got {self.momentum}")
        if self.nesterov and not self.momentum:
            raise ValueError("nesterov needs a momentum above 0")

    def init(self, params: Params) -> Any:
        return {k: jnp.zeros_like(v) for k, v in params.items()} if self.momentum else ()

    def step(
        self, problem: Problem, data: Batch, params: Params, state: Any, noise: Any
    ) -> tuple[Params, Any]:
        grads = jax.grad(problem.objective)(params, data if noise is None else noise)
        if self.weight_decay:
            grads = {k: g + self.weight_decay * params[k] for k, g in grads.items()}
        if self.momentum:
            state = {k: self.momentum * state[k] + g for k, g in grads.items()}
            ahead = {k: g + self.momentum * state[k] for k, g in grads.items()}
            grads = ahead if self.nesterov else state
        return {k: params[k] - self.learning_rate * g for k, g in grads.items()}, state


@dataclass(frozen=True)
class Optax(_Minibatch):
    """Any optax transformation on minibatch gradients.

    Those that ask for it (line searches, `optax.lbfgs`, `optax.polyak_sgd`) get the loss of the
    same batch. `optax.lookahead`, which keeps two sets of parameters, is refused.

    Parameters
    ----------
    transformation : optax.GradientTransformation
    batch_size, label_noise, replace
        As for `SGD`.
    """

    transformation: optax.GradientTransformation
    batch_size: int | None = None
    label_noise: float = 0.0
    replace: bool = True

    def __post_init__(self) -> None:
        if not (hasattr(self.transformation, "init") and hasattr(self.transformation, "update")):
            raise TypeError(f"Optax needs an optax transformation, got {self.transformation!r}")
        _check_batch(self.batch_size, self.label_noise)

    def init(self, params: Params) -> Any:
        state = self.transformation.init(params)
        kept = jax.tree.leaves(state, is_leaf=lambda s: isinstance(s, optax.LookaheadState))
        if any(isinstance(s, optax.LookaheadState) for s in kept):
            raise ValueError(
                "optax.lookahead keeps slow and fast parameters, and a run has one set of them"
            )
        return state

    def step(
        self, problem: Problem, data: Batch, params: Params, state: Any, noise: Any
    ) -> tuple[Params, Any]:
        def loss(params: Params) -> Array:
            return problem.objective(params, data if noise is None else noise)

        value, grads = jax.value_and_grad(loss)(params)
        known = {"value": value, "grad": grads, "value_fn": loss}
        updater = optax.with_extra_args_support(self.transformation)
        updates, state = updater.update(grads, state, params, **known)
        return optax.apply_updates(params, updates), state


@dataclass(frozen=True)
class Langevin:
    r"""Langevin dynamics whose noise may be damped along the orbits of the symmetry.

    .. math:: d\theta = -\nabla L\,dt
        + \sqrt{2T}\,(P_\perp + \sqrt{\rho}\,P_\mathrm{orbit})\,dW \quad\text{(Ito)}

    with L the loss of all data, by Euler-Maruyama steps of length `step_size`.

    Parameters
    ----------
    temperature : float
        T > 0.
    orbital : float
        The ratio rho in [0, 1]: 1 is isotropic noise, 0 noise without a component along orbits,
        as gradient noise has. Below 1 the problem needs its symmetry.
    step_size : float
        Length of a step in time t.
    metropolis : bool
        Accept or reject each step (Metropolis-adjusted Langevin), so that exp(-L/T) is sampled
        without a step size error; only for orbital = 1.

    Raises
    ------
    ValueError
        For a temperature or step size that is not positive, rho outside [0, 1], or `metropolis`
        with rho below 1.
    """

    temperature: float
    orbital: float = 0.0
    step_size: float = 1e-3
    metropolis: bool = False

    def __post_init__(self) -> None:
        positive("temperature", self.temperature)
        positive("step_size", self.step_size)
        if not 0 <= number("orbital", self.orbital) <= 1:
            raise ValueError(f"orbital must be in [0, 1], got {self.orbital}")
        if self.metropolis and self.orbital != 1:
            raise ValueError("metropolis needs isotropic noise: orbital must be 1")

    def check(self, problem: Problem) -> None:
        if problem.sampler is not None:
            raise ValueError("Langevin follows the full loss: give data, not a sampler")
        if self.orbital < 1 and problem.symmetry is None:
            raise ValueError("orbital < 1 splits noise along orbits: the problem needs a symmetry")

    def init(self, params: Params) -> Any:
        return ()

    def draw(self, problem: Problem, data: Batch, key: Array, steps: Array, sign: Array) -> Any:
        def one(key: Array) -> Params:
            return {
                name: sign.astype(leaf.dtype)
                * jax.random.normal(stream(key, i), leaf.shape, leaf.dtype)
                for i, (name, leaf) in enumerate(problem.shapes().items())
            }

        kicks = jax.vmap(one)(step_keys(key, steps, KICK))
        return kicks, jax.vmap(jax.random.uniform)(step_keys(key, steps, ACCEPTANCE))

    def step(
        self, problem: Problem, data: Batch, params: Params, state: Any, noise: Any
    ) -> tuple[Params, Any]:
        normals, uniform = noise
        if self.orbital < 1:
            normals = self._split(problem.symmetry, params, normals)
        width = math.sqrt(2 * self.temperature * self.step_size)
        value_and_grad = jax.value_and_grad(lambda p: problem.objective(p, data))
        value, grads = value_and_grad(params)
        new = {k: params[k] - self.step_size * grads[k] + width * normals[k] for k in params}
        if not self.metropolis:
            return new, state
        new_value, new_grads = value_and_grad(new)
        back = {k: params[k] - new[k] + self.step_size * new_grads[k] for k in params}
        forth = sum(jnp.sum(n**2) for n in normals.values()) * width**2
        log_ratio = (value - new_value) / self.temperature + (
            forth - sum(jnp.sum(b**2) for b in back.values())
        ) / (2 * width**2)
        accept = jnp.log(uniform) < log_ratio
        return {k: jnp.where(accept, new[k], params[k]) for k in params}, state

    def _split(self, symmetry: Any, params: Params, normals: Params) -> Params:
        from symbias.symmetry import horizontal

        across = horizontal(symmetry, params, normals)
        scale = math.sqrt(self.orbital)
        return {k: across[k] + scale * (n - across[k]) for k, n in normals.items()}


def _check_batch(batch_size: int | None, label_noise: float) -> None:
    if batch_size is not None and (number("batch_size", batch_size) < 1 or batch_size % 1):
        raise ValueError(f"batch_size must be a positive integer or None, got {batch_size}")
    non_negative("label_noise", label_noise)
