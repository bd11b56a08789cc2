"""How sure the changes of a series are: against the dense definition, and against simulations."""

import numpy as np
import pytest
from scipy.stats import binom

import symbias as sb
from symbias.estimators import SeriesFit
from symbias.estimators.changepoints import noise_of
from symbias.estimators.confidence import Noise, change_ranges, critical
from symbias.estimators.observed import Observed

T = np.arange(60.0)


def drawn(order: int, seed: int, channels: int = 1) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Times (one repeated), values with two changes and gaps, and where the changes are."""
    rng = np.random.default_rng(seed)
    times = np.sort(np.concatenate([T + 0.3 * rng.random(60), [T[7]]]))
    shape = np.subtract.outer(times, [20.0, 40.0])
    signal = (shape > 0) @ [2.0, -1.5] if order == 1 else np.maximum(shape, 0) @ [0.3, -0.5]
    values = signal[:, None] * np.linspace(1, 0.5, channels) + 0.6 * rng.normal(
        size=(len(times), channels)
    )
    values[rng.random(values.shape) < 0.1] = np.nan
    return times, values[:, 0] if channels == 1 else values, np.array([20.0, 40.0])


def penalty(order: int, channels: int = 1) -> sb.Penalty:
    return (sb.TotalVariation if order == 1 else sb.TrendFilter)(joint=channels > 1)


def dense_sums(
    fit: SeriesFit, order: int, stamps: np.ndarray, moved: int
) -> tuple[np.ndarray, np.ndarray]:
    """S of every channel (candidates, channels) with one change moved, by least squares."""
    values = fit.observed.reshape(len(fit.observed), -1)
    at = np.searchsorted(stamps, fit.observed_times)
    changes = np.searchsorted(stamps, fit.changepoints[:, 0])
    others = np.delete(changes, moved)
    ends = np.concatenate([[-1 if order == 1 else 0], changes, [len(stamps) - 1]])
    candidates = np.arange(ends[moved] + 1, ends[moved + 2])
    sums = np.zeros((len(candidates), values.shape[1]))
    for row, tau in enumerate(candidates):
        places = np.sort([*others, tau])
        if order == 1:
            basis = np.column_stack(
                [np.ones(len(stamps)), *(np.arange(len(stamps)) > k for k in places)]
            )
        else:
            basis = np.column_stack(
                [np.ones(len(stamps)), stamps, *(np.maximum(stamps - stamps[k], 0) for k in places)]
            )
        for c, y in enumerate(values.T):
            seen = ~np.isnan(y)
            X = basis[at[seen]].astype(float)
            left = y[seen] - X @ np.linalg.lstsq(X, y[seen])[0]
            sums[row, c] = left @ left
    return candidates, sums


@pytest.mark.parametrize("order", [1, 2])
@pytest.mark.parametrize("channels", [1, 3])
def test_intervals_are_those_of_the_definition(order: int, channels: int) -> None:
    times, values, _ = drawn(order, 3 * order + channels, channels)
    strength = 0.05 if order == 1 else 1.0
    fit = sb.fit_series(times, values, penalty(order, channels), strength)
    assert len(fit.changepoints) == 2
    stamps = np.unique(fit.observed_times)
    noise = noise_of(fit.seen, order, np.searchsorted(stamps, fit.changepoints[:, 0]))
    found = fit.intervals(0.9)
    for k in range(2):
        candidates, sums = dense_sums(fit, order, stamps, k)
        excess = (sums / noise.long_run).sum(axis=1)
        inside = candidates[excess - excess.min() <= critical(order, 0.9) * noise.shared]
        last = inside[-1] + (order == 1)
        assert found[k].tolist() == [stamps[inside[0]], stamps[last]]


def test_the_noise_is_that_of_the_residuals() -> None:
    times, values, _ = drawn(1, 0)
    fit = sb.fit_series(times, values, "tv", 0.05)
    noise = noise_of(
        fit.seen, 1, np.searchsorted(np.unique(fit.observed_times), fit.changepoints[:, 0])
    )
    left = fit.observed - fit.unshrunk[np.searchsorted(fit.times, fit.observed_times)]
    variance = left @ left / (len(left) - 2 * len(fit.changepoints) - 1)
    assert noise.variance == pytest.approx([variance])
    rng = np.random.default_rng(0)
    chain = np.zeros(20_000)
    for k, e in enumerate(rng.normal(size=len(chain) - 1), start=1):
        chain[k] = 0.6 * chain[k - 1] + 0.8 * e
    pure = sb.fit_series(np.arange(len(chain)), chain, "tv", 1e6)
    long_run = Noise(pure.seen, 1, 0, pure.fitted).long_run
    assert long_run == pytest.approx([(1 + 0.6) / (1 - 0.6)], rel=0.1)  # 8 standard errors


def test_the_noise_of_repeated_stamps_and_of_short_series() -> None:
    """Bands of four standard errors."""
    rng = np.random.default_rng(7)
    stamps, values = np.repeat(np.arange(500), 4), rng.normal(size=2000)
    flat = sb.fit_series(stamps, values, "tv", 1e6)
    variance = Noise(flat.seen, 1, 0, flat.fitted).variance
    assert abs(variance[0] - 1) <= 4 * np.sqrt(2 / 2000)
    short = []
    for _ in range(2000):
        chain = np.zeros(70)
        for k, e in enumerate(rng.normal(size=69), start=1):
            chain[k] = 0.5 * chain[k - 1] + e
        chain = chain[-30:]
        fit = np.full(30, chain.mean())
        noise = Noise(Observed.of(np.arange(30.0), chain), 1, 0, fit)
        ratio = noise.long_run[0] / noise.variance[0]
        short.append((ratio - 1) / (ratio + 1))  # rho
    assert abs(np.mean(short) - 0.5) <= 4 * np.std(short) / np.sqrt(2000)  # without: 0.42


def test_the_limit_of_jumps_is_that_of_a_walk_with_drift() -> None:
    """max 2 W(v) - |v| over both sides, of random walks with steps of 1/50.

    A walk in steps of h stays below the Brownian maximum by 2 x .5826 sqrt(h) (Siegmund). The band
    is four standard errors: a false alarm in 1 of 10,000.
    """
    rng, h = np.random.default_rng(1), 1 / 50
    tops = np.zeros(8_000)
    for start in range(0, len(tops), 1000):
        steps = rng.normal(size=(2, 1000, 3_000)) * (2 * np.sqrt(h)) - h
        tops[start : start + 1000] = np.maximum(np.cumsum(steps, axis=2).max(axis=(0, 2)), 0)
    for level in (0.8, 0.95):
        share = np.mean(tops + 2 * 0.5826 * np.sqrt(h) <= critical(1, level))
        assert abs(share - level) <= 4 * np.sqrt(level * (1 - level) / len(tops))


@pytest.mark.parametrize(
    ("order", "size", "rho", "least"),
    [(1, 1.0, 0.0, 0.95), (1, 1.0, 0.5, 0.95), (2, 0.05, 0.0, 0.92), (2, 0.05, 0.5, 0.91)],
)
def test_intervals_cover_what_is_true(order: int, size: float, rho: float, least: float) -> None:
    """In 400 series of 200 values; a false alarm in less than 1 of 1,000 where ``least`` holds."""
    rng, n, at, hits = np.random.default_rng(5), 200, 100, 0
    t = np.arange(n, dtype=float)
    for _ in range(400):
        e = rng.normal(size=n + 100)
        for k in range(1, len(e)):
            e[k] = rho * e[k - 1] + np.sqrt(1 - rho**2) * e[k]
        y = e[100:] + size * ((t > at) if order == 1 else np.maximum(t - at, 0))
        seen = Observed.of(t, y)
        after = t > at if order == 1 else np.maximum(t - at, 0)
        basis = np.column_stack([np.ones(n), after] if order == 1 else [np.ones(n), t, after])
        fit = basis @ np.linalg.lstsq(basis, y)[0]
        noise = Noise(seen, order, 1, fit)
        low, high = change_ranges(seen, order, np.array([at]), noise, 0.95)[0]
        hits += low <= at <= high
    assert hits >= binom.ppf(0.001, 400, least)


def test_false_alarms_are_those_of_fresh_noise() -> None:
    """The share of 400 fresh series of noise with a changepoint, to four standard errors."""
    rng, n = np.random.default_rng(2), 60
    t = np.arange(n)
    y = rng.normal(size=n) + 6.0 * (t >= 30)
    fit = sb.fit_series(t, y, "tv", 0.12)
    assert fit.changepoints.tolist() == [[29, 30]]
    fresh = [sb.fit_series(t, rng.normal(size=n), "tv", 0.12) for _ in range(400)]
    assert np.mean([len(one.changes) > 0 for one in fresh]) > 0.2
    share = np.mean([len(one.changepoints) > 0 for one in fresh])
    assert share < 0.05
    assert abs(fit.false_alarms(400) - share) <= 4 * np.sqrt(2 * 0.05 / 400)
    assert fit.false_alarms(50, random_state=1) == fit.false_alarms(50, random_state=1)


def test_dates_stay_dates() -> None:
    days = np.datetime64("2020-01-01") + np.arange(40)
    y = np.random.default_rng(0).normal(size=40) + 4.0 * (np.arange(40) >= 15)
    fit = sb.fit_series(days, y, "tv", 0.5)
    (first, last) = fit.intervals()[0]
    assert np.datetime64("2020-01-12") <= first < last <= np.datetime64("2020-01-18")


@pytest.mark.parametrize(
    ("fit", "call", "message"),
    [
        (sb.fit_series(T, np.sin(T), "spectral", 0.1), "intervals", "a spectrum has no"),
        (sb.fit_series(T, np.sin(T), "spectral", 0.1), "false_alarms", "a spectrum has no"),
        (sb.fit_series(T, np.round(T), "tv", 0.1, loss="poisson"), "intervals", "squared errors"),
        (
            sb.fit_series(T, np.sin(9 * T), "tv", 1e-6),
            "intervals",
            "more than twice as many values",
        ),
    ],
)
def test_what_is_not_known_is_refused(fit: SeriesFit, call: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        getattr(fit, call)()


def test_of_data_without_noise_a_change_is_where_it_is() -> None:
    fit = sb.fit_series(T, 2.0 * (T > 30), "tv", 0.1)
    assert fit.intervals().tolist() == [[30.0, 31.0]]
    assert fit.false_alarms(20) == 0.0


def test_levels_are_shares() -> None:
    fit = sb.fit_series(T, T > 30, "tv", 0.1)
    with pytest.raises(ValueError, match="level must be between 0 and 1, got 95"):
        fit.intervals(95)
    assert sb.fit_series(T, T > 30, "tv", 1e6).intervals().shape == (0, 2)
