"""What a scalar function R of a size has no closed form for: prox, conjugate, convexity."""

import math
from collections.abc import Callable

import numpy as np
from scipy.interpolate import CubicSpline

Function = Callable[[np.ndarray], np.ndarray]

_POINTS = np.unique(np.concatenate([np.geomspace(1e-8, 1, 60), np.linspace(0.01, 1, 100)]))
_GRID = np.geomspace(1e-9, 1e6, 400)
_GOLDEN = (math.sqrt(5) - 1) / 2
_BLOCK = 4096
_WIDTH, _KNOTS = 0.02, 4000
_SECOND = np.array([-1 / 560, 8 / 315, -1 / 5, 8 / 5, -205 / 72, 8 / 5, -1 / 5, 8 / 315, -1 / 560])


def scalar_prox(R: Function, x: np.ndarray, tau: float | np.ndarray) -> np.ndarray:
    """argmin over t >= 0 of (t - x)^2 / 2 + tau R(t), for x >= 0; R increasing with R(0) = 0.

    ``tau`` is a number, or one for each x. Elementwise, to about 1e-8 relative (rounding, as
    everywhere in a flat minimum). Cost 260 evaluations of R per entry.
    """
    tau = np.broadcast_to(tau, x.shape)
    if len(x) > _BLOCK:
        return np.concatenate(
            [
                scalar_prox(R, x[k : k + _BLOCK], tau[k : k + _BLOCK])
                for k in range(0, len(x), _BLOCK)
            ]
        )

    def value(t: np.ndarray) -> np.ndarray:
        # without x^2 / 2, so that the value at 0 is 0
        column = (-1, *[1] * (t.ndim - 1))
        return t * (t / 2 - x.reshape(column)) + tau.reshape(column) * R(t)

    t = x[:, None] * _POINTS
    best = np.argmin(value(t), axis=1)
    rows = np.arange(len(x))
    low = np.where(best > 0, t[rows, np.maximum(best - 1, 0)], 0.0)
    high = t[rows, np.minimum(best + 1, len(_POINTS) - 1)]
    for _ in range(45):
        a, b = high - _GOLDEN * (high - low), low + _GOLDEN * (high - low)
        left = value(a) < value(b)
        low, high = np.where(left, low, a), np.where(left, b, high)
    middle = (low + high) / 2
    return np.where(value(middle) < 0, middle, 0.0)


def tabulated_prox(prox: Function, largest: float) -> Function:
    """A proximal map by linear interpolation, its jump located exactly: fast, to about 1e-4."""
    low, high = 0.0, largest
    if prox(np.array([largest]))[0] == 0:
        return np.zeros_like
    for _ in range(45):
        middle = (low + high) / 2
        alive = prox(np.array([middle]))[0] > 0
        low, high = (low, middle) if alive else (middle, high)
    x = high + (largest - high) * np.concatenate([[0.0], np.geomspace(1e-7, 1, 500)])
    t = prox(x)

    def interpolated(values: np.ndarray) -> np.ndarray:
        found = np.where(values < high, 0.0, np.interp(values, x, t))
        if np.any(beyond := values > largest):
            found[beyond] = prox(values[beyond])
        return found

    return interpolated


def supremum(
    R: Function, slope: np.ndarray, budget: float, largest: float = math.inf
) -> np.ndarray:
    """max over t >= 0, R(t) <= budget, of slope t - R(t), R convex: a grid, then golden section.

    Raises ValueError where it is attained beyond ``largest``, up to which R is known.
    """
    known = _known(largest)
    costs = R(known)
    grid = known[: int(np.searchsorted(costs, budget)) + 1]
    values = slope[:, None] * grid - costs[: len(grid)]
    best = np.argmax(values, axis=1)
    if costs[-1] < budget and largest < _GRID[-1] and np.any(best == len(known) - 1):
        raise ValueError(f"the penalty is not known beyond {largest:.4g}, where its table ends")
    low, high = grid[np.maximum(best - 1, 0)], grid[np.minimum(best + 1, len(grid) - 1)]
    for _ in range(50):
        a, b = high - _GOLDEN * (high - low), low + _GOLDEN * (high - low)
        left = slope * a - R(a) > slope * b - R(b)
        low, high = np.where(left, low, a), np.where(left, b, high)
    middle = (low + high) / 2
    return np.maximum(np.maximum(slope * middle - R(middle), slope * high - R(high)), 0.0)


def is_convex(R: Function, largest: float = math.inf) -> bool:
    """Whether the slopes of R on a grid of sizes from 1e-9 to 1e6, or ``largest``, never fall."""
    grid = _known(largest)
    slopes = np.diff(R(grid)) / np.diff(grid)
    return bool(np.all(np.diff(slopes) >= -1e-6 * np.abs(slopes[1:])))


def second_derivative(R: Function, low: float, high: float) -> Function:
    """R'' between two sizes: a spline through differences of eighth order, 8% to each side."""
    t = np.geomspace(low, high, _KNOTS)
    total = np.zeros_like(t)
    for k, weight in enumerate(_SECOND, start=-4):
        total += weight * np.asarray(R(t * (1 + _WIDTH * k)))
    spline = CubicSpline(np.log(t), total / (_WIDTH * t) ** 2)
    return lambda t: spline(np.log(np.clip(t, low, high)))


def _known(largest: float) -> np.ndarray:
    """The grid up to ``largest``, that included."""
    return _GRID if largest >= _GRID[-1] else np.append(_GRID[largest > _GRID], largest)
