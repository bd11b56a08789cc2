"""Momentum descent with weight decay on all factors: nothing special is needed."""

from typing import TYPE_CHECKING, ClassVar

import numpy as np

from symbias.training.quadratic import Quadratic

if TYPE_CHECKING:
    from symbias.training.products import Reduced

MOMENTUM = 0.99
_POWER_ITERATIONS = 30


class Descent:
    """A reduced problem z = u t^power, from factors u and t.

    The ``power`` scales of a group have equal roles and equal starts, so they stay equal: one t
    stands for all of them.
    """

    MAX_ITER: ClassVar[int] = 500_000
    CHUNK: ClassVar[int] = 500  # steps between two certificates

    def __init__(self, problem: "Reduced", strength: float, u: np.ndarray, t: np.ndarray) -> None:
        self._labels, self._power, self._strength = problem.labels, problem.power, strength
        self._quadratic = Quadratic(problem.B, problem.y)
        self._start = self._factors = (u, t)
        self._moving = (np.zeros_like(u), np.zeros_like(t))
        self._rate, self.steps = self._stable_rate(), 0

    def advance(self, steps: int) -> None:
        """So many steps of full-batch descent, slower where the scales have grown.

        After an overflow again from the start, four times slower.
        """
        rate = self._rate = min(self._rate, self._stable_rate())
        (u, t), (du, dt), decay = self._factors, self._moving, self._strength
        with np.errstate(over="ignore", invalid="ignore"):
            for _ in range(steps):
                slope_u, slope_t = self._gradient(u, t)
                du = MOMENTUM * du + slope_u + decay * u
                dt = MOMENTUM * dt + slope_t + decay * t
                u, t = u - rate * du, t - rate * dt
        self.steps += steps
        if np.all(np.isfinite(u)) and np.all(np.isfinite(t)):
            self._factors, self._moving = (u, t), (du, dt)
        else:
            self._factors, self._rate = self._start, rate / 4
            self._moving = (np.zeros_like(u), np.zeros_like(t))

    def product(self) -> np.ndarray:
        """z = u t^power."""
        u, t = self._factors
        return u * t[self._labels] ** self._power

    def _gradient(self, u: np.ndarray, t: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Of the loss, in u and in one of the equal scales."""
        v = t[self._labels] ** self._power
        slope = self._quadratic.slope(u * v)
        pulled = np.bincount(self._labels, slope * u, len(t))
        return slope * v, pulled * t ** (self._power - 1)

    def _bend(self, du: np.ndarray, dt: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """The derivative of `_gradient` along (du, dt), dt of all equal scales."""
        (u, t), labels, power = self._factors, self._labels, self._power
        v, dv = t[labels] ** power, (power * t ** (power - 1) * dt)[labels]
        slope, bent = self._quadratic.slope(u * v), self._quadratic.bend(du * v + u * dv)
        pulled = np.bincount(labels, slope * u, len(t))
        change = np.bincount(labels, bent * u + slope * du, len(t)) * t ** (power - 1)
        if power > 1:
            change = change + pulled * (power - 1) * t ** (power - 2) * dt
        return bent * v + slope * dv, change

    def _stable_rate(self) -> float:
        """Half the largest stable step: 2 over the largest curvature, by power iterations."""
        du, dt = (np.ones_like(a) for a in self._factors)
        size = 0.0
        for _ in range(_POWER_ITERATIONS):
            size = float(np.sqrt(du @ du + self._power * (dt @ dt)))
            du, dt = self._bend(du / size, dt / size)
        return 2.0 / float(np.sqrt(du @ du + self._power * (dt @ dt)))
