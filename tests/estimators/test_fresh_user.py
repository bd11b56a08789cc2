"""What a fresh user tries: bad input in one clear line, short reprs, a warning where due."""

from typing import Any

import numpy as np
import pytest

import symbias as sb
from symbias.solvers import Inputs, Model, Options, Problem, Series, Spectrum, solver_for
from symbias.solvers.working_set import solve

RNG = np.random.default_rng(0)
X = RNG.normal(size=(40, 6))
Y = X[:, 0] + RNG.normal(size=40)
T = np.arange(40.0)
STEP = 3.0 * (T > 20) + RNG.normal(size=40)


@pytest.mark.parametrize("kind", [sb.DesignedRegressor, sb.DesignedRegressorCV])
@pytest.mark.parametrize("y", [["q"] * 40, np.array(["a", "b"] * 20), T.astype("datetime64[s]")])
def test_targets_that_are_no_numbers(kind: Any, y: Any) -> None:
    with pytest.raises(ValueError, match=r"y must be numbers, got .* sb\.DesignedClassifier"):
        kind().fit(X, y)


@pytest.mark.parametrize("kind", [sb.DesignedRegressor, sb.DesignedRegressorCV])
@pytest.mark.parametrize("penalty", ["group", sb.GroupLasso(), sb.GroupLasso(1)])
def test_groups_of_one_are_refused(kind: Any, penalty: Any) -> None:
    with pytest.raises(ValueError, match=r"are l1: write sb\.GroupLasso\(labels\)"):
        kind(penalty).fit(X, Y)
    with pytest.raises(ValueError, match="are l1"):
        sb.DesignedClassifier(penalty).fit(X, Y > 0)


def test_groups_of_one_with_weights_are_a_penalty_of_their_own() -> None:
    weighted = sb.GroupLasso(1, weights=[1.0, 2, 3, 4, 5, 6])
    assert sb.DesignedRegressor(weighted).fit(X, Y).converged_


@pytest.mark.parametrize(
    ("max_iter", "kind"), [(1.5, TypeError), ("7", TypeError), (True, TypeError), (0, ValueError)]
)
def test_steps_are_whole_numbers(max_iter: Any, kind: type[Exception]) -> None:
    with pytest.raises(kind, match="max_iter must be"):
        sb.DesignedRegressor(max_iter=max_iter).fit(X, Y)
    with pytest.raises(kind, match="max_iter must be"):
        sb.fit_series(T, STEP, "tv", 0.1, max_iter=max_iter)


@pytest.mark.parametrize(
    ("values", "strength", "message"),
    [
        (STEP, "x", "strength must be a number or \"auto\", got 'x'"),
        (STEP + 1j, 0.1, "times and values must be real"),
    ],
)
def test_bad_input_of_a_series(values: Any, strength: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        sb.fit_series(T, values, "tv", strength)


def test_folds_are_a_whole_number() -> None:
    with pytest.raises(TypeError, match="folds must be a whole number"):
        sb.fit_series(T, STEP, "tv", folds=2.5)


def test_interpolation_by_cross_validation_is_said() -> None:
    with pytest.warns(UserWarning, match="of the largest strength: .*through the 4 values"):
        found = sb.fit_series([0, 1, 2, 3], [0.0, 1.0, 2.0, 3.0], "tv")
    np.testing.assert_allclose(found.fitted, [0, 1, 2, 3], atol=1e-6)


def test_results_are_shown_in_a_line() -> None:
    fit = sb.fit_series(T, STEP, "tv", 0.2)
    for part in ("TotalVariation", "n=40", "strength=0.2", "objective=", "converged=True"):
        assert part in repr(fit)
    assert f"changes={len(fit.changes)}," in repr(fit)
    problem = Problem(Inputs(X), Y)
    model = Model(sb.L1().form((6,)), X, np.full(40, 1 / 40))
    series = Series(STEP, 1)
    shown = [
        fit,
        solve(problem, 0.1),
        solver_for(model, Y).fit(0.1, Options()),
        series.solve(0.1),
        Spectrum(STEP).solve(0.1),
    ]
    for result in shown:
        assert type(result).__name__ in repr(result)
        assert "objective=" in repr(result)
        assert len(repr(result)) < 250
        assert "\n" not in repr(result)
