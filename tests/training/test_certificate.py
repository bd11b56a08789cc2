"""What training says of its solutions is true: gaps, zeros, thresholds, what is eliminated."""

from functools import cache

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import symbias as sb
from symbias.parameterizations import Scales
from symbias.solvers import (
    Composite,
    Inputs,
    Minimum,
    Options,
    Problem,
    SquaredError,
    working_model,
)
from symbias.solvers.threshold import strength_max
from symbias.training import SOLVERS, Trainer, trainers
from symbias.training.products import Products, Reduced
from tests.training.cases import nile

SEEDS = st.integers(0, 10**6)
CONVEX = ["l1", "groups"]


def random_problem(seed: int, kind: str, rows: int = 12, size: int = 8) -> Reduced:
    """A dense problem with some exactly dependent columns and one zero column."""
    rng = np.random.default_rng(seed)
    B = rng.normal(size=(rows, size)) * np.exp(rng.normal(size=size))
    B[:, 1], B[:, 5] = 2 * B[:, 0], 0.0
    labels = np.array([0, 1, 2, 0, 1, 3, 3, 2]) if kind == "groups" else np.arange(size)
    return Reduced(B, rng.normal(size=rows), labels, 1 if kind in CONVEX else 2)


def objective(problem: Reduced, z: np.ndarray, strength: float) -> float:
    """The mean of (y - B z)^2 / 2, and strength sum_g |z_g|, or 3/2 sum_g |z_g|^(2/3)."""
    norms = np.array([np.linalg.norm(z[problem.labels == g]) for g in range(problem.groups)])
    penalty = norms.sum() if problem.power == 1 else 1.5 * np.sum(norms ** (2 / 3))
    return 0.5 * float(np.mean((problem.y - problem.B @ z) ** 2)) + strength * penalty


def solve(problem: Reduced, strength: float, solver: str = "varpro", **options: float) -> Minimum:
    """Train at one strength, on a problem of power 2 from the least-squares solution."""
    scales = Scales(problem.labels, problem.power)
    products = Products(problem.composite, scales, SOLVERS[solver])
    z = np.zeros(len(problem.labels))
    if problem.power > 1:
        z = np.linalg.lstsq(problem.B, problem.y)[0]
    return products.minimise(strength, z, Options(**options))


@cache
def solved(seed: int, kind: str, fraction: float) -> tuple[Reduced, float, Minimum]:
    problem = random_problem(seed, kind)
    strength = fraction * strength_max(problem.composite)
    return problem, strength, solve(problem, strength, tol=1e-11)


@pytest.mark.parametrize("kind", CONVEX)
@given(seed=SEEDS, size=st.floats(1e-6, 10.0), fraction=st.sampled_from([0.02, 0.3, 0.95]))
def test_the_gap_bounds_what_is_left_to_gain(
    kind: str, seed: int, size: float, fraction: float
) -> None:
    problem, strength, solution = solved(seed % 20, kind, fraction)
    z = solution.best.c + size * np.random.default_rng(seed).normal(size=len(solution.best.c))
    found = problem.composite.certify(z, strength)
    value = objective(problem, z, strength)
    best = objective(problem, solution.best.c, strength)
    assert found.objective == pytest.approx(value, rel=1e-12)
    assert found.certificate.gap >= value - best - 1e-13 * value
    assert found.violation == pytest.approx(found.certificate.gap / value)


@pytest.mark.parametrize("fraction", [0.999999, 0.5, 0.05, 1e-3, 1e-6])
@pytest.mark.parametrize("kind", [*CONVEX, "lq"])
def test_the_certificate_vanishes_at_the_solution(kind: str, fraction: float) -> None:
    for seed in range(20):
        problem, strength, solution = solved(seed, kind, fraction)
        assert solution.reason == "converged"
        assert solution.best.violation <= 1e-11
        assert solution.best.objective == pytest.approx(
            objective(problem, solution.best.c, strength), rel=1e-12
        )


def test_the_gap_is_the_duality_gap() -> None:
    # 1/2 (y - z)^2 + |z|: at z = 0 and y = 3 the dual point is r/3 = 1, of value 3 - 1/2
    composite = Reduced(np.eye(1), np.array([3.0]), np.array([0]), 1).composite
    for z, value, gap in ((0.0, 4.5, 2.0), (2.0, 2.5, 0.0)):
        found = composite.certify(np.array([z]), 1.0)
        assert (found.objective, found.certificate.gap) == pytest.approx((value, gap))
        assert found.violation == pytest.approx(gap / value)


@given(seed=SEEDS)
def test_stationarity_is_that_of_the_derivative(seed: int) -> None:
    """Each term is z_j times the derivative of the smooth problem in z_j, by differences."""
    problem = random_problem(seed, "lq")
    z = np.random.default_rng(seed).uniform(0.5, 2, 8) * np.sign(problem.B.T @ problem.y + 0.1)
    steps = 1e-6 * np.eye(8)
    slopes = [
        (objective(problem, z + h, 0.7) - objective(problem, z - h, 0.7)) / 2e-6 for h in steps
    ]
    found = problem.composite.certify(z, 0.7)
    assert np.isnan(found.certificate.gap)
    expected = np.abs(z * slopes).sum() / objective(problem, z, 0.7)
    assert found.violation == pytest.approx(expected, rel=1e-6, abs=1e-7)


@pytest.mark.parametrize("kind", CONVEX)
@given(seed=SEEDS, fraction=st.sampled_from([0.02, 0.3, 0.95]), size=st.floats(1e-14, 0.1))
def test_proven_zeros_are_zero_at_the_optimum(
    kind: str, seed: int, fraction: float, size: float
) -> None:
    problem, strength, solution = solved(seed % 20, kind, fraction)
    z = solution.best.c
    alive = (problem.sizes(z) > 1e-4 * np.abs(z).max())[problem.labels]
    z = z * (1 + size * np.random.default_rng(seed).normal(size=len(z)))
    found = problem.composite.certify(z, strength)
    assert not np.any(problem.composite.proven_zeros(found, strength) & alive)


@pytest.mark.parametrize("size", [1, 2, 5])
def test_a_gap_of_rounding_size_proves_nothing(size: int) -> None:
    """At the exact optimum |B_g^T r| is the strength, or one unit in the last place less."""
    for seed in range(50):
        target = np.random.default_rng(seed).normal(size=size) * 10.0 ** (seed % 7 - 3)
        problem = Reduced(np.eye(size), target, np.zeros(size, dtype=int), 1)
        strength = 0.3 * strength_max(problem.composite)
        found = problem.composite.certify(
            (1 - size * strength / np.linalg.norm(target)) * target, strength
        )
        assert not problem.composite.proven_zeros(found, strength).any()
        assert np.all(solve(problem, strength).best.c != 0)


def test_zeros_that_are_far_from_the_boundary_are_proven() -> None:
    problem = Reduced(np.eye(3), np.array([3.0, 0.9, 0.1]), np.arange(3), 1)
    found = problem.composite.certify(np.array([2.0, 0.0, 0.0]), 1 / 3)
    zeros = problem.composite.proven_zeros(found, 1 / 3)
    np.testing.assert_array_equal(zeros, [False, True, True])
    assert np.count_nonzero(solve(problem, 1 / 3).best.c) == 1


@pytest.mark.parametrize("kind", CONVEX)
def test_strength_max_is_the_threshold(kind: str) -> None:
    for seed in range(20):
        problem = random_problem(seed, kind)
        top = strength_max(problem.composite)
        assert not solve(problem, (1 + 1e-9) * top).best.c.any()
        below = solve(problem, (1 - 1e-6) * top, tol=1e-13)  # zero is within 1e-12
        assert below.reason == "converged"
        assert np.count_nonzero(problem.sizes(below.best.c)) == 1


@pytest.mark.parametrize("solver", ["varpro", "gd"])
@pytest.mark.parametrize("power", [1, 2])
@pytest.mark.parametrize("scales", [(1e-8, 1e-8), (1e-8, 1e8), (1e8, 1e-8), (1e8, 1e8)])
def test_training_does_not_depend_on_units(
    solver: str, power: int, scales: tuple[float, float]
) -> None:
    problem = random_problem(6, "l1" if power == 1 else "lq")
    a, c = scales
    scaled = Reduced(a * problem.B, c * problem.y, problem.labels, power)
    strength = 0.1 * strength_max(problem.composite)
    there = strength * c ** (2 - 2 / (power + 1)) * a ** (2 / (power + 1))
    here, other = solve(problem, strength, solver), solve(scaled, there, solver)
    assert here.reason == other.reason == "converged"
    np.testing.assert_allclose(other.best.c * a / c, here.best.c, rtol=1e-4, atol=1e-6)
    assert other.best.objective == pytest.approx(c**2 * here.best.objective, rel=1e-6)


def trainer_of(
    p: sb.Parameterization, X: np.ndarray, y: np.ndarray, fit_intercept: bool
) -> Trainer:
    weights = np.full(len(y), 1 / len(y))
    (found,) = trainers(p, X, weights, fit_intercept, SquaredError(), [y])
    return found


def test_lq_is_no_worse_than_zero() -> None:
    """From least squares the path ends in a local minimum that zero may beat."""
    rng = np.random.default_rng(0)
    for _ in range(10):
        X, y = rng.normal(size=(12, 5)), rng.normal(size=12)
        trainer = trainer_of(sb.Hadamard(5, depth=3), X, y, False)
        for fraction in (0.5, 0.9, 1.1, 1.5):
            fit = trainer.fit(fraction * trainer.strength_max, Options(starts=0))
            assert fit.certificate.objective <= 0.5 * np.mean(y**2) * (1 + 1e-15)


def test_strength_max_of_lq_is_where_no_coordinate_improves_on_zero() -> None:
    grid = np.concatenate([[0.0], np.geomspace(1e-8, 10, 4001)])
    for seed in range(20):
        problem = random_problem(seed, "lq")
        y, B, top = problem.y, problem.B, strength_max(problem.composite)
        losses = 0.5 * np.mean((y[:, None, None] - B[:, :, None] * grid) ** 2, axis=0)
        other = 0.5 * np.mean((y[:, None, None] + B[:, :, None] * grid) ** 2, axis=0)
        losses = np.minimum(losses, other)
        for strength, improves in [(1.0001 * top, False), (0.999 * top, True)]:
            best = (losses + strength * 1.5 * grid ** (2 / 3)).min()
            assert (best < 0.5 * np.mean(y**2) * (1 - 1e-12)) == improves
        trainer = trainer_of(sb.Hadamard(8, depth=3), np.eye(8), B.T @ y, False)
        assert not trainer.fit(1.001 * trainer.strength_max, Options(starts=0)).penalized.any()


def test_strength_max_of_a_scalar_lq_problem() -> None:
    # 1/2 (1 - t)^2 + s 3/2 t^(2/3) meets 1/2 at t = 1/2 with s = 2^(-1/3)/2, by hand
    problem = Reduced(np.eye(1), np.array([1.0]), np.array([0]), 2)
    t = np.linspace(1e-6, 1, 100_001)
    grid = np.max((t - t**2 / 2) / (1.5 * t ** (2 / 3)))
    assert strength_max(problem.composite) == pytest.approx(grid, rel=1e-8)
    assert strength_max(problem.composite) == pytest.approx(0.5 / 2 ** (1 / 3), rel=1e-12)


@pytest.mark.parametrize("fit_intercept", [False, True])
@pytest.mark.parametrize("penalty", ["tv", "trend"])
def test_free_columns_that_the_intercept_explains(penalty: str, fit_intercept: bool) -> None:
    """X = I: the free level and the intercept are one direction, and only their sum counts."""
    y = nile()
    p = sb.design(penalty, sb.WeightDecay(1.0), shape=100)
    trainer = trainer_of(p, np.eye(100), y, fit_intercept)
    alone = trainer_of(p, np.eye(100), y, False)
    assert trainer.strength_max == pytest.approx(alone.strength_max, rel=1e-12)
    strength = 0.1 * trainer.strength_max
    fit, other = (t.fit(strength, Options(1e-11)) for t in (trainer, alone))
    np.testing.assert_allclose(fit.coef + fit.intercept, other.coef, rtol=1e-6)
    assert fit.params is not None
    assert np.all(np.isfinite(fit.params["free"]))
    assert np.abs(fit.coef).max() < 2 * np.abs(y).max()


def test_the_reduction_keeps_the_objective() -> None:
    """1/2 |y' - B z|^2 is the weighted loss at the best free part and intercept."""
    rng = np.random.default_rng(5)
    X, y, weights = rng.normal(size=(15, 6)), rng.normal(size=15), rng.exponential(size=15)
    p = sb.design("trend", sb.WeightDecay(1.0), shape=6)
    (trainer,) = trainers(p, X, weights / weights.sum(), True, SquaredError(), [y])
    (B, left), z = working_model(trainer.composite), rng.normal(size=4)
    free = trainer.problem.recover(trainer.composite.fitted(z)[1])
    w, intercept = trainer.model.recover(z, free)
    b = float((intercept + trainer.level)[0])
    np.testing.assert_allclose(np.diff(w, 2), z)

    def loss(w: np.ndarray, b: float) -> float:
        return float(np.average((y - X @ w - b) ** 2, weights=weights) / 2)

    assert loss(w, b) == pytest.approx(np.sum((left - B @ z) ** 2) / 2)
    for level, slope, shift in rng.normal(size=(20, 3)) * 1e-3:
        assert loss(w + level + slope * np.arange(6), b + shift) > loss(w, b)


def test_a_column_that_the_free_part_explains_is_zero() -> None:
    X = np.random.default_rng(0).normal(size=(20, 3)) * 1e-3
    X[:, 1] = 1e3
    form = sb.Hadamard(3).balanced_form()
    problem = Problem(Inputs(X), X[:, 0], free=np.ones((20, 1)))
    B, _ = working_model(Composite(problem, form))
    assert not np.any(B[:, 1])
    assert np.all(np.any(B[:, [0, 2]], axis=0))


def test_zeros_of_lq_are_proven_where_the_objective_is_concave() -> None:
    """No local minimum lies where the second derivative along a coordinate is negative."""
    composite = Reduced(np.array([[2.0]]), np.array([1.0]), np.array([0]), 2).composite
    strength = 0.3

    def second_derivative(z: float, step: float = 1e-4) -> float:
        f = [composite.value(np.array([z + k * step]), strength) for k in (-1, 0, 1)]
        return (f[0] - 2 * f[1] + f[2]) / step**2

    sizes = np.geomspace(1e-2, 10, 200)
    inflection = sizes[np.argmax([second_derivative(z) > 0 for z in sizes])]

    def zero_at(z: float) -> bool:
        found = composite.certify(np.array([z]), strength)
        return bool(composite.proven_zeros(found, strength)[0])

    assert zero_at(0.45 * inflection)
    assert not zero_at(1.05 * inflection)
