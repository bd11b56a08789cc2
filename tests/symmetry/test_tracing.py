"""Derivatives and transformations, in JAX and PyTorch, against finite differences."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import torch

import symbias as sb
from tests.symmetry.backends import backend, host
from tests.symmetry.cases import CASES, Params, definition, log_pdet, normal, product

SMOOTH = [name for name in CASES if name not in {"product_wide_null", "product_zero", "island"}]
SMOOTH = [name for name in SMOOTH if name != "recurrent_island"]
SMOOTH = [name for name in SMOOTH if name not in {"dead_units", "orthogonal_thin"}]
BALANCED = ["product_tall", "product_identity", "heads", "residual_stream", "rotary_half"]
BALANCED += ["hadamard_deep", "groups_of_unequal_size", "relu_four", "conv", "deep_linear"]


def difference(function: Callable[[Params], Any], params: Params, way: Params) -> float:
    """The derivative along ``way``, by Richardson's central differences."""

    def central(step: float) -> float:
        ends = (
            float(function({k: params[k] + s * step * way[k] for k in params})) for s in (1, -1)
        )
        up, down = ends
        return (up - down) / (2 * step)

    return (4 * central(5e-4) - central(1e-3)) / 3


def direction(params: Params) -> Params:
    rng = np.random.default_rng(11)
    return {k: rng.standard_normal(v.shape) * np.abs(v).max(initial=0) for k, v in params.items()}


def relative_direction(params: Params) -> Params:
    """Every entry by its own size: what ill-conditioned arrays bear."""
    rng = np.random.default_rng(11)
    return {k: rng.standard_normal(v.shape) * v for k, v in params.items()}


def slope(gradient: dict[str, Any], way: Params) -> float:
    return sum(float(np.sum(host(gradient[k]) * way[k])) for k in way)


def jax_gradient(function: Callable[..., Any], params: Params) -> dict[str, np.ndarray]:
    with backend("jax") as make:
        found = jax.jit(jax.grad(function))(make(params))
        return {k: np.asarray(v) for k, v in found.items()}


def torch_gradient(function: Callable[..., Any], params: Params) -> dict[str, np.ndarray]:
    with backend("torch") as make:
        return {k: host(v) for k, v in torch.func.grad(function)(make(params)).items()}


@pytest.mark.parametrize("name", SMOOTH)
def test_gradient_of_log_volume(name: str) -> None:
    sym, params = CASES[name]()
    way = (relative_direction if "ill" in name else direction)(params)

    def function(p: dict[str, Any]) -> Any:
        return sb.log_volume(sym, p)

    expected = difference(function, params, way)
    for gradient in (jax_gradient, torch_gradient):
        found = slope(gradient(function, params), way)
        assert found == pytest.approx(expected, rel=1e-6, abs=1e-6), gradient.__name__


@pytest.mark.parametrize("name", CASES)
def test_jitted_log_volume(name: str) -> None:
    """The same value as the definition, whichever path tracing takes; islands are no exception."""
    sym, params = CASES[name]()
    expected, _ = log_pdet(definition(sym, params))
    with backend("jax") as make:
        found = float(jax.jit(lambda p: sb.log_volume(sym, p))(make(params)))
    assert found == pytest.approx(expected, rel=1e-10, abs=1e-10)


@pytest.mark.parametrize("name", BALANCED)
def test_gradient_of_induced_norm(name: str) -> None:
    sym, params = CASES[name]()
    way = direction(params)

    def function(p: dict[str, Any]) -> Any:
        return sb.induced_norm(sym, p)

    expected = difference(function, params, way)
    for gradient in (jax_gradient, torch_gradient):
        found = slope(gradient(function, params), way)
        assert found == pytest.approx(expected, rel=1e-6, abs=1e-6), gradient.__name__


@pytest.mark.parametrize("name", ["shared_heads", "rotary_half", "relu_four", "ring"])
def test_gradient_of_charges(name: str) -> None:
    sym, params = CASES[name]()
    way = direction(params)

    def function(p: dict[str, Any]) -> Any:
        total: Any = 0.0
        for q in sb.charges(sym, p).values():
            total = total + (q**2).sum()
        return total

    expected = difference(function, params, way)
    for gradient in (jax_gradient, torch_gradient):
        assert slope(gradient(function, params), way) == pytest.approx(expected, rel=1e-6)


def test_gradients_where_singular_values_meet_or_vanish() -> None:
    """Identity, equal and rank-deficient factors: finite, and right along the smooth directions."""
    q = normal(Q=(3, 5), seed=3)["Q"]
    thin = np.zeros((4, 3))
    thin[:, 0] = [1.0, 2.0, -1.0, 0.5]
    for params in (
        {"P": np.eye(3), "Q": np.eye(3)},
        {"P": 2 * np.eye(3), "Q": np.eye(3)[:, ::-1].copy()},
        {"P": thin, "Q": q},
    ):
        way = direction(params)
        expected = difference(lambda p: sb.log_volume(product(3), p), params, way)
        for gradient in (jax_gradient, torch_gradient):
            found = gradient(lambda p: sb.log_volume(product(3), p), params)
            assert slope(found, way) == pytest.approx(expected, rel=1e-6, abs=1e-6)
    for params in ({"P": thin, "Q": q}, {"P": np.zeros((4, 3)), "Q": np.zeros((3, 5))}):
        for gradient in (jax_gradient, torch_gradient):
            for function in (sb.log_volume, sb.induced_norm):
                found = gradient(lambda p, f=function: f(product(3), p), params)
                assert all(np.isfinite(v).all() for v in found.values())


def test_zero_units_have_finite_gradients() -> None:
    for name in ("dead_units", "hadamard_deep", "groups_of_unequal_size"):
        sym, params = CASES[name]()
        params = {k: v * (np.arange(v.size).reshape(v.shape) % 3 > 0) for k, v in params.items()}
        for gradient in (jax_gradient, torch_gradient):
            for function in (sb.log_volume, sb.induced_norm):
                found = gradient(lambda p, f=function, s=sym: f(s, p), params)
                assert all(np.isfinite(v).all() for v in found.values()), (name, function)


@pytest.mark.parametrize("name", ["heads", "relu_four", "deep_linear", "residual_stream"])
def test_vmap_and_jit(name: str) -> None:
    sym, params = CASES[name]()
    rng = np.random.default_rng(0)
    stack = {k: v + 0.1 * rng.standard_normal((3, *v.shape)) for k, v in params.items()}
    rows = [{k: v[i] for k, v in stack.items()} for i in range(3)]
    functions: list[Callable[[Any], Any]] = [
        lambda p: sb.log_volume(sym, p),
        lambda p: sb.charges(sym, p)[sym.bonds[0].name],
    ]
    if name != "residual_stream":
        functions.append(lambda p: sb.induced_norm(sym, p))
    for function in functions:
        expected = np.stack([function(row) for row in rows])
        with backend("jax") as make:
            found = jax.jit(jax.vmap(function))(make(stack))
            np.testing.assert_allclose(found, expected, rtol=1e-9, atol=1e-12)
        with backend("torch") as make:
            found = torch.func.vmap(function)(make(stack))
            np.testing.assert_allclose(host(found), expected, rtol=1e-9, atol=1e-12)


def test_jit_of_the_other_functions() -> None:
    sym, params = CASES["shared_heads"]()
    element = sb.random_element(sym, seed=0)
    way = direction(params)
    with backend("jax") as make:
        moved = jax.jit(lambda p: sb.act(sym, element, p))(make(params))
        kept = jax.jit(lambda p, t: sb.horizontal(sym, p, t))(make(params), make(way))
        gram = jax.jit(lambda p: sb.gram(sym, p))(make(params))
        for key, value in sb.act(sym, element, params).items():
            np.testing.assert_allclose(moved[key], value, rtol=1e-10, atol=1e-12)
        for key, value in sb.horizontal(sym, params, way).items():
            np.testing.assert_allclose(kept[key], value, rtol=1e-8, atol=1e-10)
        np.testing.assert_allclose(gram, sb.gram(sym, params), atol=1e-11)


def test_plain_autograd() -> None:
    """Without torch.func, on leaves that require gradients."""
    for name in ("relu_four", "heads", "deep_linear"):
        sym, params = CASES[name]()
        for function in (sb.log_volume, sb.induced_norm):
            leaves = {k: torch.nn.Parameter(torch.as_tensor(v)) for k, v in params.items()}
            function(sym, leaves).backward()
            expected = torch_gradient(lambda p, f=function, s=sym: f(s, p), params)
            for key in params:
                found = leaves[key].grad
                found = np.zeros(params[key].shape) if found is None else host(found)
                np.testing.assert_allclose(found, expected[key], rtol=1e-7, atol=1e-8)


def test_elements_can_be_differentiated() -> None:
    sym, params = CASES["product_tall"]()
    with backend("jax") as make:
        given = make(params)
        norm = jax.grad(lambda g: jnp.sum(sb.act(sym, {"Q|P": g}, given)["Q"] ** 2))
        slope = norm(jnp.eye(3)[None])
    np.testing.assert_allclose(slope[0], 2 * params["Q"] @ params["Q"].T, rtol=1e-12)


def test_lanczos_says_that_it_does_not_trace() -> None:
    sym, params = CASES["deep_linear"]()
    with (
        backend("jax") as make,
        pytest.raises(ValueError, match="does not work under jit"),
    ):
        jax.jit(lambda p: sb.log_volume(sym, p, method="lanczos"))(make(params))
