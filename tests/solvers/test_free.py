"""Free coordinates of any loss, against what they are by hand."""

import numpy as np
import pytest

from symbias.solvers import Huber, Inputs, Logistic, Loss, Poisson, Problem, Series, Spectrum
from symbias.solvers.free import newton


def test_newton_from_a_far_start() -> None:
    """The level of Poisson counts is the logarithm of their mean, from wherever it starts."""
    y, a = np.array([0.0, 3.0, 9.0]), np.array([0.5, 0.25, 0.25])
    E = np.ones((3, 1))
    for start in (np.full(3, -30.0), np.full(3, 5.0), np.array([3.0, -2.0, 0.5])):
        g = newton(Poisson(), E, a, y, start, np.zeros(1))
        np.testing.assert_allclose(a @ np.exp(start + g), a @ y)


@pytest.mark.parametrize("top", [1e3, 1e6, 1e9, 1e12])
def test_the_level_of_counts_of_which_one_is_large(top: float) -> None:
    """log of their mean: many powers of ten above a typical count."""
    y = np.zeros(100)
    y[7] = top
    wanted = np.log(top / 100)
    inputs = Inputs(np.random.default_rng(0).normal(size=(100, 3)))
    problem = Problem(inputs, y, Poisson(), free=np.ones((100, 1)))
    np.testing.assert_allclose(problem.null_eta, wanted)
    np.testing.assert_allclose(Series(y, loss=Poisson()).null, wanted)
    np.testing.assert_allclose(Spectrum(y, loss=Poisson()).null[0], 10 * wanted)


@pytest.mark.parametrize("loss", [Logistic(), Poisson(), Huber(0.5)], ids=repr)
def test_no_step_in_any_direction_is_better(loss: Loss) -> None:
    rng = np.random.default_rng(1)
    y, a = rng.integers(0, 2, size=50).astype(float), rng.uniform(size=50)
    a[:5] = 0.0
    eta = rng.normal(size=50)
    eta[:5] = 30.0  # not observed
    E = rng.normal(size=(50, 3))
    g = newton(loss, E, a, y, eta, np.array([1.0, -2.0, 3.0]))
    slope = E.T @ (a * np.asarray(loss.gradient(eta + E @ g, y)))
    np.testing.assert_allclose(slope, 0, atol=1e-10)


def test_a_row_that_weighs_nothing_may_overflow() -> None:
    loss, y, a = Poisson(), np.array([1.0, 3.0, 2.0]), np.array([0.5, 0.5, 0.0])
    far = np.array([0.0, 0.0, 1000.0])
    assert loss.bend(far, y, a).tolist() == [1.0, 1.0, 1e-5]
    found = newton(loss, np.ones((3, 1)), a, y, far, np.zeros(1))
    assert found == pytest.approx([np.log(2.0)], rel=1e-12)
