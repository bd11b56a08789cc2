"""Proximal and Newton steps against closed forms, convex programs, and their own definitions."""

from typing import Any

import numpy as np
import pytest
import scipy.sparse

import symbias as sb
from symbias.penalties import as_penalty
from symbias.solvers import Huber, Logistic, Loss, Model, Options, Poisson, SquaredError, solver_for
from symbias.solvers.composite import Composite
from symbias.solvers.inputs import Inputs
from symbias.solvers.problem import Problem
from symbias.solvers.proximal import minimise
from symbias.solvers.reference import convex_reference


def data(n: int, p: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    X = rng.normal(size=(n, p))
    return X, X[:, :3] @ [1.0, -1.0, 0.5] + 0.3 * rng.normal(size=n) + 2


@pytest.mark.parametrize("shape", [(50, 8), (20, 120)])  # Cholesky, and Woodbury
def test_ridge_is_its_closed_form(shape: tuple[int, int]) -> None:
    X, y = data(*shape)
    model = sb.DesignedRegressor(sb.Ridge(), 0.3).fit(X, y)
    Xc, yc = X - X.mean(axis=0), y - y.mean()
    gram = Xc.T @ Xc / len(y) + 0.3 * np.eye(shape[1])
    np.testing.assert_allclose(model.coef_, np.linalg.solve(gram, Xc.T @ yc / len(y)), atol=1e-10)
    assert model.converged_
    assert model.n_iter_ <= 2


@pytest.mark.parametrize("loss", [SquaredError(), Logistic(), Poisson(), Huber(0.7)], ids=repr)
@pytest.mark.parametrize("kind", ["dense", "sparse"])
def test_a_sum_of_a_corner_and_a_square_with_any_loss(loss: Loss, kind: str) -> None:
    """Elastic net by the general way is elastic net by working sets."""
    X, y = data(60, 30, 1)
    if isinstance(loss, Logistic):
        y = (y > 2).astype(float)
    elif isinstance(loss, Poisson):
        y = np.round(np.exp(np.clip(y - 2, -2, 2)))
    form = as_penalty(sb.ElasticNet(0.4)).form((30,))
    weights = np.full(60, 1 / 60)
    inputs = scipy.sparse.csc_array(X) if kind == "sparse" else X
    model = Model(form, inputs, weights, True, loss)
    corners = solver_for(model, y).fit(0.1, Options())
    problem = Problem(Inputs(inputs), y, loss, free=np.ones((60, 1)))
    found = minimise(Composite(problem, form), 0.1, np.zeros(30))
    assert found.reason == "converged"
    np.testing.assert_allclose(found.best.c, corners.penalized, atol=1e-6)
    assert found.best.objective == pytest.approx(corners.certificate.objective, rel=1e-9)


def test_the_gap_bounds_what_is_left_to_gain() -> None:
    X, y = data(40, 20, 2)
    form = as_penalty(sb.Lq(1.5)).form((20,))
    composite = Composite(Problem(Inputs(X), y, free=np.ones((40, 1))), form)
    best = minimise(composite, 0.2, np.zeros(20)).best
    rng = np.random.default_rng(0)
    for _ in range(20):
        c = best.c + rng.normal(size=20) * 10.0 ** rng.uniform(-4, 0)
        here = composite.certify(c, 0.2)
        assert here.objective >= best.objective * (1 - 1e-12)
        assert here.certificate.gap >= here.objective - best.objective - 1e-12


@pytest.mark.parametrize("penalty", [sb.Nuclear(), sb.TotalVariation(joint=True)], ids=repr)
def test_matrices_agree_with_a_convex_program(penalty: Any) -> None:
    rng = np.random.default_rng(3)
    X = rng.normal(size=(30, 8))
    Y = X @ rng.normal(size=(8, 2)) @ rng.normal(size=(2, 5)) + rng.normal(size=(30, 5))
    model = sb.DesignedRegressor(penalty, 0.2).fit(X, Y)
    reference = convex_reference(penalty, 0.2, X, Y)
    assert model.objective_ == pytest.approx(reference.objective, rel=1e-8)
    np.testing.assert_allclose(model.coef_.T, reference.coef, atol=1e-4)


@pytest.mark.parametrize("penalty", ["lq", "logsum", sb.Ridge(), "spectral", "tv"], ids=str)
def test_sparse_inputs(penalty: Any) -> None:
    rng = np.random.default_rng(4)
    X = np.where(rng.uniform(size=(50, 12)) < 0.6, 0.0, rng.normal(size=(50, 12)))
    y = X[:, 0] - X[:, 5] + 0.1 * rng.normal(size=50)
    dense = sb.DesignedRegressor(penalty, 0.05).fit(X, y)
    sparse = sb.DesignedRegressor(penalty, 0.05).fit(scipy.sparse.csr_matrix(X), y)
    np.testing.assert_allclose(sparse.coef_, dense.coef_, atol=1e-6)
    assert sparse.objective_ == pytest.approx(dense.objective_, rel=1e-9)


def test_no_size_alone_improves_on_zero_at_the_largest_strength() -> None:
    X, y = data(40, 10, 5)
    for penalty in (sb.LogSum(), sb.Lq(0.5)):
        largest = sb.DesignedRegressor(penalty, 1.0).fit(X, y).strength_max_
        assert not sb.DesignedRegressor(penalty, 1.01 * largest).fit(X, y).support_.any()
        assert sb.DesignedRegressor(penalty, 0.97 * largest).fit(X, y).support_.any()


def test_a_fit_compiles_nothing() -> None:
    """No JAX on the path of a fit: importing it alone costs more than the fit."""
    import subprocess
    import sys

    code = (
        "import sys, numpy as np, symbias as sb\n"
        "X = np.random.default_rng(0).normal(size=(30, 6))\n"
        "for penalty in ('l1', 'lq', 'logsum', 'tv', sb.GroupLasso(2), sb.Ridge()):\n"
        "    sb.DesignedRegressor(penalty, 0.1).fit(X, X[:, 0])\n"
        "sb.DesignedRegressor(sb.Nuclear(), 0.1).fit(X, X[:, :3])\n"
        "sb.DesignedRegressorCV('l1', strengths=3, cv=3).fit(X, X[:, 0])\n"
        "sb.fit_series(range(30), X[:, 0], 'trend')\n"
        "print([m for m in ('jax', 'torch', 'numba') if m in sys.modules])"
    )
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert out.stdout.strip() == "[]"


def test_fits_in_threads_do_not_warn() -> None:
    """Warnings are errors here; filters of several threads would undo one another."""
    from concurrent.futures import ThreadPoolExecutor

    rng = np.random.default_rng(0)
    X, y = rng.normal(size=(40, 120)), rng.normal(size=40)

    def fit(strength: float) -> int:
        return int(np.sum(sb.DesignedRegressor("l1", strength).fit(X, y).support_))

    strengths = np.tile(np.geomspace(0.3, 0.005, 20), 4)
    with ThreadPoolExecutor(4) as pool:
        assert list(pool.map(fit, strengths)) == [fit(s) for s in strengths[:20]] * 4
