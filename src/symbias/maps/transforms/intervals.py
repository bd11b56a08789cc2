"""Sums of intervals: the atoms of l1 plus total variation, the fused lasso."""

import math
from functools import cached_property
from typing import Any

import numpy as np
from array_api_compat import array_namespace

from symbias._core.arrays import Array, Shape, constant, from_host
from symbias._core.numbers import positive
from symbias.maps.transforms.base import Transform

LONGEST = 300  # entries of a w whose intervals are the columns of a dense matrix


class IntervalSum(Transform):
    r"""w = sum over intervals I of z_I 1_I / cost_I: behind it, l1 is the fused lasso.

    .. math:: \min_{z:\,Az=w} \sum_I |z_I| = \sum_i a_i|w_i| + b\sum_i |w_{i+1} - w_i|, \qquad
        \text{cost}_I = \sum_{i\in I} a_i + b\,\#\{\text{ends of } I \text{ inside}\}.

    Both norms are integrals over t of their values on the level sets {w > t} and {w < -t} (the
    coarea formula), and those are disjoint unions of intervals; by the triangle inequality no
    other split costs less. So the intervals, up to sign, are the extreme points of the unit ball,
    and no dictionary with fewer columns has this norm. Coordinates: (0, 0), (0, 1), ...,
    (0, n-1), (1, 1), ..., n (n + 1) / 2 of them. Cost O(n^2), of `inverse` O(n) but for filling z.

    Parameters
    ----------
    weights : array (n,)
        a: not negative, not all zero.
    jump : float
        b, positive.

    References
    ----------
    Tibshirani, Saunders, Rosset, Zhu, Knight, "Sparsity and smoothness via the fused lasso",
    JRSS B 2005; Fleming, Rishel, "An integral formula for total gradient variation", 1960.
    """

    noun = "intervals"

    def __init__(self, weights: Any, jump: float) -> None:
        self.weights = np.asarray(weights, dtype=float)
        self.jump = positive("jump", jump)
        if self.weights.ndim != 1 or not (
            np.all(self.weights >= 0) and 0 < self.weights.sum() < np.inf
        ):
            raise ValueError("weights must be a list of finite numbers >= 0, not all zero")
        self.count = len(self.weights) * (len(self.weights) + 1) // 2

    def __repr__(self) -> str:
        return f"IntervalSum({len(self.weights)} entries, {self.count} intervals)"

    def rows(self, coordinates: int) -> int:
        if coordinates != self.count:
            raise ValueError(f"{self!r} has {self.count} coordinates, got {coordinates}")
        return len(self.weights)

    @cached_property
    def _ends(self) -> tuple[np.ndarray, np.ndarray]:
        """The first and the last entry of each interval."""
        return np.triu_indices(len(self.weights))

    @cached_property
    def cost(self) -> np.ndarray:
        """Of each interval: the penalty of its indicator, (count,)."""
        first, last = self._ends
        total = np.concatenate([[0.0], np.cumsum(self.weights)])
        inside = (first > 0).astype(float) + (last < len(self.weights) - 1)
        return total[last + 1] - total[first] + self.jump * inside

    def forward(self, z: Array) -> Array:
        xp, n = array_namespace(z), len(self.weights)
        column = (-1,) + (1,) * (z.ndim - 1)
        heights = z / xp.reshape(constant(self.cost, z), column)
        padded = xp.concat([heights, xp.zeros_like(heights[:1, ...])])
        at = np.full((n, n), self.count)
        at[self._ends] = np.arange(self.count)
        square = xp.take(padded, constant(at.ravel(), z, index=True), axis=0)
        square = xp.reshape(square, (n, n, *z.shape[1:]))
        begun, ended = xp.sum(square, axis=1), xp.sum(square, axis=0)
        return xp.cumulative_sum(
            xp.concat([begun[:1, ...], begun[1:, ...] - ended[:-1, ...]]), axis=0
        )

    def inverse(self, w: Array) -> Array:
        """The split of w of least cost: the connected parts of its level sets."""
        (split,) = from_host(self._split, [(self.count, *w.shape[1:])], [w])
        return split

    def _split(self, w: np.ndarray) -> list[np.ndarray]:
        flat = w.reshape(len(w), -1).astype(float)
        z = np.zeros((self.count, flat.shape[1]))
        for k, column in enumerate(flat.T):
            for sign in (1.0, -1.0):
                for first, last, height in _levels(np.maximum(sign * column, 0.0)):
                    at = first * len(w) - first * (first - 1) // 2 + last - first
                    z[at, k] = sign * height * self.cost[at]
        return [z.reshape(self.count, *w.shape[1:])]

    def dense(self, shape: Shape) -> np.ndarray:
        n = len(self.weights)
        if n > LONGEST:
            raise ValueError(
                f"l1 plus total variation of {n} entries has {self.count} intervals: it is "
                f"solved on a dense matrix up to {LONGEST} entries, and for series of any length "
                "by sb.fit_series"
            )
        i = np.arange(n)[:, None]
        first, last = self._ends
        inside = ((first <= i) & (i <= last)) / self.cost
        return np.kron(inside, np.eye(math.prod(shape[1:])))


def _levels(w: np.ndarray) -> list[tuple[int, int, float]]:
    """A w >= 0 as a sum of heights on nested or disjoint intervals (first, last), in O(n)."""
    found: list[tuple[int, int, float]] = []
    open_: list[tuple[int, float]] = []  # where a level began, and how high it is
    for i, value in enumerate([*w.tolist(), 0.0]):
        first = i
        while open_ and open_[-1][1] > value:
            first, level = open_.pop()
            below = max(value, open_[-1][1] if open_ else 0.0)
            found.append((first, i - 1, level - below))
        if value > (open_[-1][1] if open_ else 0.0):
            open_.append((first, value))
    return found
