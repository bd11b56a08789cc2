"""What was observed of a series: means at distinct stamps, and how many values each stands for."""

from dataclasses import dataclass
from typing import Any, Self

import numpy as np

from symbias.solvers import Logistic, Loss, Poisson, SquaredError


@dataclass(frozen=True, eq=False)
class Observed:
    """Distinct stamps in order, and what was observed there; of one channel or several.

    Attributes
    ----------
    times, repeats : array (n,)
        How many rows of values a stamp has.
    values, counts : array (n,) or (n, channels)
        The mean of the values at a stamp, 0 without any, and how many they are.
    each : array (rows,) or (rows, channels)
        Every value in order, nan where a channel was not observed.
    """

    times: np.ndarray
    repeats: np.ndarray
    values: np.ndarray
    counts: np.ndarray
    each: np.ndarray

    @classmethod
    def of(cls, times: np.ndarray, values: np.ndarray) -> Self:
        """From rows in any order, without those of which nothing was observed."""
        known = ~np.isnan(values)
        there = known if values.ndim == 1 else known.any(axis=1)
        if not np.all(there):
            times, values, known = times[there], values[there], known[there]
        if np.any(np.diff(times) < 0):
            order = np.argsort(times, kind="stable")
            times, values, known = times[order], values[order], known[order]
        stamps, repeats = np.unique(times, return_counts=True)
        sums, counts = np.where(known, values, 0.0), known.astype(np.intp)
        if len(stamps) < len(times):
            starts = np.cumsum(repeats) - repeats
            sums, counts = (np.add.reduceat(a, starts, axis=0) for a in (sums, counts))
        return cls(stamps, repeats, sums / np.maximum(counts, 1), counts, values)

    @property
    def once(self) -> bool:
        """Whether everything was observed, once."""
        return bool(np.all(self.counts == 1))

    @property
    def constant(self) -> bool:
        """Whether no channel ever changes."""
        there = self.counts > 0
        highest = np.max(np.where(there, self.values, -np.inf), axis=0)
        return bool(np.all(highest == np.min(np.where(there, self.values, np.inf), axis=0)))

    @property
    def weights(self) -> np.ndarray:
        """Values over rows, (n,) or (n, channels)."""
        return self.counts / self.repeats.sum()

    def subset(self, index: np.ndarray) -> Self:
        """Some of the stamps, and the means there."""
        parts = (self.times, self.repeats, self.values, self.counts, self.values)
        return type(self)(*(part[index] for part in parts))

    def mergeable(self, loss: Loss) -> bool:
        """Whether the mean of the values at a stamp says all: losses of one-parameter families."""
        return bool(np.all(self.counts <= 1)) or isinstance(loss, SquaredError | Poisson | Logistic)

    def error(self, index: np.ndarray, guess: np.ndarray) -> float:
        """The mean squared error of a guess at some of the stamps."""
        left = (self.values[index] - guess) ** 2
        return float(np.average(left, weights=self.counts[index]))

    def within(self, loss: Loss) -> float:
        """The loss that is left within stamps, whatever the fit."""
        if np.all(self.counts <= 1):
            return 0.0
        means = np.repeat(self.values, self.repeats, axis=0)
        at = loss.guess(means)
        excess = np.asarray(loss.value(at, self.each)) - np.asarray(loss.value(at, means))
        return float(np.nansum(excess)) / len(self.each)


def interleaved_folds(count: int, folds: int) -> list[tuple[np.ndarray, np.ndarray]]:
    """Fold k holds the samples k, k + folds, k + 2 folds, ...: neighbours stay measured."""
    folds = min(folds, count)
    index = np.arange(count)
    return [(index[index % folds != k], index[index % folds == k]) for k in range(folds)]


def since(first: Any, times: np.ndarray) -> np.ndarray:
    """Time since the first stamp as floats: of dates in days."""
    apart = times - first
    return apart / np.timedelta64(1, "D") if apart.dtype.kind == "m" else apart.astype(float)
