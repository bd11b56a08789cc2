"""Fits that are hard on the numbers, the factors they come from, and the refit."""

from typing import Any

import numpy as np
import pytest
from sklearn.linear_model import Lasso

import symbias as sb
from tests.training.cases import nile

RNG = np.random.default_rng(7)
X = RNG.normal(size=(40, 12))
Y = X[:, :3] @ [1.0, 2.0, -3.0] + 0.1 * RNG.normal(size=40) + 5
PENALTIES = ["l1", "lq", sb.GroupLasso(3), "tv", "trend", "spectral"]


@pytest.mark.parametrize("penalty", [*PENALTIES, sb.Lq(0.5), sb.L1(np.arange(12.0))], ids=str)
def test_the_factors_are_the_coefficients(penalty: Any) -> None:
    model = sb.DesignedRegressor(penalty, 0.05).fit(X, Y)
    p = model.parameterization_
    np.testing.assert_allclose(p(model.params_), model.coef_, rtol=1e-12, atol=1e-13)
    # and weight decay on them costs what the penalty costs
    cost = sum(0.5 * np.sum(a**2) for n, a in model.params_.items() if n not in p.free)
    penalized = sb.WeightDecay(1.0).penalty(p, model.coef_)
    assert cost == pytest.approx(penalized, rel=1e-2)
    assert cost >= penalized * (1 - 1e-9)


def test_more_features_than_samples() -> None:
    rng = np.random.default_rng(0)
    X = rng.normal(size=(25, 100))
    y = X[:, :4] @ [3.0, -2.0, 1.0, 1.0] + 0.1 * rng.normal(size=25)
    for strength in (0.5, 0.05, 0.005):
        lasso = Lasso(strength, tol=1e-12, max_iter=1_000_000).fit(X, y)
        model = sb.DesignedRegressor(strength=strength, tol=1e-11).fit(X, y)
        np.testing.assert_allclose(model.coef_, lasso.coef_, atol=1e-6)
        np.testing.assert_array_equal(model.support_, lasso.coef_ != 0)


@pytest.mark.parametrize("penalty", PENALTIES, ids=str)
@pytest.mark.parametrize("name", ["constant", "zero", "twice", "offset", "large", "small", "wide"])
def test_awkward_columns(name: str, penalty: Any) -> None:
    Z, strength = X.copy(), 0.05
    if name == "offset":
        Z += 1e6
    elif name == "large":
        Z, strength = 1e8 * Z, 1e8 * strength if penalty != "lq" else 1e16 / 3 * strength
    elif name == "small":
        Z, strength = 1e-8 * Z, 1e-8 * strength
    elif name == "wide":
        Z *= np.logspace(-3, 3, 12)
    else:
        Z[:, 5] = {"constant": 7.0, "zero": 0.0, "twice": Z[:, 4]}[name]
    model = sb.DesignedRegressor(penalty, strength).fit(Z, Y)
    assert model.converged_
    assert np.all(np.isfinite(model.coef_))
    if name in ("constant", "zero") and penalty in ("l1", "lq"):
        assert model.coef_[5] == 0


@pytest.mark.parametrize("penalty", PENALTIES, ids=str)
@pytest.mark.parametrize("shape", [(1, 12), (1, 1), (40, 1), (40, 2), (2, 3)])
def test_small_shapes(shape: tuple[int, int], penalty: Any) -> None:
    n, p = shape
    model = sb.DesignedRegressor(penalty, 0.05).fit(X[:n, :p], Y[:n])
    assert model.converged_
    if n == 1:  # the intercept explains all
        np.testing.assert_allclose(model.coef_, 0, atol=1e-12)
        assert model.intercept_ == pytest.approx(Y[0])
        assert model.strength_max_ == 0


@pytest.mark.parametrize("penalty", PENALTIES, ids=str)
def test_targets_that_leave_nothing_to_do(penalty: Any) -> None:
    model = sb.DesignedRegressor(penalty, 0.05)
    model.fit(X, np.full(40, 3.0))
    assert not model.support_.any()
    np.testing.assert_allclose(model.predict(X), 3.0)
    model.fit(X, X @ np.arange(12.0))  # without noise: only the penalty's shrinkage is left
    assert model.converged_
    assert model.score(X, X @ np.arange(12.0)) > 0.99


@pytest.mark.parametrize("fraction", [0.999999, 1e-3, 1e-6])
@pytest.mark.parametrize("penalty", PENALTIES, ids=str)
def test_strengths_near_both_ends(penalty: Any, fraction: float) -> None:
    model = sb.DesignedRegressor(penalty, 1.0).fit(X, Y)
    model.set_params(strength=fraction * model.strength_max_).fit(X, Y)
    assert model.converged_
    if fraction < 1e-5:
        plain = np.linalg.lstsq(np.column_stack([X, np.ones(40)]), Y)[0]
        np.testing.assert_allclose(model.coef_, plain[:12], atol=1e-3)


def test_groups_without_weight_are_free() -> None:
    weights = {0: 0.0, 1: 1.0, 2: 0.0, 3: 2.0}
    model = sb.DesignedRegressor(sb.GroupLasso(3, weights=weights), 0.5).fit(X, Y)
    assert model.converged_
    assert model.penalized_.shape == (6,)
    r = Y - model.predict(X)
    np.testing.assert_allclose(X[:, [0, 1, 2, 6, 7, 8]].T @ r, 0, atol=1e-8)
    # the penalised groups: |X_g' r| / n at most strength * weight, equal where not zero
    for group, weight in ((1, 1.0), (3, 2.0)):
        pull = np.linalg.norm(X[:, 3 * group : 3 * group + 3].T @ r) / 40
        alive = np.any(model.coef_[3 * group : 3 * group + 3] != 0)
        assert pull <= 0.5 * weight * (1 + 1e-6)
        assert not alive or pull == pytest.approx(0.5 * weight, rel=1e-4)
    free = sb.DesignedRegressor(sb.GroupLasso(3, weights=np.zeros(4)), 0.5).fit(X, Y)
    plain = np.linalg.lstsq(np.column_stack([X, np.ones(40)]), Y)[0]
    np.testing.assert_allclose(free.coef_, plain[:12], atol=1e-10)
    assert free.converged_


def test_a_kink_is_measured_in_units_of_time() -> None:
    """A broken line over irregular times: one change of slope, found and of the right size."""
    times = np.cumsum(np.random.default_rng(0).uniform(0.1, 3.0, 60))
    line = np.where(times < times[25], times, 1.5 * times[25] - 0.5 * times)
    model = sb.DesignedRegressor(sb.TrendFilter(np.diff(times)), 1e-3).fit(np.eye(60), line)
    assert np.argmin(model.penalized_) == 24
    again = model.refit(np.eye(60), line, support=np.arange(58) == 24)
    assert again.penalized_[24] == pytest.approx(-1.5)
    np.testing.assert_allclose(again.predict(np.eye(60)), line, atol=1e-9)


@pytest.mark.parametrize("penalty", PENALTIES, ids=str)
def test_refit_is_least_squares_on_the_support(penalty: Any) -> None:
    model = sb.DesignedRegressor(penalty, 0.3).fit(X, Y)
    again = model.refit(X, Y)
    p = model.parameterization_
    # columns of the analysis coordinates that may move, and the free ones, by linearity
    basis = [p.transform.forward(e) for e in np.eye(12)] if hasattr(p, "transform") else np.eye(12)
    free = 12 - len(model.support_)
    keep = np.concatenate([np.ones(free, dtype=bool), model.support_])
    A = np.column_stack([X @ np.array(basis).T[:, keep], np.ones(40)])
    fitted = A @ np.linalg.lstsq(A, Y)[0]
    np.testing.assert_allclose(again.predict(X), fitted, atol=1e-9)
    np.testing.assert_array_equal(again.support_, model.support_)
    np.testing.assert_allclose(p(again.params_), again.coef_, atol=1e-12)
    assert again.score(X, Y) >= model.score(X, Y)
    assert np.isnan(again.dual_gap_)


def test_refit_of_a_chosen_support() -> None:
    support = np.arange(12) < 3
    again = sb.DesignedRegressor().fit(X, Y).refit(X, Y, support)
    A = np.column_stack([X[:, :3], np.ones(40)])
    np.testing.assert_allclose(again.coef_[:3], np.linalg.lstsq(A, Y)[0][:3])
    np.testing.assert_array_equal(again.coef_[3:], 0)
    for bad in (support[:4], support.astype(float)):
        with pytest.raises(ValueError, match="support must be a boolean mask of shape"):
            again.refit(X, Y, bad)


def test_refit_of_the_nile_is_two_means() -> None:
    flow = nile()
    model = sb.DesignedRegressor("tv", 1.0).fit(np.eye(100), flow)
    model.set_params(strength=0.6 * model.strength_max_).fit(np.eye(100), flow)
    assert np.flatnonzero(model.support_).tolist() == [27]
    fitted = model.refit(np.eye(100), flow).predict(np.eye(100))
    np.testing.assert_allclose(fitted[:28], flow[:28].mean())
    np.testing.assert_allclose(fitted[28:], flow[28:].mean())


@pytest.mark.parametrize("solver", ["varpro", "gd"])
def test_callback(solver: str) -> None:
    calls: list[tuple[int, float]] = []
    model = sb.DesignedRegressor(
        strength=0.05, solver=solver, callback=lambda *a: calls.append(a)
    ).fit(X, Y)
    steps = [s for s, _ in calls]
    assert steps == sorted(steps)
    assert 0 < steps[-1] == model.n_iter_
    assert calls[-1][1] == pytest.approx(model.objective_, rel=1e-6)


def test_a_fit_beyond_the_range_of_a_custom_penalty_is_refused() -> None:
    rng = np.random.default_rng(0)
    X = rng.normal(size=(50, 5))
    capped = sb.Custom(lambda t: np.minimum(t, 1.0), "capped")
    with (
        pytest.warns(UserWarning, match="holds locally"),
        pytest.raises(ValueError, match=r"range|beyond"),
    ):
        sb.DesignedRegressor(capped, 0.1).fit(X, X @ [3.0, 0, 0, -2, 0])
