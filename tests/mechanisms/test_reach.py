"""Where gradient descent can end: least sharpness over the factors, against Hessians and runs."""

from functools import cache
from typing import Any

import jax
import jax.flatten_util
import jax.numpy as jnp
import numpy as np
import pytest

import symbias as sb
from symbias.mechanisms.reach import _of_gauge
from symbias.studies import sharpness

Theta = dict[str, np.ndarray]


def inputs(p: Any, n: int = 6, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """w, and correlated inputs of unequal sizes."""
    rng = np.random.default_rng(seed)
    mix = rng.standard_normal((p.shape[-1], p.shape[-1])) / 2 + np.diag(
        np.linspace(0.5, 2, p.shape[-1])
    )
    w = rng.standard_normal(p.shape)
    return w if p.signed else np.abs(w), rng.standard_normal((n, *p.shape)) @ mix


def largest(p: Any, theta: Theta, x: np.ndarray) -> float:
    """Largest eigenvalue of the dense Hessian of the loss where it is zero."""
    rows = x.reshape(len(x), -1)
    with jax.enable_x64(True):
        flat, _ = jax.flatten_util.ravel_pytree({k: jnp.asarray(v) for k, v in theta.items()})
        y = rows @ np.asarray(p(theta)).ravel()
        return float(np.linalg.eigvalsh(np.asarray(hessian(p)(flat, rows, y)))[-1])


@cache
def hessian(p: Any) -> Any:
    _, back = jax.flatten_util.ravel_pytree({k: np.zeros(s) for k, s in p.shapes.items()})

    def loss(flat: Any, rows: Any, y: Any) -> Any:
        return jnp.sum((rows @ p(back(flat)).ravel() - y) ** 2) / (2 * len(y))

    return jax.jit(jax.hessian(loss))


CASES = {
    "u v": sb.Hadamard(5),
    "u1 u2 u3": sb.Hadamard(5, depth=3),
    "P Q": sb.MatrixProduct(4, 3),
    "groups": sb.GroupProduct((4, 3)),
    "differences": sb.Synthesis(sb.CumulativeSum(free=0), sb.Hadamard(5)),
    "behind a link": sb.Linked(sb.Hadamard(4), sb.PowerLink(1.5)),
    "lengths": sb.Radial(4, 3, sb.PowerLink(2.0)),
    "w": sb.Plain(5),
    "parts": sb.Parts((6,), [(np.arange(3), sb.Hadamard(3)), (np.arange(3, 6), sb.Plain(3))]),
}


QUICK = ("u v", "P Q", "lengths", "w")


@pytest.mark.parametrize(
    "name", [pytest.param(n, marks=[pytest.mark.slow] * (n not in QUICK)) for n in CASES]
)
def test_it_is_the_least_over_the_factors(name: str) -> None:
    """Equal to the dense Hessian at the factors that are given; no other gauge has less."""
    p = CASES[name]
    w, x = inputs(p)
    found = sb.reachable(p, w, 0.1, x)
    assert np.asarray(p(found.theta)) == pytest.approx(w)
    assert found.sharpness == pytest.approx(largest(p, found.theta, x), rel=1e-6)
    others = []
    if p.has_charges:
        moved = p.section(w, charge=0.3)
        others.append(largest(p, {k: np.asarray(v) for k, v in moved.items()}, x))
    for seed in range(20 if list(p.symmetry) else 0):
        element = sb.random_element(p.symmetry, seed, 0.2)
        moved = sb.act(p.symmetry, element, found.theta)
        others.append(largest(p, {k: np.asarray(v) for k, v in moved.items()}, x))
    assert min(others, default=np.inf) >= found.sharpness * (1 - 1e-6)


def test_the_program_has_the_closed_form() -> None:
    """Products of two numbers, both ways: (2/n) X diag|w| X^T."""
    p = sb.Hadamard(5)
    w, x = inputs(p)
    closed = np.linalg.eigvalsh(2 * x @ np.diag(np.abs(w)) @ x.T / len(x))[-1]
    assert sb.reachable(p, w, 0.1, x).sharpness == pytest.approx(closed, rel=1e-12)
    theta = {k: np.asarray(v) for k, v in p.section(w).items()}
    assert _of_gauge(p, theta, x)[0] / len(x) == pytest.approx(closed, rel=1e-6)


def test_whitened_inputs_see_the_largest_entry() -> None:
    w = np.array([0.5, -2.0, 1.0])
    x = np.sqrt(3) * np.eye(3)
    assert sb.reachable(sb.Hadamard(3), w, 0.1, x).sharpness == pytest.approx(2 * 2.0)
    deep = sb.reachable(sb.Hadamard(3, depth=3), w, 0.1, x)
    assert deep.sharpness == pytest.approx(3 * 2.0 ** (4 / 3))
    assert deep.largest_rate() == pytest.approx(2 / deep.sharpness)
    assert deep.largest_rate(0.9) == pytest.approx(1.9 * deep.largest_rate())
    for momentum in (0.0, 0.9):
        for share in (0.99, 1.01):
            rate = share * deep.largest_rate(momentum)
            found = sb.reachable(sb.Hadamard(3, depth=3), w, rate, x, momentum=momentum)
            assert found.reachable is (share < 1)
            assert found.edge == pytest.approx(deep.sharpness / share)


def test_the_balanced_point_is_not_the_least_for_a_matrix_product() -> None:
    p = CASES["P Q"]
    w, x = inputs(p)
    balanced = largest(p, {k: np.asarray(v) for k, v in p.section(w).items()}, x)
    assert sb.reachable(p, w, 0.1, x).sharpness < 0.99 * balanced


@pytest.mark.slow
@pytest.mark.parametrize("white", [True, False])
@pytest.mark.parametrize("name", ["u v", "P Q"])
def test_descent_settles_below_the_edge_and_not_above(name: str, white: bool) -> None:
    """From 1e-3 beside the flattest factors of ten problems (u v) and four (P Q): all and none."""
    p = dict(sharpness.SETTLED)[name]
    for seed in range(10 if name == "u v" else 4):
        below, above = (
            sharpness.settle_row(name, p, white, share, seed)["away"] for share in sharpness.SHARES
        )
        assert below < sharpness.SAME < above


@pytest.mark.slow
def test_above_the_edge_runs_end_on_it_and_catapults_land_below() -> None:
    """Claims of theory: Lewkowycz et al. 2020 for the catapult, which ends at twice the edge."""
    edge = sharpness.edge_row(1.1, 0)
    assert edge["loss"] < sharpness.FITTED
    assert 0.95 < edge["sharpness"] <= 1
    for seed in range(4):
        low, high, lost = (sharpness.catapult_row(s, seed) for s in sharpness.LAUNCHES)
        for row in (low, high):
            assert row["peak"] > 1.5
            assert row["loss"] < sharpness.FITTED
            assert row["sharpness"] < 1
        assert lost["diverged"]


@pytest.mark.parametrize(
    ("change", "error", "why"),
    [({"learning_rate": 0.0}, ValueError, "learning_rate must be positive"),
     ({"momentum": 1.0}, ValueError, r"momentum must be in \[0, 1\)"),
     ({"X": np.ones((3, 7))}, ValueError, "inputs"),
     ({"p": sb.MatrixProduct(3, 3, depth=3), "w": np.eye(3), "X": np.ones((2, 3, 3))}, sb.Refused,
      "over the gauges of several coupled ones it is not")],
)  # fmt: skip
def test_bad_input(change: dict[str, Any], error: type[Exception], why: str) -> None:
    given: dict[str, Any] = {"p": sb.Hadamard(5), "w": np.ones(5), "learning_rate": 0.1,
                             "X": np.ones((2, 5))} | change  # fmt: skip
    with pytest.raises(error, match=why):
        sb.reachable(**given)


def test_what_is_not_curved_is_reached_at_every_rate() -> None:
    x = np.random.default_rng(0).normal(size=(4, 3))
    found = sb.reachable(sb.Hadamard(3), np.zeros(3), 0.1, x)
    assert found.reachable
    assert found.largest_rate() == found.largest_rate(momentum=0.9) == np.inf
    for momentum in (-0.1, 1.0, np.nan):
        with pytest.raises(ValueError, match="momentum must be in"):
            found.largest_rate(momentum)
