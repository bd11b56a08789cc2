"""Small networks with all their bonds, in float64, for identities that hold exactly."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from symbias._core.arrays import Array
from symbias.symmetry import Bond, GeneralLinear, Rescaling, Symmetry, UniformScale

Numpy = np.ndarray[Any, Any]


@dataclass(frozen=True)
class Network:
    """A prediction function with its symmetry, parameters and data."""

    name: str
    predict: Callable[..., Array]
    params: dict[str, Numpy]
    data: tuple[Numpy, Numpy]
    symmetry: Symmetry


def relu_net() -> Network:
    """Three layers with biases: two rescaling bonds that share the middle layer."""
    params = _draw({"w1": (6, 3), "b1": (6,), "w2": (5, 6), "b2": (5,), "w3": (2, 5)})

    def predict(p: dict[str, Array], x: Array) -> Array:
        h = jnp.maximum(x @ p["w1"].T + p["b1"], 0)
        return jnp.maximum(h @ p["w2"].T + p["b2"], 0) @ p["w3"].T

    bonds = [
        Bond(Rescaling(6), vectors=[("w1", 0), ("b1", 0)], covectors=[("w2", 1)], name="layer 1"),
        Bond(Rescaling(5), vectors=[("w2", 0), ("b2", 0)], covectors=[("w3", 1)], name="layer 2"),
    ]
    return Network("ReLU, 3 layers", predict, params, _draw_data((3,), (2,)), Symmetry(bonds))


def attention_block() -> Network:
    """Two heads of 3 on tokens of 6, with biases: logits and values."""
    names = {"q": (6, 6), "bq": (6,), "k": (6, 6), "v": (6, 6), "bv": (6,), "o": (6, 6)}
    params = _draw(names)

    def predict(p: dict[str, Array], x: Array) -> Array:
        def heads(a: Array) -> Array:
            return a.reshape(*a.shape[:-1], 2, 3)

        q, v = heads(x @ p["q"].T + p["bq"]), heads(x @ p["v"].T + p["bv"])
        logits = jnp.einsum("bthd,bshd->bhts", q, heads(x @ p["k"].T)) / jnp.sqrt(3.0)
        mixed = jnp.einsum("bhts,bshd->bthd", jax.nn.softmax(logits, axis=-1), v)
        return mixed.reshape(x.shape) @ p["o"].T

    bonds = [
        Bond(GeneralLinear(3), [("q", 0), ("bq", 0)], [("k", 0)], heads=2, name="logits"),
        Bond(GeneralLinear(3), [("v", 0), ("bv", 0)], [("o", 1)], heads=2, name="values"),
    ]
    data = _draw_data((4, 6), (4, 6))
    return Network("attention, 2 heads", predict, params, data, Symmetry(bonds))


def deep_linear() -> Network:
    """W3 W2 W1: two general linear bonds that share the middle layer."""
    params = _draw({"w1": (3, 4), "w2": (3, 3), "w3": (4, 3)})

    def predict(p: dict[str, Array], x: Array) -> Array:
        return x @ p["w1"].T @ p["w2"].T @ p["w3"].T

    bonds = [
        Bond(GeneralLinear(3), vectors=[("w1", 0)], covectors=[("w2", 1)], name="layer 1"),
        Bond(GeneralLinear(3), vectors=[("w2", 0)], covectors=[("w3", 1)], name="layer 2"),
    ]
    return Network("deep linear", predict, params, _draw_data((4,), (4,)), Symmetry(bonds))


def normalised_net() -> Network:
    """Weights before a normalisation: one end only."""
    params = _draw({"w": (5,)})

    def predict(p: dict[str, Array], x: Array) -> Array:
        return x @ (p["w"] / jnp.sqrt(jnp.sum(p["w"] ** 2)))

    bond = Bond(UniformScale(), vectors=[("w", None)], name="norm")
    return Network("normalised", predict, params, _draw_data((5,), ()), Symmetry([bond]))


NETWORKS = (relu_net, attention_block, deep_linear, normalised_net)


def _draw(shapes: dict[str, tuple[int, ...]]) -> dict[str, Numpy]:
    rng = np.random.default_rng(0)
    return {k: 0.5 * rng.normal(size=shape) for k, shape in shapes.items()}


def _draw_data(x: tuple[int, ...], y: tuple[int, ...], samples: int = 12) -> tuple[Numpy, Numpy]:
    rng = np.random.default_rng(1)
    return rng.normal(size=(samples, *x)), rng.normal(size=(samples, *y))
