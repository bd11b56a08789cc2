"""What the solvers say of their solutions is true: gaps, zeros, thresholds, factors."""

from functools import cache

import jax
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import symbias as sb
from symbias.training import (
    Certificate,
    ReducedProblem,
    Reduction,
    Solution,
    certify,
    solve,
    strength_max,
)
from symbias.training.certificate import proven_zeros
from symbias.training.quadratic import judge, pack
from tests.training.cases import nile

SEEDS = st.integers(0, 10**6)
CONVEX = ["l1", "groups"]


def random_problem(seed: int, kind: str, rows: int = 12, size: int = 8) -> ReducedProblem:
    """A dense problem with some exactly dependent columns and one zero column."""
    rng = np.random.default_rng(seed)
    design = rng.normal(size=(rows, size)) * np.exp(rng.normal(size=size))
    design[:, 1], design[:, 5] = 2 * design[:, 0], 0.0
    labels = np.array([0, 1, 2, 0, 1, 3, 3, 2]) if kind == "groups" else np.arange(size)
    power = 1 if kind in CONVEX else 2
    return ReducedProblem(design, rng.normal(size=rows), labels, power)


def objective(problem: ReducedProblem, z: np.ndarray, strength: float) -> float:
    """1/2 |y - B z|^2 + strength sum_g |z_g|, or 3/2 sum_g |z_g|^(2/3) for power 2."""
    norms = np.array([np.linalg.norm(z[problem.labels == g]) for g in range(problem.groups)])
    penalty = norms.sum() if problem.power == 1 else 1.5 * np.sum(norms ** (2 / 3))
    return 0.5 * float(np.sum((problem.target - problem.design @ z) ** 2)) + strength * penalty


@cache
def solved(seed: int, kind: str, fraction: float) -> tuple[ReducedProblem, float, Solution]:
    problem = random_problem(seed, kind)
    strength = fraction * strength_max(problem)
    return problem, strength, solve(problem, strength, tol=1e-11)


@pytest.mark.parametrize("kind", CONVEX)
@given(seed=SEEDS, size=st.floats(1e-6, 10.0), fraction=st.sampled_from([0.02, 0.3, 0.95]))
def test_the_gap_bounds_what_is_left_to_gain(
    kind: str, seed: int, size: float, fraction: float
) -> None:
    problem, strength, solution = solved(seed % 20, kind, fraction)
    z = solution.z + size * np.random.default_rng(seed).normal(size=len(solution.z))
    found = certify(problem, z, strength)
    value = objective(problem, z, strength)
    best = objective(problem, solution.z, strength)
    assert found.objective == pytest.approx(value, rel=1e-12)
    assert found.gap >= value - best - 1e-13 * value
    assert found.violation == pytest.approx(found.gap / value)


@pytest.mark.parametrize("fraction", [0.999999, 0.5, 0.05, 1e-3, 1e-6])
@pytest.mark.parametrize("kind", [*CONVEX, "lq"])
def test_the_certificate_vanishes_at_the_solution(kind: str, fraction: float) -> None:
    for seed in range(20):
        problem, strength, solution = solved(seed, kind, fraction)
        assert solution.converged
        assert solution.certificate.violation <= 1e-11
        assert solution.certificate.objective == pytest.approx(
            objective(problem, solution.z, strength), rel=1e-12
        )


def test_the_gap_is_the_duality_gap() -> None:
    # 1/2 (y - z)^2 + |z|: at z = 0 and y = 3 the dual point is r/3 = 1, of value 3 - 1/2
    problem = ReducedProblem(np.eye(1), np.array([3.0]), np.array([0]), 1)
    assert certify(problem, np.array([0.0]), 1.0) == Certificate(4.5, 2.0, 2.0 / 4.5)
    assert certify(problem, np.array([2.0]), 1.0) == Certificate(2.5, 0.0, 0.0)


@given(seed=SEEDS)
def test_stationarity_is_that_of_the_derivative(seed: int) -> None:
    """Each term is z_j times the derivative of the smooth problem in z_j, by differences."""
    problem = random_problem(seed, "lq")
    z = np.random.default_rng(seed).uniform(0.5, 2, 8) * np.sign(problem.correlation + 0.1)
    steps = 1e-6 * np.eye(8)
    slopes = [
        (objective(problem, z + h, 0.7) - objective(problem, z - h, 0.7)) / 2e-6 for h in steps
    ]
    found = certify(problem, z, 0.7)
    assert np.isnan(found.gap)
    expected = np.abs(z * slopes).sum() / objective(problem, z, 0.7)
    assert found.violation == pytest.approx(expected, rel=1e-6, abs=1e-7)


@pytest.mark.parametrize("kind", [*CONVEX, "lq"])
def test_lq_and_convex_judges_agree_with_the_dense_certificate(kind: str) -> None:
    """The loop's arithmetic, padded and on the Gram matrix or not, is that of `certify`."""
    for rows in (12, 3):
        problem = random_problem(4, kind, rows)
        z = np.random.default_rng(0).normal(size=8)
        with jax.enable_x64(True):
            data, form = pack(problem)
            padded = np.pad(z, (0, len(data.labels) - 8))
            found = judge(data, padded, 0.4, problem.power, form)
            found = tuple(map(float, found))
        assert form == ("gram" if rows == 12 else "design")
        expected = certify(problem, z, 0.4)
        assert found == pytest.approx((expected.objective, expected.violation), rel=1e-10)


@pytest.mark.parametrize("kind", CONVEX)
@given(seed=SEEDS, fraction=st.sampled_from([0.02, 0.3, 0.95]), size=st.floats(1e-14, 0.1))
def test_proven_zeros_are_zero_at_the_optimum(
    kind: str, seed: int, fraction: float, size: float
) -> None:
    problem, strength, solution = solved(seed % 20, kind, fraction)
    alive = problem.group_norms(solution.z) > 1e-4 * np.abs(solution.z).max()
    z = solution.z * (1 + size * np.random.default_rng(seed).normal(size=len(solution.z)))
    gap = certify(problem, z, strength).gap
    assert not np.any(proven_zeros(problem, z, strength, gap) & alive)


@pytest.mark.parametrize("size", [1, 2, 5])
def test_a_gap_of_rounding_size_proves_nothing(size: int) -> None:
    """At the exact optimum |B_g^T r| is the strength, or one unit in the last place less."""
    for seed in range(50):
        target = np.random.default_rng(seed).normal(size=size) * 10.0 ** (seed % 7 - 3)
        problem = ReducedProblem(np.eye(size), target, np.zeros(size, dtype=int), 1)
        strength = 0.3 * strength_max(problem)
        z = (1 - strength / np.linalg.norm(target)) * target
        assert not proven_zeros(problem, z, strength, 0.0).any()
        assert np.all(solve(problem, strength).z != 0)


def test_zeros_that_are_far_from_the_boundary_are_proven() -> None:
    problem = ReducedProblem(np.eye(3), np.array([3.0, 0.9, 0.1]), np.arange(3), 1)
    found = proven_zeros(problem, np.array([2.0, 0.0, 0.0]), 1.0, 0.0)
    np.testing.assert_array_equal(found, [False, True, True])
    assert np.count_nonzero(solve(problem, 1.0).z) == 1


@pytest.mark.parametrize("kind", CONVEX)
def test_strength_max_is_the_threshold(kind: str) -> None:
    for seed in range(20):
        problem = random_problem(seed, kind)
        top = strength_max(problem)
        assert not solve(problem, (1 + 1e-9) * top).z.any()
        below = solve(problem, (1 - 1e-6) * top)
        assert below.converged
        assert np.count_nonzero(problem.group_norms(below.z)) == 1


def test_strength_max_of_lq_is_where_no_coordinate_improves_on_zero() -> None:
    grid = np.concatenate([[0.0], np.geomspace(1e-8, 10, 4001)])
    for seed in range(20):
        problem = random_problem(seed, "lq")
        y, B, top = problem.target, problem.design, strength_max(problem)
        losses = 0.5 * np.sum((y[:, None, None] - B[:, :, None] * grid) ** 2, axis=0)
        losses = np.minimum(losses, 0.5 * np.sum((y[:, None, None] + B[:, :, None] * grid) ** 2, 0))
        for strength, improves in [(1.0001 * top, False), (0.999 * top, True)]:
            best = (losses + strength * 1.5 * grid ** (2 / 3)).min()
            assert (best < 0.5 * y @ y * (1 - 1e-12)) == improves
        orthonormal = ReducedProblem(np.eye(8), problem.correlation, np.arange(8), 2)
        assert not solve(orthonormal, 1.001 * strength_max(orthonormal)).z.any()


def test_strength_max_of_a_scalar_lq_problem() -> None:
    # 1/2 (1 - t)^2 + s 3/2 t^(2/3) meets 1/2 at t = 1/2 with s = 2^(-1/3)/2, by hand
    problem = ReducedProblem(np.eye(1), np.array([1.0]), np.array([0]), 2)
    t = np.linspace(1e-6, 1, 100_001)
    grid = np.max((t - t**2 / 2) / (1.5 * t ** (2 / 3)))
    assert strength_max(problem) == pytest.approx(grid, rel=1e-8)
    assert strength_max(problem) == pytest.approx(0.5 / 2 ** (1 / 3), rel=1e-12)


@pytest.mark.parametrize("solver", ["varpro", "gd"])
@pytest.mark.parametrize("kind", [*CONVEX, "lq"])
def test_the_solution_is_the_product_of_balanced_factors(kind: str, solver: str) -> None:
    problem = random_problem(3, kind)
    solution = solve(problem, 0.2 * strength_max(problem), solver=solver)
    u, t = solution.factors
    np.testing.assert_array_equal(solution.z, u * t.prod(axis=0)[problem.labels])
    # where training under weight decay ends, all factors of a group have one norm
    alive = problem.group_norms(solution.z) > 0
    sizes = np.vstack([problem.group_norms(u), np.abs(t)])[:, alive]
    np.testing.assert_allclose(sizes, np.broadcast_to(sizes[:1], sizes.shape), rtol=1e-3)


@pytest.mark.parametrize("solver", ["varpro", "gd"])
@pytest.mark.parametrize("power", [1, 2])
@pytest.mark.parametrize("scales", [(1e-8, 1e-8), (1e-8, 1e8), (1e8, 1e-8), (1e8, 1e8)])
def test_training_does_not_depend_on_units(
    solver: str, power: int, scales: tuple[float, float]
) -> None:
    problem = random_problem(6, "l1" if power == 1 else "lq")
    a, c = scales
    scaled = ReducedProblem(a * problem.design, c * problem.target, problem.labels, power)
    strength = 0.1 * strength_max(problem)
    there = strength * c ** (2 - 2 / (power + 1)) * a ** (2 / (power + 1))
    here, other = solve(problem, strength, solver=solver), solve(scaled, there, solver=solver)
    assert here.converged
    assert other.converged
    np.testing.assert_allclose(other.z * a / c, here.z, rtol=1e-4, atol=1e-6)
    assert other.certificate.objective == pytest.approx(c**2 * here.certificate.objective, rel=1e-6)


def test_lq_is_no_worse_than_zero() -> None:
    """From least squares the path ends in a local minimum that zero may beat."""
    rng = np.random.default_rng(0)
    for _ in range(10):
        problem = ReducedProblem(rng.normal(size=(12, 5)), rng.normal(size=12), np.arange(5), 2)
        for fraction in (0.5, 0.9, 1.1, 1.5):
            strength = fraction * strength_max(problem)
            found = solve(problem, strength)
            assert objective(problem, found.z, strength) <= objective(problem, 0 * found.z, 0.0)


@pytest.mark.parametrize("fit_intercept", [False, True])
@pytest.mark.parametrize("penalty", ["tv", "trend"])
def test_free_columns_that_the_intercept_explains(penalty: str, fit_intercept: bool) -> None:
    """X = I: the free level and the intercept are one direction, and only their sum counts."""
    y = nile()
    p = sb.design(penalty, sb.WeightDecay(1.0), shape=100)
    reduction = Reduction(p, np.eye(100), np.ones(100), fit_intercept)
    alone = Reduction(p, np.eye(100), np.ones(100), False)
    problem = reduction.problem(y)
    assert strength_max(problem) == pytest.approx(strength_max(alone.problem(y)), rel=1e-12)
    strength = 0.1 * strength_max(problem)
    w, free, intercept = reduction.recover(y, solve(problem, strength, tol=1e-11).z)
    other, _, _ = alone.recover(y, solve(alone.problem(y), strength, tol=1e-11).z)
    np.testing.assert_allclose(w + intercept, other, rtol=1e-6)
    assert np.all(np.isfinite(free))
    assert np.abs(w).max() < 2 * np.abs(y).max()


def test_the_reduction_keeps_the_objective() -> None:
    """1/2 |target - design z|^2 is the weighted loss at the best free part and intercept."""
    rng = np.random.default_rng(5)
    X, y, weights = rng.normal(size=(15, 6)), rng.normal(size=15), rng.exponential(size=15)
    p = sb.design("trend", sb.WeightDecay(1.0), shape=6)
    reduction = Reduction(p, X, weights, True)
    problem, z = reduction.problem(y), rng.normal(size=4)
    w, _, b = reduction.recover(y, z)
    np.testing.assert_allclose(np.diff(w, 2), z)

    def loss(w: np.ndarray, b: float) -> float:
        return float(np.average((y - X @ w - b) ** 2, weights=weights) / 2)

    assert loss(w, b) == pytest.approx(np.sum((problem.target - problem.design @ z) ** 2) / 2)
    for level, slope, shift in rng.normal(size=(20, 3)) * 1e-3:
        assert loss(w + level + slope * np.arange(6), b + shift) > loss(w, b)


def test_zeros_of_lq_are_proven_where_the_objective_is_concave() -> None:
    """No local minimum lies where the second derivative along a coordinate is negative."""
    strength, power = 0.3, 2
    problem = ReducedProblem(np.array([[2.0]]), np.array([1.0]), np.array([0]), power)

    def second_derivative(z: float, step: float = 1e-4) -> float:
        f = [certify(problem, np.array([z + k * step]), strength).objective for k in (-1, 0, 1)]
        return (f[0] - 2 * f[1] + f[2]) / step**2

    sizes = np.geomspace(1e-2, 10, 200)
    inflection = sizes[np.argmax([second_derivative(z) > 0 for z in sizes])]

    def zero_at(z: float) -> bool:
        return bool(proven_zeros(problem, np.array([z]), strength, float("nan"))[0])

    assert zero_at(0.45 * inflection)
    assert not zero_at(1.05 * inflection)
