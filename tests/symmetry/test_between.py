"""Symmetries between arrays and of powers, against dense definitions and gradient flow."""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.integrate import solve_ivp

import symbias as sb
from symbias.audit import audit
from symbias.symmetry.discovery import whole
from tests.symmetry.architectures import normal
from tests.symmetry.backends import backend
from tests.symmetry.cases import Params, boosts, definition

Shapes = dict[str, tuple[int, ...]]


class Model(NamedTuple):
    """A function of parameters and inputs, and the groups it must show."""

    predict: Callable[[Any, Any], Any]
    shapes: Shapes
    inputs: np.ndarray
    named: dict[str, Any]


def squared(z: Any) -> Any:
    return jnp.maximum(z, 0) ** 2


def pairs(*names: str) -> Shapes:
    return dict.fromkeys(names, (3,))


MODELS = {
    "u^2 - v^2": Model(
        lambda p, x: x @ (p["u"] ** 2 - p["v"] ** 2),
        pairs("u", "v"),
        normal(9, 3),
        {"u+v|": (sb.IndefiniteOrthogonal(1, 1), 3)},
    ),
    "u^2 - v^2 stacked": Model(
        lambda p, x: x @ (p["t"][:, 0] ** 2 - p["t"][:, 1] ** 2),
        {"t": (4, 2)},
        normal(9, 4),
        {"t|": (sb.IndefiniteOrthogonal(1, 1), 4)},
    ),
    "u^2 - v^2 of matrices": Model(
        lambda p, x: jnp.sum(x * (p["U"] ** 2 - p["V"] ** 2), (1, 2)),
        {"U": (2, 2), "V": (2, 2)},
        normal(9, 2, 2),
        {"U+V|": (sb.IndefiniteOrthogonal(1, 1), 4)},
    ),
    "u^2 + v^2": Model(
        lambda p, x: x @ (p["u"] ** 2 + p["v"] ** 2),
        pairs("u", "v"),
        normal(9, 3),
        {"u+v|": (sb.Orthogonal(2), 3)},
    ),
    "u^2 + v^2 - s^2": Model(
        lambda p, x: x @ (p["u"] ** 2 - p["s"] ** 2 + p["v"] ** 2),
        pairs("u", "s", "v"),
        normal(9, 3),
        {"u+s+v|": (sb.IndefiniteOrthogonal(2, 1), 3)},
    ),
    "|x|^2 - t^2": Model(
        lambda p, x: x * (p["z"][:3] @ p["z"][:3] - p["z"][3] ** 2),
        {"z": (4,)},
        normal(3),
        {"z|": (sb.IndefiniteOrthogonal(3, 1), None)},
    ),
    "U * V": Model(
        lambda p, x: jnp.sum(x * p["U"] * p["V"], (1, 2)),
        {"U": (2, 3), "V": (2, 3)},
        normal(9, 2, 3),
        {"U|V": (sb.Rescaling(6), None)},
    ),
    "P Q + R S": Model(
        lambda p, x: x @ (p["P"] @ p["Q"] + p["R"] @ p["S"]),
        {"P": (3, 2), "Q": (2, 3), "R": (3, 1), "S": (1, 3)},
        normal(9, 3),
        {"P+R|Q+S": (sb.GeneralLinear(3), None)},
    ),
    "a complex product": Model(
        lambda p, x: jnp.concatenate(
            [x @ (p["a"] * p["c"] - p["b"] * p["d"]), x @ (p["a"] * p["d"] + p["b"] * p["c"])]
        ),
        pairs("a", "b", "c", "d"),
        normal(9, 3),
        {"a+b|c+d": (sb.ComplexScaling(6), None)},
    ),
    "a complex phase": Model(
        lambda p, x: jnp.concatenate(
            [
                x @ (p["a"] * p["c"] - p["b"] * p["d"]),
                x @ ((p["a"] * p["d"] + p["b"] * p["c"]) * (p["a"] ** 2 + p["b"] ** 2)),
            ]
        ),
        pairs("a", "b", "c", "d"),
        normal(9, 3),
        {"a+b+c+d|": (sb.Orthogonal(2, special=True), 3)},
    ),
    "u^2 v": Model(
        lambda p, x: x @ (p["u"] ** 2 * p["v"]),
        pairs("u", "v"),
        normal(9, 3),
        {"u|v": (sb.WeightedRescaling(3, (1, 2)), None)},
    ),
    "|u|^1.5 v": Model(
        lambda p, x: x @ (jnp.abs(p["u"]) ** 1.5 * p["v"]),
        pairs("u", "v"),
        normal(9, 3),
        {"u|v": (sb.WeightedRescaling(3, (2, 3)), None)},
    ),
    "|u|^sqrt(2) v": Model(
        lambda p, x: x @ (jnp.abs(p["u"]) ** (2**0.5) * p["v"]),
        pairs("u", "v"),
        normal(9, 3),
        {"u|v": (sb.WeightedRescaling(3, (1, round(2**0.5, 10))), None)},
    ),
    "u v w^2": Model(
        lambda p, x: x @ (p["u"] * p["v"] * p["w"] ** 2),
        pairs("u", "v", "w"),
        normal(9, 3),
        {
            "u|w": (sb.WeightedRescaling(3, (2, 1)), None),
            "v|w": (sb.WeightedRescaling(3, (2, 1)), None),
        },
    ),
    "t0^2 t1": Model(
        lambda p, x: x * p["t"][0] ** 2 * p["t"][1],
        {"t": (2,)},
        normal(4),
        {"t|t": (sb.WeightedRescaling(1, (1, 2)), None)},
    ),
    "squared ReLU": Model(
        lambda p, x: squared(x @ p["W"].T + p["b"]) @ p["a"].T,
        {"W": (3, 2), "b": (3,), "a": (2, 3)},
        normal(20, 2),
        {"W+b|a": (sb.WeightedRescaling(3, (1, 1, 2)), None)},
    ),
    "two layers of squared ReLU": Model(
        lambda p, x: squared(squared(x @ p["W0"].T) @ p["W1"].T) @ p["W2"].T,
        {"W0": (3, 2), "W1": (2, 3), "W2": (2, 2)},
        normal(20, 2),
        {
            "W0|W1": (sb.WeightedRescaling(3, (1, 2)), None),
            "W1|W2": (sb.WeightedRescaling(2, (1, 2)), None),
        },
    ),
}


def random_params(shapes: Shapes, seed: int) -> Params:
    rng = np.random.default_rng(seed)
    return {k: rng.standard_normal(shape) for k, shape in shapes.items()}


def dense_algebra(model: Model) -> np.ndarray:
    """All matrices ``A`` with ``df(theta)[A theta] = 0``, from 4 P draws: ``(dim, P, P)``."""
    size = sum(int(np.prod(s)) for s in model.shapes.values())
    draws = [random_params(model.shapes, seed) for seed in range(4 * size)]
    stack = {k: np.stack([draw[k] for draw in draws]) for k in model.shapes}
    with backend("jax") as make:
        x = make({"x": model.inputs})["x"]
        jacobian = jax.jacrev(lambda p: jnp.reshape(model.predict(p, x), -1))
        found = jax.jit(jax.vmap(jacobian))(make(stack))
        slopes = [np.asarray(found[k]) for k in model.shapes]
    outputs = slopes[0].shape[1]
    slope = np.concatenate([s.reshape(4 * size, outputs, -1) for s in slopes], axis=2)
    theta = np.concatenate([stack[k].reshape(4 * size, -1) for k in model.shapes], axis=1)
    rows = np.einsum("toi,tj->toij", slope, theta).reshape(-1, size**2)
    _, s, vt = np.linalg.svd(np.linalg.qr(rows, mode="r"))
    return vt[np.sum(s > 1e-8 * s[0]) :].reshape(-1, size, size)


@pytest.mark.parametrize("name", MODELS)
def test_all_linear_symmetries_are_found_and_named(name: str) -> None:
    model = MODELS[name]
    found = sb.discover(model.predict, model.shapes, model.inputs)
    assert {b.name: (b.group, b.heads) for b in found.symmetry} == model.named
    assert not found.unnamed
    assert all("entry" not in sentence for sentence in found.not_searched)
    algebra = dense_algebra(model)
    assert found.dim == len(algebra)
    params = random_params(model.shapes, 1000)
    theta = np.concatenate([params[k].reshape(-1) for k in model.shapes])
    rows = definition(found.symmetry, params)
    order = np.concatenate([np.arange(len(theta))[_place(model, k)] for k in found.symmetry.arrays])
    generators = np.zeros_like(rows)
    generators[:, order] = rows
    tangents = algebra @ theta
    ranks = [np.linalg.matrix_rank(m, 1e-8) for m in (generators, tangents)]
    assert (
        ranks[0] == ranks[1] == np.linalg.matrix_rank(np.concatenate([generators, tangents]), 1e-8)
    )
    with backend("jax") as make:
        x = make({"x": model.inputs})["x"]
        error = sb.check_invariance(model.predict, found.symmetry, make(params), x)
        assert error <= 1e-9


def _place(model: Model, name: str) -> slice:
    sizes = [int(np.prod(s)) for s in model.shapes.values()]
    k = list(model.shapes).index(name)
    return slice(sum(sizes[:k]), sum(sizes[: k + 1]))


@pytest.mark.parametrize("name", ["u^2 - v^2", "u^2 v", "|u|^1.5 v", "squared ReLU"])
def test_gradient_flow_conserves_the_charges_that_are_found(name: str) -> None:
    model = MODELS[name]
    symmetry = sb.discover(model.predict, model.shapes, model.inputs).symmetry
    start = random_params(model.shapes, 3)
    sizes = [int(np.prod(s)) for s in model.shapes.values()]

    def named(theta: Any) -> dict[str, Any]:
        parts = np.cumsum(sizes)[:-1].tolist()
        split = (jnp if isinstance(theta, jax.Array) else np).split(theta, parts)
        return {k: p.reshape(model.shapes[k]) for k, p in zip(model.shapes, split, strict=True)}

    with backend("jax") as make:
        x = make({"x": model.inputs})["x"]
        target = jnp.cos(jnp.arange(model.predict(make(start), x).size))

        def loss(t: Any) -> Any:
            return jnp.mean((jnp.reshape(model.predict(named(t), x), -1) - target) ** 2)

        slope = jax.jit(jax.grad(loss))
        theta = np.concatenate([start[k].reshape(-1) for k in model.shapes])
        flow = solve_ivp(
            lambda _, t: -np.asarray(slope(t)), (0, 1), theta, method="DOP853", rtol=1e-9, atol=1e-9
        )
    end = flow.y[:, -1]
    assert np.linalg.norm(end - theta) > 0.2
    before, after = sb.charges(symmetry, start), sb.charges(symmetry, named(end))
    for bond in symmetry:
        np.testing.assert_allclose(after[bond.name], before[bond.name], atol=1e-6)


def test_boosts_are_scales_of_the_sum_and_the_difference() -> None:
    """u^2 - v^2 = p q with p = u + v, q = u - v; a turn by 45 degrees takes one to the other."""
    params = random_params({"u": (4,), "v": (4,)}, 0)
    turned = {
        "p": (params["u"] + params["v"]) / 2**0.5,
        "q": (params["u"] - params["v"]) / 2**0.5,
    }
    boost = boosts(4)
    scale = sb.Symmetry([sb.Bond(sb.Rescaling(4), [("p", 0)], [("q", 0)], name="boosts")])
    # the boost [[0, 1], [1, 0]] / sqrt 2 is the scale diag(1, -1) / sqrt 2 there
    expected = sb.log_volume(scale, turned) - 4 * np.log(2) / 2
    assert sb.log_volume(boost, params) == pytest.approx(expected, rel=1e-12)
    assert sb.induced_norm(boost, params) == pytest.approx(
        sb.induced_norm(scale, turned), rel=1e-12
    )
    w = params["u"] ** 2 - params["v"] ** 2
    assert sb.induced_norm(boost, params) == pytest.approx(np.abs(w).sum() / 2, rel=1e-12)
    charge = sb.charges(scale, turned)["boosts"] / 2
    np.testing.assert_allclose(sb.charges(boost, params)["boosts"][:, 0, 0], charge, rtol=1e-12)
    logs = np.random.default_rng(1).standard_normal(4)
    g = np.stack([[np.cosh(s), np.sinh(s)] for s in logs])
    element = np.stack([g, g[:, ::-1]], axis=1)
    moved = sb.act(boost, {"boosts": element}, params)
    there = sb.act(scale, {"boosts": np.exp(logs)[:, None].reshape(1, 4)}, turned)
    np.testing.assert_allclose((moved["u"] + moved["v"]) / 2**0.5, there["p"], rtol=1e-12)
    balanced = sb.balance(boost, params).params
    still = sb.balance(scale, turned).params
    np.testing.assert_allclose((balanced["u"] + balanced["v"]) / 2**0.5, still["p"], rtol=1e-10)
    np.testing.assert_allclose(balanced["u"] * balanced["v"], 0, atol=1e-12)


def test_powers_balance_in_closed_form() -> None:
    """u^2 v = w is least where u^2 = 2 v^2: half the norm is 3/2 (|w| / 2)^(2/3)."""
    bond = sb.Bond(sb.WeightedRescaling(5, (1, 2)), [("u", 0)], [("v", 0)], name="uv")
    params = random_params({"u": (5,), "v": (5,)}, 2)
    sym = sb.Symmetry([bond])
    w = params["u"] ** 2 * params["v"]
    least = 1.5 * np.sum((np.abs(w) / 2) ** (2 / 3))
    assert sb.induced_norm(sym, params) == pytest.approx(least, rel=1e-12)
    found = sb.balance(sym, params).params
    np.testing.assert_allclose(found["u"] ** 2 * found["v"], w, rtol=1e-12)
    np.testing.assert_allclose(found["u"] ** 2, 2 * found["v"] ** 2, rtol=1e-12)
    np.testing.assert_allclose(
        sb.charges(sym, params)["uv"], params["u"] ** 2 - 2 * params["v"] ** 2, rtol=1e-12
    )
    gram = params["u"] ** 2 + 4 * params["v"] ** 2
    assert sb.log_volume(sym, params) == pytest.approx(np.log(gram).sum() / 2, rel=1e-12)


def test_what_is_too_large_is_refused_or_said(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(sb.Refused, match="3200 unknowns, at most 3000 are searched"):
        sb.discover(lambda p, x: p["u"] * p["v"], {"u": (40,), "v": (40,)}, 0.0)
    model = MODELS["u^2 - v^2"]
    for budget in ("MOST_UNKNOWNS", "MOST_PARAMETERS"):
        with monkeypatch.context() as patch:
            patch.setattr(whole, budget, 5)
            found = sb.discover(model.predict, model.shapes, model.inputs)
        assert found.dim == 0
        assert "entry by entry" in found.not_searched[0]
        assert found.not_searched[0] in repr(found)


def test_audits_refuse_what_they_would_measure_wrongly() -> None:
    weighted = sb.Bond(sb.WeightedRescaling(3, (1, 2)), [("u", 0)], [("v", 0)])
    for bond in (weighted, *boosts(3)):
        with pytest.raises(ValueError, match="are not audited"):
            audit({"u": np.ones(3), "v": np.ones(3)}, bonds=[bond])


def test_weights_and_ends_that_do_not_fit() -> None:
    for weights in ((), (0, 1), (-1, 1), (np.inf, 1), ("a", 1)):
        with pytest.raises(ValueError, match="positive numbers"):
            sb.WeightedRescaling(2, weights)
    with pytest.raises(ValueError, match="needs 2 ends, the bond has 1"):
        sb.Bond(sb.WeightedRescaling(2, (1, 2)), [("u", 0)])
    with pytest.raises(ValueError, match="two positive integers"):
        sb.IndefiniteOrthogonal(0, 2)
    with pytest.raises(ValueError, match="needs labels for each"):
        sb.Bond(sb.Orthogonal(2), [(("u", "v"), 0, ([0],))])
    uneven = sb.Symmetry([sb.Bond(sb.Orthogonal(2), [(("u", "v"), 0, ([0], [1]))])])
    with pytest.raises(ValueError, match="no common shape"):
        sb.gram(uneven, {"u": np.ones((1, 2)), "v": np.ones((1, 3))})
    one_sided = sb.Symmetry([sb.Bond(sb.WeightedRescaling(2, (1, 2)), [("u", 0), ("v", 0)])])
    with pytest.raises(ValueError, match="one side only"):
        sb.balance(one_sided, {"u": np.ones(2), "v": np.ones(2)})
