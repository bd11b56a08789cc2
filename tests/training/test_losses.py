"""Losses against their definitions, and fits under them against convex programs."""

import warnings
from typing import Any

import cvxpy as cp
import numpy as np
import pytest
from scipy.special import xlogy
from sklearn.linear_model import LogisticRegression

import symbias as sb
from symbias.solvers import Huber, Logistic, Options, Poisson, SquaredError
from symbias.training import Trainer, trainers

LOSSES = {
    "squared": (SquaredError(), np.array([-1.3, 0.0, 2.0]), lambda e, y: 0.5 * (e - y) ** 2),
    "logistic": (
        Logistic(),
        np.array([0.0, 1.0, 0.3]),
        lambda e, y: np.log(1 + np.exp(e)) - y * e,
    ),
    "poisson": (
        Poisson(),
        np.array([0.0, 1.0, 5.0]),
        lambda e, y: np.exp(e) - y * e - y + xlogy(y, y),
    ),
    "huber": (
        Huber(0.7),
        np.array([-2.0, 0.1, 3.0]),
        lambda e, y: np.where(
            np.abs(e - y) <= 0.7, (e - y) ** 2 / 2, 0.7 * np.abs(e - y) - 0.7**2 / 2
        ),
    ),
}
ETA = np.linspace(-4.1, 4.31, 57)[:, None]


@pytest.mark.parametrize("name", LOSSES)
def test_values_and_derivatives(name: str) -> None:
    loss, y, definition = LOSSES[name]
    np.testing.assert_allclose(loss.value(ETA, y), definition(ETA, y), rtol=1e-12, atol=1e-14)
    assert np.all(loss.value(ETA, y) >= 0)
    slopes = (definition(ETA + 1e-6, y) - definition(ETA - 1e-6, y)) / 2e-6
    np.testing.assert_allclose(loss.gradient(ETA, y), slopes, atol=1e-7)
    bends = (loss.gradient(ETA + 1e-6, y) - loss.gradient(ETA - 1e-6, y)) / 2e-6
    eta, targets = np.broadcast_arrays(ETA, y)
    np.testing.assert_allclose(loss.curvature(eta, targets), bends, atol=2e-3)
    assert np.all(loss.curvature(ETA, y) <= loss.bound)


@pytest.mark.parametrize("name", LOSSES)
@pytest.mark.parametrize("a", [0.0, 0.4, 1.0])
def test_the_conjugate_is_the_supremum(name: str, a: float) -> None:
    loss, y, definition = LOSSES[name]
    grid = np.linspace(-40, 40, 400_001)
    for eta in (-3.0, -0.5, 0.2, 2.5):
        for target in y:
            nu = a * loss.gradient(np.array(eta), np.array(target))
            with np.errstate(over="ignore"):
                supremum = np.max(nu * grid - definition(grid, target))
            found = loss.conjugate(np.array(nu), np.array(target))
            assert found == pytest.approx(supremum, abs=2e-7)


def test_large_predictors_do_not_overflow() -> None:
    loss = Logistic()
    assert loss.value(np.array([800.0, -800.0]), np.array([1.0, 0.0])).tolist() == [0.0, 0.0]
    assert loss.value(np.array([800.0]), np.array([0.0])) == 800.0
    np.testing.assert_array_equal(loss.mean(np.array([-800.0, 0.0, 800.0])), [0, 0.5, 1])


RNG = np.random.default_rng(0)
X = RNG.normal(size=(60, 12))
TRUTH = np.array([1.0, 1.0, 1.0, -1.0, -1.0, 0, 0, 0, 0, 0.5, 0, 0])
MEAN = X @ TRUTH + 0.5
WEIGHTS = RNG.exponential(size=60)
TARGETS = {
    "logistic": (RNG.random(60) < 1 / (1 + np.exp(-MEAN))).astype(float),
    "poisson": RNG.poisson(np.exp(0.5 * MEAN)).astype(float),
    "huber": MEAN + RNG.standard_t(1.0, 60),
}
PENALTIES: dict[str, tuple[Any, Any]] = {
    "l1": (sb.L1(), cp.norm1),
    "tv": (sb.TotalVariation(), lambda w: cp.norm1(cp.diff(w))),
    "group": (
        sb.GroupLasso(3),
        lambda w: sum(3**0.5 * cp.norm2(w[k : k + 3]) for k in range(0, 12, 3)),
    ),
    "elastic": (sb.ElasticNet(0.7), lambda w: 0.7 * cp.norm1(w) + 0.15 * cp.sum_squares(w)),
}


def expression(name: str, eta: Any, y: np.ndarray) -> Any:
    match name:
        case "logistic":
            return cp.logistic(eta) - cp.multiply(y, eta)
        case "poisson":
            return cp.exp(eta) - cp.multiply(y, eta) - y + xlogy(y, y)
    return cp.huber(y - eta, 0.7) / 2


def optimum(name: str, penalty: Any, strength: float) -> float:
    w, b = cp.Variable(12), cp.Variable()
    losses = expression(name, X @ w + b, TARGETS[name])
    cost = cp.sum(cp.multiply(WEIGHTS / WEIGHTS.sum(), losses)) + strength * penalty(w)
    problem = cp.Problem(cp.Minimize(cost))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)
        problem.solve(cp.CLARABEL, tol_gap_abs=1e-10, tol_gap_rel=1e-10, tol_feas=1e-10)
    return float(problem.value)


@pytest.mark.parametrize("fraction", [0.5, 0.02])
@pytest.mark.parametrize("penalty", PENALTIES)
@pytest.mark.parametrize("name", TARGETS)
def test_the_objective_is_that_of_the_convex_program(
    name: str, penalty: str, fraction: float
) -> None:
    loss = LOSSES[name][0]
    wanted, written = PENALTIES[penalty]
    p = sb.design(wanted, sb.WeightDecay(1.0), shape=12)
    (found,) = trainers(p, X, WEIGHTS / WEIGHTS.sum(), True, loss, [TARGETS[name]])
    strength = fraction * found.strength_max
    fit = found.fit(strength, Options())
    assert fit.converged
    best = optimum(name, written, strength)
    assert abs(fit.certificate.objective - best) <= 1e-7 * best
    # and it is the objective of what is handed out
    eta = X @ fit.coef + fit.intercept[0]
    value = WEIGHTS / WEIGHTS.sum() @ LOSSES[name][2](eta, TARGETS[name])
    value += strength * float(wanted(fit.coef))
    assert fit.certificate.objective == pytest.approx(value, rel=1e-9)
    np.testing.assert_allclose(p(fit.params), fit.coef, rtol=1e-10, atol=1e-12)


def evenly(penalty: sb.Penalty, name: str) -> Trainer:
    """One target, all samples of the same weight."""
    p = sb.design(penalty, sb.WeightDecay(1.0), shape=12)
    (found,) = trainers(p, X, np.full(60, 1 / 60), True, LOSSES[name][0], [TARGETS[name]])
    return found


@pytest.mark.parametrize("penalty", ["l1", "elastic"])
@pytest.mark.parametrize("name", TARGETS)
def test_the_gap_bounds_what_is_left_to_gain(name: str, penalty: str) -> None:
    trainer = evenly(PENALTIES[penalty][0], name)
    strength = 0.1 * trainer.strength_max
    best = trainer.fit(strength, Options())
    for size in (1e-6, 1e-3, 0.3):
        c = best.penalized + size * np.random.default_rng(1).normal(size=12)
        found = trainer.composite.certify(c, strength).certificate
        left = found.objective - best.certificate.objective
        assert found.gap >= left - 1e-13
        assert left > 0
        assert found.gap <= 1e3 * size  # and it is not trivial


@pytest.mark.parametrize("name", TARGETS)
def test_strength_max_is_the_threshold(name: str) -> None:
    found = evenly(sb.L1(), name)
    top = found.strength_max
    assert not found.fit(1.0000001 * top, Options()).penalized.any()
    assert np.count_nonzero(found.fit(0.9999 * top, Options()).penalized) == 1


def test_l1_is_the_logistic_regression_of_scikit_learn() -> None:
    labels = TARGETS["logistic"].astype(int)
    model = sb.DesignedClassifier(strength=0.03, class_weight="balanced").fit(X, labels)
    # their C weighs the sum of all losses, ours are averages; balanced weights sum to n
    theirs = LogisticRegression(
        solver="saga",
        l1_ratio=1.0,
        C=1 / (60 * 0.03),
        class_weight="balanced",
        tol=1e-7,
        max_iter=20_000,
    ).fit(X, labels)
    np.testing.assert_allclose(model.coef_, theirs.coef_, atol=1e-5)
    np.testing.assert_allclose(model.intercept_, theirs.intercept_, atol=1e-5)
    np.testing.assert_allclose(model.predict_proba(X), theirs.predict_proba(X), atol=1e-5)
    np.testing.assert_array_equal(model.support_, theirs.coef_ != 0)
