"""The judge: calibrated under true laws, and able to reject wrong ones."""

import jax.numpy as jnp
import numpy as np
import pytest
import xarray as xr
from scipy import stats

from symbias.evidence import (
    Evidence,
    autocorrelation_time,
    compare,
    compare_median,
    compare_point,
    energy_test,
    holm,
    laws,
)
from symbias.mechanisms import Law

NORMAL = Law(lambda w: -(w**2) / 2, "predictor")
PAIR = Law(lambda w: -jnp.sum(w**2) / 2, "predictor", (2,))


def test_kolmogorov_smirnov_is_calibrated() -> None:
    """1,000 comparisons with exact draws: rejections at 5% between 3.5% and 6.5% (2.2 sd)."""
    rng = np.random.default_rng(0)
    p = [compare(NORMAL, rng.normal(size=200)).p_value for _ in range(1000)]
    assert 0.035 <= np.mean(np.array(p) <= 0.05) <= 0.065
    assert stats.kstest(p, "uniform").pvalue > 0.01


def test_energy_test_is_calibrated() -> None:
    rng = np.random.default_rng(1)
    p = [
        energy_test(rng.normal(size=(40, 2)), rng.normal(size=(60, 2)), permutations=99, rng=rng)[1]
        for _ in range(1000)
    ]
    assert 0.035 <= np.mean(np.array(p) <= 0.05) <= 0.065
    assert stats.kstest(np.array(p) - rng.uniform(size=1000) / 100, "uniform").pvalue > 0.01


@pytest.mark.slow
def test_draws_of_the_law_itself_are_not_told_apart() -> None:
    """100 comparisons of exact draws with law.sample: 15 rejections at 5% come once in 7,000."""
    rng = np.random.default_rng(2)
    p = [compare(PAIR, rng.normal(size=(60, 2)), key=k).p_value for k in range(100)]
    assert np.sum(np.array(p) <= 0.05) < 15


def test_wrong_laws_are_rejected() -> None:
    rng = np.random.default_rng(3)
    shifted = compare(NORMAL, rng.normal(0.2, 1, size=2000))
    assert shifted.test == "Kolmogorov-Smirnov"
    assert shifted.verdict == "rejected"
    assert shifted.p_value < 1e-6
    correlated = rng.normal(size=(1000, 2)) @ np.array([[1, 0.5], [0, 0.87]])
    seen = compare(PAIR, correlated)
    assert (seen.test, seen.verdict) == ("energy distance", "rejected")
    assert compare(PAIR, rng.normal(size=(1000, 2))).verdict == "consistent"


def test_energy_distance_in_one_dimension_is_scipys() -> None:
    rng = np.random.default_rng(4)
    x, y = rng.normal(size=300), rng.normal(0.3, 1, size=200)
    pooled = np.concatenate([x, y]).std()
    ours = energy_test(x[:, None], y[:, None], permutations=19, rng=rng)[0]
    assert abs(ours - stats.energy_distance(x / pooled, y / pooled) ** 2) < 1e-12


def test_the_permutation_p_value_is_a_share_of_all_splits() -> None:
    """No split of two equal samples has less energy; two of the 20 of six numbers have the most."""
    rng = np.random.default_rng(12)
    x = rng.normal(size=(30, 2))
    assert energy_test(x, x.copy(), permutations=19, rng=rng)[1] == 1.0
    far = energy_test(x, x + 50, permutations=19, rng=rng)
    assert far[1] == 1 / 20
    few = np.array([[0.0], [0.1], [0.3]])
    p = energy_test(few, few + 9, permutations=4000, rng=rng)[1]
    assert abs(p - 0.1) < 0.02  # 4.2 standard errors: once in 40,000 seeds


def test_energy_distance_by_hand() -> None:
    """2 E|x - y| - E|x - x'| - E|y - y'|, in units of the spread of all numbers together."""
    x, y = np.array([[0.0, 5.0], [1.0, 5.0]]), np.array([[2.0, 5.0]])
    rng = np.random.default_rng(0)
    found = energy_test(x, y, permutations=9, rng=rng)[0]  # one number, and a constant
    assert found == pytest.approx((2 * 1.5 - 0.5) / np.sqrt(2 / 3))
    turned = np.array([[3.0, 4.0], [0.0, 0.0]])  # both coordinates of one spread, in their units
    found = energy_test(turned[:1], turned[1:], permutations=9, rng=rng)[0]
    assert found == pytest.approx(2 * np.hypot(2, 2))


def test_two_samples_are_enough_and_numbers_of_one_are_a_list() -> None:
    """P(D_2 >= 3/4) = 2 (1/4)^2 = 1/8 for two numbers of a uniform law, all below a quarter."""
    at = stats.norm.ppf([0.24, 0.25])
    seen = compare(NORMAL, at)
    assert seen.statistic == pytest.approx(0.75, abs=1e-4)
    assert seen.p_value == pytest.approx(2 * 0.25**2, rel=1e-3)
    one = compare(Law(lambda w: -jnp.sum(w**2) / 2, "predictor", (1,)), at[:, None])
    assert (one.test, one.p_value) == (seen.test, pytest.approx(seen.p_value, rel=1e-3))
    assert (one.draws, one.effective) == (2, 2.0)


def test_draws_are_counted_in_points_of_the_law(monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(13)
    monkeypatch.setattr(laws, "MOST", 60)
    seen = compare(PAIR, rng.normal(size=(60, 2)))
    assert (seen.draws, seen.effective) == (60, 60.0)
    many = compare(PAIR, rng.normal(size=(90, 2)))
    assert (many.draws, many.effective) == (90, 60.0)
    chains = xr.DataArray(rng.normal(size=(3, 400, 2)), dims=("replica", "step", "w"))
    assert compare(PAIR, chains).draws == 1200


def chain(correlation: float, replicas: int = 8, steps: int = 3000) -> xr.DataArray:
    """Autoregressive standard normal values."""
    rng = np.random.default_rng(5)
    x = np.empty((replicas, steps))
    x[:, 0] = rng.normal(size=replicas)
    for t in range(1, steps):
        x[:, t] = correlation * x[:, t - 1] + np.sqrt(1 - correlation**2) * rng.normal(
            size=replicas
        )
    return xr.DataArray(x, dims=("replica", "step"))


@pytest.mark.parametrize("correlation", [0.0, 0.6, 0.95])
def test_autocorrelation_time_of_an_autoregression(correlation: float) -> None:
    """(1 + a) / (1 - a), within 20%."""
    expected = (1 + correlation) / (1 - correlation)
    assert abs(autocorrelation_time(chain(correlation).values) / expected - 1) < 0.2


def test_correlated_samples_are_thinned_before_they_are_judged() -> None:
    x = chain(0.95)
    judged = compare(NORMAL, x)
    assert judged.verdict == "consistent"
    assert judged.draws == 24_000
    assert 150 < judged.effective < 250  # 24,000 in three times 39 steps
    assert compare(NORMAL, x + 0.4).verdict == "rejected"
    assert compare(NORMAL, x.transpose("step", "replica")).p_value == judged.p_value


def test_points_have_the_level_they_claim() -> None:
    """1,000 true predictions at 5%: 3.5% to 6.5% rejected, the interval covers as many."""
    rng = np.random.default_rng(6)
    seen = [compare_point(2.0, rng.normal(2, 1, size=8), level=0.05) for _ in range(1000)]
    assert 0.035 <= np.mean([e.verdict == "rejected" for e in seen]) <= 0.065
    covered = np.mean([e.interval[0] <= 2.0 <= e.interval[1] for e in seen])
    assert 0.935 <= covered <= 0.965


def test_points_are_judged_by_students_t() -> None:
    x = np.array([1.3, 0.4, 2.2, 1.9, 0.7])
    seen, theirs = compare_point(0.5, x, level=0.1), stats.ttest_1samp(x, 0.5)
    assert seen.statistic == pytest.approx(theirs.statistic)
    assert seen.p_value == pytest.approx(theirs.pvalue)
    assert seen.interval == pytest.approx(tuple(theirs.confidence_interval(0.9)))
    assert compare_point(2.1, x).p_value == pytest.approx(stats.ttest_1samp(x, 2.1).pvalue)
    below = compare_point(-2.0, -x, tolerance=0.25)  # 0.7 off, of which 0.5 are allowed
    assert below.statistic == pytest.approx(0.2 / stats.sem(x))


@pytest.mark.parametrize(
    ("values", "verdict"),
    [
        (1.02 + 0.001 * np.arange(-2, 3), "consistent"),
        (1.09 + 0.001 * np.arange(-2, 3), "rejected"),
        (1.02 + 0.1 * np.arange(-2, 3), "undecided"),
        (1.05 + 0.001 * np.arange(-2, 3), "undecided"),
    ],
)
def test_points_with_a_tolerance(values: np.ndarray, verdict: str) -> None:
    seen = compare_point(1.0, values, tolerance=0.05)
    assert seen.verdict == verdict
    assert seen.estimate == pytest.approx(values.mean())
    assert seen.to_dict()["prediction"] == 1.0


def test_points_are_averaged_over_time_first() -> None:
    x = chain(0.9)
    seen = compare_point(0.0, x)
    assert seen.draws == 8
    assert seen.estimate == pytest.approx(float(x.mean()))
    assert seen.verdict == "consistent"


def test_holm_by_hand() -> None:
    p = [0.01, 0.04, 0.03, 0.005]
    evidence = [Evidence("t", 0.0, q, "rejected", 0.05, 1, 1.0) for q in p]
    adjusted = holm(evidence)
    np.testing.assert_allclose([e.p_value for e in adjusted], [0.03, 0.06, 0.06, 0.02])
    assert [e.verdict for e in adjusted] == ["rejected", "undecided", "undecided", "rejected"]
    assert holm([]) == []


def test_holm_leaves_what_is_outside_outside_and_what_is_undecided_undecided() -> None:
    outside = compare_median(np.arange(8.0), 9.0)
    assert outside.verdict == "rejected"
    assert {e.verdict for e in holm([outside] * 4)} == {"undecided"}  # 4 x 2/2^8 is above 1%
    rng = np.random.default_rng(8)
    for _ in range(300):
        family = [
            compare_point(1.0, rng.normal(1 + 0.1 * rng.normal(), 0.05, 5), tolerance=0.05)
            for _ in range(4)
        ]
        for alone, together in zip(family, holm(family), strict=True):
            allowed = {"rejected": ("rejected", "undecided")}
            assert together.verdict in allowed.get(alone.verdict, (alone.verdict,))


def test_intervals_and_p_values_of_one_verdict_agree() -> None:
    """Means and medians over runs, at a boundary of the range and on both sides of it."""
    rng = np.random.default_rng(9)
    verdicts = set()
    for _ in range(2000):
        x = rng.normal(1 + 0.1 * rng.normal(), 0.04, rng.integers(8, 16))
        for seen, (low, high) in (
            (compare_point(1.0, x, tolerance=0.05), (0.95, 1.05)),
            (compare_median(x, 0.95, 1.05), (0.95, 1.05)),
            (compare_median(x, high=1.02), (-np.inf, 1.02)),
        ):
            inside = low <= seen.interval[0] and seen.interval[1] <= high
            outside = seen.interval[0] > high or seen.interval[1] < low
            assert (seen.p_value <= seen.level) == outside
            assert (seen.p_opposite <= seen.level) == inside
            wanted = "rejected" if outside else "consistent" if inside else "undecided"
            assert seen.verdict == wanted
            verdicts.add(wanted)
    assert len(verdicts) == 3


def test_a_tolerance_shows_what_decides() -> None:
    inside = compare_point(1.0, 1.02 + 0.001 * np.arange(-2, 3), tolerance=0.05)
    error = np.std([-2, -1, 0, 1, 2], ddof=1) * 1e-3 / np.sqrt(5)
    assert inside.statistic == pytest.approx((0.02 - 0.05) / error)
    assert inside.p_opposite == pytest.approx(2 * stats.t.sf(0.03 / error, 4))
    assert inside.p_value == 1.0
    outside = compare_point(1.0, 1.09 + 0.001 * np.arange(-2, 3), tolerance=0.05)
    assert outside.statistic == pytest.approx((0.09 - 0.05) / error)
    assert outside.p_value == pytest.approx(2 * stats.t.sf(0.04 / error, 4))
    assert compare_point(1.0, np.full(3, 11.0), tolerance=0.05).verdict == "rejected"


def test_messages_do_not_print_whole_arrays() -> None:
    for ask in (
        lambda: compare(np.ones((30, 2)), PAIR),
        lambda: holm([np.ones(900)]),
        lambda: compare_median(np.full(500, np.nan)),
    ):
        with pytest.raises((TypeError, ValueError), match="ndarray of shape") as caught:
            ask()
        assert len(str(caught.value)) < 160


def test_holm_holds_its_level_over_families() -> None:
    """500 families of 5 true laws: at 5%, about 25 with any rejection (40 is 3 sd)."""
    rng = np.random.default_rng(7)
    count = 0
    for _ in range(500):
        family = [compare(NORMAL, rng.normal(size=50), level=0.05) for _ in range(5)]
        count += any(e.verdict == "rejected" for e in holm(family))
    assert 8 < count < 40


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: compare(NORMAL, np.array([1.0, np.nan])), "not finite"),
        (lambda: compare(NORMAL, np.ones((5, 2))), "samples have shape"),
        (lambda: compare(PAIR, np.ones(5)), "samples have shape"),
        (lambda: compare(NORMAL, np.ones(1)), "at least 2"),
        (lambda: compare(NORMAL, np.ones(5), level=0.0), "level"),
        (lambda: compare_point(1.0, np.ones(1)), "at least two replicas"),
        (lambda: compare_point(1.0, np.array([1.0, np.inf])), "must be finite"),
        (lambda: compare(Law(lambda w: -w, "quotient"), np.ones(5)), "not against dw"),
    ],
)
def test_bad_input(make, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        make()


def test_the_median_test_is_exact_and_says_when_it_cannot_tell() -> None:
    rng = np.random.default_rng(0)
    values = rng.normal(size=(4000, 20)) ** 3
    verdicts = [compare_median(x, 0.0, 9.0).verdict for x in values]
    # the median is at the end of the range: outside it with probability 0.5% at 99%, both ends
    assert np.mean([v == "rejected" for v in verdicts]) < 0.005
    assert np.mean([v == "consistent" for v in verdicts]) < 0.005
    covered = [(e := compare_median(x)).interval[0] <= 0 <= e.interval[1] for x in values]
    assert 0.99 < np.mean(covered) < 1.0
    assert compare_median(np.arange(8.0), 0, 7).verdict == "consistent"
    assert compare_median(np.arange(8.0), 0, 6.5).verdict == "undecided"
    assert compare_median(np.arange(7.0), -9, 9).verdict == "undecided"
    rejected = compare_median(np.arange(8.0), 7.5)
    assert rejected.verdict == "rejected"
    assert rejected.p_value == pytest.approx(2 / 2**8)
    for bad in ([], [np.nan], [[1.0]]):
        with pytest.raises(ValueError, match="finite value"):
            compare_median(bad)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="empty"):
        compare_median([1.0], 2, 1)  # type: ignore[arg-type]


def test_intervals_of_medians_are_those_of_the_tables() -> None:
    """Order statistics of the sign test at 95%: 1 and 6 of 6, 2 and 9 of 10, 6 and 15 of 20."""
    for n, first, last in ((6, 1, 6), (10, 2, 9), (20, 6, 15)):
        x = np.random.default_rng(n).permutation(np.arange(1.0, n + 1))
        assert compare_median(x, level=0.05).interval == (first, last)
    assert compare_median(np.arange(5.0), level=0.05).interval == (-np.inf, np.inf)


def test_the_sign_test_by_hand() -> None:
    """Of 9 numbers 7 lie above the range: 2 (36 + 9 + 1) / 2^9; and 8 of 9 below its upper end."""
    x = np.array([1.0, 2.0, 5.0, 6.0, 7.0, 8.0, 9.0, 10.0, 11.0])
    above = compare_median(x, 0.0, 4.0, level=0.2)
    assert (above.statistic, above.verdict) == (7.0, "rejected")
    assert above.p_value == pytest.approx(2 * 46 / 512)
    ends = compare_median(x, 1.0, 10.0, level=0.05)  # both ends included
    assert ends.statistic == 1.0
    assert ends.p_value == 1.0
    assert ends.p_opposite == pytest.approx(2 * 10 / 512)
    assert ends.verdict == "consistent"
