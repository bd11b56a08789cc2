"""The error rate that is stated: true laws of correlated chains, and of very narrow ones."""

import jax.numpy as jnp
import numpy as np
import pytest
import xarray as xr
from scipy import stats
from scipy.signal import lfilter

from symbias.evidence import autocorrelation_time, compare, independent
from symbias.evidence.chains import _gap
from symbias.mechanisms import Law

NORMAL = Law(lambda w: -(w**2) / 2, "predictor")
PAIR = Law(lambda w: -jnp.sum(w**2) / 2, "predictor", (2,))


def autoregression(rng, rho: float, shape: tuple[int, ...]) -> np.ndarray:
    """Standard normal values along the last axis, with correlations rho^lag."""
    x = rng.normal(size=shape)
    x[..., 1:] *= np.sqrt(1 - rho**2)
    return lfilter([1.0], [1.0, -rho], x, axis=-1)


def slow_modulus(rng, rho: float, shape: tuple[int, ...]) -> np.ndarray:
    """Standard normal values whose moduli are slow and whose signs are new at every step."""
    return np.abs(autoregression(rng, rho, shape)) * rng.choice([-1, 1], size=shape)


def rejections(make, rho: float, chains: int, times: int, repeats: int) -> float:
    """How often the true law is rejected at 5%."""
    rng = np.random.default_rng(11)
    time = (1 + rho) / (1 - rho) if make is autoregression else (1 + rho**2) / (1 - rho**2)
    shape = (chains, round(times * time / chains))
    samples = (
        xr.DataArray(make(rng, rho, shape), dims=("replica", "step")) for _ in range(repeats)
    )
    return float(np.mean([compare(NORMAL, x).p_value <= 0.05 for x in samples]))


@pytest.mark.parametrize(("make", "rho"), [(autoregression, 0.9), (slow_modulus, 0.9)])
def test_true_laws_of_chains_are_rejected_as_often_as_stated(make, rho: float) -> None:
    """300 chains of 200 times: 5% make 15; more than 30 come once in 7,000."""
    assert 300 * rejections(make, rho, 1, 200, 300) <= 30


@pytest.mark.slow
@pytest.mark.parametrize(
    ("rho", "chains", "times"),
    [(rho, *c) for rho in (0.5, 0.9) for c in ((1, 200), (8, 200), (1, 1000))] + [(0.99, 8, 200)],
)
@pytest.mark.parametrize("make", [autoregression, slow_modulus])
def test_the_level_holds_over_2000_chains(make, rho: float, chains: int, times: int) -> None:
    """Between 3.5% and 6.5%, 3.1 standard errors: one of 14 tests fails once in 40 seeds."""
    assert 0.035 <= rejections(make, rho, chains, times, 2000) <= 0.065


def test_a_slow_modulus_and_a_slow_product_are_seen() -> None:
    """Times of what is slow, (1 + rho^2)/(1 - rho^2) = 49.5, within 40%; the mean sees 1."""
    rng = np.random.default_rng(0)
    x = slow_modulus(rng, 0.98, (4, 20_000))
    assert abs(autocorrelation_time(x) / 49.5 - 1) < 0.4
    # two numbers of fast signs whose product keeps its sign for long
    sign = rng.choice([-1, 1], (4, 20_000))
    kept = np.sign(autoregression(rng, 0.99, (4, 20_000)))
    pair = np.stack([sign, sign * kept], axis=-1) * np.abs(rng.normal(size=(4, 20_000, 2)))
    assert autocorrelation_time(pair[..., 1]) < 2
    assert autocorrelation_time(pair) > 10


def test_short_chains_are_undecided_unless_their_last_values_reject() -> None:
    rng = np.random.default_rng(1)
    few = xr.DataArray(autoregression(rng, 0.99, (4, 2000)), dims=("replica", "step"))
    seen = compare(NORMAL, few)
    assert (seen.verdict, seen.effective) == ("undecided", 4)
    assert compare(NORMAL, few + 50).verdict == "rejected"
    one = compare(NORMAL, few.isel(replica=0))
    assert (one.verdict, one.effective) == ("undecided", 1)
    many = xr.DataArray(autoregression(rng, 0.99, (200, 30)), dims=("replica", "step"))
    seen = compare(NORMAL, many)
    assert (seen.verdict, seen.effective) == ("consistent", 200)


def test_many_replicas_of_few_steps_give_their_last_values() -> None:
    """300 replicas of 6 steps, 100 times: 5 rejections at 5%; more than 14 come once in 10,000."""
    rng = np.random.default_rng(12)
    p = []
    for _ in range(100):
        kept, enough = independent(autoregression(rng, 0.9, (300, 6)))
        assert (len(kept), enough) == (300, True)
        p.append(stats.kstest(kept, "norm").pvalue)
    assert np.sum(np.array(p) <= 0.05) <= 14


def test_independent_values_are_all_taken() -> None:
    x = np.random.default_rng(2).normal(size=(200, 400))
    kept, enough = independent(x)
    assert enough
    assert len(kept) >= x.size / 3


def test_chains_are_thinned_to_what_is_forgotten() -> None:
    """rho^gap = exp(-6): 12 steps for rho = exp(-1/2); from the last value of every chain back."""
    rho = np.exp(-0.5)
    assert _gap((1 + rho) / (1 - rho) * (1 - 1e-9)) == 12
    assert _gap(1.0) == 1
    x = autoregression(np.random.default_rng(6), rho, (5, 4000))
    time = autocorrelation_time(x)
    wanted = (time - 1) / (time + 1)
    gap = next(g for g in range(1, 99) if wanted**g <= np.exp(-6))
    kept, enough = independent(x)
    assert enough
    np.testing.assert_array_equal(kept.reshape(5, -1), x[:, ::-1][:, ::gap])


def test_a_hundred_replicas_are_enough() -> None:
    rng = np.random.default_rng(7)
    x = autoregression(rng, 0.99, (100, 10))
    for replicas, enough in ((100, True), (99, False)):
        kept, found = independent(x[:replicas])
        assert found == enough
        np.testing.assert_array_equal(kept, x[:replicas, -1])


@pytest.mark.parametrize("spread", [1e-3, 1e-6, 1e-7, 1e-9])
def test_narrow_laws_are_known_as_well_as_wide_ones(spread: float) -> None:
    law = Law(lambda w: -(((w - 1) / spread) ** 2) / 2, "predictor")
    w = 1 + spread * np.linspace(-4, 4, 81)
    exact = stats.norm.cdf((w - 1) / spread)  # of the numbers that w was rounded to
    np.testing.assert_allclose(law.cdf(w), exact, atol=5e-5)
    x = 1 + spread * np.random.default_rng(3).normal(size=500)
    assert compare(law, x).verdict == "consistent"
    assert compare(law, x + 0.5 * spread).verdict == "rejected"


def test_two_narrow_wells_are_both_there() -> None:
    law = Law(lambda w: -((w - 1) ** 2) * (w - 2.03) ** 2 / 1e-6, "predictor")
    np.testing.assert_allclose(law.cdf(np.array([0.5, 1.5, 2.5])), [0, 0.5, 1], atol=1e-3)


@pytest.mark.slow
def test_a_narrow_law_of_two_numbers_is_sampled() -> None:
    law = Law(lambda w: -jnp.sum(((w - 1) / 1e-8) ** 2) / 2, "predictor", (2,))
    drawn = law.sample(400)
    assert np.abs(drawn.std(axis=0) / 1e-8 - 1).max() < 0.2
    x = 1 + 1e-8 * np.random.default_rng(4).normal(size=(400, 2))
    assert compare(law, x).verdict == "consistent"
