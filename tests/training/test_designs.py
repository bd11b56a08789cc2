"""Every convex penalty, matrices, sums and parts included, against a convex program."""

import warnings
from collections.abc import Callable
from typing import Any

import cvxpy as cp
import numpy as np
import pytest

import symbias as sb
from symbias.penalties import Piece, as_penalty
from symbias.solvers import Options, SquaredError
from symbias.solvers.reference import convex_reference
from symbias.training import trainers

RNG = np.random.default_rng(0)
N, P, K = 50, 16, 3
X = RNG.normal(size=(N, P))
WIDE = RNG.normal(size=(P, 2)) @ RNG.normal(size=(2, K))
Y = X @ WIDE + RNG.normal(size=(N, K)) + [1.0, -2.0, 0.0]
TREE = np.array([-1, 0, 0, 1, 1, 2, 2, 3, 3, 4, 4, 5, 5, 6, 6, 7])
OVERLAPPING = [[0, 1, 2, 3], [2, 3, 4, 5, 6], [6, 7, 8], list(range(8, 16))]

PENALTIES: dict[str, tuple[Any, np.ndarray]] = {
    "ridge": ("ridge", Y[:, 0]),
    "elastic": (sb.ElasticNet(0.3), Y[:, 0]),
    "latent": (sb.LatentGroupLasso(OVERLAPPING), Y[:, 0]),
    "weights": (sb.L1(np.arange(float(P))), Y[:, 0]),
    "tree": (sb.TotalVariation(tree=TREE), Y[:, 0]),
    "haar": (sb.Spectral("haar"), Y[:, 0]),
    "mixed": (sb.Differences(1, grid=(4, 4)), Y[:, 0]),
    "nuclear": (sb.Nuclear(), Y),
    "joint tv": (sb.TotalVariation(joint=True), Y),
    "joint trend": (sb.TrendFilter(joint=True), Y),
    "rows": (sb.GroupLasso(np.repeat(np.arange(P)[:, None], K, axis=1)), Y),
    "along": (sb.TotalVariation(axis=1), Y),
}


@pytest.mark.parametrize("solver", ["auto", "varpro"])
@pytest.mark.parametrize("name", PENALTIES)
def test_the_estimator_finds_the_convex_optimum(name: str, solver: str) -> None:
    penalty, y = PENALTIES[name]
    model = sb.DesignedRegressor(penalty, 0.15, solver=solver).fit(X, y)
    assert model.converged_
    best = convex_reference(as_penalty(penalty), 0.15, X, y)
    assert abs(model.objective_ - best.objective) <= 1e-7 * best.objective
    np.testing.assert_allclose(model.coef_.T, best.coef, atol=2e-4)
    np.testing.assert_allclose(model.intercept_, best.intercept, atol=2e-4)
    np.testing.assert_allclose(model.parameterization_(model.params_), model.coef_.T, atol=1e-10)
    r = y - model.predict(X)
    value = np.sum(r**2) / (2 * N) + 0.15 * float(as_penalty(penalty)(model.coef_.T))
    assert model.objective_ == pytest.approx(value, rel=1e-7)  # latent groups: by a search


W, B = cp.Variable((P, K)), cp.Variable((1, K))
S = cp.Variable((P, K))
FIT = cp.sum_squares(Y - X @ W - np.ones((N, 1)) @ B) / (2 * N)
BOTH = cp.sum_squares(Y - X @ (W + S) - np.ones((N, 1)) @ B) / (2 * N)
HALF = np.arange(P * K).reshape(P, K) < P * K // 2
ELASTIC = sb.Linked(sb.Hadamard(24), sb.ElasticLink(0.5, 0.5))


def huber_link(delta: float) -> sb.TabulatedLink:
    return sb.TabulatedLink(
        lambda t: np.sqrt(2 * np.where(t < delta, t * t / 2, delta * (t - delta / 2)))
    )


COMPOSED: dict[str, tuple[sb.Parameterization, Any]] = {
    "sparse plus low rank": (
        sb.Sum([sb.MatrixProduct(P, K), sb.Hadamard((P, K))]),
        lambda s: BOTH + s * (cp.normNuc(W) + 0.999999999 * cp.sum(cp.abs(S))),
    ),
    "two sparse sums": (
        sb.Sum([sb.Synthesis(sb.CumulativeSum(), sb.Hadamard((P - 1, K))), sb.Hadamard((P, K))]),
        lambda s: BOTH + s * (cp.sum(cp.abs(cp.diff(W, axis=0))) + cp.sum(cp.abs(S))),
    ),
    "parts": (
        sb.Parts((P, K), [(HALF, ELASTIC), (~HALF, sb.Hadamard(24))]),
        lambda s: (
            FIT
            + s * (0.5 * cp.sum(cp.abs(cp.multiply(HALF, W))))
            + s * (0.25 * cp.sum_squares(cp.multiply(HALF, W)))
            + s * cp.sum(cp.abs(cp.multiply(~HALF, W)))
        ),
    ),
    "smooth custom": (
        sb.Linked(sb.Plain((P, K)), huber_link(0.5)),
        lambda s: FIT + s * cp.sum(cp.huber(W, 0.5)) / 2,
    ),
}


@pytest.mark.parametrize("solver", ["auto", "varpro"])
@pytest.mark.parametrize("name", COMPOSED)
def test_designs_composed_by_hand(name: str, solver: str) -> None:
    p, program = COMPOSED[name]
    model = sb.DesignedRegressor(p, 0.1, solver=solver).fit(X, Y)
    assert model.converged_
    problem = cp.Problem(cp.Minimize(program(0.1)))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)
        problem.solve(cp.CLARABEL, tol_gap_abs=1e-10, tol_gap_rel=1e-10, tol_feas=1e-10)
    assert abs(model.objective_ - problem.value) <= 1e-7 * problem.value
    np.testing.assert_allclose(p(model.params_), model.coef_.T, atol=1e-10)


def test_a_design_of_your_own_is_trained() -> None:
    """w = u^2 - v^2 costs |w| / 2: not in units of the coordinates."""
    p = sb.Parameterization.of(lambda t: t["u"] ** 2 - t["v"] ** 2, {"u": P, "v": P})
    trained = sb.DesignedRegressor(p, 0.3, solver="varpro").fit(X, Y[:, 0])
    direct = sb.DesignedRegressor("l1", 0.15).fit(X, Y[:, 0])
    assert trained.converged_
    assert trained.objective_ == pytest.approx(direct.objective_, rel=1e-9)
    np.testing.assert_allclose(trained.coef_, direct.coef_, atol=1e-5)
    np.testing.assert_allclose(p(trained.params_), trained.coef_, atol=1e-10)
    np.testing.assert_array_equal(trained.support_, direct.support_)


@pytest.mark.parametrize("name", ["nuclear", "joint tv", "elastic"])
def test_the_gap_bounds_what_is_left_to_gain(name: str) -> None:
    penalty, y = PENALTIES[name]
    shape = (P,) if y.ndim == 1 else (P, K)
    p = sb.design(penalty, sb.WeightDecay(1.0), shape=shape)
    (trainer,) = trainers(p, X, np.full(N, 1 / N), True, SquaredError(), [y])
    best, total = trainer.fit(0.2, Options()), trainer.total  # weights are those of all entries
    for size in (1e-5, 1e-2, 1.0):
        c = best.penalized + size * np.random.default_rng(1).normal(size=len(best.penalized))
        found = trainer.composite.certify(c, 0.2 / total).certificate
        left = total * found.objective - best.certificate.objective
        assert left - 1e-13 <= total * found.gap <= 1e4 * size


@pytest.mark.parametrize("name", ["nuclear", "joint tv", "elastic", "rows"])
def test_strength_max_is_the_threshold(name: str) -> None:
    penalty, y = PENALTIES[name]
    model = sb.DesignedRegressor(penalty, 1.0).fit(X, y)
    top = model.strength_max_
    assert not model.set_params(strength=1.0001 * top).fit(X, y).support_.any()
    assert model.set_params(strength=0.999 * top).fit(X, y).support_.any()


def test_the_rank_is_exact() -> None:
    model = sb.DesignedRegressor("nuclear", 1.0).fit(X, Y)
    model.set_params(strength=0.6 * model.strength_max_).fit(X, Y)
    values = np.linalg.svd(model.coef_, compute_uv=False)
    assert np.sum(values > 1e-12) == 1


@pytest.mark.parametrize(
    ("convex", "g", "supremum"),
    [
        (sb.Plain(1), 1.5, lambda t: 1.5 * t - 0.7 * t**2 / 2),
        (
            sb.Linked(sb.Hadamard(1), sb.ElasticLink(0.5, 0.25)),
            1.5,
            lambda t: 1.5 * t - 0.7 * (0.5 * t + 0.125 * t**2),
        ),
        (
            sb.Linked(sb.Plain(1), huber_link(0.5)),
            0.3,
            lambda t: 0.3 * t - 0.7 * np.where(t < 0.5, t * t / 2, 0.5 * t - 0.125),
        ),
    ],
    ids=["ridge", "elastic", "huber"],
)
def test_conjugates_are_suprema(
    convex: sb.Parameterization, g: float, supremum: Callable[[np.ndarray], np.ndarray]
) -> None:
    grid = np.linspace(0, 20, 2_000_001)
    piece = _piece(convex)
    assert piece.convex
    found = piece.conjugate(np.array([g]), 0.7, 1e3)
    assert found == pytest.approx(np.max(supremum(grid)), rel=1e-9)


@pytest.mark.parametrize("depth", [2, 3])
def test_stationarity_is_that_of_the_derivative(depth: int) -> None:
    """Along every size: the loss <G, c> + strength R(c) by differences."""
    p = sb.Linked(sb.Hadamard(4, depth=depth), sb.ExponentialLink(0.3))
    c, g = np.array([0.5, -1.0, 2.0, -0.1]), np.array([-0.3, 0.2, 0.1, 0.7])
    steps = 1e-6 * np.eye(4)
    slopes = [(p.balanced_norm(c + h) - p.balanced_norm(c - h)) / 2e-6 for h in steps]
    off, sizes = _piece(p).distance(c, g, 0.4)
    np.testing.assert_allclose(off, np.abs(g + 0.4 * np.array(slopes)), rtol=1e-6)
    np.testing.assert_allclose(sizes, np.abs(c))


def test_a_dead_coordinate_that_is_pulled_is_not_stationary() -> None:
    p = sb.Linked(sb.Hadamard(2), sb.ExponentialLink(0.1))
    c = np.array([1.0, 0.0])
    g = np.array([-0.4 / 1.1, 0.0])  # the first is stationary: R' = 1 / (|w| + eps)
    for pull, off in ((0.0, 0.0), (3.9, 0.0), (4.1, 0.1)):
        found, _ = _piece(p).distance(c, g + np.array([0, pull]), 0.4)
        np.testing.assert_allclose(found, [0, off], atol=1e-12)


def _piece(p: sb.Parameterization) -> Piece:
    (piece,) = p.balanced_form().pieces
    return piece


def test_linear_parts_are_the_design() -> None:
    """w = A_free f + A c, for designs inside designs."""
    inner = sb.Parts(
        (5, 2),
        [
            (np.array([0, 3, 4, 9]), sb.Synthesis(sb.CumulativeSum(), sb.Hadamard(3))),
            (np.array([1, 2, 5, 6, 7, 8]), sb.GroupProduct(6, groups=[0, 0, 1, 1, 2, 2])),
        ],
    )
    weights = np.array([0.0, 1.0, 2.0, 0.0, 3.0, 4.0, 5.0])
    p = sb.Sum([sb.Synthesis(sb.Diagonal(weights), inner), sb.Hadamard((7, 2))])
    normal = p.normal_form()
    linear, params = normal.linear, p.init(0)
    f = np.concatenate([params[name].ravel() for name, _ in normal.names])
    own = [{n: params[core.prefix + n] for n in core.design.shapes} for core in normal.cores]
    each = zip(normal.cores, own, strict=True)
    c = np.concatenate([core.design(factors).ravel() for core, factors in each])
    w = linear.free @ f + linear.columns @ c
    np.testing.assert_allclose(w.reshape(7, 2), p(params), atol=1e-12)
    assert {n for n, _ in normal.names} == set(p.free)
    assert dict(normal.names) == {n: p.shapes[n] for n in p.free}
    named = normal.name_free(f)
    assert all(np.array_equal(named[n], params[n]) for n in p.free)
    scales = normal.scales
    assert scales is not None
    assert scales.power == 1
    assert list(scales.labels) == [0, 1, 2, 3, 3, 4, 4, 5, 5, *range(6, 20)]
    named = normal.section(f, c)
    assert {name: a.shape for name, a in named.items()} == p.shapes
    np.testing.assert_allclose(p(named), p(params), atol=1e-12)
