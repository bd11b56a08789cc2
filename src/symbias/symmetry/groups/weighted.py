"""Scales whose ends take different powers."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from numbers import Real
from typing import Any

import numpy as np

from symbias._core.arrays import Array, constant
from symbias.symmetry.groups.base import Gauge, Numpy, sqrt0, square_norm
from symbias.symmetry.groups.diagonal import Scales

BISECTIONS = 60


@dataclass(frozen=True)
class WeightedRescaling(Scales):
    r"""One positive scale per component, of which every end takes its own power.

    End k of weight a_k goes to :math:`g^{a_k} x` as a vector, to :math:`g^{-a_k} x` as a covector:
    u^2 v with weights 1 and 2, :math:`a\,(w \cdot x)^2` with 1 for w and 2 for a. With the signs
    of the two sides, orbit Gram :math:`\sum_k a_k^2 |\theta_k|^2`, charge
    :math:`\sum_k \pm a_k |\theta_k|^2`; the point of least norm is where the charge is zero, in
    closed form for one weight a side, by bisection otherwise. Blocks hold the norm of each end.

    Parameters
    ----------
    size
        Components.
    weights
        Positive numbers, one per end: the vectors first, then the covectors.
    """

    weights: tuple[float, ...] = ()

    def __post_init__(self) -> None:
        super().__post_init__()
        given = tuple(self.weights) if isinstance(self.weights, Sequence) else (self.weights,)
        if not given or not all(isinstance(w, Real) and 0 < w < math.inf for w in given):
            raise ValueError(f"weights must be positive numbers, one per end: {self.weights!r}")
        object.__setattr__(self, "weights", given)

    @property
    def tied(self) -> bool:
        return self.size == 1

    def powers(self, count: int) -> tuple[float, ...]:
        if count != len(self.weights):
            raise ValueError(f"{self} needs {len(self.weights)} ends, the bond has {count}")
        return self.weights

    def stack(self, xp: Any, parts: Sequence[Array]) -> Array:
        return xp.stack([sqrt0(xp, square_norm(xp, part)) for part in parts], axis=-1)

    def _sides(self, xp: Any, x: Array, y: Array) -> list[tuple[Array, Array]]:
        """Weights and squared norms of the ends of both sides."""
        a, b = self.weights[: x.shape[-1]], self.weights[x.shape[-1] :]
        return [(constant(np.asarray(w), z), z * z) for w, z in ((a, x), (b, y))]

    def charge(self, xp: Any, x: Array, y: Array) -> Array:
        (a, m), (b, n) = self._sides(xp, x, y)
        return xp.sum(a * m, axis=-1) - xp.sum(b * n, axis=-1)

    def spectrum(self, xp: Any, x: Array, y: Array) -> tuple[Array, float]:
        (a, m), (b, n) = self._sides(xp, x, y)
        return xp.sum(a * a * m, axis=-1) + xp.sum(b * b * n, axis=-1), 0.0

    def _root(self, xp: Any, x: Array, y: Array) -> tuple[Array, Array]:
        """Where both sides are alive, and the log scale at which the charge vanishes there.

        ``log sum a m e^(2 a s) - log sum b n e^(-2 b s)`` rises in s with slopes between
        ``2 (min a + min b)`` and ``2 (max a + max b)``: its value brackets its root.
        """
        (a, m), (b, n) = self._sides(xp, x, y)
        up, down = xp.sum(a * m, axis=-1), xp.sum(b * n, axis=-1)
        live = (up > 0) & (down > 0)
        one = xp.ones_like(up)
        m = xp.where(live[..., None], m, xp.ones_like(m))
        n = xp.where(live[..., None], n, xp.ones_like(n))

        def height(s: Array) -> Array:
            rise = xp.sum(a * m * xp.exp(2 * a * s[..., None]), axis=-1)
            return xp.log(rise) - xp.log(xp.sum(b * n * xp.exp(-2 * b * s[..., None]), axis=-1))

        vectors, covectors = self.weights[: x.shape[-1]], self.weights[x.shape[-1] :]
        slopes = [2 * (f(vectors) + f(covectors)) for f in (min, max)]
        ends = [-height(0 * one) / slope for slope in slopes]
        low, high = xp.minimum(*ends), xp.maximum(*ends)
        for _ in range(BISECTIONS if slopes[0] < slopes[1] else 0):
            middle = (low + high) / 2
            below = height(middle) < 0
            low, high = xp.where(below, middle, low), xp.where(below, high, middle)
        return live, (low + high) / 2

    def least(self, xp: Any, x: Array, y: Array) -> Array:
        live, s = self._root(xp, x, y)
        (a, m), (b, n) = self._sides(xp, x, y)
        total = xp.sum(m * xp.exp(2 * a * s[..., None]), axis=-1)
        total = total + xp.sum(n * xp.exp(-2 * b * s[..., None]), axis=-1)
        return xp.sum(xp.where(live, total, xp.zeros_like(total)), axis=-1) / 2

    def balancing(self, x: Numpy, y: Numpy) -> Gauge:
        live, s = self._root(np, x, y)
        return np.where(live, np.exp(s), 0), np.where(live, np.exp(-s), 0)

    def compose(self, step: Gauge, done: Gauge) -> Gauge:
        return step[0] * done[0], step[1] * done[1]

    def imbalance(self, x: Numpy, y: Numpy) -> Numpy:
        (a, m), (b, n) = self._sides(np, x, y)
        up, down = np.sum(a * m, axis=-1), np.sum(b * n, axis=-1)
        return np.max(np.abs(up - down) / np.where(up + down > 0, up + down, 1), axis=-1)

    def dead(self, x: Numpy, y: Numpy, grain: float = 0.0) -> Numpy:
        return np.sum(~(x.any(axis=-1) & y.any(axis=-1)), axis=-1)
