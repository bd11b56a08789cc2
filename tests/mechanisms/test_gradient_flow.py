"""Potentials, projections and limits of gradient flow, against integrations of the flow itself."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.integrate import solve_ivp

import symbias as sb
from symbias.mechanisms.mirror import Mirror
from tests.backends import back, each, to, x64

# factors of one coordinate: different, two equal, two equal and smallest (frozen), all equal, small
STARTS = {
    "depth 2": [1.3, -0.4],
    "depth 2, small": [1e-6, 0.0],
    "depth 2, frozen": [0.3, -0.3],
    "depth 3": [1.3, -0.4, 0.7],
    "depth 3, zero": [0.9, 0.0, 0.5],
    "depth 3, large two equal": [0.8, 0.8, -0.1],
    "depth 3, frozen": [0.2, -0.2, 0.9],
    "depth 4, balanced": [0.5, 0.5, -0.5, 0.5],
    "depth 4": [0.1, 0.02, 0.03, -0.04],
}


def flowed(factors: list[float], duals: np.ndarray) -> np.ndarray:
    """w where the factors follow du_k/ds = prod of the others, at each of the dual times."""

    def speed(_: float, u: np.ndarray) -> np.ndarray:
        return np.array([np.prod(np.delete(u, k)) for k in range(len(u))])

    path = solve_ivp(speed, (0, duals[-1]), factors, "LSODA", t_eval=duals, rtol=1e-12, atol=1e-20)
    assert path.success
    return np.prod(path.y, axis=0)


@pytest.mark.parametrize("sign", [1, -1])
@pytest.mark.parametrize("name", STARTS)
def test_the_dual_is_the_time_of_the_flow(name: str, sign: int) -> None:
    factors = STARTS[name]
    u = np.array(factors)
    scale = np.sort(np.abs(u))[::-1][: len(u) - 2]
    duals = sign * np.linspace(0, 0.4 / np.prod(scale), 9)
    w = flowed(factors, duals)
    mirror = Mirror.of_factors(np.tile(u[:, None], 9))
    np.testing.assert_allclose(mirror.dual(w), duals, rtol=1e-9, atol=1e-10)


@pytest.mark.parametrize("name", STARTS)
def test_the_divergence_is_the_integral_of_the_dual(name: str) -> None:
    mirror = Mirror.of_factors(np.array(STARTS[name])[:, None])
    first = np.prod(STARTS[name])
    assert mirror.bregman(np.array([first])) == pytest.approx(0, abs=1e-15)
    for w in (-2 * first - 1e-3, 0.5 * first + 1e-3, first + 1.0, first - 1.0):
        if mirror.excess[0, 0] == 0 and w * first <= 0:  # the sign is frozen
            assert mirror.bregman(np.array([w]))[0] == np.inf
            continue
        step = 1e-5 * abs(w)
        up, down, value = (mirror.bregman(np.array([v]))[0] for v in (w + step, w - step, w))
        assert value > 0
        slope = mirror.dual(np.array([w]))[0]
        assert (up - down) / (2 * step) == pytest.approx(slope, rel=1e-5, abs=1e-6)


def test_depth_two_in_closed_form() -> None:
    p, scale = sb.Hadamard(3), 0.7
    w = np.array([0.3, -2.0, 0.0])
    c = scale**2
    potential = w / 2 * np.arcsinh(2 * w / c) - (np.sqrt(c**2 + 4 * w**2) - c) / 4
    flow = sb.GradientFlow(scale)
    assert flow.potential(p, w) == pytest.approx(np.sum(potential), rel=1e-14)
    theta0 = flow.init(p)
    np.testing.assert_allclose(theta0["u1"], scale)
    np.testing.assert_array_equal(theta0["u2"], 0)
    # from elsewhere, with charges of both signs: the general formula agrees
    theta0 = {"u1": np.array([1.0, -0.5, 2.0]), "u2": np.array([0.3, 0.9, 1.9])}
    mirror = Mirror.of_factors(np.stack([theta0["u1"], theta0["u2"]]))
    found = flow.potential(p, w, theta0)
    assert found == pytest.approx(np.sum(mirror.bregman(w)), rel=1e-12)
    assert flow.potential(p, p(theta0), theta0) == pytest.approx(0, abs=1e-14)
    started = sb.GradientFlow(0.5, start=np.array([0.2, -0.1, 0.0]))
    assert started.potential(p, started.start) == pytest.approx(0, abs=1e-14)


def test_a_frozen_sign_costs_infinity() -> None:
    flow, p = sb.GradientFlow(1.0), sb.Hadamard(2)
    theta0 = {"u1": np.array([0.5, 0.5]), "u2": np.array([0.5, -0.5])}
    assert flow.potential(p, np.array([1.0, 1.0]), theta0) == np.inf
    expected = (1 * np.log(4) - 1 + 0.25) / 2 + 0.25 / 2  # w -> 0 in the second
    assert flow.potential(p, np.array([1.0, 0.0]), theta0) == pytest.approx(expected, rel=1e-12)


@each
@pytest.mark.parametrize("depth", [2, 3])
def test_backends(depth: int, backend: str) -> None:
    p = sb.Synthesis(sb.CumulativeSum(), sb.Hadamard(4, depth=depth))
    w = np.array([0.5, 0.2, -1.0, 0.4, 3.0])
    flow = sb.GradientFlow(0.1)
    with x64():
        found = flow.potential(p, to(backend, w))
        np.testing.assert_allclose(back(found), flow.potential(p, w), rtol=1e-13)
    z = np.diff(w)
    inner = flow.potential(p.inner, z)
    assert flow.potential(p, w) == pytest.approx(inner + 0.5**2 / 2, rel=1e-12)


def test_the_potential_has_its_derivative() -> None:
    p, flow = sb.Hadamard(3), sb.GradientFlow(0.1)
    w = np.array([0.0, -2.0, 1e-3])
    with x64():
        slope = jax.jit(jax.grad(lambda v: flow.potential(p, v)))(jnp.asarray(w))
        np.testing.assert_allclose(np.asarray(slope), np.arcsinh(2 * w / 0.01) / 2, rtol=1e-12)


def problem(p: sb.Parameterization, n: int = 4) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(2)
    inputs = rng.normal(size=(n, *p.shape))
    return inputs, rng.normal(size=n)


GROUPS_OF_ONE = sb.GroupProduct(5, groups=[3, 1, 4, 0, 2])
MIRRORS = {
    "depth 2": (sb.Hadamard(8), (1.0, 1e-3, 1e-6)),
    "depth 3": (sb.Hadamard(8, depth=3), (1.0, 1e-2)),
    "depth 4": (sb.Hadamard((2, 3), depth=4), (0.3,)),
    "groups of one": (GROUPS_OF_ONE, (0.1,)),
    "plain": (sb.Plain(6), (1.0,)),
    "copies": (sb.Synthesis(sb.Copies([[0, 1, 2], [2, 3, 4]], 5), sb.Hadamard(6)), (0.1,)),
    "trend": (sb.Synthesis(sb.CumulativeSum(2), sb.Hadamard(6)), (0.1,)),
}


@pytest.mark.parametrize("name", MIRRORS)
def test_the_flow_ends_at_the_projection(name: str) -> None:
    p, scales = MIRRORS[name]
    inputs, y = problem(p)
    for scale in scales:
        flow = sb.GradientFlow(scale)
        projected = flow.bregman_projection(p, inputs, y)
        np.testing.assert_allclose(np.tensordot(inputs, projected, projected.ndim), y, atol=1e-10)
        integrated = flow.interpolator(p, inputs, y)
        np.testing.assert_allclose(integrated, projected, atol=1e-8)


@pytest.mark.parametrize("depth", [2, 3])
def test_any_start_with_a_potential(depth: int) -> None:
    p, flow = sb.Hadamard((3, 2), depth=depth), sb.GradientFlow(1.0)
    theta0 = p.init(5, 0.6)
    rng = np.random.default_rng(4)
    inputs, y = rng.normal(size=(2, 3)), rng.normal(size=(2, 2))  # predictions x @ w
    projected = flow.bregman_projection(p, inputs, y, theta0)
    np.testing.assert_allclose(inputs @ projected, y, atol=1e-10)
    np.testing.assert_allclose(flow.interpolator(p, inputs, y, theta0), projected, atol=1e-8)
    # nothing else that fits has a smaller potential
    null = np.linalg.svd(inputs)[2][2:]
    least = flow.potential(p, projected, theta0)
    for seed in range(10):
        other = projected + 0.1 * null.T @ np.random.default_rng(seed).normal(size=(1, 2))
        assert flow.potential(p, other, theta0) > least


@pytest.mark.parametrize(
    ("p", "exists"),
    [
        (sb.Hadamard(4), True),
        (sb.Hadamard(3, depth=4), True),
        (GROUPS_OF_ONE, True),
        (sb.Synthesis(sb.Cosine(), sb.Hadamard(4)), True),
        (sb.MatrixProduct(3, 3), False),
        (sb.MatrixProduct(2, 2, rank=1), False),
        (sb.GroupProduct(3, groups=[0, 0, 1]), False),
    ],
    ids=str,
)
def test_brackets_say_where_a_potential_exists(p: sb.Parameterization, exists: bool) -> None:
    bracket = sb.flow_bracket(p)
    assert bracket < 1e-13 if exists else bracket > 0.1
    if not exists:
        theta = p.init(0)
        with pytest.raises(sb.Refused, match=r"has no potential.*relative bracket 0\."):
            sb.GradientFlow(0.1).potential(p, p(theta), theta)


def test_a_bracket_by_hand() -> None:
    """Groups: [grad w_1, grad w_2] = v_1 e_2 - v_2 e_1 in v, and J moves w by s times that."""
    p = sb.GroupProduct(2, groups=[0, 0])
    theta = {"s": np.array([2.0]), "v": np.array([0.6, -0.8])}
    v, s = theta["v"], theta["s"][0]
    worst, rng = 0.0, np.random.default_rng(0)
    for _ in range(8):
        a, b = rng.normal(size=2), rng.normal(size=2)
        # H_b grad a, with grad a = (a.v, s a): (b.(s a), (a.v) b)
        one = s * (a @ v) * b + v * (s * b @ a)
        two = s * (b @ v) * a + v * (s * a @ b)
        size = np.linalg.norm(one) + np.linalg.norm(two)
        worst = max(worst, np.linalg.norm(one - two) / size)
    assert sb.flow_bracket(p, theta) == pytest.approx(worst, rel=1e-12)


def test_without_a_potential_the_limit_depends_on_the_path() -> None:
    """The same samples weighted otherwise: same projection, another limit for a group."""
    p, flow = sb.GroupProduct(4, groups=[0, 0, 1, 1]), sb.GradientFlow(0.5)
    inputs, y = problem(p, 2)
    heavy = np.array([3.0, 1.0])
    theta0 = p.init(1, 0.3)
    one = flow.interpolator(p, inputs, y, theta0)
    two = flow.interpolator(p, inputs * heavy[:, None], y * heavy, theta0)
    np.testing.assert_allclose(inputs @ two, y, atol=1e-9)
    assert np.abs(one - two).max() > 0.01
    hadamard = sb.Hadamard(4)
    one = flow.interpolator(hadamard, inputs, y)
    two = flow.interpolator(hadamard, inputs * heavy[:, None], y * heavy)
    np.testing.assert_allclose(one, two, atol=1e-9)


def refused(message: str, call: Any, *arguments: Any) -> None:
    with pytest.raises(ValueError, match=message):
        call(*arguments)


def test_bad_input() -> None:
    p, flow = sb.Hadamard(3), sb.GradientFlow(0.1)
    x, y = np.eye(3)[:2], np.ones(2)
    refused("init_scale must be positive", sb.GradientFlow, 0.0)
    refused("init_scale must be positive", sb.GradientFlow, float("nan"))
    refused("w has shape", flow.potential, p, np.ones(2))
    refused(
        "two factors at zero", flow.potential, p, np.ones(3), dict.fromkeys(p.shapes, np.zeros(3))
    )
    refused("u2", flow.potential, p, np.ones(3), {"u1": np.ones(3)})
    refused("inputs have shape", flow.bregman_projection, p, x[:, :2], y)
    refused("y must be 2 finite numbers", flow.bregman_projection, p, x, np.ones(3))
    refused("y must be 2 finite numbers", flow.interpolator, p, x, np.array([1.0, np.nan]))
    for method in (flow.bregman_projection, flow.interpolator):
        refused("no w fits these data: .* 5.0e-01 off", method, p, x[[0, 0]], np.array([1.0, 2.0]))
        refused("inputs are all zero", method, p, 0 * x, 0 * y)
    deep = sb.Hadamard(2, depth=3)
    refused("cannot be traced", jax.jit(lambda w: flow.potential(deep, w)), jnp.ones(2))
    copies = MIRRORS["copies"][0]  # one z for each way to split w, one potential only in z
    refused("w has many coordinates", flow.potential, copies, np.ones(5))
    frozen = {"u1": np.ones(3), "u2": np.ones(3)}
    refused("did not converge", flow.bregman_projection, p, x, -y, frozen)


@pytest.mark.parametrize(
    ("p", "start"),
    [
        (sb.Linked(sb.Hadamard(6), sb.ExponentialLink(0.3)), None),
        (sb.Linked(sb.Hadamard(6, depth=3), sb.ElasticLink(0.5, 0.5)), None),
        (sb.Linked(sb.Plain(6), sb.ExponentialLink(0.5)), None),
        (sb.Radial(6, 3, sb.PowerLink(2.0)), np.full(6, 0.5)),
    ],
)
def test_the_flow_behind_a_link_ends_at_its_projection(p, start) -> None:
    rng = np.random.default_rng(3)
    inputs = np.abs(rng.normal(size=(3, 6)))
    y = inputs @ np.array([1.0, 0.4, 0.2, 0.6, 0.3, 0.8])
    flow = sb.GradientFlow(0.3, start=start)
    found = flow.bregman_projection(p, inputs, y)
    np.testing.assert_allclose(found, flow.interpolator(p, inputs, y), atol=1e-8)
    # and no other interpolator has less potential
    away = np.linalg.svd(inputs)[2][3:].T @ rng.normal(size=3)
    least = float(flow.potential(p, found))
    for step in (-0.05, 0.05):
        assert float(flow.potential(p, found + step * away)) > least


def test_a_radius_that_starts_at_zero_is_refused() -> None:
    with pytest.raises(ValueError, match="never moves"):
        sb.GradientFlow(0.1).potential(sb.Radial(2, 2), np.ones(2))


def test_equations_that_follow_from_others_change_nothing() -> None:
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(3, 8)), rng.normal(size=3)
    p, flow = sb.Hadamard(8), sb.GradientFlow(0.1)
    more, labels = np.vstack([x, x[:2], 2 * x[:1] - x[2:]]), np.append(y, [*y[:2], 2 * y[0] - y[2]])
    once, twice = flow.bregman_projection(p, x, y), flow.bregman_projection(p, more, labels)
    np.testing.assert_allclose(twice, once, atol=1e-10)


def test_a_flow_that_does_not_move_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    """With b = 1000 the first step is of the size of the rounding of the table."""
    monkeypatch.setattr("symbias.mechanisms.gradient_flow.EVALUATIONS", 500)
    flow = sb.GradientFlow(0.1)
    p = sb.design(sb.Hypentropy(1000.0), flow, shape=3)
    with pytest.raises(ValueError, match=r"after 500 gradients.*bregman_projection needs no flow"):
        flow.interpolator(p, np.ones((1, 3)), [1.0])


def test_a_start_of_one_number_is_that_of_all_entries() -> None:
    flow = sb.GradientFlow(1.0, start=2.0)
    p = sb.design(sb.Entropy(2.0), flow, shape=3)
    w = np.array([1.0, 2.0, 3.0])
    assert float(flow.induced(p)(w)) == pytest.approx(np.sum(w * np.log(w / 2) - w + 2))
