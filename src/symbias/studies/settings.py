"""Small student-teacher problems whose gauge settles, for the evidence tables.

Contractions are written as multiply-and-sum: at these sizes that is several times faster on a CPU
than a call for every small matrix product.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from symbias._core.arrays import Array
from symbias.dynamics import SGD, Problem
from symbias.dynamics.problem import Params
from symbias.symmetry import Bond, GeneralLinear, Rescaling, Symmetry, UniformScale

Observables = Callable[[Params], Array]  # several positive numbers that depend on the gauge


@dataclass(frozen=True)
class Setting:
    """A problem, how it is trained, and what of its gauge is watched."""

    name: str
    problem: Problem
    start: Params
    rule: SGD
    watch: Observables
    labels: tuple[str, ...]


def product(a: Array, b: Array) -> Array:
    """``a @ b`` for a batch of vectors or matrices a (..., n) and one matrix b (n, m)."""
    return jnp.sum(a[..., :, None] * b, axis=-2)


def relu(inputs: int, weight_decay: float, *, learning_rate: float) -> Setting:
    """ReLU network, Gaussian inputs, scalar output, label noise 1, from the unbalanced teacher."""
    # with one input, units of equal sign could be exchanged for one another: one of each sign
    units = 2 if inputs == 1 else 4
    rng = np.random.default_rng(inputs)
    w, v = rng.normal(size=(units, inputs)), 1.4 * np.sign(rng.normal(size=units))
    w = np.array([[1.0], [-1.0]]) if inputs == 1 else w
    w *= 0.7 / np.linalg.norm(w, axis=1, keepdims=True)  # |v|/|w| = 2 at the start
    teacher = {"w": w.astype(np.float32), "v": v.astype(np.float32)}

    def predict(p: Params, x: Array) -> Array:
        hidden = jnp.maximum(jnp.sum(x[:, None, :] * p["w"], axis=-1), 0)
        return jnp.sum(hidden * p["v"], axis=-1)

    def watch(p: Params) -> Array:
        log_ratio = jnp.log(jnp.abs(p["v"])) - jnp.log(jnp.sum(p["w"] ** 2, axis=-1)) / 2
        return jnp.exp(jnp.mean(log_ratio))[None]

    bond = Bond(Rescaling(units), vectors=[("w", 0)], covectors=[("v", 0)], name="units")
    sampler = _teacher(predict, teacher, (inputs,), noise=1.0)
    problem = Problem(predict=predict, params=teacher, sampler=sampler, symmetry=Symmetry([bond]))
    rule = SGD(learning_rate, 8, weight_decay=weight_decay)
    name = f"ReLU, {inputs} inputs, weight decay {weight_decay:g}"
    return Setting(name, problem, teacher, rule, watch, ("|v|/|w|",))


def low_rank(weight_decay: float, *, learning_rate: float) -> Setting:
    """x P Q with anisotropic inputs and anisotropic output noise."""
    rng = np.random.default_rng(1)
    p, q = rng.normal(size=(4, 2)), 2 * rng.normal(size=(2, 3))
    teacher = {"p": p.astype(np.float32), "q": q.astype(np.float32)}

    def predict(params: Params, x: Array) -> Array:
        return product(product(x, params["p"]), params["q"])

    bond = Bond(GeneralLinear(2), vectors=[("p", 1)], covectors=[("q", 0)], name="rank")
    inputs, noise = np.array([2.0, 1.0, 0.7, 0.4]), np.array([1.5, 0.7, 0.3])
    sampler = _teacher(predict, teacher, (4,), noise=noise, inputs=inputs)
    problem = Problem(predict=predict, params=teacher, sampler=sampler, symmetry=Symmetry([bond]))
    labels = tuple(f"{side}: singular value {i}" for side in ("P", "Q") for i in (1, 2))
    rule = SGD(learning_rate, 4, weight_decay=weight_decay)
    name = f"P Q, anisotropic, weight decay {weight_decay:g}"
    return Setting(name, problem, teacher, rule, _spectra("p", "q"), labels)


def attention(weight_decay: float, *, learning_rate: float) -> Setting:
    """One head with a trained value matrix, six tokens of five numbers, head size 2."""
    rng = np.random.default_rng(2)
    teacher = {
        "q": (1.0 * rng.normal(size=(5, 2))).astype(np.float32),
        "k": (0.3 * rng.normal(size=(5, 2))).astype(np.float32),
        "v": rng.normal(size=(5, 2)).astype(np.float32),
    }

    def predict(params: Params, x: Array) -> Array:
        q, k, v = (product(x, params[name]) for name in ("q", "k", "v"))
        logits = jnp.sum(q[:, :, None, :] * k[:, None, :, :], axis=-1)
        return jnp.sum(jax.nn.softmax(logits, axis=-1)[..., None] * v[:, None, :, :], axis=-2)

    bond = Bond(GeneralLinear(2), vectors=[("q", 1)], covectors=[("k", 1)], name="logits")
    scales = np.array([1.5, 1.2, 1.0, 0.7, 0.5])
    sampler = _teacher(predict, teacher, (6, 5), noise=0.5, inputs=scales)
    problem = Problem(predict=predict, params=teacher, sampler=sampler, symmetry=Symmetry([bond]))
    labels = tuple(f"{side}: singular value {i}" for side in ("Q", "K") for i in (1, 2))
    rule = SGD(learning_rate, 4, weight_decay=weight_decay)
    name = f"attention Q/K, weight decay {weight_decay:g}"
    return Setting(name, problem, teacher, rule, _spectra("q", "k"), labels)


def normalised(weight_decay: float, *, learning_rate: float) -> Setting:
    """x . theta/|theta|: weights before a normalisation settle at a norm."""
    rng = np.random.default_rng(3)
    start = {"w": rng.normal(size=5).astype(np.float32)}

    def predict(params: Params, x: Array) -> Array:
        w = params["w"]
        return jnp.sum(x * (w / jnp.sqrt(jnp.sum(w**2))), axis=-1)

    bond = Bond(UniformScale(), vectors=[("w", None)], name="norm")
    sampler = _teacher(predict, start, (5,), noise=1.0)
    problem = Problem(predict=predict, params=start, sampler=sampler, symmetry=Symmetry([bond]))
    rule = SGD(learning_rate, 4, weight_decay=weight_decay)

    def watch(params: Params) -> Array:
        return jnp.sqrt(jnp.sum(params["w"] ** 2))[None]

    name = f"normalised weights, weight decay {weight_decay:g}"
    return Setting(name, problem, start, rule, watch, ("|theta|",))


def _teacher(
    predict: Callable[..., Array],
    teacher: dict[str, np.ndarray],
    shape: tuple[int, ...],
    noise: Any,
    inputs: Any = 1.0,
) -> Callable[[Array, int], tuple[Array, Array]]:
    """Gaussian inputs with some scales, and what the teacher makes of them plus noise."""

    def sampler(key: Array, size: int) -> tuple[Array, Array]:
        keys = jax.random.split(key)
        x = jnp.asarray(inputs, jnp.float32) * jax.random.normal(keys[0], (size, *shape))
        y = predict({k: jnp.asarray(v) for k, v in teacher.items()}, x)
        return x, y + jnp.asarray(noise, jnp.float32) * jax.random.normal(keys[1], y.shape)

    return sampler


def _spectra(first: str, second: str) -> Observables:
    """Singular values of two factors with an inner dimension of two, in closed form."""

    def spectrum(a: Array) -> Array:
        gram = jnp.sum(a[:, :, None] * a[:, None, :], axis=0)
        mean, half = jnp.trace(gram) / 2, (gram[0, 0] - gram[1, 1]) / 2
        gap = jnp.sqrt(half**2 + gram[0, 1] ** 2)
        return jnp.sqrt(jnp.stack([mean + gap, jnp.maximum(mean - gap, 0)]))

    def watch(params: Params) -> Array:
        a, b = params[first], params[second]
        return jnp.concatenate([spectrum(m if m.shape[-1] == 2 else m.T) for m in (a, b)])

    return watch
