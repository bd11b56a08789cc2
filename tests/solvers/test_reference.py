"""The independent solvers against programs modelled by cvxpy, closed forms, and brute force."""

from typing import Any

import cvxpy as cp
import numpy as np
import pytest
import pywt
from scipy.fft import dct

import symbias as sb
from symbias.solvers.reference import convex_reference, proximal_reference, series_reference

P, K = 9, 3
RNG = np.random.default_rng(0)
X = RNG.normal(size=(20, P)) + 0.5
Y = X @ RNG.normal(size=(P, K)) + RNG.normal(size=(20, K)) + 2
WEIGHTS = RNG.uniform(0.5, 2, size=P)
PARENTS = np.array([-1, 0, 0, 1, 1, 2, -1, 6, 6])
SPACING = RNG.uniform(0.5, 3, size=P - 1)
LABELS = np.array([0, 1, 0, 2, 2, 2, 1, 0, 0])
COVER = [[0, 1, 2, 3], [2, 3, 4, 5, 6], [6, 7, 8]]


def bends(w: Any, spacing: np.ndarray) -> Any:
    return cp.diff(np.diag(1 / spacing) @ cp.diff(w))


def rows(changes: Any) -> Any:
    return cp.sum(cp.norm(changes, 2, axis=1))


def lasso_of_groups(w: Any) -> Any:
    return sum(
        np.sqrt(np.sum(g == LABELS)) * cp.norm(w[np.flatnonzero(g == LABELS)]) for g in range(3)
    )


def latent(w: Any) -> tuple[Any, list[Any]]:
    parts = [cp.Variable(len(g)) for g in COVER]
    whole = sum(np.eye(P)[:, g] @ v for g, v in zip(COVER, parts, strict=True))
    cost = sum(np.sqrt(len(g)) * cp.norm(v) for g, v in zip(COVER, parts, strict=True))
    return cost, [whole == w]


def wavelets() -> np.ndarray:
    """Rows of the Haar analysis of 9 numbers, without the coarsest."""
    each = [np.concatenate(pywt.wavedec(e, "haar", "periodization")[1:]) for e in np.eye(8)]
    return np.stack(each, axis=1)


HAAR = wavelets()
CASES: dict[str, tuple[Any, Any]] = {
    "l1": (sb.L1(), cp.norm1),
    "weighted": (sb.L1(WEIGHTS), lambda w: WEIGHTS @ cp.abs(w)),
    "ridge": (sb.Ridge(), lambda w: cp.sum_squares(w) / 2),
    "elastic": (
        sb.ElasticNet(0.3),
        lambda w: 0.3 * cp.norm1(w) + 0.7 * cp.sum_squares(w) / 2,
    ),
    "groups": (sb.GroupLasso(LABELS), lasso_of_groups),
    "latent": (sb.LatentGroupLasso(COVER), latent),
    "jumps": (sb.TotalVariation(), lambda w: cp.norm1(cp.diff(w))),
    "tree": (
        sb.TotalVariation(tree=PARENTS),
        lambda w: sum(cp.abs(w[i] - w[p]) for i, p in enumerate(PARENTS) if p >= 0),
    ),
    "bends": (sb.TrendFilter(SPACING), lambda w: cp.norm1(bends(w, SPACING))),
    "even bends": (sb.TrendFilter(), lambda w: cp.norm1(cp.diff(w, 2))),
    "third": (sb.Differences(3), lambda w: cp.norm1(cp.diff(w, 3))),
    "cosine": (
        sb.Spectral(),
        lambda w: cp.norm1(dct(np.eye(P), axis=0, norm="ortho") @ w),
    ),
}
TOGETHER: dict[str, tuple[Any, Any]] = {
    "entries": (sb.L1(), lambda W: cp.sum(cp.abs(W))),
    "weighted": (
        sb.L1(np.outer(WEIGHTS, [1, 2, 3])),
        lambda W: cp.sum(cp.multiply(np.outer(WEIGHTS, [1, 2, 3]), cp.abs(W))),
    ),
    "nuclear": (sb.Nuclear(), cp.normNuc),
    "down": (sb.TotalVariation(axis=0), lambda W: cp.sum(cp.abs(W[1:] - W[:-1]))),
    "across": (sb.TotalVariation(axis=1), lambda W: cp.sum(cp.abs(W[:, 1:] - W[:, :-1]))),
    "last axis": (sb.TotalVariation(axis=-1), lambda W: cp.sum(cp.abs(W[:, 1:] - W[:, :-1]))),
    "jumps": (sb.TotalVariation(joint=True), lambda W: rows(cp.diff(W))),
    "joint across": (
        sb.TotalVariation(axis=1, joint=True),
        lambda W: rows((W[:, 1:] - W[:, :-1]).T),
    ),
    "joint tree": (
        sb.TotalVariation(tree=PARENTS, joint=True),
        lambda W: sum(cp.norm(W[i] - W[p]) for i, p in enumerate(PARENTS) if p >= 0),
    ),
    "bends": (sb.TrendFilter(SPACING, joint=True), lambda W: rows(bends(W, SPACING))),
    "rows": (
        sb.GroupLasso(np.repeat(np.arange(P)[:, None], K, axis=1)),
        lambda W: np.sqrt(K) * rows(W),
    ),
}


def modelled(cost: Any, strength: float, y: np.ndarray, fit_intercept: bool) -> float:
    """The least objective, by cvxpy."""
    w, b = cp.Variable((P, *y.shape[1:])), cp.Variable((1, *y.shape[1:]))
    seen = X @ w + (np.ones((len(X), 1)) @ b if fit_intercept else 0)
    found = cost(w)
    penalty, constraints = found if isinstance(found, tuple) else (found, [])
    goal = cp.Minimize(cp.sum_squares(y - seen) / (2 * len(X)) + strength * penalty)
    return float(cp.Problem(goal, constraints).solve(cp.CLARABEL, tol_gap_rel=1e-11))


@pytest.mark.filterwarnings("ignore:Solution may be inaccurate:UserWarning")
@pytest.mark.parametrize("fit_intercept", [True, False])
@pytest.mark.parametrize("name", CASES)
def test_coefficients_by_a_program_modelled_otherwise(name: str, fit_intercept: bool) -> None:
    penalty, cost = CASES[name]
    y = Y[:, 0]
    found = convex_reference(penalty, 0.3, X, y, fit_intercept)
    assert found.objective == pytest.approx(modelled(cost, 0.3, y, fit_intercept), rel=1e-7)
    left = y - X @ found.coef - found.intercept
    objective = left @ left / 40 + 0.3 * float(penalty(found.coef))
    assert found.objective == pytest.approx(objective, rel=1e-12)
    assert np.ndim(found.intercept) == 0
    assert abs(left.mean()) <= 1e-12 if fit_intercept else found.intercept == 0


@pytest.mark.filterwarnings("ignore:Solution may be inaccurate:UserWarning")
@pytest.mark.parametrize("name", TOGETHER)
def test_matrices_by_a_program_modelled_otherwise(name: str) -> None:
    penalty, cost = TOGETHER[name]
    found = convex_reference(penalty, 0.3, X, Y)
    assert found.objective == pytest.approx(modelled(cost, 0.3, Y, True), rel=1e-7)
    assert found.coef.shape == (P, K)
    np.testing.assert_allclose((Y - X @ found.coef - found.intercept).mean(axis=0), 0, atol=1e-12)


def test_haar_wavelets_of_a_signal() -> None:
    y = RNG.normal(size=8)
    found = convex_reference(sb.Spectral("haar"), 0.05, np.eye(8), y, False)
    w = cp.Variable(8)
    goal = cp.sum_squares(y - w) / 16 + 0.05 * cp.norm1(HAAR @ w)
    best = cp.Problem(cp.Minimize(goal)).solve(cp.CLARABEL)
    assert found.objective == pytest.approx(best, rel=1e-7)


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("order", [1, 2])
def test_series_by_a_program_modelled_otherwise(order: int, channels: int) -> None:
    """Weighted cubes of these values are negative: no power but squares measures the loss."""
    rng = np.random.default_rng(order)
    t = np.cumsum(rng.uniform(0.3, 2, size=30))
    y = np.abs(t - 12)[:, None] / 4 - rng.exponential(size=(30, channels)) ** 2
    a = rng.uniform(0.2, 1, size=y.shape)
    if channels == 1:
        y, a = y[:, 0], a[:, 0]
    a /= a.sum()
    mean = np.sum(a * y, axis=0) / np.sum(a, axis=0)
    assert np.sum(a * (y - mean) ** 3) < 0
    signal, objective = series_reference(y, 0.05, order, t, a)
    w = cp.Variable(y.shape)
    changes = cp.diff(w) if order == 1 else bends(w, np.diff(t))
    cost = cp.norm1(changes) if channels == 1 else rows(changes)
    goal = cp.sum(cp.multiply(a, cp.square(y - w))) / 2 + 0.05 * cost
    best = float(cp.Problem(cp.Minimize(goal)).solve(cp.CLARABEL, tol_gap_rel=1e-11))
    assert objective == pytest.approx(best, rel=1e-7)
    np.testing.assert_allclose(signal, w.value, atol=1e-4)


def test_two_numbers_by_hand() -> None:
    """Each moves towards the other by strength over its weight, until they meet in the mean."""
    y, a = np.array([0.0, 3.0]), np.array([0.25, 0.75])
    for unit in (1.0, 1e-6, 1e6):
        signal, objective = series_reference(unit * y, unit * 0.3, 1, np.arange(2.0), a)
        np.testing.assert_allclose(signal / unit, [0.3 / 0.25, 3 - 0.3 / 0.75], atol=1e-7)
        cost = (0.3**2 / 0.25 + 0.3**2 / 0.75) / 2 + 0.3 * 1.4
        assert objective == pytest.approx(cost * unit**2)
    signal, _ = series_reference(y, 0.6, 1, np.arange(2.0), a)
    np.testing.assert_allclose(signal, 2.25, atol=1e-7)
    signal, objective = series_reference(np.ones(4), 0.6, 1, np.arange(4.0), np.full(4, 0.25))
    np.testing.assert_allclose(signal, 1)
    assert objective == pytest.approx(0, abs=1e-12)


def orthogonal(n: int, p: int) -> np.ndarray:
    """Inputs with X^T X = n and no means."""
    A = np.random.default_rng(1).normal(size=(n, p))
    return np.sqrt(n) * np.linalg.qr(A - A.mean(axis=0))[0]


def shrunk(R: Any, size: float, strength: float) -> float:
    """The least of (t - size)^2 / 2 + strength R(t), by a fine table."""
    t = np.linspace(0, size, 200_001)
    return float(t[np.argmin((t - size) ** 2 / 2 + strength * R(t))])


@pytest.mark.parametrize("penalty", [sb.L1(), sb.Lq(0.5), sb.LogSum(), sb.Lq(1.5)], ids=repr)
@pytest.mark.parametrize("fit_intercept", [True, False])
def test_orthogonal_inputs_are_scalar_problems(penalty: Any, fit_intercept: bool) -> None:
    A = orthogonal(30, 6)
    y = A @ np.array([2.0, -1.0, 0.6, -0.3, 0.1, 0.0]) + 0.1 * RNG.normal(size=30) + 1
    found = proximal_reference(penalty, 0.2, A, y, fit_intercept)
    pulled = A.T @ y / 30
    wanted = [np.sign(z) * shrunk(penalty.scalar, abs(z), 0.2) for z in pulled]
    np.testing.assert_allclose(found.coef, wanted, atol=2e-5)
    assert found.intercept == pytest.approx(y.mean() if fit_intercept else 0)


def test_orthogonal_inputs_leave_singular_vectors() -> None:
    A = orthogonal(30, 6)
    B = A @ RNG.normal(size=(6, 4)) + RNG.normal(size=(30, 4))
    found = proximal_reference(sb.Schatten(0.5), 0.8, A, B)
    u, s, vt = np.linalg.svd(A.T @ B / 30, full_matrices=False)
    t = [shrunk(np.sqrt, size, 0.8) for size in s]
    np.testing.assert_allclose(found.coef, (u * t) @ vt, atol=1e-4)


def test_a_convex_penalty_has_one_optimum_at_every_scale() -> None:
    """Descents and interior points agree, also where targets are tiny or huge."""
    best = convex_reference(sb.L1(), 0.2, X, Y[:, 0])
    assert 0 < np.sum(np.abs(best.coef) > 1e-6) < P
    for scale in (1.0, 1e-9, 1e9):
        same = convex_reference(sb.L1(), 0.2 * scale, X, Y[:, 0] * scale)
        np.testing.assert_allclose(same.coef / scale, best.coef, atol=1e-7)
        found = proximal_reference(sb.L1(), 0.2 * scale, X, Y[:, 0] * scale, starts=4)
        assert found.objective == pytest.approx(best.objective * scale**2, rel=1e-8)
        np.testing.assert_allclose(found.coef / scale, best.coef, atol=1e-5)


def test_more_starts_are_no_worse_and_one_is_from_zero() -> None:
    costs = [
        proximal_reference(sb.Lq(0.5), 0.3, X, Y[:, 0], starts=n).objective for n in (1, 2, 12)
    ]
    assert costs[0] >= costs[1] >= costs[2]
    nothing = proximal_reference(sb.Lq(0.5), 50.0, X, Y[:, 0], starts=1)
    assert not np.any(nothing.coef)


@pytest.mark.parametrize(
    ("solver", "penalty", "message"),
    [
        (convex_reference, sb.LogSum(), "LogSum has no convex reference"),
        (proximal_reference, sb.L1(np.ones(P)), "L1 with weights has no proximal reference"),
        (proximal_reference, sb.GroupLasso(LABELS), "GroupLasso has no proximal reference"),
    ],
)
def test_penalties_without_a_reference(solver: Any, penalty: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        solver(penalty, 0.1, X, Y[:, 0])
