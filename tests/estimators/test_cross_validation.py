"""The strength is chosen as the rule says, and on the Nile it finds the one known change."""

from typing import Any

import numpy as np
import pytest
from sklearn.model_selection import KFold

import symbias as sb
from symbias.estimators.cross_validation import choose
from symbias.estimators.observed import interleaved_folds
from tests.training.cases import nile

RNG = np.random.default_rng(11)
X = RNG.normal(size=(30, 8))
Y = X[:, :2] @ np.array([[1.0, 0.0], [2.0, -1.0]]) + 0.5 * RNG.normal(size=(30, 2))
CHANGE = [1898 - 1871]  # the difference between the flows of 1898 and 1899

SCHEMES: dict[str, Any] = {
    "interleaved-5": interleaved_folds(100, 5),
    "interleaved-10": interleaved_folds(100, 10),
    **{
        f"shuffled-{k}-{seed}": KFold(k, shuffle=True, random_state=seed)
        for k, seed in [(5, 0), (5, 1), (10, 2)]
    },
}


@pytest.mark.parametrize("scheme", SCHEMES)
def test_the_nile_has_one_change(scheme: str) -> None:
    model = sb.DesignedRegressorCV("tv", cv=SCHEMES[scheme]).fit(np.eye(100), nile())
    assert np.flatnonzero(model.support_).tolist() == CHANGE
    assert model.penalized_[CHANGE[0]] < 0


def test_the_smallest_error_has_more_changes() -> None:
    model = sb.DesignedRegressorCV("tv", cv=SCHEMES["interleaved-5"], rule="min")
    found = np.flatnonzero(model.fit(np.eye(100), nile()).support_)
    assert len(found) > 1
    assert CHANGE[0] in found


@pytest.mark.parametrize(
    ("errors", "rule", "row"),
    [
        # means 5, 2, 1, 2; the standard error at the best row is 1/2
        ([[4, 6], [1, 3], [0.5, 1.5], [1, 3]], "min", 2),
        ([[4, 6], [1, 3], [0.5, 1.5], [1, 3]], "one_standard_error", 2),
        # the standard error is 1 (std 2 over 4 folds, by ddof = 1): row 1 is just within
        ([[9] * 4, [3.999] * 4, [3 - 3**0.5] * 2 + [3 + 3**0.5] * 2], "one_standard_error", 1),
        ([[9] * 4, [4.001] * 4, [3 - 3**0.5] * 2 + [3 + 3**0.5] * 2], "one_standard_error", 2),
        # equal rows: the strongest
        ([[1, 1], [1, 1]], "one_standard_error", 0),
        ([[1, 1], [1, 1]], "min", 0),
        # one fold has no standard error
        ([[3], [1], [2]], "one_standard_error", 1),
        # folds that cannot be tested do not count
        ([[9, np.nan, 9], [0, np.nan, 2], [1, np.nan, 2]], "min", 1),
    ],
)
def test_choose(errors: list[list[float]], rule: str, row: int) -> None:
    assert choose(np.array(errors), rule) == row


def test_nothing_to_choose_from() -> None:
    with pytest.raises(ValueError, match="no fold"):
        choose(np.full((3, 2), np.nan))


@pytest.mark.parametrize(
    "penalty",
    ["l1", pytest.param("lq", marks=pytest.mark.slow), sb.GroupLasso(2), "trend"],
    ids=str,
)
def test_the_path_is_that_of_separate_fits(penalty: Any) -> None:
    grid = [0.02, 0.5, 0.1]
    model = sb.DesignedRegressorCV(penalty, strengths=grid, cv=KFold(4), tol=1e-11).fit(X, Y)
    np.testing.assert_array_equal(model.strengths_, [0.5, 0.1, 0.02])
    for i, strength in enumerate(model.strengths_):
        for k, (train, test) in enumerate(KFold(4).split(X)):
            fold = sb.DesignedRegressor(penalty, strength, tol=1e-11).fit(X[train], Y[train])
            error = np.mean((Y[test] - fold.predict(X[test])) ** 2)
            assert model.mse_path_[i, k] == pytest.approx(error, rel=1e-6)
    whole = sb.DesignedRegressor(penalty, model.strength_, tol=1e-11).fit(X, Y)
    np.testing.assert_allclose(model.coef_, whole.coef_, atol=1e-6)
    assert model.strength_max_ == pytest.approx(whole.strength_max_)
    assert model.strength_ == model.strengths_[choose(model.mse_path_)]


def test_the_grid() -> None:
    model = sb.DesignedRegressorCV(strengths=5, min_ratio=1e-4, cv=3).fit(X, Y)
    expected = model.strength_max_ * 10.0 ** -np.arange(5)
    np.testing.assert_allclose(model.strengths_, expected)
    assert model.mse_path_.shape == (5, 3)
    one = sb.DesignedRegressorCV(strengths=1, cv=3).fit(X, Y)
    assert one.strength_ == one.strength_max_
    assert not one.support_.any()


def test_callback_counts_every_strength_of_every_fold() -> None:
    calls: list[tuple[int, int, float]] = []
    model = sb.DesignedRegressorCV(strengths=4, cv=3, callback=lambda *a: calls.append(a))
    model.fit(X, Y)
    assert [done for done, _, _ in calls] == list(range(1, 25))  # 4 strengths, 3 folds, 2 outputs
    assert {total for _, total, _ in calls} == {24}
    assert all(objective > 0 for _, _, objective in calls)


@pytest.mark.parametrize("loss", ["huber", "poisson", sb.Huber(0.3), "squared"], ids=str)
def test_another_loss_against_a_plain_loop_over_folds(loss: Any) -> None:
    rng = np.random.default_rng(5)
    X = rng.normal(size=(60, 8))
    y = rng.poisson(np.exp(X[:, 0])).astype(float)
    weights = rng.uniform(0.5, 2, size=60)
    grid = np.array([0.3, 0.1, 0.03])
    model = sb.DesignedRegressorCV("l1", strengths=grid, cv=3, loss=loss, rule="min")
    model.fit(X, y, weights)
    each = {
        "huber": lambda m, y: np.where(
            np.abs(m - y) <= 1.35, (m - y) ** 2 / 2, 1.35 * np.abs(m - y) - 1.35**2 / 2
        ),
        "poisson": lambda m, y: m - y * np.log(m) - y + y * np.log(np.where(y > 0, y, 1.0)),
        "squared": lambda m, y: (m - y) ** 2,
    }.get(
        loss if isinstance(loss, str) else "",
        lambda m, y: np.where(
            np.abs(m - y) <= 0.3, (m - y) ** 2 / 2, 0.3 * np.abs(m - y) - 0.3**2 / 2
        ),
    )
    errors = np.zeros((3, 3))
    for k, (train, test) in enumerate(KFold(3).split(X)):
        for i, strength in enumerate(grid):
            one = sb.DesignedRegressor("l1", strength, loss=loss)
            one.fit(X[train], y[train], weights[train])
            lost = each(one.predict(X[test]), y[test])
            errors[i, k] = np.average(lost, weights=weights[test])
    np.testing.assert_allclose(model.mse_path_, errors, rtol=1e-4)
    assert model.strength_ == grid[np.argmin(errors.mean(axis=1))]
    again = sb.DesignedRegressor("l1", model.strength_, loss=loss).fit(X, y, weights)
    np.testing.assert_allclose(model.predict(X), again.predict(X), rtol=1e-5)
