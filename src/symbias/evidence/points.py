"""Numbers measured over replicas or runs, against a number or a range that is claimed."""

import numpy as np
import xarray as xr
from scipy import stats

from symbias.evidence.record import Evidence, check_level, judged, shown


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
        "undecided" otherwise; without, the two-sided test alone decides. The statistic is
        (abs(mean - prediction) - tolerance abs(prediction)) / standard error: where it is large
        `p_value` rejects, where it is far below zero `p_opposite` confirms.
    level : float
        One minus the confidence of the interval.

    Raises
    ------
    ValueError
        For fewer than two replicas, or values that are not finite.
    """
    check_level(level)
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
    with np.errstate(over="ignore"):
        statistic = (abs(mean - prediction) - tolerance * abs(prediction)) / error
    p_value = min(1.0, 2 * float(stats.t.sf(statistic, len(x) - 1)))
    p_opposite = None
    if tolerance:
        p_opposite = min(1.0, 2 * float(stats.t.cdf(statistic, len(x) - 1)))
    interval = (float(mean - half), float(mean + half))
    return Evidence(
        "Student's t",
        float(statistic),
        p_value,
        judged(p_value, level, p_opposite),
        level,
        len(x),
        float(len(x)),
        float(mean),
        interval,
        float(prediction),
        p_opposite,
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
    check_level(level)
    x = np.sort(np.asarray(values, dtype=float))
    if x.ndim != 1 or len(x) == 0 or not np.isfinite(x).all():
        raise ValueError(f"at least one finite value for each run, got {shown(values)}")
    if not low <= high:
        raise ValueError(f"the range [{low}, {high}] is empty")
    n = len(x)
    # cut values off each end: as many as a median falls beyond with probability level / 2
    cut = int(np.sum(stats.binom.cdf(np.arange(n), n, 0.5) <= level / 2))
    interval = (float(x[cut - 1]), float(x[n - cut])) if cut else (-np.inf, np.inf)
    beyond = int(max(np.sum(x < low), np.sum(x > high)))
    within = int(min(np.sum(x >= low), np.sum(x <= high)))
    # of n values, so many or more on one side of the median
    p_value, p_opposite = (
        min(1.0, 2 * float(stats.binom.sf(k - 1, n, 0.5))) for k in (beyond, within)
    )
    return Evidence(
        "sign test",
        float(beyond),
        p_value,
        judged(p_value, level, p_opposite),
        level,
        n,
        float(n),
        float(np.median(x)),
        interval,
        p_opposite=p_opposite,
    )
