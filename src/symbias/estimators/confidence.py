r"""Where the changes of a series may stand, and the noise that leaves it open.

With the other changes held where they are, let :math:`S(\tau)` be the sum of squares of the least
squares fit that changes at :math:`\tau`. The interval is

.. math:: \{\tau : S(\tau) - \min S \le q \omega^2\},

:math:`\omega^2` the long-run variance of the noise (first-order autoregression). For a jump,
:math:`(S(\tau_0) - \min S) / \omega^2` tends to the maximum of :math:`2 W(v) - |v|`, which is at
most x with probability :math:`(1 - e^{-x/2})^2`, and stays below it for jumps that do not shrink
with n: Hansen, "Sample splitting and threshold estimation", Econometrica 2000. For a kink it tends
to chi-squared with one degree of freedom: Feder, "On asymptotic distribution theory in segmented
regression problems", Annals of Statistics 1975.
"""

import math

import numpy as np
from scipy.stats import chi2

from symbias._core.arrays import as_columns
from symbias.estimators.observed import Observed

_LARGEST = 50_000_000  # numbers of the dense basis that kinks need
_STRONGEST = 0.97  # autocorrelation


def change_ranges(
    seen: Observed, order: int, changes: np.ndarray, noise: "Noise", level: float
) -> np.ndarray:
    """First and last stamp (index) at which each change may stand; shape (changes, 2).

    Jumps (order 1) stand after a stamp, kinks (order 2) at one. Channels are taken to be as
    dependent as their residuals allow: the limit grows by the largest eigenvalue of their
    correlation.
    """
    drops = [moved_gains(seen, order, changes, k, noise.long_run) for k in range(len(changes))]
    limit = critical(order, level)
    found = []
    for first, gain in drops:
        inside = np.flatnonzero(gain.max() - gain <= limit * noise.shared)
        found.append([first + inside[0], first + inside[-1]])
    return np.array(found, dtype=int).reshape(-1, 2)


def critical(order: int, level: float) -> float:
    """q: what S may exceed its minimum by, in units of the long-run variance."""
    return -2 * math.log1p(-math.sqrt(level)) if order == 1 else float(chi2.ppf(level, 1))


class Noise:
    """What least squares with these changes (``fit``, at the stamps) leave, channel by channel.

    Attributes
    ----------
    left : array (n, channels)
        Residuals of the means at the stamps times sqrt(count), nan where nothing was observed.
    variance, long_run : array (channels,)
        sigma^2 and sigma^2 (1 + rho) / (1 - rho), rho >= 0 the autocorrelation of neighbours.
    information : float
        n log s^2 over all channels, s^2 the variance of the innovations.
    shared : float
        Largest eigenvalue of the correlation of the channels, at least 1.
    """

    def __init__(self, seen: Observed, order: int, changes: int, fit: np.ndarray) -> None:
        parameters = order + 2 * changes  # a height and a place for each
        counts = as_columns(seen.counts)
        self.left = np.sqrt(counts) * (as_columns(seen.values) - as_columns(fit))
        self.left[counts == 0] = np.nan
        within = np.nansum(
            (as_columns(seen.each) - np.repeat(as_columns(seen.values), seen.repeats, 0)) ** 2,
            axis=0,
        )
        free = np.maximum(counts.sum(axis=0) - parameters, 1)
        rounding = np.spacing(np.abs(as_columns(seen.values)).max(axis=0)) ** 2
        self.variance = np.maximum((np.nansum(self.left**2, axis=0) + within) / free, rounding)
        rho = np.array([_neighbours(left[~np.isnan(left)]) for left in self.left.T])
        self.information = sum(
            _innovations(left[~np.isnan(left)], float(least))
            for left, least in zip(self.left.T, rounding, strict=True)
        )
        self.long_run = self.variance * (1 + rho) / (1 - rho)
        whole = self.left[~np.isnan(self.left).any(axis=1)]
        self.shared = 1.0
        if whole.shape[1] > 1 and len(whole) > 2:
            scale = np.sqrt(np.maximum((whole**2).sum(axis=0), np.finfo(float).tiny))
            self.shared = max(
                1.0, float(np.linalg.eigvalsh(whole.T @ whole / np.outer(scale, scale))[-1])
            )


def _lag_one(left: np.ndarray) -> float:
    """Autocorrelation of neighbours, 0 of what is zero."""
    size = float(left @ left)
    return float(left[1:] @ left[:-1]) / size if size else 0.0


def _innovations(left: np.ndarray, least: float) -> float:
    """n log s^2 of a first-order autoregression with rho >= 0."""
    if len(left) < 3:
        return 0.0
    rho = min(max(_lag_one(left), 0.0), _STRONGEST)
    new = left[1:] - rho * left[:-1]
    return len(left) * math.log(max(float(new @ new) / len(new), least, 1e-300))


def _neighbours(left: np.ndarray) -> float:
    """Autocorrelation of neighbours, its bias -(1 + 4 rho)/n undone (Kendall, Biometrika 1954)."""
    if len(left) < 5 or not np.any(left):
        return 0.0
    return min(max((_lag_one(left) + 1 / len(left)) / (1 - 4 / len(left)), 0.0), _STRONGEST)


def moved_gains(
    seen: Observed, order: int, changes: np.ndarray, k: int, unit: np.ndarray
) -> tuple[int, np.ndarray]:
    """First candidate and, for it and the following, what change k explains if it stands there.

    Between its neighbours; in units of ``unit``, of each channel.
    """
    values, counts = as_columns(seen.values), as_columns(seen.counts)
    if order == 1:
        ends = np.concatenate([[0], changes + 1, [len(values)]])
        a, b = int(ends[k]), int(ends[k + 2])
        return a, _jump_gain(values[a:b], counts[a:b], unit)
    ends = np.concatenate([[0], changes, [len(values) - 1]])
    a, b = int(ends[k]), int(ends[k + 2])
    basis, candidates = hinges(seen.times, np.delete(changes, k)), np.arange(a + 1, b)
    t = basis[:, 1]
    gains = [
        _hinge_gain(t, y, c.astype(float), basis, candidates) / one
        for y, c, one in zip(values.T, counts.T, unit, strict=True)
    ]
    return a + 1, np.sum(gains, axis=0)


def hinges(times: np.ndarray, changes: np.ndarray) -> np.ndarray:
    """Columns 1, t and (t - t_k)_+, t from 0 to 1."""
    if len(times) * (len(changes) + 2) > _LARGEST:
        raise ValueError(
            f"{len(changes)} kinks over {len(times):,} stamps need a dense matrix of more than "
            f"{_LARGEST:,} numbers"
        )
    t = (times - times[0]) / (times[-1] - times[0])
    return np.column_stack([np.ones_like(t), t, np.maximum(t[:, None] - t[changes], 0.0)])


def _jump_gain(y: np.ndarray, c: np.ndarray, unit: np.ndarray) -> np.ndarray:
    """What a jump after each stamp of a stretch but the last explains, c values at each."""
    y = y - (c * y).sum(axis=0) / np.maximum(c.sum(axis=0), 1)
    left, sums = np.cumsum(c, axis=0)[:-1], np.cumsum(c * y, axis=0)[:-1]
    right = c.sum(axis=0) - left
    each = np.where((left > 0) & (right > 0), sums**2, 0.0)
    each *= 1 / np.maximum(left, 1) + 1 / np.maximum(right, 1)  # the sums add up to 0
    return (each / unit).sum(axis=1)


def _hinge_gain(
    t: np.ndarray, y: np.ndarray, c: np.ndarray, basis: np.ndarray, at: np.ndarray
) -> np.ndarray:
    """What a hinge (t - tau)_+ explains beside ``basis``, at every tau = t[at], weights c."""
    root = np.sqrt(c)[:, None]
    q = np.linalg.qr(root * basis)[0]
    z = np.column_stack([root[:, 0] * y, q])
    z[:, 0] -= q @ (q.T @ z[:, 0])
    z *= root
    later = np.cumsum(z[::-1], axis=0)[::-1][at]
    moved = np.cumsum((t[:, None] * z)[::-1], axis=0)[::-1][at] - t[at, None] * later
    weights = np.column_stack([c, c * t, c * t * t])
    zero, one, two = np.cumsum(weights[::-1], axis=0)[::-1][at].T
    size = two - 2 * t[at] * one + t[at] ** 2 * zero
    left = size - np.sum(moved[:, 1:] ** 2, axis=1)
    return np.where(left > 1e-9 * size, moved[:, 0] ** 2 / np.maximum(left, 1e-300), 0.0)
