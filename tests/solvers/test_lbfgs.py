"""L-BFGS: its recursion as dense matrices, its line search by the conditions of Wolfe."""

from collections.abc import Callable

import numpy as np
import pytest
from scipy.optimize import rosen, rosen_der

from symbias.solvers import LBFGS

Function = Callable[[np.ndarray], tuple[float, np.ndarray]]


def bowl(scale: float = 1.0, offset: float = 0.0) -> Function:
    """scale times a quadratic of condition 1e3 with its minimum at 1, plus an offset."""
    h = np.geomspace(1, 1e3, 12)
    return lambda x: (offset + scale * float(h @ (x - 1) ** 2) / 2, scale * h * (x - 1))


def valley(x: np.ndarray) -> tuple[float, np.ndarray]:
    return float(rosen(x)), rosen_der(x)


def test_every_step_is_a_wolfe_step() -> None:
    method = LBFGS(valley, np.full(6, -1.2))
    for _ in range(60):
        x, value, slope = method.x, method.value, method.slope
        assert method.advance(1)
        start = float(slope @ (method.x - x))
        assert start < 0
        assert method.value <= value + 1e-4 * start
        assert float(method.slope @ (method.x - x)) >= 0.9 * start
    assert method.steps == 60
    np.testing.assert_allclose(method.x, 1, atol=1e-6)


def test_the_direction_is_that_of_the_dense_recursion() -> None:
    """H <- (1 - s y'/y's) H (1 - y s'/y's) + s s'/y's, from (s'y / y'y) 1 of the last pair."""
    xs, slopes = [np.full(6, -1.2)], []
    method = LBFGS(valley, xs[0], memory=4)
    slopes.append(method.slope)
    for _ in range(9):
        method.advance(1)
        xs.append(method.x)
        slopes.append(method.slope)
    moves, changes = np.diff(xs, axis=0)[-4:], np.diff(slopes, axis=0)[-4:]
    H = np.eye(6) * (moves[-1] @ changes[-1]) / (changes[-1] @ changes[-1])
    for s, y in zip(moves, changes, strict=True):
        left = np.eye(6) - np.outer(s, y) / (y @ s)
        H = left @ H @ left.T + np.outer(s, s) / (y @ s)
    np.testing.assert_allclose(method._direction(), -H @ method.slope, rtol=1e-9)


@pytest.mark.parametrize("scale", [1e-8, 1.0, 1e8])
def test_the_unit_of_the_function_does_not_matter(scale: float) -> None:
    calls = []
    function = bowl(scale)
    method = LBFGS(lambda x: calls.append(1) or function(x), np.zeros(12))
    method.advance(60)
    np.testing.assert_allclose(method.x, 1, atol=1e-6)
    assert len(calls) <= 130  # the first steps find the unit


def test_slopes_lead_on_where_values_are_rounded() -> None:
    """Beside 1e8 the values end at |x - 1| of about 1e-4; the slopes tell 1e-9."""
    method = LBFGS(bowl(offset=1e8), np.zeros(12))
    method.advance(200)
    np.testing.assert_allclose(method.x, 1, atol=1e-9)


def test_it_says_where_nothing_goes_down() -> None:
    method = LBFGS(bowl(), np.ones(12))
    assert not method.advance(5)
    assert method.steps == 0
    method = LBFGS(bowl(), np.zeros(12))
    assert method.advance(3)
    assert method.steps == 3
    assert not method.advance(1000)
    corner = LBFGS(lambda x: (float(np.abs(x).sum()), np.sign(x) + (x == 0)), np.zeros(2))
    assert not corner.advance(5)
    np.testing.assert_array_equal(corner.x, 0)


@pytest.mark.parametrize(
    ("change", "slope", "taken"),
    [
        (-0.5, 0.0, True),
        (-2e-4, 1.5, True),  # low enough
        (-0.5e-4, 1.5, False),  # not by what the slope promised, and it leads up again
        (-0.5e-4, 0.5, True),  # a parabola with these slopes is low enough
        (5e-7, 0.5, True),  # so it is where the values differ by rounding
        (5e-7, 1.5, False),
        (5e-6, 0.5, False),
        (-0.5, -0.85, True),
        (-0.5, -0.95, False),  # too short: it still goes down as steeply
    ],
)
def test_what_a_first_trial_may_be(change: float, slope: float, taken: bool) -> None:
    """From 0 with slope -1 and a value of 1e8 to 1; every other place would do."""

    def function(x: np.ndarray) -> tuple[float, np.ndarray]:
        value, along = {0.0: (0.0, -1.0), 1.0: (change, slope)}.get(float(x[0]), (-0.5, 0.0))
        return 1e8 + value, np.array([along])

    method = LBFGS(function, np.zeros(1))
    assert method.advance(1)
    assert (method.x[0] == 1) == taken


def test_the_first_trial_goes_down_by_at_most_one() -> None:
    seen = []
    pull = np.array([3.0, -1.0])
    function = lambda x: seen.append(x) or (float(pull @ x + x @ x), pull + 2 * x)  # noqa: E731
    LBFGS(function, np.zeros(2)).advance(1)
    np.testing.assert_allclose(seen[1], -pull / 4)
