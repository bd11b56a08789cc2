"""Sparse spectra with gaps against convex programs, and what the certificate promises."""

from typing import Any

import cvxpy as cp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from symbias.solvers import Huber, Logistic, Poisson, Spectrum, SquaredError

LOSSES: dict[str, Any] = {
    "squared": (SquaredError(), lambda w, y: cp.square(w - y) / 2),
    "huber": (Huber(0.7), lambda w, y: cp.huber(w - y, 0.7) / 2),
    "logistic": (Logistic(), lambda w, y: cp.logistic(w) - cp.multiply(y, w)),
    "poisson": (Poisson(), lambda w, y: cp.exp(w) - cp.multiply(y, w)),
}


def waves(n: int) -> np.ndarray:
    """E as a matrix, by its definition: sqrt(2 / n) cos(pi k (i + 1/2) / n), 1 / sqrt(n) first."""
    k = np.arange(n)
    E = np.sqrt(2 / n) * np.cos(np.pi * k * (k[:, None] + 0.5) / n)
    E[:, 0] = 1 / np.sqrt(n)
    return E


def problem(n: int, seed: int, loss: str = "squared", missing: float = 0.3) -> Spectrum:
    rng = np.random.default_rng(seed)
    w = np.cos(np.pi * 3 * (np.arange(n) + 0.5) / n) + 0.5 * np.cos(np.arange(n))
    y = w + 0.3 * rng.normal(size=n)
    if loss == "logistic":
        y = (y > np.median(y)).astype(float)
    if loss == "poisson":
        y = rng.poisson(np.exp(w)).astype(float)
    a = rng.integers(1, 4, size=n) * (rng.uniform(size=n) > missing)
    a[[0, 1, n - 1]] = 1
    a[n // 2 : n // 2 + n // 10] = 0
    return Spectrum(np.where(a > 0, y, 0.0), a / a.sum(), LOSSES[loss][0])


def cost(series: Spectrum, strength: float, c: np.ndarray) -> float:
    loss = series.loss.value(waves(len(c)) @ c, series.y)
    return float(series.a @ loss) + strength * float(np.abs(c[1:]).sum())


@pytest.mark.filterwarnings("ignore:Solution may be inaccurate:UserWarning")
@pytest.mark.parametrize("loss", LOSSES)
@pytest.mark.parametrize("fraction", [0.5, 0.05])
def test_the_optimum_of_a_convex_program(loss: str, fraction: float) -> None:
    series = problem(50, seed=1, loss=loss)
    strength = fraction * series.strength_max
    found = series.solve(strength, tol=1e-9)
    assert found.converged, found
    c = cp.Variable(50)
    total = series.a @ LOSSES[loss][1](waves(50) @ c, series.y) + strength * cp.norm1(c[1:])
    cp.Problem(cp.Minimize(total)).solve(
        cp.CLARABEL, tol_gap_abs=1e-12, tol_gap_rel=1e-12, tol_feas=1e-12
    )
    best = cost(series, strength, np.asarray(c.value))
    assert found.objective == pytest.approx(cost(series, strength, found.coefficients), rel=1e-10)
    assert found.objective <= best * (1 + 1e-8) + 1e-12
    np.testing.assert_allclose(waves(50) @ found.coefficients, found.signal, atol=1e-12)


def test_the_conditions_of_optimality_written_densely() -> None:
    series = problem(300, seed=2)
    strength = 0.05 * series.strength_max
    found = series.solve(strength, tol=1e-13)
    pull = waves(300).T @ (series.a * (series.y - found.signal))
    assert abs(pull[0]) <= 1e-14
    c, pull = found.coefficients[1:], pull[1:]
    used = c != 0
    assert 3 < used.sum() < 150
    np.testing.assert_allclose(pull[used], strength * np.sign(c[used]), rtol=1e-5)
    assert np.abs(pull).max() <= strength * (1 + 1e-6)


@settings(max_examples=40)
@given(n=st.integers(2, 60), seed=st.integers(0, 10_000), fraction=st.floats(0.03, 0.95))
def test_the_gap_bounds_what_is_left(n: int, seed: int, fraction: float) -> None:
    series = problem(max(n, 4), seed)
    strength = fraction * series.strength_max
    if strength <= 1e-12:
        return
    found = series.solve(strength, tol=1e-10)
    assert found.converged
    rough = series.solve(strength, tol=1e-10, max_iter=1)
    assert rough.objective - found.objective <= rough.gap + 1e-12
    # the dual value of the scaled residual, written densely
    nu = series.a * (rough.signal - series.y)
    pull = np.abs(waves(len(nu)).T @ nu)
    nu *= min(1.0, strength / pull[1:].max())
    seen = series.a > 0
    dual = -float(np.sum(nu[seen] ** 2 / (2 * series.a[seen]) + nu[seen] * series.y[seen]))
    assert rough.objective - rough.gap == pytest.approx(dual, abs=1e-11)


def test_without_gaps_it_is_one_threshold() -> None:
    y = np.cumsum(np.random.default_rng(3).normal(size=64))
    found = Spectrum(y).solve(0.02, tol=1e-12)
    c = waves(64).T @ y
    wanted = np.sign(c) * np.maximum(np.abs(c) - 64 * 0.02, 0.0)
    wanted[0] = c[0]
    np.testing.assert_allclose(found.coefficients, wanted, atol=1e-10)
    assert found.n_iter == 1


@pytest.mark.parametrize("loss", ["squared", "huber", "logistic"])
def test_strength_max_is_the_threshold(loss: str) -> None:
    series = problem(60, seed=3, loss=loss)
    assert not np.any(series.solve(1.0001 * series.strength_max).coefficients[1:])
    assert np.any(series.solve(0.999 * series.strength_max).coefficients[1:])


def test_warm_starts_end_where_cold_ones_do() -> None:
    series, start = problem(400, seed=8), None
    for fraction in (0.3, 0.1, 0.03):
        strength = fraction * series.strength_max
        warm, cold = series.solve(strength, start), series.solve(strength)
        assert warm.objective == pytest.approx(cold.objective, rel=1e-9)
        np.testing.assert_allclose(warm.signal, cold.signal, atol=1e-4)
        start = warm.coefficients


@pytest.mark.parametrize("seed", [0, 1])
def test_steps_to_the_first_coefficient_that_vanishes_lead_on(seed: int) -> None:
    """Most points are missing: whole steps of Newton overshoot, and proximal steps are slow."""
    series = problem(200, seed, "logistic", missing=0.7)
    found = series.solve(0.03 * series.strength_max, tol=1e-9)
    assert found.converged
    assert found.n_iter <= 50


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"y": np.ones((2, 2))}, "one list of numbers"),
        ({"y": np.ones(0)}, "not empty"),
        ({"y": np.ones(3), "weights": np.zeros(3)}, "nor all 0"),
        ({"y": np.ones(3), "weights": np.array([1.0, -1.0, 1.0])}, "must not be negative"),
        ({"y": np.ones(3), "weights": np.ones(2)}, r"weights must have shape \(3,\)"),
        ({"y": np.full(3, 2.0), "loss": Logistic()}, "between 0 and 1"),
    ],
)
def test_bad_input(arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Spectrum(**arguments)


@pytest.mark.parametrize("strength", [0.0, -1.0, np.nan, np.inf, 1e-320])
def test_strengths_that_are_none(strength: float) -> None:
    with pytest.raises(ValueError, match="strength must be positive"):
        Spectrum(np.arange(4.0)).solve(strength)
