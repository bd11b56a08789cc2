"""Finite steps on lengths w = |x|^2, by descent written out; why other products are refused."""

from collections.abc import Callable

import numpy as np
import pytest

import symbias as sb
from symbias.mechanisms.finite_steps import start_of_steps
from symbias.mechanisms.potentials import flow_bracket

SIZE, SCALE = 12, 0.8
P = sb.Radial(SIZE, 3, sb.PowerLink(2.0, SCALE))
RNG = np.random.default_rng(0)
X = RNG.normal(size=(4, SIZE))
Y = X @ np.where(np.arange(SIZE) % 3, 0.05, 1.5)
START = 0.3 * RNG.normal(size=(SIZE, 3))
FLOW = sb.GradientFlow(start={"x": START.ravel()})
OUTSIDE = np.eye(SIZE) - np.linalg.pinv(X) @ X


def descended(rate: float, steps: int, batch: int | None) -> tuple[np.ndarray, np.ndarray]:
    """x at the end, and the gradient of every batch in w."""
    x, rng, gradients = START.copy(), np.random.default_rng(1), []
    for _ in range(steps):
        rows = np.arange(4) if batch is None else rng.integers(4, size=batch)
        g = X[rows].T @ (X[rows] @ (np.sum(x**2, axis=1) / SCALE**2) - Y[rows]) / len(rows)
        x = x - rate * 2 * x * g[:, None] / SCALE**2
        gradients.append(g)
    return x, np.array(gradients)


def away(w: np.ndarray, theta0: dict[str, np.ndarray] | None = None) -> float:
    projected = FLOW.bregman_projection(P, X, Y, theta0)
    return float(np.linalg.norm(projected - w) / np.linalg.norm(w))


@pytest.mark.parametrize(("rate", "batch"), [(0.03, None), (0.01, 1)])
def test_a_run_ends_at_the_projection_from_the_length_that_its_steps_say(
    rate: float, batch: int | None
) -> None:
    x, gradients = descended(rate, 20_000, batch)
    w = np.sum(x**2, axis=1) / SCALE**2
    assert away(w, start_of_steps(P, FLOW.init(P), gradients, rate)) < 1e-9
    assert away(w) > 5e-4
    assert away(w, start_of_steps(P, FLOW.init(P), gradients / 2, rate)) > 5e-4


def lost(theta0: dict[str, np.ndarray]) -> np.ndarray:
    """What of the moved log lengths decides: outside of the row space of the inputs."""
    lengths = np.linalg.norm(np.reshape(theta0["x"], (-1, SIZE, 3)), axis=-1)
    return np.mean(np.log(lengths / np.linalg.norm(START, axis=1)), axis=0) @ OUTSIDE


def test_the_lengths_before_the_run_to_first_order_in_the_rate() -> None:
    errors = []
    for rate in (0.02, 0.01, 0.005):
        _, gradients = descended(rate, int(200 / rate), None)
        told = lost(dict(FLOW.expected_after(P, X, Y, sb.SGD(rate)).theta0))
        seen = lost(start_of_steps(P, FLOW.init(P), gradients, rate))
        errors.append(float(np.linalg.norm(told - seen) / np.linalg.norm(seen)))
    assert errors[0] < 0.1
    np.testing.assert_allclose(np.divide(errors[:-1], errors[1:]), 2, rtol=0.15)


SLOW = pytest.mark.slow


@pytest.mark.parametrize(
    ("batch", "momentum"),
    [(None, 0.9), pytest.param(1, 0.0, marks=SLOW), pytest.param(1, 0.9, marks=SLOW)],
)
def test_runs_of_the_library_lose_the_length_that_was_expected(
    batch: int | None, momentum: float
) -> None:
    """The mean of 128 runs with batches of one, within 10% (4 standard errors are below 6%)."""
    rate = 0.002 * (1 - momentum)
    problem = sb.Problem(lambda t, x: x @ P(t), FLOW.init(P), data=(X, Y))
    rule = sb.SGD(rate, batch, momentum=momentum)
    many = 1 if batch is None else 128
    run = sb.simulate(
        problem, rule, steps=20_000, every=20_000, replicas=many, key=1, progress=False
    )
    found = [dict(FLOW.after(P, run, X, replica=k).theta0) for k in range(many)]
    w = np.asarray(P({"x": run.final["x"][0]}))
    assert away(w, found[0]) < 1e-6
    seen = lost({"x": np.stack([theta0["x"] for theta0 in found])})
    told = lost(dict(FLOW.expected_after(P, X, Y, rule).theta0))
    assert np.linalg.norm(told - seen) < 0.1 * np.linalg.norm(seen)


# why the others are refused

PRODUCTS: dict[str, tuple[sb.Parameterization, float]] = {
    "u v": (sb.Hadamard(3), 3),
    "u1 u2 u3": (sb.Hadamard(3, depth=3), 2),
    "h(u v), log-sum": (sb.Linked(sb.Hadamard(3), sb.ExponentialLink(0.3)), 2),
    "h(u v), elastic net": (sb.Linked(sb.Hadamard(3), sb.ElasticLink(0.5, 0.5)), 2),
}


@pytest.mark.parametrize("name", PRODUCTS)
def test_a_step_moves_the_dual_by_the_gradient_up_to_this_order(name: str) -> None:
    """The dual of the charges that each end has. At second order charges alone say nothing."""
    p, order = PRODUCTS[name]
    theta, g = p.section(np.array([0.3, -0.7, 1.2]), 0.2), np.array([0.5, 1.0, -0.8])

    def dual(theta: dict[str, np.ndarray]) -> np.ndarray:
        return -sb.Potential(p, theta).evaluate(np.zeros(3)).dual

    def beyond(rate: float) -> float:
        slopes = _slopes(lambda t: float(g @ p(t)), theta)
        after = {k: v - rate * slopes[k] for k, v in theta.items()}
        return float(np.linalg.norm(dual(after) - dual(theta) + rate * g))

    assert np.log2(beyond(0.02) / beyond(0.01)) == pytest.approx(order, abs=0.15)


def _slopes(
    f: Callable[[dict[str, np.ndarray]], float], theta: dict[str, np.ndarray]
) -> dict[str, np.ndarray]:
    """Central differences."""
    found = {}
    for name, value in theta.items():
        ends = []
        for step in (1e-6, -1e-6):
            moved = [theta | {name: value + step * e} for e in np.eye(len(value))]
            ends.append(np.array([f(t) for t in moved]))
        found[name] = (ends[0] - ends[1]) / 2e-6
    return found


@pytest.mark.parametrize("p", [sb.GroupProduct(4, groups=[0, 0, 1, 1]), sb.MatrixProduct(2, 3)])
def test_groups_and_matrices_have_no_dual_that_steps_could_move(p: sb.Parameterization) -> None:
    assert flow_bracket(p) > 0.05
    with pytest.raises(sb.Refused, match="products of two numbers"):
        sb.GradientFlow(0.1).check_steps(p)
