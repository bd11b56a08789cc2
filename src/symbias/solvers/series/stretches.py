"""Signals that are constant or linear between knots, as bases of hat functions: O(n) sums.

Points run along the last axis; an axis before it holds channels that change together.
"""

from dataclasses import dataclass
from functools import cached_property

import numpy as np


@dataclass(frozen=True, eq=False)
class Stretches:
    """Signals on n points that change at the knots alone.

    Order 1: constant, and a knot k is a jump between the points k and k + 1. Order 2: linear, and
    a knot k is a kink at the point k + 1; ``times`` are those of the points.

    Attributes
    ----------
    order : int
    times : array (n,)
    knots : array of int
        Sorted, from 0 to n - 1 - order.
    """

    order: int
    times: np.ndarray
    knots: np.ndarray

    @cached_property
    def starts(self) -> np.ndarray:
        """The first point of every stretch."""
        return np.concatenate([[0], self.knots + 1])

    @cached_property
    def lengths(self) -> np.ndarray:
        """Points of every stretch."""
        return np.diff(np.append(self.starts, len(self.times)))

    @cached_property
    def nodes(self) -> np.ndarray:
        """The points between which signals are linear: knots and both ends (order 2)."""
        return np.append(self.starts, len(self.times) - 1)

    @cached_property
    def share(self) -> np.ndarray:
        """How far along its stretch each point is, from 0 to 1 (order 2)."""
        begin = self.times[self.nodes]
        long = np.diff(begin)
        share = self.times - np.repeat(begin[:-1], self.lengths)
        share /= np.repeat(long, self.lengths)
        return share

    @cached_property
    def stencil(self) -> np.ndarray:
        """Rows of D, over order + 1 neighbouring coordinates: jumps, or changes of slope."""
        if self.order == 1:
            return np.tile([-1.0, 1.0], (len(self.knots), 1))
        rate = 1 / np.diff(self.times[self.nodes])
        return np.stack([rate[:-1], -(rate[:-1] + rate[1:]), rate[1:]], axis=1)

    def changes(self, w: np.ndarray) -> np.ndarray:
        """Dw at the knots."""
        k, t = self.knots, self.times
        if self.order == 1:
            return w[..., k + 1] - w[..., k]
        before = (w[..., k + 1] - w[..., k]) / (t[k + 1] - t[k])
        return (w[..., k + 2] - w[..., k + 1]) / (t[k + 2] - t[k + 1]) - before

    def signal(self, c: np.ndarray) -> np.ndarray:
        """The signal (..., n) of the coordinates c: a value per stretch, or per node."""
        if self.order == 1:
            return np.repeat(c, self.lengths, axis=-1)
        signal = np.repeat(c[..., 1:] - c[..., :-1], self.lengths, axis=-1)
        signal *= self.share
        signal += np.repeat(c[..., :-1], self.lengths, axis=-1)
        return signal

    def project(self, weights: np.ndarray, y: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """G, (order, ..., rows), banded, and b, (..., rows), of sum weights (w - y)^2 / 2 in c."""
        weighted = weights * y
        if self.order == 1:
            return self._sums(weights)[None], self._sums(weighted)
        shape = (*weights.shape[:-1], len(self.nodes))
        gram, b = np.zeros((2, *shape)), np.zeros(shape)
        right = weights * self.share
        gram[1, ..., :-1] = self._sums(right * (1 - self.share))
        square = self._sums(right * self.share)
        gram[0, ..., 1:] += square
        gram[0, ..., :-1] += self._sums(weights) - 2 * gram[1, ..., :-1] - square
        later = self._sums(self.share * weighted)
        b[..., 1:] += later
        b[..., :-1] += self._sums(weighted) - later
        return gram, b

    def _sums(self, values: np.ndarray) -> np.ndarray:
        return np.add.reduceat(values, self.starts, axis=-1)

    def worst(self, sizes: np.ndarray, bound: float) -> np.ndarray:
        """Where ``sizes`` (n - order,) exceed the bound: the largest of each stretch, as knots."""
        cuts = self.knots[(self.knots > 0) & (self.knots < len(sizes))]
        begins = np.unique(np.concatenate([[0], cuts, np.minimum(cuts + 1, len(sizes) - 1)]))
        largest = np.maximum.reduceat(sizes, begins)
        over = np.flatnonzero(largest > bound)
        if len(over) > 1000:
            spread = np.repeat(largest, np.diff(np.append(begins, len(sizes))))
            at = np.flatnonzero((sizes == spread) & (sizes > bound))
            stretch = np.searchsorted(begins, at, side="right")
            return at[np.unique(stretch, return_index=True)[1]]
        ends = np.append(begins, len(sizes))
        return np.array(
            [a + np.argmax(sizes[a:b]) for a, b in zip(begins[over], ends[over + 1], strict=True)],
            dtype=int,
        )


def sizes(changes: np.ndarray) -> np.ndarray:
    """|Dw| at every knot: the absolute value, or the norm over the channels (channels, m)."""
    if changes.ndim == 1:
        return np.abs(changes)
    return np.sqrt(np.einsum("km,km->m", changes, changes))
