"""Sums of penalties and penalties in another shape: against linear programs and cvxpy."""

import itertools

import cvxpy as cp
import numpy as np
import pytest
from scipy.optimize import linprog
from scipy.spatial import HalfspaceIntersection

import symbias as sb
from symbias.estimators.by_threshold import Fused, strength_max
from symbias.solvers.reference import convex_reference

RNG = np.random.default_rng(4)
N = 9
WEIGHTS = np.array([1.0, 0.5, 0.0, 2.0, 0.3, 1.0, 1.0, 0.0, 0.7])
FUSED = {
    "fused": (0.7 * sb.L1() + 0.4 * sb.TotalVariation(), np.full(N, 0.7), 0.4),
    "differences first": (sb.Differences(1) + 2.0 * sb.L1(), np.full(N, 2.0), 1.0),
    "weights": (sb.L1(WEIGHTS) + 0.5 * sb.TotalVariation(), WEIGHTS, 0.5),
    "three terms": (
        sb.TotalVariation() + 0.2 * (sb.L1() + sb.TotalVariation()),
        np.full(N, 0.2),
        1.2,
    ),
}


def cost(w: np.ndarray, weights: np.ndarray, jump: float) -> float:
    return float(weights @ np.abs(w) + jump * np.abs(np.diff(w)).sum())


@pytest.mark.parametrize("name", FUSED)
def test_the_fused_lasso_is_l1_of_intervals(name: str) -> None:
    """The least sum of heights over all splits, by a linear program, and the closed-form split."""
    penalty, weights, jump = FUSED[name]
    p = sb.design(penalty, sb.WeightDecay(1.0), shape=N)
    for w in (RNG.normal(size=N), np.round(RNG.normal(size=N)), np.zeros(N), -np.ones(N)):
        A = penalty.form((N,)).linear.columns
        least = linprog(np.ones(2 * A.shape[1]), A_eq=np.hstack([A, -A]), b_eq=w, bounds=(0, None))
        assert least.fun == pytest.approx(cost(w, weights, jump), abs=1e-8)
        assert float(penalty(w)) == pytest.approx(cost(w, weights, jump), abs=1e-13)
        induced = sb.WeightDecay(0.3).induced(p)
        assert float(induced(w)) == pytest.approx(0.3 * cost(w, weights, jump), abs=1e-12)
        assert p(p.section(w, charge=0.2)) == pytest.approx(w, abs=1e-12)


@pytest.mark.parametrize("order", [1, 2])
def test_extreme_points_of_the_ball(order: int) -> None:
    """Intervals for total variation; more than those, 31 for 15, with changes of slope."""
    n = 5
    rows = np.vstack([np.eye(n), np.diff(np.eye(n), order, axis=0)])
    faces = np.unique(np.array(list(itertools.product((-1, 1), repeat=len(rows)))) @ rows, axis=0)
    faces = faces[np.abs(faces).sum(axis=1) > 0]
    ball = HalfspaceIntersection(np.hstack([faces, -np.ones((len(faces), 1))]), np.zeros(n))
    corners = np.unique(np.round(ball.intersections, 9), axis=0)
    if order == 2:
        assert len(corners) == 2 * 31
        return
    A = (sb.L1() + sb.TotalVariation()).form((n,)).linear.columns.T
    ours = np.unique(np.round(np.vstack([A, -A]), 9), axis=0)
    np.testing.assert_allclose(ours, corners, atol=1e-8)


@pytest.mark.parametrize("solver", ["auto", "varpro"])
@pytest.mark.parametrize("name", ["fused", "weights"])
def test_fits_are_the_minimum(name: str, solver: str) -> None:
    penalty, weights, jump = FUSED[name]
    X = RNG.normal(size=(15, N))
    y = X @ np.array([0, 0, 2, 2, 2, 0, 0, -1, 0]) + 0.3 * RNG.normal(size=15)
    model = sb.DesignedRegressor(penalty, 0.1, solver=solver).fit(X, y)
    w, b = cp.Variable(N), cp.Variable()
    R = weights @ cp.abs(w) + jump * cp.norm1(cp.diff(w))
    problem = cp.Problem(cp.Minimize(cp.sum_squares(y - X @ w - b) / 30 + 0.1 * R))
    problem.solve(solver="CLARABEL", tol_gap_abs=1e-12, tol_gap_rel=1e-12)
    assert model.objective_ == pytest.approx(problem.value, rel=1e-9)
    assert model.coef_ == pytest.approx(w.value, abs=1e-5)
    assert model.dual_gap_ <= 1e-10 * model.objective_
    reference = convex_reference(penalty, 0.1, X, y)
    assert reference.objective == pytest.approx(problem.value, rel=1e-9)


def test_the_largest_strength_and_a_logistic_loss() -> None:
    penalty, weights, jump = FUSED["fused"]
    X, side = RNG.normal(size=(20, N)), RNG.random(20) < 0.5
    model = sb.DesignedClassifier(penalty, 0.02).fit(X, side)
    w, b = cp.Variable(N), cp.Variable()
    loss = cp.sum(cp.logistic(cp.multiply(1 - 2 * side, X @ w + b))) / 20
    R = weights @ cp.abs(w) + jump * cp.norm1(cp.diff(w))
    problem = cp.Problem(cp.Minimize(loss + 0.02 * R))
    problem.solve(solver="CLARABEL")
    assert model.coef_.ravel() == pytest.approx(w.value, abs=1e-4)
    top = sb.DesignedRegressor(penalty, 1.0).fit(X, side * 1.0).strength_max_
    for factor, some in ((0.999, True), (1.001, False)):
        model = sb.DesignedRegressor(penalty, factor * top).fit(X, side * 1.0)
        assert np.any(model.coef_) == some


def test_the_margin_of_the_fused_lasso() -> None:
    """Classification without decay: what `MaxMargin` says of a design holds for this one."""
    X = np.random.default_rng(0).normal(size=(10, 12))
    y = np.where(X[:, :5].sum(axis=1) > 0, 1.0, -1.0)
    p = sb.design(sb.L1() + 0.5 * sb.TotalVariation(), sb.WeightDecay(1.0), shape=12)
    w = cp.Variable(12)
    R = cp.norm1(w) + 0.5 * cp.norm1(cp.diff(w))
    problem = cp.Problem(cp.Minimize(R), [cp.multiply(y, X @ w) >= 1])
    problem.solve(solver="CLARABEL")
    found = sb.MaxMargin().direction(p, X, y)
    assert pytest.approx(problem.value, rel=1e-6) == found.R
    assert found.gap < 1e-8


def test_entries_alone() -> None:
    w = RNG.normal(size=4)
    for penalty, like in (
        (0.3 * sb.L1() + 0.7 * sb.Ridge(), sb.ElasticNet(0.3)),
        (sb.ElasticNet(0.5) + 0.5 * sb.L1(), sb.L1() + 0.5 * sb.Ridge()),
        (sb.L1() + 2 * sb.L1(np.arange(4.0)), sb.L1(1 + 2 * np.arange(4.0))),
        (sb.Ridge() + sb.Ridge(), sb.Lq(2.0)),
        (sb.TotalVariation() + sb.TotalVariation(), 2 * sb.TotalVariation()),
    ):
        induced = sb.WeightDecay(1.0).induced(sb.design(penalty, sb.WeightDecay(1.0), shape=4))
        assert float(induced(w)) == pytest.approx(float(like(w)), rel=1e-12)


@pytest.mark.parametrize(
    ("penalty", "why"),
    [
        (sb.L1() + sb.TrendFilter(), "about doubles with every entry"),
        (sb.L1() + sb.TotalVariation(tree=[-1, 0, 0, 1]), "on a tree"),
        (sb.L1() + sb.GroupLasso(2), "would have to give the same w"),
        (sb.L1() + sb.LogSum(), "as one function"),
    ],
)
def test_other_sums_are_refused(penalty: sb.Penalty, why: str) -> None:
    with pytest.raises(sb.Refused, match=why):
        sb.design(penalty, sb.WeightDecay(1.0), shape=4)


def test_other_mechanisms_send_to_weight_decay() -> None:
    for mechanism in (sb.GradientFlow(0.01), sb.LabelNoise(0.1, 0.1, 1), sb.Langevin(1.0)):
        with pytest.raises(sb.Refused, match=r"sb\.WeightDecay\(strength\) takes it"):
            sb.design(FUSED["fused"][0], mechanism, shape=N)


def test_the_cone_program_takes_the_sums_that_no_design_has() -> None:
    X = RNG.normal(size=(12, 6))
    y = X @ np.arange(6.0) + RNG.normal(size=12)
    found = convex_reference(sb.L1() + 0.5 * sb.TrendFilter(), 0.2, X, y, False)
    w = cp.Variable(6)
    R = cp.norm1(w) + 0.5 * cp.norm1(cp.diff(w, 2))
    problem = cp.Problem(cp.Minimize(cp.sum_squares(y - X @ w) / 24 + 0.2 * R))
    problem.solve(solver="CLARABEL", tol_gap_abs=1e-12, tol_gap_rel=1e-12)
    assert found.objective == pytest.approx(problem.value, rel=1e-9)


def test_only_penalties_add() -> None:
    with pytest.raises(TypeError, match="unsupported operand"):
        sb.L1() + 1.0  # type: ignore[operator]
    assert repr(sb.L1() + 0.5 * sb.Ridge()) == "L1(weights=None) + 0.5 * Ridge()"


def series(n: int = 80) -> tuple[np.ndarray, np.ndarray]:
    truth = np.zeros(n)
    truth[20:40], truth[55:60] = 2.0, -1.0
    return truth, truth + 0.3 * np.random.default_rng(0).normal(size=n)


@pytest.mark.parametrize("strength", [1e-3, 1e-2, 0.05])
def test_a_series_is_total_variation_and_then_a_threshold(strength: float) -> None:
    """Against the working sets on intervals, and the gap of the sum."""
    _, y = series()
    penalty = 0.1 * sb.L1() + sb.TotalVariation()
    found = sb.fit_series(np.arange(len(y)), y, penalty, strength)
    model = sb.DesignedRegressor(penalty, strength, fit_intercept=False).fit(np.eye(len(y)), y)
    assert found.fitted == pytest.approx(model.coef_, abs=1e-7)
    assert found.objective == pytest.approx(model.objective_, rel=1e-9)
    assert found.strength_max == pytest.approx(model.strength_max_, rel=1e-12)
    assert found.dual_gap <= 1e-8 * found.objective
    assert np.array_equal(found.changes, np.flatnonzero(np.diff(model.coef_.round(6))))


def test_the_largest_strength_is_that_of_the_best_interval() -> None:
    """By Dinkelbach's rule as by all intervals."""
    rng = np.random.default_rng(3)
    for level, jump in ((0.1, 1.0), (0.3, 1.0), (1.0, 0.5)):
        A = (level * sb.L1() + jump * sb.TotalVariation()).form((8,)).linear.columns
        for y in rng.normal(size=(100, 8)) + np.repeat([0.0, 1.0], 4):
            found = strength_max(y, Fused(level, jump))
            assert found == pytest.approx(np.abs(A.T @ y).max() / 8, rel=1e-12)


def test_the_gap_of_a_rough_fit_is_honest() -> None:
    """A wrong signal of total variation, thresholded: the gap is at least what is left to gain."""
    _, y = series()
    penalty = 0.1 * sb.L1() + sb.TotalVariation()
    best = sb.fit_series(np.arange(len(y)), y, penalty, 1e-3)
    rough = sb.fit_series(np.arange(len(y)), y, penalty, 1e-3, max_iter=1)
    assert rough.objective > best.objective * (1 + 1e-6)
    assert rough.objective - rough.dual_gap <= best.objective * (1 + 1e-12)
    assert not rough.converged


def test_gaps_in_a_series_and_its_cross_validation() -> None:
    truth, y = series()
    penalty = 0.1 * sb.L1() + sb.TotalVariation()
    auto = sb.fit_series(np.arange(len(y)), y, penalty)
    assert np.abs(auto.fitted - truth).mean() < 0.2
    assert np.mean(auto.fitted[truth == 0] == 0) > 0.7
    assert auto.changepoints[:, 0].tolist() == [19, 39]
    with pytest.raises(ValueError, match="total variation and trends alone"):
        auto.false_alarms()
    y[[3, 30, 31]] = np.nan
    found = sb.fit_series(np.arange(len(y)), y, penalty, 0.01)
    seen = ~np.isnan(y)
    w = cp.Variable(len(y))
    loss = cp.sum_squares(y[seen] - w[seen]) / (2 * seen.sum())
    problem = cp.Problem(cp.Minimize(loss + 0.01 * (0.1 * cp.norm1(w) + cp.norm1(cp.diff(w)))))
    problem.solve(solver="CLARABEL", tol_gap_abs=1e-12, tol_gap_rel=1e-12)
    assert found.objective == pytest.approx(problem.value, rel=1e-8)
    with pytest.raises(ValueError, match="a series takes tv, trend, spectral or"):
        sb.fit_series(np.arange(len(y)), y, sb.L1() + sb.Ridge(), 0.1)


def test_long_tables_are_sent_to_series() -> None:
    with pytest.raises(ValueError, match="up to 300 entries"):
        sb.DesignedRegressor(FUSED["fused"][0], 0.1).fit(np.eye(301), np.ones(301))


@pytest.mark.parametrize("solver", ["auto", pytest.param("varpro", marks=pytest.mark.slow)])
def test_low_rank_of_a_vector_in_another_shape(solver: str) -> None:
    X = RNG.normal(size=(30, 20))
    truth = np.outer(RNG.normal(size=4), RNG.normal(size=5))
    y = X @ truth.ravel() + 0.05 * RNG.normal(size=30)
    penalty = sb.Reshaped(sb.Nuclear(), (4, -1))
    model = sb.DesignedRegressor(penalty, 0.1, solver=solver, fit_intercept=False).fit(X, y)
    w = cp.Variable((4, 5))
    fit = X @ cp.reshape(w, (20,), order="C")
    problem = cp.Problem(cp.Minimize(cp.sum_squares(y - fit) / 60 + 0.1 * cp.normNuc(w)))
    problem.solve(solver="CLARABEL", tol_gap_abs=1e-11, tol_gap_rel=1e-11)
    assert model.objective_ == pytest.approx(problem.value, rel=1e-8)
    assert model.coef_.reshape(4, 5) == pytest.approx(w.value, abs=1e-4)
    assert np.linalg.matrix_rank(model.coef_.reshape(4, 5), tol=1e-6) == 1


@pytest.mark.parametrize("mechanism", [sb.WeightDecay(0.3), sb.LabelNoise(0.1, 0.05, 2)], ids=repr)
def test_designs_of_a_kernel(mechanism: sb.Mechanism) -> None:
    penalty, w = sb.Reshaped(sb.Nuclear(), (4, -1)), RNG.normal(size=(4, 3, 2, 2))
    p = sb.design(penalty, mechanism, shape=w.shape)
    nuclear = np.linalg.svd(w.reshape(4, 12))[1].sum()
    assert float(penalty(w)) == pytest.approx(nuclear)
    assert float(mechanism.induced(p)(w)) == pytest.approx(mechanism.scale * nuclear)
    assert p(p.section(w, charge=0.1)) == pytest.approx(w)
    (piece,) = penalty.form(w.shape).pieces
    u, s, vt = np.linalg.svd(w.reshape(4, 12), full_matrices=False)
    assert piece.prox(w.reshape(4, 12), 0.8) == pytest.approx((u * np.maximum(s - 0.8, 0)) @ vt)


@pytest.mark.parametrize(
    ("made", "why"),
    [
        (lambda: sb.Reshaped(sb.Nuclear(), (4, -1))(np.ones(6)), r"\(6,\) cannot be reshaped"),
        (lambda: sb.Reshaped(sb.Nuclear(), (-1, -1)), "one of them -1 at most"),
        (lambda: sb.Reshaped("nuclear", (2, 3)), "such as sb.Nuclear"),  # type: ignore[arg-type]
        (lambda: sb.IntervalSum([0.0, 0.0], 1.0), "not all zero"),
        (lambda: sb.IntervalSum([1.0, 1.0], 0.0), "jump must be positive"),
        (lambda: sb.Synthesis(sb.IntervalSum([1, 1], 1.0), sb.Hadamard(4)), "has 3 coordinates"),
        (
            lambda: sb.design("nuclear", sb.WeightDecay(1.0), shape=(4, 3, 2)),
            r"sb\.Reshaped\(sb\.Nuclear\(p=1\.0, rank=None\), \(4, -1\)\) takes it",
        ),
    ],
)
def test_bad_input(made, why: str) -> None:  # type: ignore[no-untyped-def]
    with pytest.raises(ValueError, match=why):
        made()
