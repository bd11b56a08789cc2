"""Least penalties with margins: against independent solvers, their duals, and Gordan's theorem."""

from itertools import combinations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import linprog, minimize

import symbias as sb
from symbias.penalties import Entries, Groups, Piece, Power, SingularValues
from symbias.solvers.margins import NotSeparable, conic, gordan, least_margin, primal_dual
from symbias.solvers.margins.problem import certify, homogeneous

ROWS = {"wide": (8, 12), "tall": (30, 12)}
FORMS = {
    "entries": Piece(Entries((12,)), Power()),
    "groups": Piece(Groups(np.array([0, 0, 0, 0, 1, 1, 1, 2, 2, 3, 3, 3])), Power()),
    "singular values": Piece(SingularValues((3, 4)), Power(1.0, 2.0)),
    "squares": Piece(Entries((12,)), Power(2.0, 0.5)),
    "power 1.5": Piece(Entries((12,)), Power(1.5, 0.7)),
    "parts": sb.Parts(
        12,
        [
            (np.arange(4), sb.Hadamard(4)),
            (np.arange(4, 8), sb.GroupProduct(4, groups=[0, 0, 1, 1])),
            (np.arange(8, 12), sb.MatrixProduct(2, 2)),
        ],
    ).balanced_form(),
}


def rows(kind: str, seed: int = 0) -> np.ndarray:
    """Rows y x of separable data with a sparse truth."""
    count, size = ROWS[kind]
    X = np.random.default_rng(seed).normal(size=(count, size))
    return np.where(X[:, :1] - 0.7 * X[:, 1:2] > 0, X, -X)


def exponent(form) -> float:
    return form.pieces[0].scalar.exponent


@pytest.mark.parametrize("kind", ROWS)
@pytest.mark.parametrize("name", FORMS)
def test_the_least_is_certified(name: str, kind: str) -> None:
    form, B = FORMS[name], rows(kind)
    found = least_margin(B, form, exponent(form))
    assert found.reason == "converged"
    assert found.gap <= 1e-8
    np.testing.assert_allclose(found.margins, B @ found.c, rtol=1e-12)
    assert found.margins.min() == pytest.approx(1, abs=1e-12)
    assert found.value == pytest.approx(form.value(found.c), rel=1e-12)
    # Euler: q R(c) = <grad R, c> = sum alpha, and slack margins have no multiplier
    assert found.multipliers.sum() == pytest.approx(exponent(form) * found.value, rel=1e-4)
    slack = found.margins > 1 + 1e-3
    assert found.multipliers[slack].max(initial=0.0) < 1e-4 * found.multipliers.max()


@pytest.mark.parametrize("kind", ROWS)
def test_the_dual_point_is_feasible_by_definition(kind: str) -> None:
    """The polar norms written out: largest entry, largest group norm, spectral norm."""
    B = rows(kind)
    pulls = {
        "entries": lambda g: np.abs(g).max(),
        "groups": lambda g: max(
            np.linalg.norm(g[FORMS["groups"].sizes.labels == k]) for k in range(4)
        ),
        "singular values": lambda g: np.linalg.norm(g.reshape(3, 4), 2) / 2,
    }
    for name, polar in pulls.items():
        found = least_margin(B, FORMS[name], 1.0)
        assert np.all(found.multipliers >= 0)
        assert polar(B.T @ found.multipliers) <= 1 + 1e-12
        assert found.multipliers.sum() >= found.value * (1 - 1e-8)


def test_l1_is_the_linear_program() -> None:
    for kind in ROWS:
        B = rows(kind)
        lp = linprog(np.ones(24), A_ub=np.hstack([-B, B]), b_ub=-np.ones(len(B)))
        assert least_margin(B, FORMS["entries"], 1.0).value == pytest.approx(lp.fun, rel=1e-9)


def test_l2_is_the_support_vector_machine() -> None:
    """scikit-learn's, with a bound on the multipliers that is never reached."""
    from sklearn.svm import SVC

    X = np.random.default_rng(3).normal(size=(30, 12))
    y = np.where(X[:, 0] - 0.7 * X[:, 1] > 0, 1.0, -1.0)
    # a margin through the origin: the data and their mirror image
    machine = SVC(kernel="linear", C=1e6, tol=1e-10).fit(np.vstack([X, -X]), np.append(y, -y))
    found = least_margin(y[:, None] * X, FORMS["squares"], 2.0)
    np.testing.assert_allclose(found.c, machine.coef_.ravel(), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("name", ["groups", "singular values", "power 1.5", "parts"])
def test_no_feasible_point_near_or_far_is_better(name: str) -> None:
    form, B = FORMS[name], rows("tall")
    found = least_margin(B, form, exponent(form))
    rng = np.random.default_rng(1)
    for size in np.geomspace(1e-4, 1, 200):
        other = found.c + size * np.abs(found.c).max() * rng.normal(size=12)
        least = (B @ other).min()
        if least > 0:
            assert form.value(other / least) >= found.value * (1 - 1e-8)


@pytest.mark.parametrize("name", ["entries", "groups", "singular values", "squares", "parts"])
def test_proximal_steps_and_cones_agree(name: str) -> None:
    form, B = FORMS[name], rows("tall", 5)
    problem = homogeneous(B, form, exponent(form))
    cone = certify(problem, *conic.solve(problem))
    c, alpha, _ = primal_dual.solve(problem, 1e-8)
    steps = certify(problem, c, alpha)
    assert cone is not None
    assert steps is not None
    assert steps.gap <= 1e-8
    assert steps.value == pytest.approx(cone.value, rel=2e-8)


@pytest.mark.parametrize("name", ["groups", "singular values"])
def test_extrapolated_steps_are_fast(name: str) -> None:
    """300 and 400 steps; 600 without the extrapolation of Chambolle and Pock."""
    problem = homogeneous(rows("wide", 5), FORMS[name], 1.0)
    assert primal_dual.solve(problem, 1e-8)[2] < 500


def test_large_matrices_take_proximal_steps() -> None:
    rng = np.random.default_rng(0)
    shape = (40, 30)
    A = rng.normal(size=(50, 1200))
    truth = np.outer(rng.normal(size=40), rng.normal(size=30)).ravel()
    found = least_margin(
        np.sign(A @ truth)[:, None] * A, Piece(SingularValues(shape), Power()), 1.0
    )
    assert found.n_iter > 1
    assert found.gap <= 1e-8


def test_a_semidefinite_program_that_ends_early_is_finished_by_steps() -> None:
    """Three classes of 20 features: Clarabel ends in a numerical error."""
    from symbias.studies.margins import separable

    X, y = separable(20, 30, 0, 3)
    found = sb.MaxMargin().direction(sb.MatrixProduct(20, 3), X, y)
    assert found.gap <= 1e-8


@pytest.mark.parametrize("unit", [1e-6, 1e6])
@pytest.mark.parametrize("name", ["entries", "squares", "singular values"])
def test_units_of_the_inputs_only_scale_the_answer(name: str, unit: float) -> None:
    form, B = FORMS[name], rows("wide")
    one, other = (least_margin(s * B, form, exponent(form)) for s in (1.0, unit))
    np.testing.assert_allclose(other.c * unit, one.c, rtol=1e-6, atol=1e-8)
    assert other.value == pytest.approx(one.value * unit ** -exponent(form), rel=1e-8)
    assert other.multipliers.sum() == pytest.approx(exponent(form) * other.value, rel=1e-6)


# depth 3 and more


@pytest.mark.parametrize("q", [2 / 3, 1 / 2, 2 / 5])
def test_concave_powers_end_at_stationary_points(q: float) -> None:
    """On the support: grad R = B^T alpha with alpha >= 0 on the margins that are tight."""
    B = rows("tall")
    found = least_margin(B, Piece(Entries((12,)), Power(q, 1 / q)), q)
    live = np.flatnonzero(found.c)
    assert 0 < len(live) < 12
    gradient = np.sign(found.c[live]) * np.abs(found.c[live]) ** (q - 1)
    np.testing.assert_allclose(B[:, live].T @ found.multipliers, gradient, rtol=1e-6, atol=1e-8)
    assert found.gap <= 1e-8
    assert found.multipliers.sum() == pytest.approx(q * found.value, rel=1e-6)
    l1 = least_margin(B, FORMS["entries"], 1.0)
    power = np.sum(np.abs(l1.c) ** q) / q
    assert found.value <= power * (1 + 1e-9)  # it began there


def test_a_stationary_point_is_least_among_near_ones_on_its_support() -> None:
    """Against a general solver (SLSQP) from points about it."""
    q, B = 2 / 3, rows("tall")
    found = least_margin(B, Piece(Entries((12,)), Power(q, 1.0)), q)
    live, rng = np.flatnonzero(found.c), np.random.default_rng(0)
    for _ in range(5):
        start = found.c[live] * (1 + 0.05 * rng.normal(size=len(live)))
        other = minimize(
            lambda v: np.sum(np.abs(v) ** q),
            start,
            constraints={"type": "ineq", "fun": lambda v: B[:, live] @ v - 1},
            method="SLSQP",
        )
        assert other.fun >= found.value * (1 - 1e-6)


def test_deep_matrices_are_stationary_along_every_move_of_their_rank() -> None:
    """R falls to first order along no move of the factors that keeps the tight margins."""
    q, B = 2 / 3, rows("tall")
    found = least_margin(B, Piece(SingularValues((3, 4)), Power(q, 1.5)), q)
    assert found.gap <= 1e-8
    u, s, vt = np.linalg.svd(found.c.reshape(3, 4), full_matrices=False)
    kept = s > 1e-6 * s[0]
    u, s, vt = u[:, kept], s[kept], vt[kept]
    gradient = (u * s ** (q - 1)) @ vt
    pull = (B.T @ found.multipliers).reshape(3, 4)
    np.testing.assert_allclose(pull @ vt.T, gradient @ vt.T, rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(u.T @ pull, u.T @ gradient, rtol=1e-5, atol=1e-6)


def test_zeros_of_the_start_stay() -> None:
    q, B = 2 / 3, rows("wide")
    start = least_margin(B, FORMS["squares"], 2.0).c
    kept = max(
        (s for s in combinations(range(12), 11) if gordan(B[:, s]).separable), key=lambda s: s
    )
    inside = np.zeros(12)
    inside[list(kept)] = least_margin(B[:, kept], Piece(Entries((11,)), Power(2.0, 0.5)), 2.0).c
    found = least_margin(B, Piece(Entries((12,)), Power(q)), q, inside)
    assert set(np.flatnonzero(found.c)) <= set(kept)
    assert found.value <= np.sum(np.abs(start) ** q)


# separability


@settings(max_examples=50)
@given(st.integers(2, 30), st.integers(1, 8), st.integers(0, 10**6))
def test_gordan_has_one_alternative(count: int, size: int, seed: int) -> None:
    B = np.random.default_rng(seed).normal(size=(count, size))
    found = gordan(B)
    if found.separable:
        assert (B @ found.c).min() > 0
        assert least_margin(B, Piece(Entries((size,)), Power(2.0, 0.5)), 2.0).gap <= 1e-8
    else:
        assert found.alpha.sum() == pytest.approx(1)
        assert found.alpha.min() >= 0
        assert np.abs(B.T @ found.alpha).max() <= 1e-9 * np.abs(B).max()
        with pytest.raises(NotSeparable):
            least_margin(B, Piece(Entries((size,)), Power()), 1.0)


def test_a_row_of_zeros_has_no_margin() -> None:
    B = rows("wide")
    B[3] = 0
    found = gordan(B)
    assert not found.separable
    assert found.alpha[3] == 1


@pytest.mark.parametrize("mean", [1e2, 1e4, 1e6])
def test_rows_that_are_nearly_parallel_end_at_a_vertex(mean: float) -> None:
    """Interior points end early there, or not at all; the columns are far from centered."""
    X = np.random.default_rng(1).normal(size=(30, 20))
    B = np.sign(X[:, :1] - X[:, 1:2]) * (X + mean)
    found = least_margin(B, Piece(Entries((20,)), Power()), 1.0)
    assert found.reason == "converged"
    pull = np.abs(B.T @ found.multipliers).max()  # weak duality, by definition
    assert found.multipliers.sum() / pull >= (1 - 1e-8) * np.abs(found.c).sum()
    assert np.min(B @ found.c) > 1 - 1e-6


def test_what_no_solver_tells_apart_is_named() -> None:
    X = np.random.default_rng(1).normal(size=(30, 20))
    sides = X[:, 0] > X[:, 1]
    with pytest.raises(ValueError, match="the means out of the inputs"):
        sb.Adam().direction(sb.Plain(20), X + 1e6, sides)
    with pytest.raises(sb.Refused, match="or by too little to tell"):
        sb.MaxMargin().direction(sb.Hadamard(20), X + 1e9, sides)
