"""Small networks as prediction functions, with the symmetries they have."""

from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

import symbias as sb

Shapes = dict[str, tuple[int, ...]]


@dataclass(frozen=True)
class Network:
    """A prediction function, its arrays, its inputs and its symmetry.

    ``dim`` counts independent directions, ``named`` the groups with their heads.
    """

    predict: Callable[[Any, Any], Any]
    shapes: Shapes
    inputs: np.ndarray
    symmetry: sb.Symmetry
    dim: int
    named: tuple[str, ...]


NETWORKS: dict[str, Callable[[], Network]] = {}


def network(make: Callable[[], Network]) -> Callable[[], Network]:
    NETWORKS[make.__name__] = make
    return make


def normal(*shape: int) -> np.ndarray:
    return np.random.default_rng(7).standard_normal(shape)


def bonds(*given: sb.Bond) -> sb.Symmetry:
    return sb.Symmetry(given)


# ------------------------------------------------------------------------ layered networks


def layers(widths: list[int], activation: Callable[[Any], Any], *, biases: bool) -> Any:
    shapes: Shapes = {}
    for i, (n, m) in enumerate(pairwise(widths)):
        shapes[f"W{i}"] = (m, n)
        if biases:
            shapes[f"b{i}"] = (m,)

    def predict(p: Any, x: Any) -> Any:
        for i in range(len(widths) - 1):
            x = x @ p[f"W{i}"].T + (p[f"b{i}"] if biases else 0)
            x = activation(x) if i < len(widths) - 2 else x
        return x

    return predict, shapes, normal(12, widths[0])


def layer_bonds(widths: list[int], group: Callable[[int], Any], *, biases: bool) -> sb.Symmetry:
    return sb.Symmetry(
        sb.Bond(group(n), [(f"W{i}", 0)] + [(f"b{i}", 0)] * biases, [(f"W{i + 1}", 1)], name=f"{i}")
        for i, n in enumerate(widths[1:-1])
    )


@network
def relu_biased() -> Network:
    widths = [3, 5, 2]
    net = layers(widths, jax.nn.relu, biases=True)
    return Network(*net, layer_bonds(widths, sb.Rescaling, biases=True), 5, ("Rescaling(5)",))


@network
def relu_deep() -> Network:
    widths = [3, 5, 4, 2]
    net = layers(widths, jax.nn.relu, biases=False)
    sym = layer_bonds(widths, sb.Rescaling, biases=False)
    return Network(*net, sym, 9, ("Rescaling(4)", "Rescaling(5)"))


@network
def relu_deep_biased() -> Network:
    widths = [2, 4, 3, 3, 1]
    net = layers(widths, jax.nn.relu, biases=True)
    sym = layer_bonds(widths, sb.Rescaling, biases=True)
    return Network(*net, sym, 10, ("Rescaling(3)", "Rescaling(3)", "Rescaling(4)"))


@network
def deep_linear() -> Network:
    widths = [3, 4, 2, 3]
    net = layers(widths, lambda x: x, biases=False)
    sym = layer_bonds(widths, sb.GeneralLinear, biases=False)
    return Network(*net, sym, 20, ("GeneralLinear(2)", "GeneralLinear(4)"))


@network
def deep_linear_full() -> Network:
    """Every bond of full rank on both sides: each matrix group has a point of least norm."""
    widths = [4, 3, 3, 4]
    net = layers(widths, lambda x: x, biases=False)
    sym = layer_bonds(widths, sb.GeneralLinear, biases=False)
    return Network(*net, sym, 18, ("GeneralLinear(3)", "GeneralLinear(3)"))


@network
def gelu() -> Network:
    net = layers([3, 4, 2], jax.nn.gelu, biases=True)
    return Network(*net, bonds(), 0, ())


@network
def tanh_without_symmetry() -> Network:
    def predict(p: Any, x: Any) -> Any:
        return jnp.tanh(x @ p["W"] + p["b"]) + p["c"]

    return Network(predict, {"W": (3, 2), "b": (2,), "c": (2,)}, normal(9, 3), bonds(), 0, ())


@network
def swiglu() -> Network:
    def predict(p: Any, x: Any) -> Any:
        return (jax.nn.silu(x @ p["gate"].T) * (x @ p["up"].T)) @ p["down"].T

    bond = sb.Bond(sb.Rescaling(5, signed=True), [("up", 0)], [("down", 1)])
    shapes = {"gate": (5, 3), "up": (5, 3), "down": (2, 5)}
    return Network(predict, shapes, normal(12, 3), bonds(bond), 5, ("Rescaling(5)",))


@network
def conv_relu() -> Network:
    def predict(p: Any, x: Any) -> Any:
        def conv(h: Any, kernel: Any) -> Any:
            return jax.lax.conv(h, kernel, (1, 1), "SAME")

        h = jax.nn.relu(conv(x, p["C0"]) + p["c0"][:, None, None])
        return conv(h, p["C1"])

    bond = sb.Bond(sb.Rescaling(4), [("C0", 0), ("c0", 0)], [("C1", 1)])
    shapes = {"C0": (4, 2, 3, 3), "c0": (4,), "C1": (2, 4, 2, 2)}
    return Network(predict, shapes, normal(6, 2, 4, 4), bonds(bond), 4, ("Rescaling(4)",))


@network
def batch_norm_channels() -> Network:
    def predict(p: Any, x: Any) -> Any:
        h = x @ p["W0"].T
        h = (h - h.mean(0)) / jnp.std(h, axis=0)
        return jax.nn.relu(h * p["gain"] + p["shift"]) @ p["W1"].T

    sym = bonds(
        sb.Bond(sb.UniformScale(), [("W0", 0)], heads=4),
        sb.Bond(sb.Rescaling(4), [("gain", 0), ("shift", 0)], [("W1", 1)]),
    )
    shapes = {"W0": (4, 3), "gain": (4,), "shift": (4,), "W1": (2, 4)}
    return Network(predict, shapes, normal(9, 3), sym, 8, ("Rescaling(4)", "UniformScale() x 4"))


@network
def rms_norm_layer() -> Network:
    def predict(p: Any, x: Any) -> Any:
        h = jnp.tanh(x @ p["W0"].T)
        h = h @ p["W1"].T
        h = h / jnp.sqrt(jnp.mean(h**2, axis=-1, keepdims=True))
        return (h * p["gain"]) @ p["W2"].T

    sym = bonds(
        sb.Bond(sb.UniformScale(), [("W1", None)]),
        sb.Bond(sb.Rescaling(4, signed=True), [("gain", 0)], [("W2", 1)]),
    )
    shapes = {"W0": (5, 3), "W1": (4, 5), "gain": (4,), "W2": (2, 4)}
    return Network(predict, shapes, normal(9, 3), sym, 5, ("Rescaling(4)", "UniformScale()"))


@network
def normalised_weights() -> Network:
    def predict(p: Any, x: Any) -> Any:
        return x @ (p["w"] / jnp.sqrt(jnp.sum(p["w"] ** 2)))

    sym = bonds(sb.Bond(sb.UniformScale(), [("w", None)], name="norm"))
    return Network(predict, {"w": (5,)}, normal(12, 5), sym, 1, ("UniformScale()",))


@network
def layer_norm() -> Network:
    def predict(p: Any, x: Any) -> Any:
        h = x @ p["W"].T + p["b"]
        h = h - h.mean(-1, keepdims=True)
        h = h / jnp.sqrt(jnp.mean(h**2, axis=-1, keepdims=True))
        return jnp.tanh(h * p["gain"] + p["shift"]) @ p["V"].T

    zeros = np.zeros(4, dtype=int)
    sym = bonds(
        sb.Bond(sb.UniformScale(), [("W", None), ("b", None)], name="scale"),
        sb.Bond(sb.Translation(3), [("W", 1)], name="shift W"),
        sb.Bond(sb.Translation(1), [("b", None, zeros)], name="shift b"),
    )
    shapes = {"W": (4, 3), "b": (4,), "gain": (4,), "shift": (4,), "V": (2, 4)}
    named = ("Translation(1)", "Translation(3)", "UniformScale()")
    return Network(predict, shapes, normal(9, 3), sym, 5, named)


@network
def rms_norm_residual_stream() -> Network:
    """No gains: the whole stream may turn, and grow, for every reader normalises it."""

    def predict(p: Any, x: Any) -> Any:
        h = x @ p["E"]
        for i in range(2):
            n = h / jnp.sqrt(jnp.mean(h**2, axis=-1, keepdims=True))
            h = h + jnp.tanh(n @ p[f"A{i}"].T) @ p[f"B{i}"].T
        return h @ p["U"].T

    ends = [("E", 1), ("A0", 1), ("B0", 0), ("A1", 1), ("B1", 0), ("U", 1)]
    shapes = {"E": (3, 4), "A0": (5, 4), "B0": (4, 5), "A1": (3, 4), "B1": (4, 3), "U": (2, 4)}
    grows = [("E", None), ("B0", None), ("B1", None)]
    sym = bonds(sb.Bond(sb.Orthogonal(4), ends), sb.Bond(sb.UniformScale(), grows, [("U", None)]))
    return Network(predict, shapes, normal(48, 3), sym, 7, ("Orthogonal(4)", "UniformScale()"))


# ------------------------------------------------------------------------------- attention


def rotate(x: Any, planes: int) -> Any:
    """Rotary positions on the first ``planes`` interleaved planes of ``(tokens, r)``."""
    angle = jnp.arange(x.shape[0])[:, None] * 0.7 ** jnp.arange(1, planes + 1)
    a, b = x[:, 0 : 2 * planes : 2], x[:, 1 : 2 * planes : 2]
    cos, sin = jnp.cos(angle), jnp.sin(angle)
    turned = jnp.stack([cos * a - sin * b, sin * a + cos * b], axis=-1)
    return jnp.concatenate([turned.reshape(x.shape[0], -1), x[:, 2 * planes :]], axis=1)


def attention(
    *,
    r: int,
    heads: int = 1,
    shared: int = 1,
    biases: bool = False,
    planes: int = 0,
    norm: bool = False,
    d: int = 3,
) -> Any:
    q, k = heads * shared * r, heads * r
    shapes: Shapes = {"WQ": (q, d), "WK": (k, d), "WV": (k, d), "WO": (d, q)}
    if biases:
        shapes |= {"bQ": (q,), "bK": (k,), "bV": (k,)}

    def rms(x: Any) -> Any:
        return x / jnp.sqrt(jnp.mean(x**2, axis=-1, keepdims=True))

    def one(p: Any, x: Any) -> Any:
        parts = [x @ p[f"W{c}"].T + (p[f"b{c}"] if biases else 0) for c in "QKV"]
        out = []
        for h in range(heads * shared):
            query = parts[0][:, h * r : h * r + r]
            key, value = (part[:, h // shared * r :][:, :r] for part in parts[1:])
            if norm:
                query, key = rms(query), rms(key)
            query, key = rotate(query, planes), rotate(key, planes)
            scores = query @ key.T
            out.append(jax.nn.softmax(scores, axis=-1) @ value)
        return jnp.concatenate(out, axis=1) @ p["WO"].T

    def predict(p: Any, x: Any) -> Any:
        return jax.vmap(one, in_axes=(None, 0))(p, x)

    return predict, shapes, 2 * normal(6, 4, d)


def values(r: int, heads: int | None = None, *, biases: bool = False) -> sb.Bond:
    vectors = [("WV", 0)] + [("bV", 0)] * biases
    return sb.Bond(sb.GeneralLinear(r), vectors, [("WO", 1)], heads=heads, name="vo")


@network
def attention_head() -> Network:
    sym = bonds(sb.Bond(sb.GeneralLinear(3), [("WQ", 0)], [("WK", 0)], name="qk"), values(3))
    named = ("GeneralLinear(3)", "GeneralLinear(3)")
    return Network(*attention(r=3, d=4), sym, 18, named)


@network
def attention_biased() -> Network:
    sym = bonds(
        sb.Bond(sb.GeneralLinear(3), [("WQ", 0), ("bQ", 0)], [("WK", 0)], name="qk"),
        values(3, biases=True),
        sb.Bond(sb.Translation(3), [("bK", None)], name="dead"),
    )
    named = ("GeneralLinear(3)", "GeneralLinear(3)", "Translation(3)")
    return Network(*attention(r=3, d=4, biases=True), sym, 21, named)


@network
def attention_shared_keys() -> Network:
    sym = bonds(
        sb.Bond(sb.GeneralLinear(2), [("WQ", 0)], [("WK", 0)], heads=2, name="qk"),
        values(2, heads=2),
    )
    named = ("GeneralLinear(2) x 2", "GeneralLinear(2) x 2")
    return Network(*attention(r=2, heads=2, shared=2), sym, 16, named)


@network
def attention_rotary() -> Network:
    sym = bonds(sb.Bond(sb.ComplexScaling(4), [("WQ", 0)], [("WK", 0)], name="qk"), values(4))
    named = ("ComplexScaling(4)", "GeneralLinear(4)")
    return Network(*attention(r=4, d=5, planes=2), sym, 20, named)


@network
def attention_partial_rotary() -> Network:
    turned, free = np.array([0, 1, -1, -1]), np.array([-1, -1, 0, 1])
    sym = bonds(
        sb.Bond(sb.ComplexScaling(2), [("WQ", 0, turned)], [("WK", 0, turned)], name="turned"),
        sb.Bond(sb.GeneralLinear(2), [("WQ", 0, free)], [("WK", 0, free)], name="free"),
        values(4),
    )
    named = ("ComplexScaling(2)", "GeneralLinear(2)", "GeneralLinear(4)")
    return Network(*attention(r=4, d=5, planes=1), sym, 22, named)


@network
def attention_qk_norm() -> Network:
    sym = bonds(
        sb.Bond(sb.Orthogonal(3), [("WQ", 0), ("WK", 0)], name="qk"),
        sb.Bond(sb.UniformScale(), [("WQ", None)], name="q"),
        sb.Bond(sb.UniformScale(), [("WK", None)], name="k"),
        values(3),
    )
    named = ("GeneralLinear(3)", "Orthogonal(3)", "UniformScale()", "UniformScale()")
    return Network(*attention(r=3, d=4, norm=True), sym, 14, named)


# ------------------------------------------------------------------- products of parameters


@network
def hadamard_three() -> Network:
    def predict(p: Any, x: Any) -> Any:
        return x @ (p["u"] * p["v"] * p["w"])

    sym = bonds(
        sb.Bond(sb.Rescaling(4, signed=True), [("u", None)], [("v", None)]),
        sb.Bond(sb.Rescaling(4, signed=True), [("u", None)], [("w", None)]),
    )
    shapes = {"u": (4,), "v": (4,), "w": (4,)}
    return Network(predict, shapes, normal(9, 4), sym, 8, ("Rescaling(4)", "Rescaling(4)"))


@network
def group_product() -> Network:
    labels = np.array([0, 1, 0, 2, 1, 0])

    def predict(p: Any, x: Any) -> Any:
        return x @ (p["s"][labels] * p["v"])

    sym = bonds(sb.Bond(sb.Rescaling(3, signed=True), [("s", 0)], [("v", 0, labels)]))
    return Network(predict, {"s": (3,), "v": (6,)}, normal(9, 6), sym, 3, ("Rescaling(3)",))


@network
def tensor_ring() -> Network:
    def predict(p: Any, x: Any) -> Any:
        return jnp.einsum("aij,bjk,cki->abc", p["A"], p["B"], p["C"]) * x

    gl = sb.GeneralLinear(3)
    sym = bonds(
        sb.Bond(gl, [("B", 1)], [("A", 2)], name="ab"),
        sb.Bond(gl, [("C", 1)], [("B", 2)], name="bc"),
        sb.Bond(gl, [("A", 1)], [("C", 2)], name="ca"),
    )
    shapes = {"A": (2, 3, 3), "B": (3, 3, 3), "C": (2, 3, 3)}
    return Network(predict, shapes, np.ones(1), sym, 26, ("GeneralLinear(3)",) * 3)


@network
def radial() -> Network:
    def predict(p: Any, x: Any) -> Any:
        return x * jnp.sqrt(jnp.sum(p["x"] ** 2)) ** 3

    sym = bonds(sb.Bond(sb.Orthogonal(4), [("x", 0)]))
    return Network(predict, {"x": (4,)}, normal(3), sym, 6, ("Orthogonal(4)",))
