"""The penalty of label noise is the least mean square of the gradients among all factors of w."""

from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.optimize import minimize

import symbias as sb
from symbias.mechanisms import least_gradients
from tests.backends import back, each, to, x64

_RNG = np.random.default_rng(3)
# parameterization, and whether inputs are rows of x @ w or arrays of the shape of w
CASES = {
    "hadamard": (sb.Hadamard(4), False),
    "hadamard-3": (sb.Hadamard(4, depth=3), False),
    "hadamard-outputs": (sb.Hadamard((3, 2)), True),
    "groups": (sb.GroupProduct(7, groups=[0, 1, 1, 2, 0, 0, 1]), False),
    "groups-outputs": (sb.GroupProduct((3, 4), axis=1), True),
    "product-outputs": (sb.MatrixProduct(4, 3), True),
    "product-arrays": (sb.MatrixProduct(4, 3), False),
    "product-wide-inner": (sb.MatrixProduct(2, 3, rank=3), False),
    "differences": (sb.Synthesis(sb.CumulativeSum(), sb.Hadamard(5)), False),
    "differences-outputs": (sb.Synthesis(sb.CumulativeSum(), sb.MatrixProduct(4, 3)), True),
    "differences-arrays": (sb.Synthesis(sb.CumulativeSum(), sb.MatrixProduct(4, 3)), False),
    "weights-outputs": (
        sb.Synthesis(sb.Diagonal(_RNG.uniform(1, 2, (4, 3))), sb.GroupProduct((4, 3))),
        True,
    ),
    "linked": (sb.Linked(sb.Hadamard(3), sb.PowerLink(1.5)), False),
    "linked-outputs": (sb.Linked(sb.Plain((3, 2)), sb.PowerLink(2.0, 0.7)), True),
    "parts": (
        sb.Parts((2, 2), [([3, 0], sb.Hadamard(2, depth=3)), ([1, 2], sb.GroupProduct((1, 2)))]),
        True,
    ),
    "nested": (
        sb.Synthesis(
            sb.CumulativeSum(), sb.Synthesis(sb.Diagonal([1.0, 0.0, 3.0, 4.0]), sb.Hadamard(3))
        ),
        False,
    ),
}
UNIT = {"sigma": 1.0, "learning_rate": 4.0, "batch_size": 1}  # eta sigma^2 / 4B = 1


def draw(p: sb.Parameterization, rows: bool, n: int = 13) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(7)
    spread = np.linspace(0.5, 2, p.shape[0])
    shape = p.shape[:1] if rows else p.shape
    inputs = rng.normal(size=(n, *shape)) * spread.reshape(-1, *[1] * (len(shape) - 1))
    return rng.normal(size=p.shape), inputs


def gradients(p: sb.Parameterization, theta: Any, inputs: np.ndarray) -> float:
    """(1/n) sum_i |d f_i / d theta|^2 over factors that are not free, by the definition."""
    with x64():
        return float(_gradients(p, {k: jnp.asarray(v) for k, v in theta.items()}, inputs))


@partial(jax.jit, static_argnums=0)
def _gradients(p: sb.Parameterization, theta: Any, inputs: Any) -> Any:
    axes = len(p.shape) if inputs.shape[1:] == p.shape else 1
    slopes = jax.jacobian(lambda t: jnp.tensordot(inputs, p(t), axes=axes))(theta)
    return sum(jnp.sum(slopes[k] ** 2) for k in slopes if k not in p.free) / len(inputs)


@pytest.mark.parametrize("name", CASES)
def test_the_penalty_is_attained_and_nothing_on_the_orbit_is_below(name: str) -> None:
    p, rows = CASES[name]
    w, inputs = draw(p, rows)
    penalty = float(sb.LabelNoise(**UNIT).penalty(p, w, inputs))
    theta, least = least_gradients(p, w, inputs / np.sqrt(len(inputs)))
    assert penalty == pytest.approx(least, rel=1e-9)
    if set(theta) == set(p.shapes) and all(theta[k].shape == p.shapes[k] for k in theta):
        np.testing.assert_allclose(p(theta), w, atol=1e-9)
        assert gradients(p, theta, inputs) == pytest.approx(penalty, rel=1e-9)
        start = theta
    else:  # a wide inner dimension: the minimum is in a smaller one
        start = p.section(w)
    for seed in range(4):
        moved = sb.act(p.symmetry, sb.random_element(p.symmetry, seed, 0.3), start)
        assert gradients(p, moved, inputs) > penalty * (1 - 1e-9)


@pytest.mark.parametrize("rows", [True, False])
def test_a_general_minimiser_finds_the_same_for_a_matrix_product(rows: bool) -> None:
    p = sb.MatrixProduct(3, 2)
    w, inputs = draw(p, rows)
    theta = p.section(w)

    def along(flat: np.ndarray) -> float:
        g = flat.reshape(2, 2)
        moved = {"p1": theta["p1"] @ g, "p2": np.linalg.solve(g, theta["p2"])}
        return gradients(p, moved, inputs)

    found = minimize(along, np.eye(2).ravel(), method="Nelder-Mead", options={"fatol": 1e-9}).fun
    assert float(sb.LabelNoise(**UNIT).penalty(p, w, inputs)) == pytest.approx(found, rel=1e-6)


@pytest.mark.parametrize("rank", [3, 1])
def test_deep_products_are_minimised_by_sweeps(rank: int) -> None:
    p = sb.MatrixProduct(3, 4, depth=3)
    rng = np.random.default_rng(1)
    w = rng.normal(size=(3, rank)) @ rng.normal(size=(rank, 4))
    inputs = rng.normal(size=(8, 3)) * [0.5, 1.0, 2.0]
    penalty = float(sb.LabelNoise(**UNIT).penalty(p, w, inputs))
    balanced = p.section(w)
    assert penalty < 0.95 * gradients(p, balanced, inputs)
    theta, least = least_gradients(p, w, inputs / np.sqrt(8))
    assert penalty == pytest.approx(least, rel=1e-12)
    inner = sb.MatrixProduct(3, 4, rank, depth=3)
    np.testing.assert_allclose(inner(theta), w, atol=1e-9)
    for seed in range(4):
        moved = sb.act(inner.symmetry, sb.random_element(inner.symmetry, seed, 0.2), theta)
        assert gradients(inner, moved, inputs) > penalty * (1 - 1e-9)


def test_scale_of_the_penalty() -> None:
    p = sb.Hadamard(2)
    w, inputs = np.array([1.0, -2.0]), np.array([[1.0, 0.0], [0.0, 3.0], [2.0, 0.0]])
    expected = 0.1 * 0.5**2 / (4 * 8) * 2 * (5 / 3 * 1 + 9 / 3 * 2)
    assert sb.LabelNoise(0.5, 0.1, 8).penalty(p, w, inputs) == pytest.approx(expected, rel=1e-14)
    full = sb.LabelNoise(0.5, 0.1).penalty(p, w, inputs)
    assert full == pytest.approx(expected * 8 / 3, rel=1e-14)


@each
@pytest.mark.parametrize("name", ["hadamard-3", "groups", "product-arrays", "parts", "linked"])
def test_backends(name: str, backend: str) -> None:
    p, rows = CASES[name]
    w, inputs = draw(p, rows)
    mechanism = sb.LabelNoise(0.3, 0.1, 4)
    with x64():
        found = mechanism.penalty(p, to(backend, w), to(backend, inputs))
        assert type(found) is type(to(backend, 0.0)) or backend == "numpy"
        np.testing.assert_allclose(back(found), mechanism.penalty(p, w, inputs), rtol=1e-12)


@pytest.mark.parametrize(
    "name", ["hadamard-3", "groups", "product-outputs", "differences-outputs", "parts"]
)
def test_derivatives_are_right_and_finite_at_zero(name: str) -> None:
    p, rows = CASES[name]
    w, inputs = draw(p, rows)
    mechanism = sb.LabelNoise(**UNIT)
    with x64():
        slope = jax.jit(jax.grad(lambda v: mechanism.penalty(p, v, jnp.asarray(inputs))))
        found = np.asarray(slope(jnp.asarray(w)))
        assert np.all(np.isfinite(slope(jnp.zeros(p.shape))))
    way = np.random.default_rng(0).normal(size=p.shape)
    step = 1e-6 * way
    rise = mechanism.penalty(p, w + step, inputs) - mechanism.penalty(p, w - step, inputs)
    assert np.sum(found * way) == pytest.approx(float(rise) / 2e-6, rel=1e-6)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((0.0, 0.1, 1), "sigma must be positive"),
        ((1.0, -0.1, 1), "learning_rate must be positive"),
        ((1.0, float("nan"), 1), "learning_rate must be positive"),
        ((1.0, 0.1, 0), "batch_size must be a positive integer"),
        ((1.0, 0.1, 2.5), "batch_size must be a positive integer"),
    ],
)
def test_bad_numbers(arguments: tuple[Any, ...], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        sb.LabelNoise(*arguments)


def test_what_does_not_fit_is_refused() -> None:
    mechanism = sb.LabelNoise(1.0, 0.1)
    with pytest.raises(ValueError, match=r"inputs have shape \(5, 2\), expected \(n, 3\)"):
        mechanism.penalty(sb.Hadamard(3), np.ones(3), np.ones((5, 2)))
    with pytest.raises(ValueError, match=r"or \(n, 3\) for w of shape"):
        mechanism.penalty(sb.Hadamard((3, 2)), np.ones((3, 2)), np.ones((5, 2)))
    with pytest.raises(ValueError, match="not finite"):
        mechanism.penalty(sb.Hadamard(1), np.ones(1), np.array([[1.0], [np.nan]]))
    with pytest.raises(ValueError, match="w has shape"):
        mechanism.penalty(sb.Hadamard(3), np.ones(2), np.ones((5, 3)))
    with pytest.raises(ValueError, match="rank above 1"):
        mechanism.penalty(sb.MatrixProduct(3, 3, rank=1), np.eye(3), np.ones((5, 3)))
    latent = sb.Synthesis(sb.Copies([[0, 1], [1, 2]], 3), sb.GroupProduct(4, groups=[0, 0, 1, 1]))
    for p in (latent, sb.Sum([sb.Hadamard(3), sb.GroupProduct(3)])):
        with pytest.raises(ValueError, match="w has many"):
            mechanism.penalty(p, np.ones(3), np.ones((5, 3)))
    deep = sb.MatrixProduct(2, 2, depth=3)
    with pytest.raises(ValueError, match="cannot be traced"):
        jax.jit(lambda w: mechanism.penalty(deep, w, jnp.ones((4, 2))))(jnp.eye(2))


@pytest.mark.parametrize("mechanism", [sb.WeightDecay, sb.LabelNoise, sb.GradientFlow])
def test_mechanisms_say_what_they_assume(mechanism: Any) -> None:
    assert all(isinstance(line, str) and line for line in mechanism.assumptions)
    assert isinstance(mechanism.exactness, str)
