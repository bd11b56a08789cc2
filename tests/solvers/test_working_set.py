"""Working sets against the conditions of optimality, written out densely."""

import numpy as np
import pytest
import scipy.sparse

from symbias.solvers import Huber, Logistic, Loss, Poisson, SquaredError
from symbias.solvers.groups import GramGroups
from symbias.solvers.inputs import Inputs
from symbias.solvers.problem import Problem
from symbias.solvers.sets import LeastSquaresSet
from symbias.solvers.wide_groups import WideFace, WideGroups
from symbias.solvers.working_set import path, solve

LOSSES: list[Loss] = [SquaredError(), Logistic(), Poisson(), Huber(0.5)]


def slope(loss: Loss, eta: np.ndarray, y: np.ndarray) -> np.ndarray:
    """dl/deta by central differences of the value: nothing shared with the solver."""
    h = 1e-6
    return (np.asarray(loss.value(eta + h, y)) - np.asarray(loss.value(eta - h, y))) / (2 * h)


def data(loss: Loss, n: int, m: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    B = rng.normal(size=(n, m)) * rng.uniform(0.3, 2, size=m)
    eta = B[:, :4] @ np.array([1.0, -1.0, 0.5, 0.5]) / 2 + 0.3
    if isinstance(loss, Logistic):
        return B, (rng.uniform(size=n) < 1 / (1 + np.exp(-eta))).astype(float)
    if isinstance(loss, Poisson):
        return B, rng.poisson(np.exp(np.clip(eta, -3, 3))).astype(float)
    return B, eta + 0.3 * rng.standard_t(3, size=n)


@pytest.mark.parametrize("loss", LOSSES, ids=lambda loss: type(loss).__name__)
@pytest.mark.parametrize("grouped", [False, True])
@pytest.mark.parametrize("l2", [0.0, 0.5])
@pytest.mark.parametrize("kind", ["dense", "rows", "wide", "sparse", "weighted, no free"])
def test_conditions_of_optimality(loss: Loss, grouped: bool, l2: float, kind: str) -> None:
    n, m = {"rows": (150, 40), "wide": (40, 300)}.get(kind, (60, 150))
    B, y = data(loss, n, m, seed=3)
    rng = np.random.default_rng(7)
    groups = np.sort(rng.integers(m // 4, size=m)) if grouped else None
    if groups is not None:
        groups = np.unique(groups, return_inverse=True)[1]
    weights = None
    free: np.ndarray | None = np.ones((n, 1))
    if kind == "weighted, no free":
        weights = rng.uniform(0.1, 1, size=n)
        weights[:3] = 0.0
        weights /= weights.sum()
        free = None
    if kind == "sparse":
        B = np.where(rng.uniform(size=B.shape) < 0.7, 0.0, B)
    inputs = Inputs(scipy.sparse.csc_array(B) if kind == "sparse" else B)
    problem = Problem(inputs, y, loss, weights, free, groups, 1.3, l2)
    strength = (0.02 if kind == "wide" else 0.15) * problem.strength_max()
    found = solve(problem, strength)
    assert found.reason == "converged"

    a = np.full(n, 1 / n) if weights is None else weights
    F = np.zeros((n, 0)) if free is None else free
    eta = B @ found.c + F @ found.f
    objective = float(a @ np.asarray(loss.value(eta, y)))
    labels = np.arange(m) if groups is None else groups
    sizes = np.sqrt(np.bincount(labels, found.c**2))
    objective += strength * float(np.sum(1.3 * sizes + l2 / 2 * sizes**2))
    assert found.objective == pytest.approx(objective, rel=1e-12)
    assert 0 <= found.gap <= 1e-10 * objective
    assert found.violation == pytest.approx(found.gap / objective, rel=1e-9, abs=0)
    nu = a * slope(loss, eta, y)
    np.testing.assert_allclose(F.T @ nu, 0, atol=1e-7)
    pull, live = B.T @ nu, sizes > 0
    unit = found.c / np.where(live, sizes, 1.0)[labels]
    off = pull + strength * (1.3 * unit + l2 * found.c)
    assert np.abs(off[live[labels]]).max() <= 2e-5 * strength
    beyond = np.sqrt(np.bincount(labels, pull**2))[~live]
    assert beyond.max() <= 1.3 * strength * (1 + 1e-5)
    assert 0 < live.sum() < len(sizes)
    assert not np.any(live[found.zeros])  # what is proven to be zero is


@pytest.mark.parametrize("ridge", [0.0, 0.3])
def test_groups_on_columns_are_groups_on_their_gram_matrix(ridge: float) -> None:
    rng = np.random.default_rng(5)
    rows, t = rng.normal(size=(90, 30)), rng.normal(size=30)
    starts = np.array([0, 1, 4, 10, 40, 70])
    gram, q = rows @ rows.T + ridge * np.eye(90), rows @ t
    wide = WideGroups(q, float(t @ t), starts, rows, ridge)
    dense = GramGroups(q, float(t @ t), starts, gram)
    c = rng.normal(size=90) / 10
    np.testing.assert_allclose(wide.times(c), dense.times(c))
    np.testing.assert_allclose(wide.steepness(), dense.steepness())
    np.testing.assert_allclose(wide.sweep(0.5, c), dense.sweep(0.5, c))
    everything = np.arange(90)
    face = wide.face(everything, wide.lengths, 0.5)
    assert isinstance(face, WideFace)
    hessian = gram.copy()
    for a, b in zip(starts, [*starts[1:], 90], strict=True):
        size = np.linalg.norm(c[a:b])
        unit = c[a:b] / size
        hessian[a:b, a:b] += 0.5 / size * (np.eye(b - a) - np.outer(unit, unit))
    slope, step = face.step(c)
    h = 1e-6 * rng.normal(size=90)
    change = face.value(c + h) - face.value(c - h)
    assert 2 * slope @ h == pytest.approx(change, rel=1e-5)
    np.testing.assert_allclose(hessian @ step, -slope, rtol=1e-8)


def test_the_largest_strength_is_where_nothing_is_left() -> None:
    for loss in LOSSES:
        problem = Problem(Inputs(data(loss, 50, 80, 1)[0]), data(loss, 50, 80, 1)[1], loss)
        largest = problem.strength_max()
        assert not np.any(solve(problem, largest * (1 + 1e-9)).c)
        assert np.any(solve(problem, largest * 0.99).c)


def test_a_path_is_its_single_fits() -> None:
    B, y = data(SquaredError(), 80, 30, 2)
    problem = Problem(Inputs(B), y, free=np.ones((80, 1)))
    strengths = problem.strength_max() * np.geomspace(1, 1e-3, 12)
    for found, strength in zip(path(problem, strengths), strengths, strict=True):
        single = solve(Problem(Inputs(B), y, free=np.ones((80, 1))), strength)
        np.testing.assert_allclose(found.c, single.c, atol=1e-6)
        assert found.converged


@pytest.mark.parametrize("shape", [(80, 20), (300, 200)], ids=["whole", "scanned"])
def test_norms_are_those_of_columns_less_their_part_in_free_directions(
    shape: tuple[int, int],
) -> None:
    rng = np.random.default_rng(1)
    B, F = rng.normal(size=shape) + 5, np.c_[np.ones(shape[0]), rng.normal(size=shape[0])]
    B[:, 3] = F @ [2.0, 1.0]
    a = rng.uniform(size=shape[0])
    a /= a.sum()
    problem = Problem(Inputs(B), rng.normal(size=shape[0]), weights=a, free=F)
    root = np.sqrt(a)[:, None]
    left = root * (B - F @ np.linalg.lstsq(root * F, root * B)[0])
    left[:, 3] = 0
    np.testing.assert_allclose(problem.norms, np.linalg.norm(left, axis=0), rtol=1e-9)


@pytest.mark.parametrize(
    ("shape", "seed", "fraction"),
    [((100, 60), 1, 1e-4), ((300, 50), 1, 1e-4), ((60, 100), 2, 0.01), ((60, 100), 5, 0.1)],
)
def test_heavy_tails_at_small_strengths(shape: tuple[int, int], seed: int, fraction: float) -> None:
    rng = np.random.default_rng(seed)
    B = rng.normal(size=shape)
    y = B[:, :3].sum(axis=1) + rng.standard_t(2, size=shape[0])
    problem = Problem(Inputs(B), y, Huber(), free=np.ones((shape[0], 1)))
    strength = fraction * problem.strength_max()
    found = solve(problem, strength)
    assert found.converged
    nu = np.clip(B @ found.c + found.f - y, -1.35, 1.35) / shape[0]
    pull = B.T @ nu
    assert np.abs(pull).max() <= strength * (1 + 1e-6)
    live = found.c != 0
    np.testing.assert_allclose(pull[live], -strength * np.sign(found.c[live]), rtol=1e-4)


def test_single_precision_of_the_inputs_costs_none_of_the_answer() -> None:
    B, y = data(SquaredError(), 100, 200, 4)
    B = B.astype(np.float32)
    exact, single = (solve(Problem(Inputs(X), y), 0.05) for X in (B.astype(float), B))
    assert single.converged
    np.testing.assert_allclose(single.c, exact.c, atol=1e-12)


def test_a_best_point_of_a_smaller_set_is_recovered(monkeypatch: pytest.MonkeyPatch) -> None:
    B, y = data(SquaredError(), 60, 300, 7)
    problem = Problem(Inputs(B), y, free=np.ones((60, 1)))
    monkeypatch.setattr(LeastSquaresSet, "minimise", lambda self, strength, c, gap: c + 1.0)
    found = solve(problem, 0.05, np.eye(300)[0], max_iter=3)
    assert found.reason == "max_iter"
    np.testing.assert_array_equal(found.c, np.eye(300)[0])


@pytest.mark.parametrize("loss", [SquaredError(), Logistic()], ids=["squared", "logistic"])
def test_the_start_is_not_written_to(loss: Loss) -> None:
    B, y = data(loss, 40, 20, 5)
    problem = Problem(Inputs(B), y, loss)
    start = np.linspace(-1, 1, 20)
    solve(problem, 0.3 * problem.strength_max(), start)
    np.testing.assert_array_equal(start, np.linspace(-1, 1, 20))


def test_twice_the_same_column_is_solved() -> None:
    B, y = data(SquaredError(), 30, 10, 6)
    found = solve(Problem(Inputs(np.hstack([B, B, np.zeros((30, 1))])), y), 0.01)
    assert found.converged
    assert found.c[-1] == 0


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"strength": 0.0}, "strength must be positive"),
        ({"strength": 1e-310}, "underflows"),
        ({"c": np.zeros(3)}, "the start must have shape"),
    ],
)
def test_bad_input_of_a_solve(change: dict, message: str) -> None:
    B, y = data(SquaredError(), 20, 10, 0)
    with pytest.raises(ValueError, match=message):
        solve(Problem(Inputs(B), y), **{"strength": 0.1, **change})


@pytest.mark.parametrize(
    ("X", "error"),
    [
        (np.zeros((0, 3)), ValueError),
        (np.zeros((2, 3), dtype=int), TypeError),
        (scipy.sparse.coo_array((3, 3)), TypeError),
        ([[1.0]], TypeError),
    ],
)
def test_bad_inputs(X: object, error: type[Exception]) -> None:
    with pytest.raises(error):
        Inputs(X)


@pytest.mark.parametrize("loss", [SquaredError(), Logistic(), Huber(0.5)], ids=repr)
def test_the_majorizer_lies_above_the_loss(loss: Loss) -> None:
    rng = np.random.default_rng(0)
    eta, move = 3 * rng.normal(size=2000), 4 * rng.normal(size=2000)
    y = (rng.uniform(size=2000) < 0.5).astype(float)
    h = loss.majorizer(eta, y)
    assert h is not None
    model = np.asarray(loss.value(eta, y)) + np.asarray(loss.gradient(eta, y)) * move
    above = model + h * move**2 / 2 - np.asarray(loss.value(eta + move, y))
    assert above.min() >= -1e-12
    assert above.min() <= 1e-2  # and touches it


def test_a_loss_without_a_bound_has_no_majorizer() -> None:
    assert Poisson().majorizer(np.zeros(3), np.ones(3)) is None


@pytest.mark.parametrize("unit", [1.0, 1e-8])
def test_a_falling_path_is_certified_at_once(unit: float) -> None:
    """The sweeps of a small well-posed problem need no second solver."""
    B, y = data(SquaredError(), 200, 20, 8)
    y *= unit
    problem = Problem(Inputs(B), y, free=np.ones((200, 1)))
    strengths = problem.strength_max() * np.geomspace(1, 1e-2, 10)
    found = list(path(problem, strengths, tol=1e-8))
    assert [solution.n_iter for solution in found] == [1] * 10
    for solution, strength in zip(found, strengths, strict=True):
        left = y - B @ solution.c - solution.f[0]
        objective = left @ left / 400 + strength * np.abs(solution.c).sum()
        assert solution.objective == pytest.approx(objective, rel=1e-9, abs=0)
        assert solution.violation == pytest.approx(solution.gap / objective, rel=1e-9, abs=0)
        assert not np.any(solution.c[solution.zeros])


@pytest.mark.parametrize("seed", [1, 29, 37])
def test_groups_of_which_many_would_turn_back(seed: int) -> None:
    """As many columns as rows are in use: only a short piece of Newton's first steps goes down."""
    rng = np.random.default_rng(seed)
    B = rng.normal(size=(60, 90)) * 10 ** rng.uniform(-1, 1, size=90)
    B += 3 * rng.normal(size=(60, 1))
    y = B[:, :5].sum(axis=1) / 3 + rng.standard_cauchy(size=60)
    problem = Problem(Inputs(B), y, groups=np.arange(90) // 2)
    found = solve(problem, 0.002 * problem.strength_max())
    assert found.reason == "converged"
    assert found.n_iter <= 8


def test_free_directions_have_units_of_their_own() -> None:
    """F is seen through its range: what is recovered scales against its columns."""
    B, y = data(SquaredError(), 40, 10, 7)
    F = np.stack([np.ones(40), np.arange(40.0), np.zeros(40)], axis=1)
    found = solve(Problem(Inputs(B), y, free=F), 0.05)
    eta = B @ found.c + F @ found.f
    assert np.abs(F.T @ (y - eta)).max() <= 1e-9
    units = np.array([1e-3, 1e-18, 1.0])
    other = solve(Problem(Inputs(B), y, free=F * units), 0.05)
    np.testing.assert_allclose(other.f * units, found.f, rtol=1e-6)
    assert found.f[2] == 0
