"""Direct solutions, and what trained factors collapse to, solve the convex problem."""

from functools import cache

import numpy as np
import pytest
from sklearn.linear_model import Lasso

import symbias as sb
from symbias.solvers import Options
from symbias.training import Trainer
from tests.training.cases import CASES

FRACTIONS = np.geomspace(0.9, 0.01, 7)


@cache
def trainer(name: str, solver: str = "varpro") -> Trainer:
    return CASES[name].trainer(solver)


@cache
def optimum(name: str, fraction: float) -> tuple[np.ndarray, float]:
    return CASES[name].optimum(fraction * trainer(name).strength_max)


def check(name: str, fraction: float, w: np.ndarray, b: float) -> None:
    """Objective within 1e-6 of the optimum, coefficients within 1e-4 of its scale."""
    case, strength = CASES[name], fraction * trainer(name).strength_max
    best_w, best_b = optimum(name, fraction)
    best = case.objective(strength, best_w, best_b)
    assert abs(case.objective(strength, w, b) - best) <= 1e-6 * best
    assert np.abs(w - best_w).max() <= 1e-4 * np.abs(best_w).max()
    assert abs(b - best_b) <= 1e-4 * np.abs(case.y).max()


COLD = [("auto", f) for f in FRACTIONS] + [("varpro", f) for f in FRACTIONS[1::3]]


@pytest.mark.parametrize(("solver", "fraction"), COLD)
@pytest.mark.parametrize("name", CASES)
def test_cold_start(name: str, solver: str, fraction: float) -> None:
    case = CASES[name]
    strength = fraction * trainer(name).strength_max
    options = {"fit_intercept": case.fit_intercept, "solver": solver}
    model = sb.DesignedRegressor(case.penalty, strength, **options)
    model.fit(case.X, case.y)
    assert model.converged_
    check(name, fraction, model.coef_, model.intercept_)
    found = case.objective(strength, model.coef_, model.intercept_)
    assert model.objective_ == pytest.approx(found, rel=1e-10)


@pytest.mark.parametrize("fractions", [FRACTIONS, FRACTIONS[::-1]], ids=["down", "up"])
@pytest.mark.parametrize("name", CASES)
def test_warm_path(name: str, fractions: np.ndarray) -> None:
    path = trainer(name).path(fractions * trainer(name).strength_max, Options())
    for fraction, fit in zip(fractions, path, strict=True):
        assert fit.converged
        check(name, fraction, fit.coef, float(fit.intercept[0]))


@pytest.mark.parametrize("fraction", FRACTIONS[::3])
@pytest.mark.parametrize("name", CASES)
def test_plain_descent(name: str, fraction: float) -> None:
    fit = trainer(name, "gd").fit(fraction * trainer(name).strength_max, Options())
    assert fit.converged
    check(name, fraction, fit.coef, float(fit.intercept[0]))


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("fit_intercept", [False, True])
@pytest.mark.parametrize("fraction", [0.7, 0.1, 0.01])
def test_l1_is_the_lasso_of_scikit_learn(
    fraction: float, fit_intercept: bool, weighted: bool
) -> None:
    X, y = CASES["diabetes-l1"].X, CASES["diabetes-l1"].y
    weights = np.random.default_rng(1).exponential(size=len(y)) if weighted else None
    model = sb.DesignedRegressor(fit_intercept=fit_intercept)
    model.set_params(strength=fraction * model.fit(X, y, weights).strength_max_)
    model.fit(X, y, weights)
    lasso = Lasso(model.strength, fit_intercept=fit_intercept, tol=1e-12, max_iter=100_000)
    lasso.fit(X, y, weights)
    np.testing.assert_allclose(model.coef_, lasso.coef_, atol=1e-6 * np.abs(lasso.coef_).max())
    assert model.intercept_ == pytest.approx(lasso.intercept_, rel=1e-6, abs=1e-9)
    np.testing.assert_array_equal(model.support_, lasso.coef_ != 0)
