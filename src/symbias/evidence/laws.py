"""Samples against a law."""

import numpy as np
import xarray as xr
from scipy import stats
from scipy.spatial.distance import cdist

from symbias.evidence.chains import independent
from symbias.evidence.record import Evidence, check_level, judged, shown
from symbias.mechanisms import Law

MOST = 2000  # draws a side that the energy test takes: it costs their square
PERMUTATIONS = 999


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
        Independent samples (n, *law.shape); or a DataArray with dims (replica, step, ...) at
        stationarity, of which values far enough apart are taken (`independent`). Where it is
        shorter than 100 autocorrelation times, replicas together, the last value of each replica
        is; then a law is rejected or the verdict is "undecided".
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
    check_level(level)
    if not isinstance(law, Law):
        raise TypeError(
            f"compare takes a law, such as sb.Langevin(...).law(p, loss), got {shown(law)}"
        )
    if np.iscomplexobj(samples):
        raise TypeError("samples are complex: laws are of real numbers")
    values = np.asarray(samples, dtype=float)
    if not np.isfinite(values).all():
        raise ValueError("samples hold values that are not finite: drop diverged replicas first")
    draws, enough = values.size // max(1, int(np.prod(law.shape))), True
    if isinstance(samples, xr.DataArray) and "step" in samples.dims:
        chains = samples if "replica" in samples.dims else samples.expand_dims("replica")
        values = chains.transpose("replica", "step", ...).values.astype(float)
        if values.shape[2:] == law.shape:
            values, enough = independent(values)
    if values.shape[1:] != law.shape or (len(values) < 2 and enough):
        raise ValueError(f"samples have shape {values.shape}, wanted (at least 2, *{law.shape})")
    if law.shape in ((), (1,)):
        result = stats.kstest(values.ravel(), law.cdf)
        test, statistic, p_value = "Kolmogorov-Smirnov", result.statistic, result.pvalue
    else:
        rng = np.random.default_rng([key, 1])
        if len(values) > MOST:
            values = rng.permutation(values)[:MOST]
        reference = law.sample(len(values), key)
        test = "energy distance"
        statistic, p_value = energy_test(values, reference, rng=rng)
    verdict = judged(float(p_value), level, None if enough else 1.0)
    return Evidence(
        test, float(statistic), float(p_value), verdict, level, draws, float(len(values))
    )


def energy_test(
    x: np.ndarray, y: np.ndarray, *, permutations: int = PERMUTATIONS, rng: np.random.Generator
) -> tuple[float, float]:
    """Energy distance of two samples and its permutation p-value, exact at every sample size."""
    x, y = x.reshape(len(x), -1), y.reshape(len(y), -1)
    pooled = np.concatenate([x, y])
    scale = pooled.std(axis=0)
    pooled = (pooled - pooled.mean(axis=0)) / np.where(scale > 0, scale, 1)
    distance = cdist(pooled, pooled)
    weights = np.concatenate([np.full(len(x), 1 / len(x)), np.full(len(y), -1 / len(y))])
    rows = np.stack([weights, *(rng.permutation(weights) for _ in range(permutations))])
    statistics = -np.einsum("ij,ij->i", rows @ distance, rows)
    # rounding must not count a permutation that gives the same value as larger or smaller
    above = np.sum(statistics[1:] >= statistics[0] * (1 - 1e-12))
    return float(statistics[0]), float((1 + above) / (1 + permutations))
