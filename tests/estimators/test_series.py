"""Series: what is measured where."""

import cvxpy as cp
import numpy as np
import pytest

import symbias as sb
from symbias.estimators.observed import interleaved_folds


@pytest.mark.parametrize("penalty", ["tv", "trend", "spectral"])
def test_missing_values_are_rows_that_nobody_measured(penalty: str) -> None:
    """A grid with holes is the whole grid seen through a selection."""
    n = 30
    values = np.cumsum(np.random.default_rng(4).normal(size=n))
    holes = np.array([3, 4, 11, 20])
    seen = np.delete(np.arange(n), holes)
    direct = sb.DesignedRegressor(penalty, 0.05).fit(np.eye(n)[seen], values[seen])
    masked = values.copy()
    masked[holes] = np.nan
    fit = sb.fit_series(2000 + 0.5 * np.arange(n), masked, penalty, 0.05)
    known = seen if penalty == "tv" else np.arange(n)  # a jump may stand anywhere in a hole
    np.testing.assert_allclose(fit.fitted[known], direct.predict(np.eye(n))[known], atol=1e-6)
    np.testing.assert_array_equal(fit.observed, values[seen])


def test_stamps_that_are_left_out_change_nothing_for_frequencies() -> None:
    n = 30
    values = np.cumsum(np.random.default_rng(4).normal(size=n))
    seen = np.delete(np.arange(n), [3, 4, 11, 20])
    direct = sb.DesignedRegressor("spectral", 0.05).fit(np.eye(n)[seen], values[seen])
    fit = sb.fit_series(seen, values[seen], "spectral", 0.05)
    np.testing.assert_allclose(fit.fitted, direct.predict(np.eye(n)[seen]), atol=1e-6)
    np.testing.assert_allclose(fit.coefficients, direct.penalized_, atol=1e-6)


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
        ([2, 2, 2], [0, 1, 2], "all 3 time stamps are equal"),
    ],
)
def test_bad_series_are_named(times, values, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        sb.fit_series(times, values, "tv", 1.0)


def test_frequencies_at_uneven_stamps_have_a_limit() -> None:
    times = np.arange(4001) + 0.1 * np.random.default_rng(0).uniform(size=4001)
    with pytest.raises(ValueError, match="4001 time stamps is too long for dense matrices"):
        sb.fit_series(times, np.ones(4001), "spectral")


def test_long_series_are_no_trouble() -> None:
    """40,000 stamps, some missing, some twice: the jumps are found, and certified."""
    rng = np.random.default_rng(0)
    n, levels = 40_000, np.array([0.0, 3.0, -1.0, 2.0])
    truth = np.repeat(levels, n // 4)
    times = np.sort(np.concatenate([np.arange(n), rng.integers(n, size=500)]))
    values = truth[times] + rng.normal(size=len(times))
    values[rng.integers(len(times), size=300)] = np.nan
    fit = sb.fit_series(times, values, "tv")
    assert fit.converged
    assert 0 <= fit.dual_gap <= 1e-8 * fit.objective
    assert fit.strengths is not None
    assert fit.errors is not None
    assert fit.errors.shape == (len(fit.strengths), 5)
    sizes = np.abs(np.diff(fit.fitted))
    largest = np.sort(np.argsort(-sizes)[:3])
    np.testing.assert_allclose(largest, [n // 4 - 1, n // 2 - 1, 3 * n // 4 - 1], atol=5)
    assert fit.unshrunk is not None
    np.testing.assert_allclose(fit.unshrunk[[100, -100]], levels[[0, -1]], atol=0.5)


@pytest.mark.parametrize("penalty", ["tv", "trend"])
def test_trained_factors_agree_with_knots(penalty: str) -> None:
    rng = np.random.default_rng(1)
    times = np.sort(rng.uniform(0, 50, size=40))
    values = np.cumsum(rng.normal(size=40))
    values[[5, 6, 30]] = np.nan
    direct = sb.fit_series(times, values, penalty, 0.1, tol=1e-10)
    trained = sb.fit_series(times, values, penalty, 0.1, solver="varpro", tol=1e-10)
    assert direct.objective == pytest.approx(trained.objective, rel=1e-8)
    seen = ~np.isnan(values)
    np.testing.assert_allclose(direct.fitted[seen], trained.fitted[seen], atol=1e-4)
    np.testing.assert_array_equal(direct.breaks, trained.breaks)
    assert direct.strength_max == pytest.approx(trained.strength_max, rel=1e-9)


@pytest.mark.parametrize("loss", ["huber", "poisson"])
def test_other_losses(loss: str) -> None:
    """Stamps with several values weigh as much as they have; against a fit of every value."""
    rng = np.random.default_rng(2)
    times = np.repeat(np.arange(30), rng.integers(1, 4, size=30))
    values = rng.poisson(np.where(times < 15, 2.0, 8.0)).astype(float)
    if loss == "huber":
        keep = np.unique(times, return_index=True)[1]  # means are not enough for this loss
        times, values = times[keep], values[keep]
    fit = sb.fit_series(times, values, "tv", 0.05, loss=loss, tol=1e-10)
    direct = sb.DesignedRegressor("tv", 0.05, loss=loss).fit(np.eye(30)[times], values)
    assert fit.objective == pytest.approx(direct.objective_, rel=1e-8)
    if loss == "poisson":  # the Huber loss leaves values between two residuals free
        np.testing.assert_allclose(fit.fitted, direct.predict(np.eye(30)), rtol=1e-4)


def test_spectra_without_gaps_are_a_threshold() -> None:
    values = np.cumsum(np.random.default_rng(3).normal(size=64))
    fit = sb.fit_series(np.arange(64), values, "spectral", 0.02)
    direct = sb.DesignedRegressor("spectral", 0.02).fit(np.eye(64), values)
    np.testing.assert_allclose(fit.fitted, direct.predict(np.eye(64)), atol=1e-7)
    assert fit.objective == pytest.approx(direct.objective_, rel=1e-9)
    assert fit.strength_max == pytest.approx(direct.strength_max_, rel=1e-9)
    assert np.count_nonzero(fit.coefficients) == len(fit.changes) == direct.support_.sum()


JOINT = [sb.TotalVariation(joint=True), sb.TrendFilter(joint=True)]


def channels(n: int, seed: int) -> np.ndarray:
    """Three channels whose level changes at the same two stamps, with noise."""
    rng = np.random.default_rng(seed)
    at = np.minimum(3 * np.arange(n) // n, 2)
    return rng.normal(size=(3, 3))[at] * 2 + 0.3 * rng.normal(size=(n, 3))


@pytest.mark.parametrize("penalty", JOINT, ids=["tv", "trend"])
def test_channels_that_change_together_against_dense_groups(penalty: sb.Penalty) -> None:
    """Whole, on the identity: the group lasso of the differences."""
    n, Y = 40, channels(40, 0)
    fit = sb.fit_series(range(n), Y, penalty, 0.05, tol=1e-11)
    dense = sb.DesignedRegressor(penalty, 0.05, tol=1e-11).fit(np.eye(n), Y)
    assert fit.objective == pytest.approx(dense.objective_, rel=1e-10)
    assert fit.strength_max == pytest.approx(dense.strength_max_, rel=1e-9)
    np.testing.assert_allclose(fit.fitted, dense.predict(np.eye(n)), atol=1e-5)
    changes = np.flatnonzero(np.any(np.abs(dense.penalized_) > 1e-7, axis=1))
    np.testing.assert_array_equal(fit.changes, changes + isinstance(penalty, sb.TrendFilter))


@pytest.mark.parametrize(
    ("penalty", "solver"), [(JOINT[0], "auto"), (JOINT[1], "auto"), (JOINT[0], "varpro")]
)
def test_channels_with_gaps_repeats_and_uneven_stamps(penalty: sb.Penalty, solver: str) -> None:
    """Against the convex solver on every value that there is."""
    rng = np.random.default_rng(3)
    times = np.sort(rng.choice(np.linspace(0, 50, 120), 45))
    Y = channels(45, 1)
    Y[rng.uniform(size=Y.shape) < 0.3] = np.nan
    fit = sb.fit_series(times, Y, penalty, 0.05, solver=solver, tol=1e-9)
    seen = ~np.isnan(Y).all(axis=1)
    stamps = np.unique(times)
    where = np.searchsorted(stamps, times)
    loss = np.nansum((Y - fit.fitted[where]) ** 2) / (2 * seen.sum())
    assert fit.objective == pytest.approx(loss + 0.05 * float(fit.penalty(fit.fitted)), rel=1e-8)
    W = cp.Variable((len(stamps), 3))
    apart = cp.multiply(~np.isnan(Y), W[where] - np.nan_to_num(Y))
    jumps = cp.diff(W, axis=0)
    if isinstance(penalty, sb.TrendFilter):
        jumps = cp.diff(cp.multiply(jumps, fit.step / np.diff(stamps)[:, None]), axis=0)
    cost = cp.sum_squares(apart) / (2 * seen.sum()) + 0.05 * cp.sum(cp.norm(jumps, 2, axis=1))
    best = cp.Problem(cp.Minimize(cost)).solve(cp.CLARABEL)
    assert fit.objective == pytest.approx(best, rel=1e-7)
    np.testing.assert_array_equal(fit.observed, Y[seen][np.argsort(times[seen], kind="stable")])


def test_one_channel_is_a_series() -> None:
    values = np.cumsum(np.random.default_rng(4).normal(size=60))
    values[[3, 4, 20]] = np.nan
    for strength in (0.05, "auto"):
        one = sb.fit_series(range(60), values, "tv", strength)
        for given in (values, values[:, None]):
            same = sb.fit_series(range(60), given, sb.TotalVariation(joint=True), strength)
            assert same.strength == pytest.approx(one.strength)
            np.testing.assert_allclose(same.fitted.ravel(), one.fitted, atol=1e-6)
            np.testing.assert_array_equal(same.changes, one.changes)


@pytest.mark.parametrize("penalty", JOINT, ids=["tv", "trend"])
def test_the_strength_of_channels_by_cross_validation(penalty: sb.Penalty) -> None:
    """Errors are those of fits of each fold; knots are kept from strength to strength."""
    Y = channels(60, 2)
    Y[10:20, 0] = np.nan
    fit = sb.fit_series(range(60), Y, penalty, folds=3)
    assert fit.strengths is not None
    assert fit.errors is not None
    for i in (5, 15):
        for k, (train, test) in enumerate(interleaved_folds(60, 3)):
            fold = np.where(np.isin(np.arange(60), train)[:, None], Y, np.nan)
            part = sb.fit_series(range(60), fold, penalty, fit.strengths[i], tol=1e-10)
            error = np.nanmean((part.fitted[test] - Y[test]) ** 2)
            assert fit.errors[i, k] == pytest.approx(error, rel=1e-2)
    whole = sb.fit_series(range(60), Y, penalty, fit.strength)
    np.testing.assert_allclose(fit.fitted, whole.fitted, atol=1e-6)


@pytest.mark.parametrize("loss", ["huber", "poisson"])
def test_other_losses_of_channels(loss: str) -> None:
    rng = np.random.default_rng(2)
    means = np.where(np.arange(30)[:, None] < 15, [2.0, 5.0], [8.0, 4.0])
    Y = rng.poisson(means).astype(float)
    penalty = sb.TotalVariation(joint=True)
    fit = sb.fit_series(range(30), Y, penalty, 0.05, loss=loss, tol=1e-10)
    dense = sb.DesignedRegressor(penalty, 0.05, loss=loss).fit(np.eye(30), Y)
    assert fit.objective == pytest.approx(dense.objective_, rel=1e-8)


def test_long_channels() -> None:
    """30,000 stamps and 3 channels with gaps: changes are found together, and certified."""
    rng = np.random.default_rng(0)
    n, levels = 30_000, np.array([[0.0, 0, 1], [0.6, -0.6, 1], [0.6, 0, -1]])
    truth = levels[3 * np.arange(n) // n]
    Y = truth + rng.normal(size=(n, 3))
    Y[4000:8000, 0] = np.nan
    fit = sb.fit_series(range(n), Y, sb.TotalVariation(joint=True))
    assert fit.converged
    assert 0 <= fit.dual_gap <= 1e-8 * fit.objective
    for k in range(3):  # where channels change, one does
        at = [n // 3 - 1, 2 * n // 3 - 1][k == 2 :][: 1 if k == 0 else None]
        largest = np.argsort(-np.abs(np.diff(fit.fitted[:, k])))[:4]
        assert all(np.abs(largest - there).min() <= 20 for there in at)
    assert fit.unshrunk is not None
    np.testing.assert_allclose(fit.unshrunk[[100, -100]], levels[[0, -1]], atol=0.2)


def test_channels_that_are_refused() -> None:
    Y = channels(10, 0)
    for penalty in ("tv", "spectral", sb.TotalVariation(axis=0), sb.TotalVariation(1, joint=True)):
        with pytest.raises(ValueError, match="joint=True"):
            sb.fit_series(range(10), Y, penalty, 0.1)
    Y[2:, 1] = np.nan
    with pytest.raises(ValueError, match="got 2 in channel 1"):
        sb.fit_series(range(10), Y, JOINT[0], 0.1)
    with pytest.raises(ValueError, match="two equal lists"):
        sb.fit_series(range(9), Y, JOINT[0], 0.1)
    Y[3:, 1] = [1, np.nan, np.nan, np.nan, np.nan, np.nan, np.nan]
    with pytest.raises(ValueError, match=r"channel 1 has \d observed values, and needs 2"):
        sb.fit_series(range(10), Y, JOINT[1], folds=2)


def test_frequencies_over_gaps_and_repeats_are_those_of_dense_matrices() -> None:
    rng = np.random.default_rng(5)
    times = np.sort(rng.choice(60, 70))
    values = np.cos(np.pi * 7 * (times + 0.5) / 60) + 0.3 * rng.normal(size=70)
    times, values = np.append(times, [0, 59]), np.append(values, [1.0, -1.0])
    stamps = np.unique(times)
    assert len(stamps) < 60
    fit = sb.fit_series(times, values, "spectral", 0.02, tol=1e-11)
    dense = sb.DesignedRegressor("spectral", 0.02, tol=1e-11).fit(np.eye(60)[times], values)
    assert fit.objective == pytest.approx(dense.objective_, rel=1e-9)
    assert fit.strength_max == pytest.approx(dense.strength_max_, rel=1e-9)
    np.testing.assert_allclose(fit.fitted, dense.predict(np.eye(60)[stamps]), atol=1e-5)
    np.testing.assert_allclose(fit.coefficients, dense.penalized_, atol=1e-5)


def test_the_strength_of_frequencies_over_gaps_by_cross_validation() -> None:
    rng = np.random.default_rng(6)
    values = 3 * np.cos(np.pi * 9 * (np.arange(80) + 0.5) / 80) + rng.normal(size=80)
    values[20:27] = np.nan
    fit = sb.fit_series(range(80), values, "spectral", folds=3)
    assert fit.strengths is not None
    assert fit.errors is not None
    at = np.flatnonzero(~np.isnan(values))
    for i in (3, 12):
        for k, (train, test) in enumerate(interleaved_folds(len(at), 3)):
            part = sb.DesignedRegressor("spectral", fit.strengths[i])
            part.fit(np.eye(80)[at[train]], values[at[train]])
            error = np.mean((part.predict(np.eye(80)[at[test]]) - values[at[test]]) ** 2)
            assert fit.errors[i, k] == pytest.approx(error, rel=1e-2)
    assert np.argmax(np.abs(fit.coefficients)) == 9


def test_long_spectra_over_gaps() -> None:
    """30,000 stamps, gaps, cross-validated: the frequencies are found, and certified."""
    rng = np.random.default_rng(7)
    n, there = 30_000, np.array([40, 411, 5000])
    values = sum(np.cos(np.pi * k * (np.arange(n) + 0.5) / n) for k in there)
    values = values + 2 * rng.normal(size=n)
    values[rng.uniform(size=n) < 0.2] = np.nan
    values[10_000:11_000] = np.nan
    fit = sb.fit_series(range(n), values, "spectral")
    assert fit.converged
    assert 0 <= fit.dual_gap <= 1e-8 * fit.objective
    largest = np.argsort(-np.abs(fit.coefficients))[:3]
    np.testing.assert_array_equal(np.sort(largest), there)


def test_nearly_interpolation_over_a_gap_is_left_to_dense_matrices() -> None:
    values = np.random.default_rng(0).normal(size=64)
    values[20:34] = np.nan
    fit = sb.fit_series(range(64), values, "spectral", 1e-4)
    assert fit.converged
