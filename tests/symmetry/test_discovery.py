"""Symmetries found from prediction functions, and claims about them checked."""

from typing import Any

import jax.numpy as jnp
import numpy as np
import pytest

import symbias as sb
from symbias.symmetry.discovery.draws import TracedDraws
from symbias.symmetry.discovery.equations import Unknowns, null_space
from symbias.symmetry.discovery.spaces import _null_space, null_of
from tests.symmetry.architectures import NETWORKS, Network, layers, normal
from tests.symmetry.backends import backend
from tests.symmetry.cases import definition


def params_of(net: Network) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(3)
    return {k: rng.standard_normal(shape) for k, shape in net.shapes.items()}


def invariance(net: Network, symmetry: sb.Symmetry) -> float:
    with backend("jax") as make:
        inputs = make({"x": net.inputs})["x"]
        return sb.check_invariance(net.predict, symmetry, make(params_of(net)), inputs, seed=1)


def names(symmetry: sb.Symmetry) -> tuple[str, ...]:
    result = []
    for bond in symmetry:
        size = "" if isinstance(bond.group, sb.UniformScale) else bond.group.size
        heads = f" x {bond.heads}" if bond.heads else ""
        result.append(f"{type(bond.group).__name__}({size}){heads}")
    return tuple(sorted(result))


@pytest.mark.parametrize("name", NETWORKS)
def test_claims_hold_near_and_far(name: str) -> None:
    net = NETWORKS[name]()
    assert invariance(net, net.symmetry) <= 1e-10


@pytest.mark.parametrize("name", NETWORKS)
def test_discovery_names_exactly_the_symmetry(name: str) -> None:
    net = NETWORKS[name]()
    found = sb.discover(net.predict, net.shapes, net.inputs, seed=0)
    assert names(found.symmetry) == net.named
    assert found.dim == net.dim
    assert not found.unnamed
    assert not found.unnamed_shifts
    assert invariance(net, found.symmetry) <= 1e-10
    # the same orbit directions as the symmetry written by hand
    params = params_of(net)
    spans = []
    for symmetry in (net.symmetry, found.symmetry):
        whole = sb.Symmetry([*symmetry, _anchor(net)])
        rows = list(definition(whole, params)[: symmetry.dim])
        spans.append(_by_array(whole, net, rows))
    assert spans[0].shape[0] == net.symmetry.dim
    ranks = [np.linalg.matrix_rank(s) for s in (*spans, np.concatenate(spans))]
    assert ranks[0] == ranks[1] == ranks[2]


def _anchor(net: Network) -> sb.Bond:
    """A bond over all arrays, so that rows of two symmetries have the same columns."""
    return sb.Bond(sb.UniformScale(), [(name, None) for name in net.shapes], name="anchor")


def _by_array(symmetry: sb.Symmetry, net: Network, rows: list[np.ndarray]) -> np.ndarray:
    sizes = [int(np.prod(net.shapes[name])) for name in symmetry.arrays]
    total = sum(sizes)
    columns = dict(
        zip(symmetry.arrays, np.split(np.arange(total), np.cumsum(sizes)[:-1]), strict=True)
    )
    order = np.concatenate([columns[name] for name in net.shapes])
    return np.array(rows).reshape(-1, total)[:, order]


def test_dead_and_affine_parameters_are_classes_of_their_own() -> None:
    net = NETWORKS["attention_biased"]()
    found = sb.discover(net.predict, net.shapes, net.inputs)
    assert found.dead == ("bK",)
    assert found.affine == ()
    net = NETWORKS["layer_norm"]()
    found = sb.discover(net.predict, net.shapes, net.inputs)
    assert found.dead == ()
    assert found.affine == ("W shift 1", "b shift")


@pytest.mark.slow
def test_sixteen_units_need_more_draws_than_their_biases_are_long() -> None:
    net = layers([2, 16, 1], lambda x: jnp.maximum(x, 0), biases=True)
    found = sb.discover(*net)
    assert found.dim == 16
    assert names(found.symmetry) == ("Rescaling(16)",)


@pytest.mark.slow
def test_fresh_draws_remove_what_too_few_draws_left() -> None:
    """Sixteen draws cannot pin the 20 x 20 matrix of a bias; sixteen fresh ones show it."""
    predict, shapes, _ = layers([2, 20, 1], lambda x: jnp.maximum(x, 0), biases=True)
    unknowns = Unknowns(shapes)
    few = TracedDraws(predict, shapes, normal(400, 2), seed=0)
    rows = np.concatenate([unknowns.rows(*pair) for pair in few.take(16)])
    assert null_space(rows, 1e-9).shape[1] > 22
    assert _null_space(few, unknowns.rows, 16).shape[1] == 22  # 20 units, two trivial directions


def test_one_of_many_outputs_sees_an_array() -> None:
    """Forty draws give forty equations for the 144 unknowns of b, of however many outputs."""

    def predict(p: Any, x: Any) -> Any:
        return jnp.concatenate([jnp.tanh(x * p["a"]), jnp.sum(p["b"] ** 4, keepdims=True)])

    shapes = {"a": (), "b": (12,)}
    draws = TracedDraws(predict, shapes, normal(60), seed=0)
    assert null_of(draws, Unknowns(shapes)).shape[1] == 0
    assert sb.discover(predict, shapes, normal(60)).dim == 0


def test_layers_of_width_one() -> None:
    net = layers([3, 1, 1, 2], lambda x: jnp.maximum(x, 0), biases=False)
    assert names(sb.discover(*net).symmetry) == ("Rescaling(1)", "Rescaling(1)")


@pytest.mark.slow
def test_another_seed_agrees() -> None:
    net = NETWORKS["attention_partial_rotary"]()
    found = sb.discover(net.predict, net.shapes, net.inputs, seed=1)
    assert names(found.symmetry) == net.named


def test_what_fits_no_group_is_listed() -> None:
    """(u + v)(u - 2 v): a boost of coordinates that are not orthogonal; and shear."""

    def skew(p: Any, x: Any) -> Any:
        return x * (p["u"] + p["v"]) * (p["u"] - 2 * p["v"])

    found = sb.discover(skew, {"u": (2,), "v": (2,)}, normal(3, 2))
    assert found.symmetry.dim == 0
    assert found.dim == len(found.unnamed) == 2
    assert all(set(g) == {(a, b) for a in "uv" for b in "uv"} for g in found.unnamed)
    assert "without a name: 2" in repr(found)

    def shear(p: Any, x: Any) -> Any:
        return x * p["w"][1] * (1 + p["w"][1] ** 2) + x**2 * p["v"][0] * (1 + p["v"][0] ** 2)

    found = sb.discover(shear, {"w": (2,), "v": (1,)}, normal(3))
    assert found.symmetry.dim == 1  # w[0] is dead
    assert not found.dead
    assert found.affine == ("w dead entries",)


def test_scalars_and_pairs() -> None:
    def scaled(p: Any, x: Any) -> Any:
        return x @ (p["s"] * p["W"]) + p["a"] + p["b"]

    shapes = {"s": (), "W": (3, 2), "a": (2,), "b": (2,)}
    found = sb.discover(scaled, shapes, normal(5, 3))
    assert names(found.symmetry) == ("Translation(2)", "UniformScale()")
    assert found.dim == 3
    with backend("jax") as make:
        params = make({k: np.random.default_rng(0).standard_normal(s) for k, s in shapes.items()})
        assert sb.check_invariance(scaled, found.symmetry, params, normal(5, 3)) <= 1e-10


WRONG = {
    "gelu": sb.Bond(sb.Rescaling(4), [("W0", 0), ("b0", 0)], [("W1", 1)]),
    "relu_biased": sb.Bond(sb.Rescaling(5), [("W0", 0)], [("W1", 1)]),
    "relu_deep": sb.Bond(sb.GeneralLinear(5), [("W0", 0)], [("W1", 1)]),
    "attention_rotary": sb.Bond(sb.GeneralLinear(4), [("WQ", 0)], [("WK", 0)]),
    "attention_qk_norm": sb.Bond(sb.GeneralLinear(3), [("WQ", 0)], [("WK", 0)]),
    "attention_biased": sb.Bond(sb.GeneralLinear(3), [("WQ", 0)], [("WK", 0)]),
    "swiglu": sb.Bond(sb.Rescaling(5), [("gate", 0)], [("down", 1)]),
    "attention_shared_keys": sb.Bond(sb.GeneralLinear(4), [("WQ", 0)], [("WK", 0)], heads=1),
    "conv_relu": sb.Bond(sb.Rescaling(4, signed=True), [("C0", 0), ("c0", 0)], [("C1", 1)]),
}


@pytest.mark.parametrize("name", WRONG)
def test_wrong_claims_are_caught(name: str) -> None:
    net = NETWORKS[name]()
    assert invariance(net, sb.Symmetry([WRONG[name]])) > 1e-5


def test_invariance_of_what_is_not_finite() -> None:
    sym = sb.Symmetry([sb.Bond(sb.Rescaling(2), [("u", 0)], [("v", 0)])])
    params = {"u": np.ones(2), "v": np.ones(2)}

    def root(p: Any, x: Any) -> Any:
        with np.errstate(invalid="ignore"):
            return np.sqrt(1.0001 - p["u"]) + x

    assert sb.check_invariance(root, sym, params, 0.0) == float("inf")
    with pytest.raises(ValueError, match="not finite"):
        sb.check_invariance(lambda p, x: p["u"] * np.nan, sym, params, None)
    with pytest.raises(ValueError, match="not finite"):
        sb.discover(lambda p, x: jnp.sqrt(p["u"]) * x, {"u": (2,)}, np.ones(2))


DRAWS = np.random.default_rng(0)
INPUTS = DRAWS.normal(size=(4, 3))


@pytest.mark.parametrize(
    ("predict", "shapes", "message"),
    [
        (lambda p, x: x @ p["b"], {"a": 3}, "predict asks for 'b': the arrays are 'a'"),
        (lambda p, x: x @ p["a"], {"a": (-3,)}, r"shape of 'a' must be non-negative .* \(-3,\)"),
        (lambda p, x: x @ p["a"], {"a": True}, "shape of 'a' must be non-negative integers"),
        (lambda p, x: x @ p["a"] * DRAWS.normal(), {"a": 3}, "predict is random: two calls"),
    ],
)
def test_bad_predictors_and_shapes_are_told(predict: Any, shapes: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        sb.discover(predict, shapes, INPUTS)


def test_a_number_is_the_length_of_a_vector() -> None:
    found = sb.discover(lambda p, x: x @ (p["u"] * p["v"]), {"u": 3, "v": np.int64(3)}, INPUTS)
    (bond,) = found.symmetry
    assert (bond.group, bond.arrays) == (sb.Rescaling(3), ("u", "v"))
    with pytest.raises(TypeError, match="shapes takes a dict of array names to shapes"):
        sb.discover(lambda p, x: x @ p["a"], ["a"], INPUTS)  # type: ignore[arg-type]
