r"""The changes of a series that stand out of its noise.

The penalty shrinks jumps, so a fit goes up to a large one in stairs, and at a strength that
predicts well it keeps some that are noise. Backward elimination, the change that explains least
first, leaves of K changes one set of every size k. Of these the one is taken with the least

.. math:: n \log s_k^2 + k\, \chi^2_c(1 - \alpha / n),

:math:`s_k^2` the variance of the innovations of a first-order autoregression of what least squares
with k changes leave (added up over c channels): a change must explain more than the largest of n
squares of the noise does (Bonferroni). Then every change moves to where it explains most. Such
filters make the changes of the fused lasso consistent: Lin, Sharpnack, Rinaldo and Tibshirani, "A
sharp error analysis for the fused lasso", NeurIPS 2017; with autoregressive noise: Chakar et al.,
"A robust approach for estimating change-points in the mean of an AR(1) process", Bernoulli 2017.
"""

import math
from dataclasses import replace

import numpy as np
from scipy.stats import chi2

from symbias._core.arrays import as_columns
from symbias.estimators import by_knots
from symbias.estimators.confidence import Noise, hinges, moved_gains
from symbias.estimators.descent import ROUGH
from symbias.estimators.observed import Observed
from symbias.solvers import SquaredError

ALPHA = 0.05
_ROUNDS = 20
_CROWDED = 0.45  # changes a value
_TESTED = 40  # series of noise with changes
_ALL, _SOME = 30, 60  # sizes that are tried: the smallest, and of more so many


def standing(seen: Observed, order: int, changes: np.ndarray) -> np.ndarray:
    """Indices of the changes that are left, in order, as in ``changes``.

    Cost O(n) for every size that is tried, at most 90; and K^2 for K jumps, n K^2 + K^4 for kinks.
    """
    for _ in range(_ROUNDS):
        unit = noise_of(seen, order, changes).variance
        kept = _chosen(seen, order, changes, unit)
        moved = _moved(seen, order, kept, unit)
        if np.array_equal(moved, changes):
            break
        changes = moved
    return changes


def crowded(seen: Observed, changes: np.ndarray) -> bool:
    """Whether there is a change at nearly every second value: nothing is left to be the noise."""
    return len(changes) >= _CROWDED * len(seen.each)


def refit(seen: Observed, order: int, changes: np.ndarray) -> np.ndarray:
    """Least squares with these changes alone, at the stamps; channels in rows."""
    return by_knots.series_of(seen, order, SquaredError()).refit(changes - (order - 1))


def noise_of(seen: Observed, order: int, changes: np.ndarray) -> Noise:
    """What least squares with these changes leave."""
    return Noise(seen, order, len(changes), refit(seen, order, changes).T)


def _chosen(seen: Observed, order: int, changes: np.ndarray, unit: np.ndarray) -> np.ndarray:
    """The best of the sets that backward elimination leaves."""
    left, gone = (_Jumps if order == 1 else _Kinks)(seen, changes, unit), []
    there = changes
    while len(there):
        least = int(np.argmin(left.gains()))
        gone.append(there[least])
        there = np.delete(there, least)
        left.remove(least)
    most = len(changes)
    sizes = {*range(min(most, _ALL) + 1), *np.geomspace(1, most + 1, _SOME).astype(int) - 1}
    last_first = np.array(gone[::-1], dtype=int)  # what explains most
    sets = [np.sort(last_first[:k]) for k in sorted(sizes)]
    return min(sets, key=lambda kept: _criterion(seen, order, kept))


def _criterion(seen: Observed, order: int, changes: np.ndarray) -> float:
    noise = noise_of(seen, order, changes)
    channels = noise.left.shape[1]
    limit = float(chi2.isf(ALPHA / len(seen.times), channels)) * noise.shared
    return noise.information + limit * len(changes)


def _moved(seen: Observed, order: int, changes: np.ndarray, unit: np.ndarray) -> np.ndarray:
    """Every change where it explains most, between its neighbours; one after the other."""
    changes = changes.copy()
    for _ in range(_ROUNDS):
        before = changes.copy()
        for k in range(len(changes)):
            first, gain = moved_gains(seen, order, changes, k, unit)
            changes[k] = first + int(np.argmax(gain))
        if np.array_equal(before, changes):
            break
    return changes


class _Jumps:
    """Stretches between jumps: how many values, and their sum, of each channel."""

    def __init__(self, seen: Observed, changes: np.ndarray, unit: np.ndarray) -> None:
        starts = np.concatenate([[0], changes + 1])
        counts, values = as_columns(seen.counts), as_columns(seen.values)
        centred = values - (counts * values).sum(axis=0) / counts.sum(axis=0)
        self.counts = np.add.reduceat(counts, starts, axis=0).astype(float)
        self.sums = np.add.reduceat(counts * centred, starts, axis=0)
        self.unit = unit

    def gains(self) -> np.ndarray:
        """What each jump explains: c1 c2 / (c1 + c2) (m1 - m2)^2 over the noise."""
        one, two = self.counts[:-1], self.counts[1:]
        apart = self.sums[:-1] / np.maximum(one, 1) - self.sums[1:] / np.maximum(two, 1)
        return np.sum(one * two / np.maximum(one + two, 1) * apart**2 / self.unit, axis=1)

    def remove(self, k: int) -> None:
        for name in ("counts", "sums"):
            each = getattr(self, name)
            each[k] += each[k + 1]
            setattr(self, name, np.delete(each, k + 1, axis=0))


class _Kinks:
    """Level, slope and hinges of each channel, reduced to a square system by QR."""

    def __init__(self, seen: Observed, changes: np.ndarray, unit: np.ndarray) -> None:
        basis = hinges(seen.times, changes)
        self.systems = []
        for y, c, one in zip(
            as_columns(seen.values).T, as_columns(seen.counts).T, unit, strict=True
        ):
            root = np.sqrt(c / one)
            q, r = np.linalg.qr(root[:, None] * basis)
            self.systems.append((r, q.T @ (root * y)))

    def gains(self) -> np.ndarray:
        """beta_k^2 over its variance at noise of size one."""
        total = np.zeros(self.systems[0][0].shape[1] - 2)
        for R, y in self.systems:
            q, r = np.linalg.qr(R)
            inverse = np.linalg.pinv(r)
            total += (inverse @ (q.T @ y))[2:] ** 2 / np.sum(inverse**2, axis=1)[2:]
        return total

    def remove(self, k: int) -> None:
        self.systems = [(np.delete(R, 2 + k, axis=1), y) for R, y in self.systems]


def false_alarm_share(
    seen: Observed, order: int, noise: Noise, strength: float, draws: int, seed: int
) -> float:
    """The share of series of noise alone in which this strength leaves a change that stands.

    Rows of residuals in blocks of n^(1/3), drawn with replacement, stand at the stamps. A series
    has no change at all exactly if its largest strength is smaller; of the others the first 40
    are tried, and stand for the rest.
    """
    rng = np.random.default_rng(seed)
    pool = noise.left[~np.isnan(noise.left).any(axis=1)]
    pool = (pool - pool.mean(axis=0)) * np.sqrt(
        noise.variance / np.maximum(pool.var(axis=0), 1e-300)
    )
    n, block = len(seen.times), math.ceil(len(pool) ** (1 / 3))
    changed = tested = alarms = 0
    for _ in range(draws):
        starts = rng.integers(len(pool), size=-(-n // block))
        rows = (starts[:, None] + np.arange(block)).ravel()[:n] % len(pool)
        drawn = _with_noise(seen, pool[rows])
        series = by_knots.series_of(drawn, order, SquaredError())
        if series.strength_max <= strength:
            continue
        changed += 1
        if tested < _TESTED:
            tested += 1
            alarms += _stands(drawn, order, series.solve(strength, tol=ROUGH).knots + (order - 1))
    return changed / draws * alarms / max(tested, 1)


def _with_noise(seen: Observed, noise: np.ndarray) -> Observed:
    """The same stamps with this noise alone, of single values; what stamps hold within stays."""
    counts = as_columns(seen.counts)
    means = np.where(counts > 0, noise / np.sqrt(np.maximum(counts, 1)), 0.0)
    means = means.reshape(seen.values.shape)
    moved = np.repeat(means - seen.values, seen.repeats, axis=0)
    return replace(seen, values=means, each=seen.each + moved)


def _stands(seen: Observed, order: int, changes: np.ndarray) -> bool:
    return crowded(seen, changes) or len(standing(seen, order, changes)) > 0
