"""A prediction against a run: a statistic, a p-value, and a verdict with a known error rate."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any, Literal

import numpy as np
import xarray as xr
from scipy import stats
from scipy.spatial.distance import cdist

from symbias.mechanisms import Law

Verdict = Literal["consistent", "rejected", "undecided"]
MOST = 2000  # draws a side that the energy test takes: it costs their square
PERMUTATIONS = 999


@dataclass(frozen=True)
class Evidence:
    """Outcome of one test.

    Attributes
    ----------
    test : str
        Name of the test.
    statistic, p_value : float
        `p_value` is corrected for several tests once `holm` has seen it.
    verdict : str
        "rejected" where p_value is at most `level`: a true prediction is so with probability
        `level`. "consistent" where it is not; "undecided" where the data cannot tell.
    level : float
    draws : int
        Values that entered.
    effective : float
        How many independent values they are worth.
    estimate, interval : float, pair of float, optional
        Mean over replicas and its confidence interval at 1 - level, for `compare_point`.
    prediction : float, optional
        What `estimate` was held against.
    """

    test: str
    statistic: float
    p_value: float
    verdict: Verdict
    level: float
    draws: int
    effective: float
    estimate: float | None = None
    interval: tuple[float, float] | None = None
    prediction: float | None = None

    def to_dict(self) -> dict[str, Any]:
        """Plain numbers and strings, for JSON."""
        return asdict(self)


def compare(
    law: Law, samples: np.ndarray | xr.DataArray, *, level: float = 0.01, key: int = 0
) -> Evidence:
    """Test whether samples of the effective parameter come from a law.

    One number: Kolmogorov-Smirnov against the distribution function. Several: the energy distance
    to draws from the law, with its permutation null distribution.

    Parameters
    ----------
    law : Law
        Against the measure dw ("predictor").
    samples : array or DataArray
        Independent samples (n, *law.shape); or a DataArray with dims (replica, step, ...), whose
        values are thinned to the number of independent ones they are worth.
    level : float
        Probability of rejecting a true law.
    key : int
        Seed of the draws and permutations of the energy test.

    Raises
    ------
    ValueError
        For samples of another shape, too few or non-finite ones, or a law that is not against dw.

    References
    ----------
    Székely, Rizzo, "Energy statistics: a class of statistics based on distances", 2013.
    """
    _check_level(level)
    if not isinstance(law, Law):
        raise TypeError(f"compare takes a law, such as sb.Langevin(...).law(p, loss), got {law!r}")
    if np.iscomplexobj(samples):
        raise TypeError("samples are complex: laws are of real numbers")
    values = np.asarray(samples, dtype=float)
    if not np.isfinite(values).all():
        raise ValueError("samples hold values that are not finite: drop diverged replicas first")
    draws = values.size // max(1, int(np.prod(law.shape)))
    effective = float(draws)
    if isinstance(samples, xr.DataArray) and "step" in samples.dims:
        values = samples.transpose("replica", "step", ...).values.astype(float)
        effective = effective_sample_size(samples)
        values = _thinned(values, effective)
    if values.shape[1:] != law.shape or len(values) < 2:
        raise ValueError(f"samples have shape {values.shape}, wanted (at least 2, *{law.shape})")
    if law.shape in ((), (1,)):
        result = stats.kstest(values.ravel(), law.cdf)
        test, statistic, p_value = "Kolmogorov-Smirnov", result.statistic, result.pvalue
    else:
        rng = np.random.default_rng([key, 1])
        if len(values) > MOST:
            values = rng.permutation(values)[:MOST]
            effective = float(MOST)
        reference = law.sample(len(values), key)
        test = "energy distance"
        statistic, p_value = energy_test(values, reference, rng=rng)
    return Evidence(
        test,
        float(statistic),
        float(p_value),
        "rejected" if p_value <= level else "consistent",
        level,
        draws,
        effective,
    )


def compare_point(
    prediction: float,
    values: np.ndarray | xr.DataArray,
    *,
    tolerance: float = 0.0,
    level: float = 0.01,
) -> Evidence:
    """Test a predicted number against its mean over replicas, by Student's t.

    Parameters
    ----------
    prediction : float
    values : array or DataArray
        One value for each replica; a DataArray with a step dimension is averaged over it first.
    tolerance : float
        Relative error the prediction claims. With one, the verdict is "consistent" where the
        confidence interval lies inside the tolerance, "rejected" where it lies outside, and
        "undecided" otherwise; without, the two-sided test alone decides.
    level : float
        One minus the confidence of the interval.

    Raises
    ------
    ValueError
        For fewer than two replicas, or values that are not finite.
    """
    _check_level(level)
    if isinstance(values, xr.DataArray) and "step" in values.dims:
        values = values.mean("step")
    x = np.asarray(values, dtype=float)
    if x.ndim != 1 or len(x) < 2:
        raise ValueError(f"one value for each of at least two replicas, got shape {x.shape}")
    if not 0 <= tolerance < np.inf:
        raise ValueError(f"tolerance must be at least 0 and finite, got {tolerance}")
    if not np.isfinite([prediction, *x]).all():
        raise ValueError("prediction and values must be finite")
    mean, error = x.mean(), max(stats.sem(x), np.finfo(float).tiny)
    half = stats.t.ppf(1 - level / 2, len(x) - 1) * error
    off, room = abs(mean - prediction), tolerance * abs(prediction)
    statistic = max(off - room, 0.0) / error
    p_value = min(1.0, (2 if tolerance == 0 else 1) * stats.t.sf(statistic, len(x) - 1))
    verdict: Verdict
    if tolerance == 0:
        verdict = "rejected" if p_value <= level else "consistent"
    elif off + half <= room:
        verdict = "consistent"
    else:
        verdict = "rejected" if off - half > room else "undecided"
    interval = (float(mean - half), float(mean + half))
    return Evidence(
        "Student's t",
        float(statistic),
        float(p_value),
        verdict,
        level,
        len(x),
        float(len(x)),
        float(mean),
        interval,
        float(prediction),
    )


def compare_median(
    values: np.ndarray, low: float = -np.inf, high: float = np.inf, *, level: float = 0.01
) -> Evidence:
    """Test whether the median over independent runs lies in [low, high], by the sign test.

    The interval is that of order statistics, exact for every continuous distribution; below eight
    values none has 99%, and the verdict is "undecided".

    Parameters
    ----------
    values : array (n,)
        One for each run.
    low, high : float
        The range that is claimed, ends included.
    level : float
        One minus the confidence of the interval. The verdict is "consistent" where the interval
        lies inside the range, "rejected" where it lies outside, and "undecided" otherwise.

    Raises
    ------
    ValueError
        For no values, values that are not finite, or an empty range.
    """
    _check_level(level)
    x = np.sort(np.asarray(values, dtype=float))
    if x.ndim != 1 or len(x) == 0 or not np.isfinite(x).all():
        raise ValueError(f"at least one finite value for each run, got {values!r}")
    if not low <= high:
        raise ValueError(f"the range [{low}, {high}] is empty")
    n = len(x)
    # cut values off each end: as many as a median falls beyond with probability level / 2
    cut = int(np.sum(stats.binom.cdf(np.arange(n), n, 0.5) <= level / 2))
    interval = (float(x[cut - 1]), float(x[n - cut])) if cut else (-np.inf, np.inf)
    beyond = max(np.sum(x < low), np.sum(x > high))
    p_value = float(min(1.0, 2 * stats.binom.sf(beyond - 1, n, 0.5)))
    verdict: Verdict = "undecided"
    if low <= interval[0] and interval[1] <= high:
        verdict = "consistent"
    elif interval[0] > high or interval[1] < low:
        verdict = "rejected"
    return Evidence(
        "sign test",
        float(beyond),
        p_value,
        verdict,
        level,
        n,
        float(n),
        float(np.median(x)),
        interval,
    )


def holm(evidence: Sequence[Evidence]) -> list[Evidence]:
    """The same tests, corrected for being several: p-values by Holm, verdicts from these.

    Of all true predictions together, one or more is rejected with probability at most `level`.

    References
    ----------
    Holm, "A simple sequentially rejective multiple test procedure", 1979.
    """
    if strange := [e for e in evidence if not isinstance(e, Evidence)]:
        raise TypeError(f"holm takes evidence, as sb.compare returns, got {strange[0]!r}")
    p = np.array([e.p_value for e in evidence])
    order = np.argsort(p, kind="stable")
    steps = np.maximum.accumulate(p[order] * np.arange(len(p), 0, -1))
    adjusted = np.empty_like(p)
    adjusted[order] = np.minimum(steps, 1.0)
    return [_corrected(e, float(q)) for e, q in zip(evidence, adjusted, strict=True)]


def _corrected(evidence: Evidence, p_value: float) -> Evidence:
    verdict: Verdict = "rejected" if p_value <= evidence.level else "consistent"
    if evidence.verdict == "undecided" and verdict == "consistent":
        verdict = "undecided"
    return replace(evidence, p_value=p_value, verdict=verdict)


def energy_test(
    x: np.ndarray, y: np.ndarray, *, permutations: int = PERMUTATIONS, rng: np.random.Generator
) -> tuple[float, float]:
    """Energy distance of two samples and its permutation p-value, exact at every sample size."""
    x, y = x.reshape(len(x), -1), y.reshape(len(y), -1)
    pooled = np.concatenate([x, y])
    scale = pooled.std(axis=0)
    distance = cdist(pooled / np.where(scale > 0, scale, 1), pooled / np.where(scale > 0, scale, 1))
    weights = np.concatenate([np.full(len(x), 1 / len(x)), np.full(len(y), -1 / len(y))])
    rows = np.stack([weights, *(rng.permutation(weights) for _ in range(permutations))])
    statistics = -np.einsum("ij,ij->i", rows @ distance, rows)
    # rounding must not count a permutation that gives the same value as larger or smaller
    above = np.sum(statistics[1:] >= statistics[0] * (1 - 1e-12))
    return float(statistics[0]), float((1 + above) / (1 + permutations))


def effective_sample_size(samples: xr.DataArray) -> float:
    """Independent values that correlated ones are worth: the least over all components (arviz)."""
    from arviz_stats.base import array_stats

    values = samples.transpose("replica", "step", ...).values
    flat = values.reshape(*values.shape[:2], -1)
    sizes = [array_stats.ess(flat[..., i], method="mean") for i in range(flat.shape[-1])]
    return float(min(np.min(sizes), flat.shape[0] * flat.shape[1]))


def _thinned(values: np.ndarray, effective: float) -> np.ndarray:
    """About `effective` values of (replica, step, ...), equally spaced in step."""
    replicas, steps = values.shape[:2]
    stride = int(np.ceil(replicas * steps / effective))
    if stride <= steps:
        kept = values[:, steps - 1 :: -stride]
        return kept.reshape(-1, *values.shape[2:])
    return values[:: int(np.ceil(stride / steps)), -1]


def _check_level(level: float) -> None:
    if not 0 < level < 1:
        raise ValueError(f"level must lie between 0 and 1, got {level}")
