"""Penalties that are not convex: as good as the best of many proximal descents, in one run."""

from typing import Any

import numpy as np
import pytest

import symbias as sb
from symbias.penalties.numeric import scalar_prox, tabulated_prox
from symbias.solvers.reference import proximal_reference


def problem(seed: int, p: int = 24) -> tuple[np.ndarray, np.ndarray]:
    """Correlated neighbours and five features that matter."""
    rng = np.random.default_rng(seed)
    X = rng.normal(size=(40, p)) @ (np.eye(p) + 0.5 * np.diag(np.ones(p - 1), 1))
    w = np.zeros(p)
    w[rng.choice(p, 5, replace=False)] = 2 * rng.normal(size=5)
    return X, X @ w + 0.3 * rng.normal(size=40)


@pytest.mark.parametrize("penalty", [sb.LogSum(), sb.Lq(), sb.Lq(0.8)], ids=repr)
def test_no_worse_than_the_best_of_twenty_starts(penalty: sb.Penalty) -> None:
    gaps = []
    for seed in range(2):
        X, y = problem(seed)
        model = sb.DesignedRegressor(penalty, 0.1).fit(X, y)
        assert model.converged_
        best = proximal_reference(penalty, 0.1, X, y)
        gaps.append((model.objective_ - best.objective) / best.objective)
        assert model.objectives_[0] == pytest.approx(model.objective_)
        assert model.spread_ >= 0
        assert np.all(np.diff(model.objectives_) >= 0)
        np.testing.assert_array_equal(model.support_, best.coef != 0)
    assert np.median(gaps) <= 1e-9
    assert max(gaps) <= 1e-2


def test_a_concave_function_of_your_own() -> None:
    X, y = problem(1)
    penalty = sb.Custom(lambda t: np.log1p(5 * t) + 0.1 * t)
    model = sb.DesignedRegressor(penalty, 0.1).fit(X, y)
    best = proximal_reference(penalty, 0.1, X, y)
    assert model.converged_
    assert model.objective_ <= best.objective * (1 + 1e-9)


def test_schatten_finds_the_rank() -> None:
    rng = np.random.default_rng(0)
    X = rng.normal(size=(40, 8))
    truth = rng.normal(size=(8, 1)) @ rng.normal(size=(1, 5))
    Y = X @ truth + 0.3 * rng.normal(size=(40, 5))
    penalty = sb.Schatten(2 / 3)
    model = sb.DesignedRegressor(penalty, 0.1).fit(X, Y)
    best = proximal_reference(penalty, 0.1, X, Y)
    assert model.objective_ <= best.objective * (1 + 1e-9)
    assert np.sum(np.linalg.svd(model.coef_, compute_uv=False) > 1e-9) == 1


def test_logistic_with_log_sum() -> None:
    X, y = problem(2)
    labels = y > 0
    model = sb.DesignedClassifier("logsum", 0.02).fit(X, labels)
    assert model.converged_
    assert 0 < model.support_.sum() < 12
    # no single coordinate improves on it
    base = model.objective_[0]
    for j in range(X.shape[1]):
        for step in (-0.5, -0.01, 0.01, 0.5):
            w = model.coef_[0] + step * (np.arange(X.shape[1]) == j)
            eta = X @ w + model.intercept_[0]
            value = np.mean(np.logaddexp(0, np.where(labels, -eta, eta)))
            assert value + 0.02 * np.log1p(np.abs(w) / 0.1).sum() > base


SCALARS: dict[str, Any] = {
    "l1": lambda t: t,
    "l0.5": np.sqrt,
    "log": lambda t: np.log1p(10 * t),
    "square": lambda t: t**2 / 2,
}


@pytest.mark.parametrize("name", SCALARS)
def test_the_proximal_map_is_the_minimum_on_a_fine_grid(name: str) -> None:
    R, tau = SCALARS[name], 0.4
    x = np.array([0.0, 0.1, 0.5, 0.83, 1.5, 7.0])
    grid = np.linspace(0, 7, 700_001)
    best = [grid[np.argmin((grid - a) ** 2 / 2 + tau * R(grid))] for a in x]
    np.testing.assert_allclose(scalar_prox(R, x, tau), best, atol=2e-5)
    table = tabulated_prox(lambda t: scalar_prox(R, t, tau), 5.0)
    np.testing.assert_allclose(table(x), best, atol=2e-3)
