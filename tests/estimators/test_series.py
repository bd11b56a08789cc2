"""Series: what is measured where."""

import numpy as np
import pytest

import symbias as sb
from symbias.estimators.series import interleaved_folds

RNG = np.random.default_rng(4)


@pytest.mark.parametrize("penalty", ["tv", "trend", "spectral"])
def test_missing_values_are_rows_that_nobody_measured(penalty: str) -> None:
    """A grid with holes is the whole grid seen through a selection."""
    n = 30
    values = np.cumsum(RNG.normal(size=n))
    holes = np.array([3, 4, 11, 20])
    seen = np.delete(np.arange(n), holes)
    direct = sb.DesignedRegressor(penalty, 0.05).fit(np.eye(n)[seen], values[seen])
    masked = values.copy()
    masked[holes] = np.nan
    fit = sb.fit_series(2000 + 0.5 * np.arange(n), masked, penalty, 0.05)
    np.testing.assert_allclose(fit.fitted, direct.predict(np.eye(n)), atol=1e-6)
    np.testing.assert_array_equal(fit.observed, values[seen])


def test_stamps_that_are_left_out_change_nothing_for_frequencies() -> None:
    n = 30
    values = np.cumsum(RNG.normal(size=n))
    seen = np.delete(np.arange(n), [3, 4, 11, 20])
    direct = sb.DesignedRegressor("spectral", 0.05).fit(np.eye(n)[seen], values[seen])
    fit = sb.fit_series(seen, values[seen], "spectral", 0.05)
    np.testing.assert_allclose(fit.model.coef_, direct.coef_, atol=1e-6)


def test_order_and_repetition_of_stamps() -> None:
    times = np.array([2.0, 0.0, 1.0, 1.0, 3.0, 4.0])
    values = np.array([5.0, 1.0, 1.2, 0.8, 5.1, 4.9])
    fit = sb.fit_series(times, values, "tv", 0.05)
    np.testing.assert_array_equal(fit.times, np.arange(5.0))
    np.testing.assert_array_equal(fit.observed_times, [0, 1, 1, 2, 3, 4])
    np.testing.assert_array_equal(fit.breaks, [[1, 2]])


def test_interleaved_folds_cover_everything_once() -> None:
    folds = interleaved_folds(11, 4)
    assert sorted(np.concatenate([test for _, test in folds]).tolist()) == list(range(11))
    for train, test in folds:
        assert sorted([*train, *test]) == list(range(11))
        assert np.all(np.diff(test) == 4)


@pytest.mark.parametrize(
    ("times", "values", "message"),
    [
        ([0, 1, 2], [0, 1], "two equal lists"),
        ([0, 1, np.nan], [0, 1, 2], "times must be finite"),
        ([0, 1, 2], [0, 1, np.inf], "finite or nan"),
        ([0, 1, 2], [0, np.nan, 2], "at least 3 observed values, got 2"),
        (range(4001), range(4001), "4001 time stamps is too long"),
    ],
)
def test_bad_series_are_named(times, values, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        sb.fit_series(times, values, "tv", 1.0)
