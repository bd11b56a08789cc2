"""Several targets at once, missing entries, and matrices to be completed."""

import warnings

import cvxpy as cp
import numpy as np
import pytest

import symbias as sb

RNG = np.random.default_rng(5)


def low_rank(n: int, m: int, rank: int, share: float) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(n)
    truth = rng.normal(size=(n, rank)) @ rng.normal(size=(rank, m))
    return truth, np.where(rng.random((n, m)) < share, truth, np.nan)


def test_completion_is_the_convex_optimum() -> None:
    _, Y = low_rank(15, 12, 2, 0.6)
    Y = Y + 0.1 * RNG.normal(size=Y.shape)
    W, model = sb.complete(Y, strength=0.02)
    assert model.converged_
    V = cp.Variable(Y.shape)
    seen = ~np.isnan(Y)
    loss = cp.sum_squares(cp.multiply(seen, V) - np.nan_to_num(Y)) / (2 * 15)
    problem = cp.Problem(cp.Minimize(loss + 0.02 * cp.normNuc(V)))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)
        problem.solve(cp.CLARABEL, tol_gap_abs=1e-10, tol_gap_rel=1e-10, tol_feas=1e-10)
    assert abs(model.objective_ - problem.value) <= 1e-6 * problem.value
    np.testing.assert_allclose(W, V.value, atol=1e-3)


def test_exact_recovery_where_there_are_enough_entries() -> None:
    truth, Y = low_rank(20, 16, 1, 0.6)
    W, _ = sb.complete(Y, strength=1e-5)
    assert np.linalg.norm(W - truth) <= 1e-4 * np.linalg.norm(truth)
    assert np.linalg.matrix_rank(W, tol=1e-8) == 1


def test_missing_entries_are_rows_that_nobody_measured() -> None:
    """Joint total variation with holes: the same as a design on the entries that are there."""
    n, K = 14, 2
    Y = np.cumsum(RNG.normal(size=(n, K)), axis=0)
    Y[3, 0] = Y[7, 1] = Y[8, 1] = np.nan
    model = sb.DesignedRegressor(sb.TotalVariation(joint=True), 0.05).fit(np.eye(n), Y)
    V = cp.Variable((n, K))
    loss = cp.sum_squares(cp.multiply(~np.isnan(Y), V) - np.nan_to_num(Y)) / (2 * n)
    problem = cp.Problem(cp.Minimize(loss + 0.05 * cp.sum(cp.norm2(cp.diff(V, axis=0), axis=1))))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)
        problem.solve(cp.CLARABEL)
    assert abs(model.objective_ - problem.value) <= 1e-6 * problem.value
    # channels jump together
    assert np.all(model.support_.all(axis=1) == model.support_.any(axis=1))


@pytest.mark.parametrize("penalty", ["nuclear", sb.TotalVariation(joint=True)], ids=repr)
def test_weights_are_repetitions(penalty: str | sb.Penalty) -> None:
    X, Y = RNG.normal(size=(30, 6)), RNG.normal(size=(30, 3))
    Y[4, 1] = np.nan
    counts = np.random.default_rng(0).integers(0, 4, 30)
    rows = np.repeat(np.arange(30), counts)
    weighted = sb.DesignedRegressor(penalty, 0.05).fit(X, Y, sample_weight=counts)
    repeated = sb.DesignedRegressor(penalty, 0.05).fit(X[rows], Y[rows])
    np.testing.assert_allclose(weighted.coef_, repeated.coef_, atol=1e-5)
    assert weighted.objective_ == pytest.approx(repeated.objective_, rel=1e-9)


@pytest.mark.slow
def test_cross_validation_of_a_coupled_penalty() -> None:
    X = RNG.normal(size=(40, 6))
    Y = X @ RNG.normal(size=(6, 1)) @ RNG.normal(size=(1, 4)) + 0.3 * RNG.normal(size=(40, 4))
    model = sb.DesignedRegressorCV("nuclear", strengths=6, cv=3, tol=1e-8).fit(X, Y)
    assert model.mse_path_.shape == (6, 3)
    assert model.coef_.shape == (4, 6)
    assert model.score(X, Y) > 0.8


def test_refit_of_joint_jumps_is_means() -> None:
    Y = np.repeat([[0.0, 1.0], [2.0, -1.0]], [6, 9], axis=0) + 0.1 * RNG.normal(size=(15, 2))
    model = sb.DesignedRegressor(sb.TotalVariation(joint=True), 0.3).fit(np.eye(15), Y)
    assert np.flatnonzero(model.support_[:, 0]).tolist() == [5]
    fitted = model.refit(np.eye(15), Y).predict(np.eye(15))
    np.testing.assert_allclose(fitted[:6], np.tile(Y[:6].mean(axis=0), (6, 1)))
    np.testing.assert_allclose(fitted[6:], np.tile(Y[6:].mean(axis=0), (9, 1)))
    with pytest.raises(ValueError, match="a refit is for"):
        sb.DesignedRegressor("nuclear").fit(np.eye(15), Y).refit(np.eye(15), Y)


def test_bad_matrices_are_named() -> None:
    Y = np.ones((4, 3))
    Y[:, 1] = np.nan
    for bad, penalty, message in (
        (np.ones(4), "nuclear", "expected a matrix"),
        (Y, "nuclear", "at least one value that is not missing"),
        (np.full((2, 2), np.inf), "nuclear", "infinity"),
        (np.ones((4, 3)), "l1", "acts on each column alone"),
    ):
        with pytest.raises(ValueError, match=message):
            sb.complete(bad, penalty)
    with pytest.raises(ValueError, match="the design has shape"):
        sb.DesignedRegressor(sb.Hadamard((3, 2))).fit(np.eye(4), np.ones((4, 2)))
    with pytest.raises(ValueError, match="solver 'gd' is for a squared error over products"):
        sb.DesignedRegressor("nuclear", solver="gd").fit(np.eye(4), np.eye(4))
