"""Series by knots against a convex program, and what the certificate promises."""

from typing import Any

import cvxpy as cp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import symbias as sb
from symbias.solvers import Huber, Logistic, Poisson, SquaredError
from symbias.solvers.series import Series
from symbias.solvers.series.joint import Joint
from symbias.solvers.series.search import _anchored
from symbias.solvers.series.stretches import Stretches

LOSSES: dict[str, Any] = {
    "squared": (SquaredError(), lambda w, y: cp.square(w - y) / 2),
    "huber": (Huber(0.7), lambda w, y: cp.huber(w - y, 0.7) / 2),
    "logistic": (Logistic(), lambda w, y: cp.logistic(w) - cp.multiply(y, w)),
    "poisson": (Poisson(), lambda w, y: cp.exp(w) - cp.multiply(y, w)),
}


def problem(order: int, n: int, seed: int, loss: str = "squared", even: bool = False) -> Series:
    rng = np.random.default_rng(seed)
    t = np.arange(n, dtype=float) if even else np.cumsum(rng.uniform(0.2, 3.0, n))
    a = np.full(n, 1 / n) if even else rng.uniform(0.1, 2.0, n)
    w = np.repeat(rng.normal(size=4), -(-n // 4))[:n] if order == 1 else np.abs(t - t[n // 2]) / 4
    y = w + 0.3 * rng.normal(size=n)
    if loss == "logistic":
        y = (y > np.median(y)).astype(float)
    if loss == "poisson":
        y = rng.poisson(np.exp(np.clip(w, -1, 2))).astype(float)
    return Series(y, order, t, a / a.sum(), LOSSES[loss][0])


def penalty(order: int, t: np.ndarray) -> np.ndarray:
    """D as a matrix, by its definition."""
    jumps = np.diff(np.eye(len(t)), axis=0)
    return jumps if order == 1 else np.diff(jumps / np.diff(t)[:, None], axis=0)


def convex(series: Series, strength: float, loss: str) -> np.ndarray:
    w = cp.Variable(len(series.y))
    cost = series.a @ LOSSES[loss][1](w, series.y)
    cost += strength * cp.norm1(penalty(series.order, series.t) @ w)
    cp.Problem(cp.Minimize(cost)).solve(
        cp.CLARABEL, tol_gap_abs=1e-12, tol_gap_rel=1e-12, tol_feas=1e-12
    )
    return np.asarray(w.value)


def cost(series: Series, strength: float, w: np.ndarray) -> float:
    changes = penalty(series.order, series.t) @ w
    return float(series.a @ series.loss.value(w, series.y)) + strength * np.abs(changes).sum()


@pytest.mark.filterwarnings("ignore:Solution may be inaccurate:UserWarning")
@pytest.mark.parametrize("loss", LOSSES)
@pytest.mark.parametrize("order", [1, 2])
@pytest.mark.parametrize("fraction", [0.5, 0.05])
def test_the_optimum_of_a_convex_program(order: int, loss: str, fraction: float) -> None:
    series = problem(order, 50, seed=order, loss=loss)
    strength = fraction * series.strength_max
    found = series.solve(strength, tol=1e-9)
    assert found.converged, found
    best = cost(series, strength, convex(series, strength, loss))
    assert found.objective == pytest.approx(cost(series, strength, found.signal), rel=1e-10)
    assert found.objective <= best * (1 + 1e-8) + 1e-12
    if loss == "squared":
        np.testing.assert_allclose(found.signal, convex(series, strength, loss), atol=1e-4)
    changes = np.flatnonzero(np.abs(penalty(order, series.t) @ found.signal) > 1e-9)
    assert set(changes.tolist()) <= set(found.knots.tolist())


@pytest.mark.parametrize("order", [1, 2])
@pytest.mark.parametrize("loss", ["squared", "huber", "logistic"])
def test_strength_max_is_the_threshold(order: int, loss: str) -> None:
    series = problem(order, 60, seed=3, loss=loss)
    assert not len(series.solve(1.0001 * series.strength_max).knots)
    assert len(series.solve(0.999 * series.strength_max).knots)
    # and the null fit is the level, or the line, of least loss
    for move in (np.ones(60), series.t - series.t.mean())[:order]:
        for step in (-1e-3, 1e-3):
            assert series.value(series.null + step * move) > series.null_loss


@settings(max_examples=40)
@given(
    order=st.sampled_from([1, 2]),
    n=st.integers(3, 40),
    seed=st.integers(0, 10_000),
    fraction=st.floats(1e-3, 0.9),
)
def test_the_gap_bounds_what_is_left(order: int, n: int, seed: int, fraction: float) -> None:
    series = problem(order, n, seed)
    strength = fraction * series.strength_max
    if strength <= 1e-12:
        return
    found = series.solve(strength, tol=1e-9)
    assert found.converged
    rough = series.solve(strength, tol=1e-9, max_iter=1)
    assert rough.objective - found.objective <= rough.gap + 1e-12
    # no better point anywhere near
    rng = np.random.default_rng(seed)
    for size in (1e-6, 1e-3, 0.1):
        w = found.signal + size * rng.normal(size=n)
        assert cost(series, strength, w) >= found.objective - found.gap - 1e-13


@pytest.mark.parametrize("order", [1, 2])
def test_warm_starts_end_where_cold_ones_do(order: int) -> None:
    series = problem(order, 400, seed=8)
    knots = None
    for fraction in (0.3, 0.1, 0.03):
        strength = fraction * series.strength_max
        warm = series.solve(strength, knots)
        cold = series.solve(strength)
        assert warm.objective == pytest.approx(cold.objective, rel=1e-9)
        np.testing.assert_allclose(warm.signal, cold.signal, atol=1e-6)
        knots = warm.knots


@pytest.mark.parametrize("order", [1, 2])
def test_scale_and_shift_of_the_data(order: int) -> None:
    series = problem(order, 200, seed=4)
    strength = 0.1 * series.strength_max
    for scale, shift in ((1e6, -3e6), (1e-6, 0.0), (-2.0, 100.0)):
        other = Series(scale * series.y + shift, order, series.t, series.a)
        moved = other.solve(abs(scale) * strength)
        plain = series.solve(strength)
        np.testing.assert_allclose(
            (moved.signal - shift) / scale, plain.signal, atol=1e-7 * max(1, abs(shift / scale))
        )


@pytest.mark.parametrize("order", [1, 2])
def test_a_long_series(order: int) -> None:
    rng = np.random.default_rng(order)
    n = 100_000
    corners = np.linspace(0, n - 1, 12)
    w = (
        np.repeat(rng.normal(size=10), n // 10)
        if order == 1
        else np.interp(np.arange(n), corners, 3 * rng.normal(size=12))
    )
    series = Series(w + 0.5 * rng.normal(size=n), order)
    for fraction in (0.1, 0.003):
        found = series.solve(fraction * series.strength_max, tol=1e-8)
        assert found.converged
        assert len(found.knots) < 300
    assert np.sqrt(np.mean((found.signal - w) ** 2)) < 0.15


def test_the_penalties_are_those_of_the_library() -> None:
    series = problem(2, 30, seed=1)
    w = np.random.default_rng(0).normal(size=30)
    wanted = float(sb.TrendFilter(np.diff(series.t))(w))
    assert np.abs(penalty(2, series.t) @ w).sum() == pytest.approx(wanted)
    assert np.abs(penalty(1, series.t) @ w).sum() == pytest.approx(float(sb.TotalVariation()(w)))


@pytest.mark.parametrize("order", [1, 2])
@pytest.mark.parametrize("n", [1, 2, 3])
def test_short_series(order: int, n: int) -> None:
    y = np.array([1.0, 3.0, -2.0])[:n]
    found = Series(y, order).solve(1e-6)
    np.testing.assert_allclose(found.signal, y, atol=1e-4)
    assert found.converged


def test_a_constant_series_has_no_strength() -> None:
    series = Series(np.full(10, 2.5))
    assert series.strength_max <= 1e-15
    np.testing.assert_allclose(series.solve(0.1).signal, 2.5)


def joint(order: int, n: int, seed: int, loss: str = "squared", missing: float = 0.3) -> Series:
    """Three channels; no stamp and no channel is without what was observed."""
    rows = [problem(order, n, 10 * seed + k, loss) for k in range(3)]
    rng = np.random.default_rng(seed)
    gone = rng.uniform(size=(3, n)) < missing
    gone[rng.integers(3, size=n), np.arange(n)] = False
    gone[:, : order + 1] = False
    y, a = (np.where(gone, 0.0, [getattr(r, name) for r in rows]) for name in ("y", "a"))
    return Series(y, order, rows[0].t, a / a.sum(), LOSSES[loss][0])


def joint_cost(series: Series, strength: float, w: np.ndarray) -> float:
    changes = np.linalg.norm(penalty(series.order, series.t) @ w.T, axis=1).sum()
    return float(np.sum(series.a * series.loss.value(w, series.y)) + strength * changes)


@pytest.mark.filterwarnings("ignore:Solution may be inaccurate:UserWarning")
@pytest.mark.parametrize("loss", LOSSES)
@pytest.mark.parametrize("order", [1, 2])
@pytest.mark.parametrize("fraction", [0.5, 0.03])
def test_channels_at_the_optimum_of_a_convex_program(
    order: int, loss: str, fraction: float
) -> None:
    series = joint(order, 50, seed=order, loss=loss)
    strength = fraction * series.strength_max
    found = series.solve(strength, tol=1e-9)
    assert found.converged, found
    w = cp.Variable(series.y.shape)
    loss_of = cp.sum(cp.multiply(series.a, LOSSES[loss][1](w, series.y)))
    changes = cp.norm(penalty(order, series.t) @ w.T, 2, axis=1)
    cp.Problem(cp.Minimize(loss_of + strength * cp.sum(changes))).solve(
        cp.CLARABEL, tol_gap_abs=1e-12, tol_gap_rel=1e-12, tol_feas=1e-12
    )
    best = joint_cost(series, strength, np.asarray(w.value))
    assert found.objective == pytest.approx(joint_cost(series, strength, found.signal), rel=1e-10)
    assert found.objective <= best * (1 + 1e-8) + 1e-12
    sizes = np.linalg.norm(penalty(order, series.t) @ found.signal.T, axis=1)
    assert set(np.flatnonzero(sizes > 1e-9).tolist()) <= set(found.knots.tolist())


@pytest.mark.parametrize("order", [1, 2])
@pytest.mark.parametrize("missing", [0.0, 0.5])
def test_the_optimality_of_channels_written_densely(order: int, missing: float) -> None:
    """-a l'(w) = D^T u with |u_j| <= strength, and u_j = strength Dw / |Dw| at every knot."""
    series = joint(order, 80, seed=5, missing=missing)
    strength = 0.05 * series.strength_max
    found = series.solve(strength, tol=1e-12)
    D = penalty(order, series.t)
    pull = series.a * (series.y - found.signal)
    u, *_ = np.linalg.lstsq(D.T, pull.T)
    assert np.abs(D.T @ u - pull.T).max() <= 1e-12
    jumps = D @ found.signal.T
    sizes = np.linalg.norm(jumps, axis=1)
    assert np.linalg.norm(u, axis=1).max() <= strength * (1 + 1e-7)
    at = found.knots
    assert len(at) > 1
    np.testing.assert_allclose(u[at], strength * jumps[at] / sizes[at, None], atol=1e-6 * strength)
    assert np.abs(np.delete(jumps, at, axis=0)).max() <= 1e-9


@pytest.mark.parametrize("order", [1, 2])
def test_one_channel_is_a_series(order: int) -> None:
    one = problem(order, 200, seed=6)
    many = Series(one.y[None], order, one.t, one.a[None])
    assert many.strength_max == pytest.approx(one.strength_max)
    for fraction in (0.3, 0.01):
        strength = fraction * one.strength_max
        a, b = one.solve(strength), many.solve(strength)
        assert b.objective == pytest.approx(a.objective, rel=1e-10)
        np.testing.assert_array_equal(a.knots, b.knots)


@pytest.mark.parametrize("order", [1, 2])
def test_channels_turned_are_the_fit_turned(order: int) -> None:
    """The penalty does not see rotations of the channels."""
    series = joint(order, 300, seed=7, missing=0.0)
    even = Series(series.y, order, series.t)
    turn, _ = np.linalg.qr(np.random.default_rng(0).normal(size=(3, 3)))
    strength = 0.02 * even.strength_max
    a, b = even.solve(strength), Series(turn @ series.y, order, series.t).solve(strength)
    np.testing.assert_allclose(turn @ a.signal, b.signal, atol=1e-6)
    np.testing.assert_array_equal(a.knots, b.knots)


@pytest.mark.parametrize("order", [1, 2])
@pytest.mark.parametrize("missing", [0.0, 0.3])
def test_the_dual_point_of_the_gap_is_feasible(order: int, missing: float) -> None:
    """A lower bound that is computed densely from u alone holds, and the gap is no smaller."""
    series = joint(order, 60, seed=8, missing=missing)
    strength = 0.03 * series.strength_max
    best = series.solve(strength, tol=1e-12).objective
    rough = series.solve(strength, tol=1e-12, max_iter=4)
    u = series.dual(rough.signal)
    u *= min(1.0, strength / np.linalg.norm(u, axis=0).max())
    pull = (penalty(order, series.t).T @ u.T).T
    seen = series.a > 0
    assert np.abs(pull[~seen]).max(initial=0.0) <= 1e-13
    bound = np.sum(pull * series.y) - np.sum(pull[seen] ** 2 / (2 * series.a[seen]))
    assert bound <= best + 1e-12
    assert rough.objective - rough.gap == pytest.approx(bound, abs=1e-10)
    assert rough.objective - best <= rough.gap + 1e-12


def test_drift_is_taken_out_of_the_dual_and_paid_for() -> None:
    """What is left of D^T u + a l'(w) is at knots and ends alone, and costs what is said."""
    series = joint(2, 60, seed=9)
    strength = 0.05 * series.strength_max
    found = series.solve(strength, tol=1e-12)
    D = penalty(2, series.t)
    jumps = (D[found.knots] @ found.signal.T).T
    mean = (series.a @ series.t / series.a.sum(axis=1))[:, None]
    w = found.signal + 1e-9 * (series.t - mean) * np.array([[1.0], [0.0], [-2.0]])
    u, cost = _anchored(series, strength, w, series.dual(w), found.knots, jumps)
    e = D.T @ u.T + (series.a * (w - series.y)).T
    ends = [np.flatnonzero(row)[[0, -1]] for row in series.a]
    for k in range(3):
        away = np.setdiff1d(np.arange(60), [*(found.knots + 1), *ends[k]])
        assert np.abs(e[away, k]).max() <= 1e-15
    seen = series.a.T > 0
    assert cost == pytest.approx(np.sum(e[seen] ** 2 / (2 * series.a.T[seen])), rel=1e-3, abs=0)
    assert cost > 0


@pytest.mark.parametrize("order", [1, 2])
@pytest.mark.parametrize("missing", [0.0, 0.4])
def test_interior_points_between_knots(order: int, missing: float) -> None:
    """The optimality of the cones, written densely, after as few steps as such methods take."""
    series = joint(order, 400, seed=11, missing=missing)
    stretches = Stretches(order, series.t, np.arange(2, 395, 7))
    problem = Joint(
        *stretches.project(series.a, series.y), stretches.stencil, 0.02 * series.strength_max
    )
    steps = []
    counted = type("Counted", (Joint,), {"factor": lambda *a: steps.append(1) or Joint.factor(*a)})
    c, _, live = counted(*vars(problem).values()).solve()
    assert len(steps) <= 20
    basis = np.array([stretches.signal(e) for e in np.eye(c.shape[1])])
    D = penalty(order, series.t)[stretches.knots] @ basis.T
    grams = [basis @ np.diag(a) @ basis.T for a in series.a]
    b = np.array([basis @ (a * y) for a, y in zip(series.a, series.y, strict=True)])
    slope = np.array([G @ x for G, x in zip(grams, c, strict=True)]) - b
    z = -np.linalg.lstsq(D.T, slope.T)[0] / problem.strength
    sizes = np.linalg.norm(c @ D.T, axis=0)
    assert np.abs(slope.T + problem.strength * D.T @ z).max() <= 1e-8 * np.abs(b).max()
    assert np.linalg.norm(z, axis=1).max() <= 1 + 1e-6
    assert 0 < live.sum() < len(live)
    np.testing.assert_allclose(np.sum(z.T * (c @ D.T), axis=0), sizes, atol=1e-7 * sizes.max())
    assert sizes[~live].max() <= 1e-6 * sizes.max()


def test_a_long_joint_series() -> None:
    rng = np.random.default_rng(1)
    n = 100_000
    w = np.repeat(rng.normal(size=(3, 10)), n // 10, axis=1)
    series = Series(w + 0.5 * rng.normal(size=w.shape))
    found = series.solve(0.01 * series.strength_max, tol=1e-8)
    assert found.converged
    assert len(found.knots) < 300
    assert np.sqrt(np.mean((found.signal - w) ** 2)) < 0.1


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"y": np.ones((2, 2, 2))}, "a list of numbers"),
        ({"y": np.ones(0)}, "not empty"),
        ({"y": np.ones(3), "order": 3}, "order must be 1 or 2"),
        ({"y": np.ones(3), "times": np.ones(3)}, "times must increase"),
        ({"y": np.ones(3), "weights": np.zeros(3)}, "weights must be positive"),
        ({"y": np.ones(3), "weights": np.ones(2)}, r"weights must have shape \(3,\)"),
        ({"y": np.ones((2, 3)), "weights": np.array([[1.0, 0, 1], [1, 0, 1]])}, "must be positive"),
        ({"y": np.ones((2, 3)), "weights": -np.ones((2, 3))}, "weights must be positive"),
        (
            {"y": np.ones((2, 3)), "order": 2, "weights": np.array([[1.0, 1, 1], [1, 0, 0]])},
            "channel 1 has 1 observed values, and needs 2",
        ),
        ({"y": np.full(3, 2.0), "loss": Logistic()}, "between 0 and 1"),
    ],
)
def test_bad_input(arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Series(**arguments)


@pytest.mark.parametrize("strength", [0.0, -1.0, np.nan, np.inf, 1e-320])
def test_strengths_that_are_none(strength: float) -> None:
    with pytest.raises(ValueError, match="strength must be positive"):
        Series(np.arange(4.0)).solve(strength)


@pytest.mark.parametrize(
    ("n", "kinks", "seed", "factor"),
    [(2000, 200, s, None) for s in (5, 8, 23, 31, 35, 37)] + [(100_000, 100, 0, 1.0)],
)
def test_kinks_where_interior_points_once_cycled(
    n: int, kinks: int, seed: int, factor: float | None
) -> None:
    """Neighbouring knots, near to interpolation: the step to the boundary kept its digits."""
    rng = np.random.default_rng(seed)
    at = np.concatenate([[0], np.sort(rng.choice(np.arange(1, n - 1), kinks, False)), [n - 1]])
    y = np.interp(np.arange(n), at, 5 * rng.normal(size=kinks + 2)) + rng.normal(size=n)
    strength = 0.3 * (n / (kinks + 1)) ** 1.5 / n
    strength *= factor or 10 ** np.random.default_rng(seed).uniform(-1, 1)
    found = Series(y, 2).solve(strength, tol=1e-8)
    assert found.converged
    assert found.violation <= 1e-8
