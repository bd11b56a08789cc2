"""Smooth steps on what is not zero, against differences of the objective and dense algebra."""

from typing import Any

import numpy as np
import pytest
import scipy.sparse

from symbias.penalties import Form, Piece
from symbias.penalties.scalars import Elastic, Logarithm, Power
from symbias.penalties.sizes import Entries, Groups, SingularValues
from symbias.solvers import Composite, Inputs, Logistic, Loss, Poisson, Problem, SquaredError
from symbias.solvers.manifold import _Factored, _Live, _penalty, _solve, polish

LABELS = np.array([0, 1, 1, 0, 2, 2, 2, 3])
SIGNAL = np.array([0.7, 0.0, 0.0, -1.2, 0.4, 0.9, -0.6, 0.5])
FORMS = {
    "logarithms of entries": Piece(Entries((8,)), Logarithm(0.3)),
    "powers of entries": Piece(Entries((8,)), Power(0.5)),
    "squares and corners": Piece(Entries((8,)), Elastic(0.4, 0.6)),
    "powers of groups": Piece(Groups(LABELS), Power(0.5)),
    "logarithms of groups": Piece(Groups(LABELS), Logarithm(0.3)),
    "squares of groups": Piece(Groups(LABELS), Power(2.0)),
}


def composite(form: Any, loss: Loss, n: int = 12, sparse: bool = False) -> Composite:
    rng = np.random.default_rng(1)
    B = rng.normal(size=(n, form.size))
    eta = B[:, : len(SIGNAL)] @ SIGNAL[: form.size]
    y = eta + rng.normal(size=n)
    if isinstance(loss, Logistic):
        y = (rng.uniform(size=n) < 1 / (1 + np.exp(-eta))).astype(float)
    elif isinstance(loss, Poisson):
        y = rng.poisson(np.exp(np.clip(eta, -3, 3))).astype(float)
    a = rng.uniform(0.2, 1, size=n)
    inputs = Inputs(scipy.sparse.csc_array(B) if sparse else B)
    return Composite(Problem(inputs, y, loss, a / a.sum(), np.ones((n, 1))), form)


def slopes(value: Any, x: np.ndarray, h: float = 1e-5) -> np.ndarray:
    return np.array([(value(x + h * e) - value(x - h * e)) / (2 * h) for e in np.eye(len(x))])


@pytest.mark.parametrize("name", FORMS)
def test_slope_and_curvature_of_the_penalty(name: str) -> None:
    """Of strength R on the coordinates that are not zero, by differences of its value."""
    form = FORMS[name]
    c = SIGNAL
    live = np.flatnonzero(c)
    problem = composite(form, SquaredError())

    def cost(x: np.ndarray) -> float:
        whole = c.copy()
        whole[live] = x
        return problem.cost(whole, 0.6)

    slope, (diagonal, dense) = _penalty(problem, c, live, 0.6)
    np.testing.assert_allclose(slope, slopes(cost, c[live]), atol=1e-8)
    hessian = np.diag(diagonal) + (dense if dense.size else 0)
    wanted = slopes(lambda x: slopes(cost, x, 1e-3), c[live], 1e-3)
    np.testing.assert_allclose(hessian, wanted, atol=1e-4 * np.abs(wanted).max())


@pytest.mark.parametrize("sparse", [False, True])
@pytest.mark.parametrize(("name", "n"), [("squares and corners", 3), ("powers of groups", 40)])
def test_newtons_equations_written_densely(name: str, n: int, sparse: bool) -> None:
    """(B^T (H - H E (E^T H E)^-1 E^T H) B + D)^-1 slope; more coordinates than rows, and fewer."""
    rng = np.random.default_rng(2)
    problem = composite(FORMS[name], Logistic(), n, sparse)
    gathered = problem.problem.inputs.gather(np.arange(8))
    h, slope = rng.uniform(0.1, 1, size=n), rng.normal(size=8)
    diagonal, dense = rng.uniform(0.5, 2, size=8), np.zeros((0, 0))
    if "groups" in name:
        root = rng.normal(size=(8, 8))
        dense = root @ root.T
    E, H = problem.problem.basis, np.diag(h)
    left = H - H @ E @ np.linalg.inv(E.T @ H @ E) @ E.T @ H
    B = gathered.dense().T
    hessian = B.T @ left @ B + np.diag(diagonal) + (dense if dense.size else 0)
    found = _solve(problem, gathered, h, (diagonal, dense), slope)
    np.testing.assert_allclose(hessian @ found, slope, atol=1e-10)


@pytest.mark.parametrize("loss", [SquaredError(), Logistic(), Poisson()], ids=repr)
@pytest.mark.parametrize("name", FORMS)
def test_polished_points_are_stationary(name: str, loss: Loss) -> None:
    """No coordinate that is not zero, and no level, makes the objective any smaller."""
    problem, start = composite(FORMS[name], loss, 600), SIGNAL * 1.1
    c = polish(problem, start, 0.01)
    live = start != 0
    assert not np.any(c[~live])
    assert problem.value(c, 0.01) < problem.value(start, 0.01)
    pull = slopes(lambda x: problem.value(x, 0.01), c, 1e-6)
    np.testing.assert_allclose(pull[live], 0, atol=1e-6)


def test_factors_of_a_matrix_beside_entries() -> None:
    """Slopes in U and V, and in entries, by differences; the least value of both together."""
    rng = np.random.default_rng(3)
    matrix, entries = Piece(SingularValues((4, 3)), Power(2 / 3)), FORMS["powers of entries"]
    W = rng.normal(size=(4, 2)) @ rng.normal(size=(2, 3))
    for chart, size in ((_Factored(matrix, W), 14), (_Live(entries, SIGNAL), 6)):
        assert chart.size == size
        x = chart.start + 0.1 * rng.normal(size=size)
        cost, slope = chart.penalty(chart.products(x), x)
        assert cost == pytest.approx(chart.piece.cost(chart.products(x)))
        wanted = slopes(lambda v, c=chart: c.penalty(c.products(v), v)[0], x)
        np.testing.assert_allclose(chart.chain(x, slope), wanted, rtol=1e-6)
    U, V = _Factored(matrix, W)._factors(_Factored(matrix, W).start)
    np.testing.assert_allclose(U @ V.T, W)
    np.testing.assert_allclose(U.T @ U, V.T @ V, atol=1e-12)


def test_a_low_rank_is_polished() -> None:
    rng = np.random.default_rng(4)
    piece = Piece(SingularValues((4, 3)), Power(2 / 3))
    problem = composite(piece, SquaredError(), 60)
    start = (rng.normal(size=(4, 2)) @ rng.normal(size=(2, 3))).ravel()
    c = polish(problem, start, 0.01).reshape(4, 3)
    u, s, vt = np.linalg.svd(c)
    assert np.sum(s > 1e-9) == 2
    for move in rng.normal(size=(20, 4, 3)):  # along the matrices of this rank
        along = move - u[:, 2:] @ u[:, 2:].T @ move @ vt[2:].T @ vt[2:]
        sides = [problem.value((_rank(c + t * along, 2)).ravel(), 0.01) for t in (-1e-3, 0.0, 1e-3)]
        assert sides[1] <= min(sides) + 1e-9


def _rank(W: np.ndarray, rank: int) -> np.ndarray:
    u, s, vt = np.linalg.svd(W, full_matrices=False)
    return (u[:, :rank] * s[:rank]) @ vt[:rank]


def test_nothing_is_polished_where_all_is_zero() -> None:
    problem: Form = FORMS["powers of entries"]
    zero = np.zeros(8)
    assert polish(composite(problem, SquaredError()), zero, 0.1) is zero
