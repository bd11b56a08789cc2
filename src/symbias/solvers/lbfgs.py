"""L-BFGS in float64 with a line search that trusts slopes where values are rounded."""

from collections import deque
from collections.abc import Callable

import numpy as np

Function = Callable[[np.ndarray], tuple[float, np.ndarray]]

_DECREASE, _CURVATURE, _ROUNDING = 1e-4, 0.9, 1e-14


class LBFGS:
    """Minimise a smooth function, a few steps at a time.

    The line search is bisection for the weak Wolfe conditions, with the approximate form of the
    decrease (Hager and Zhang, "A new conjugate gradient method with guaranteed descent", SIAM J.
    Optim. 2005) where the values differ by rounding only.
    """

    def __init__(self, function: Function, x: np.ndarray, memory: int = 30) -> None:
        self.function, self.x = function, x
        self.value, self.slope = function(x)
        self.steps = 0
        self._pairs: deque[tuple[np.ndarray, np.ndarray, float]] = deque(maxlen=memory)

    def advance(self, steps: int) -> bool:
        """Make at most so many steps; False where no step goes down any more."""
        for _ in range(steps):
            with np.errstate(over="ignore", invalid="ignore"):  # of trial points
                moved = self._step()
            if not moved:
                if not self._pairs:
                    return False
                self._pairs.clear()
        return True

    def _step(self) -> bool:
        direction = self._direction()
        start = float(self.slope @ direction)
        if not start < 0:
            return False
        size = 1.0 if self._pairs else min(1.0, 1 / max(np.abs(self.slope).sum(), 1e-300))
        low, high = 0.0, np.inf
        for _ in range(60):
            value, slope = self.function(self.x + size * direction)
            along = float(slope @ direction)
            down = value <= self.value + _DECREASE * size * start
            close = value <= self.value + _ROUNDING * abs(self.value)
            if not (down or (close and along <= (2 * _DECREASE - 1) * start)):
                high = size
            elif along < _CURVATURE * start:
                low = size
            else:
                break
            size = 2 * low if np.isinf(high) else (low + high) / 2
        else:
            return False
        move, change = size * direction, slope - self.slope
        self.x, self.value, self.slope = self.x + move, value, slope
        self.steps += 1
        product = float(move @ change)
        if product > 1e-300:
            self._pairs.append((move, change, product))
        return True

    def _direction(self) -> np.ndarray:
        q, weights = -self.slope, []
        for move, change, product in reversed(self._pairs):
            a = float(move @ q) / product
            weights.append(a)
            q = q - a * change
        if self._pairs:
            _, change, product = self._pairs[-1]
            q = q * (product / float(change @ change))
        for (move, change, product), a in zip(self._pairs, reversed(weights), strict=True):
            q = q + (a - float(change @ q) / product) * move
        return q
