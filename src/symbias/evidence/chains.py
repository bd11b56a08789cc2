"""Correlated samples: how far apart they are independent, and those that are."""

import numpy as np

RANDOM = 4  # directions beside the axes of several numbers
QUANTILES = (0.1, 0.25, 0.5, 0.75, 0.9)
FORGOTTEN = 6.0  # correlations of exp(-6) are left
SHORTEST = 20  # steps from which correlations are estimated
ENOUGH = 100  # autocorrelation times that a chain must hold for its own to be known


def autocorrelation_time(values: np.ndarray) -> float:
    r"""Integrated autocorrelation time :math:`1 + 2 \sum_k \rho_k`, in steps, of what is slowest.

    Of each number, in units of its spread from its median, and of combinations of them along a few
    random directions: the value, its modulus, and the indicators of five quantiles; and the
    distance of all numbers together. The value alone misses a slow modulus whose sign changes fast.

    Parameters
    ----------
    values : array (replicas, steps, ...)
        Of at least 20 steps.

    References
    ----------
    Vehtari, Gelman, Simpson, Carpenter, Bürkner, "Rank-normalization, folding, and localization",
    Bayesian Analysis 2021 (the estimator, over all replicas); Geyer, "Practical Markov chain Monte
    Carlo", 1992.
    """
    from arviz_stats.base import array_stats

    size = values.shape[0] * values.shape[1]
    sizes = [array_stats.ess(seen, method="mean") for seen in _functionals(values)]
    return max(size / float(np.min(sizes)), 1.0)


def _functionals(values: np.ndarray) -> list[np.ndarray]:
    flat = values.reshape(*values.shape[:2], -1)
    spread = flat.std(axis=(0, 1))
    flat = (flat - np.median(flat, axis=(0, 1))) / np.where(spread > 0, spread, 1)
    count = flat.shape[-1]
    lines = [flat[..., i] for i in range(count)]
    if count > 1:
        turns = np.random.default_rng(0).normal(size=(count, RANDOM))
        lines += list(np.moveaxis(flat @ turns, -1, 0))
    seen = [np.linalg.norm(flat, axis=-1)]
    for line in lines:
        seen += [line, np.abs(line)]
        seen += [(line <= q).astype(float) for q in np.quantile(line, QUANTILES)]
    return seen


def independent(values: np.ndarray) -> tuple[np.ndarray, bool]:
    r"""Samples of correlated chains that are as good as independent, and whether they are enough.

    Equally spaced, so far apart that an autoregression with this autocorrelation time has forgotten
    all but exp(-6): three times of a slow one, every step of independent values. The last
    value of each replica where replicas are shorter than that, or all together shorter than 100
    autocorrelation times: then their own time is not known, and only the replicas count.

    Parameters
    ----------
    values : array (replicas, steps, ...)

    Returns
    -------
    array (n, ...), bool
    """
    replicas, steps = values.shape[:2]
    time = autocorrelation_time(values) if steps >= SHORTEST else np.inf
    if replicas * steps < ENOUGH * time or (gap := _gap(time)) >= steps:
        return values[:, -1], replicas >= ENOUGH
    kept = values[:, steps - 1 :: -gap]
    return kept.reshape(-1, *values.shape[2:]), True


def _gap(time: float) -> int:
    """Steps in which rho^step falls to exp(-6), for rho = (time - 1)/(time + 1)."""
    return 1 if time <= 1 else int(np.ceil(FORGOTTEN / np.log((time + 1) / (time - 1))))
