"""Proximal gradient descent in w itself, from many starts at once, for any scalar penalty.

The proximal map argmin over t of (t - x)^2 / 2 + tau R(t) is found numerically: on a grid, then by
golden section. No factors, no derivative of R.
"""

import math
from collections.abc import Callable

import numpy as np

Scalar = Callable[[np.ndarray], np.ndarray]

_GRID = np.unique(np.concatenate([np.geomspace(1e-8, 1, 60), np.linspace(0.01, 1, 100)]))
_GOLDEN = (math.sqrt(5) - 1) / 2
_BLOCK = 4096


def scalar_prox(R: Scalar, x: np.ndarray, tau: float) -> np.ndarray:
    """argmin over t >= 0 of (t - x)^2 / 2 + tau R(t), for x >= 0; R increasing with R(0) = 0.

    Elementwise, to about 1e-8 relative (rounding, as everywhere in a flat minimum). Cost 260
    evaluations of R per entry.
    """
    if len(x) > _BLOCK:
        return np.concatenate(
            [scalar_prox(R, x[k : k + _BLOCK], tau) for k in range(0, len(x), _BLOCK)]
        )

    def value(t: np.ndarray) -> np.ndarray:
        # without x^2 / 2, so that the value at 0 is 0
        return t * (t / 2 - x.reshape(-1, *[1] * (t.ndim - 1))) + tau * R(t)

    t = x[:, None] * _GRID
    best = np.argmin(value(t), axis=1)
    rows = np.arange(len(x))
    low = np.where(best > 0, t[rows, np.maximum(best - 1, 0)], 0.0)
    high = t[rows, np.minimum(best + 1, len(_GRID) - 1)]
    for _ in range(45):
        a, b = high - _GOLDEN * (high - low), low + _GOLDEN * (high - low)
        left = value(a) < value(b)
        low, high = np.where(left, low, a), np.where(left, b, high)
    middle = (low + high) / 2
    return np.where(value(middle) < 0, middle, 0.0)


def tabulated_prox(R: Scalar, tau: float, largest: float) -> Scalar:
    """`scalar_prox` by linear interpolation, its jump located exactly: fast, to about 1e-4."""
    low, high = 0.0, largest
    if scalar_prox(R, np.array([largest]), tau)[0] == 0:
        return np.zeros_like
    for _ in range(45):
        middle = (low + high) / 2
        alive = scalar_prox(R, np.array([middle]), tau)[0] > 0
        low, high = (low, middle) if alive else (middle, high)
    x = high + (largest - high) * np.concatenate([[0.0], np.geomspace(1e-7, 1, 500)])
    t = scalar_prox(R, x, tau)

    def prox(values: np.ndarray) -> np.ndarray:
        found = np.where(values < high, 0.0, np.interp(values, x, t))
        if np.any(beyond := values > largest):
            found[beyond] = scalar_prox(R, values[beyond], tau)
        return found

    return prox


def descend(
    gradient: Callable[[np.ndarray], np.ndarray],
    prox: Callable[[np.ndarray], np.ndarray],
    starts: np.ndarray,
    step: float,
    steps: int,
) -> np.ndarray:
    """Proximal gradient from every row of ``starts``: c <- prox(c - step gradient(c))."""
    c = starts
    for k in range(steps):
        new = prox(c - step * gradient(c))
        if k % 10 == 9 and np.abs(new - c).max() <= 1e-12 * max(np.abs(c).max(), 1e-300):
            return new
        c = new
    return c
