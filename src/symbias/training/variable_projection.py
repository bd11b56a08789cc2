"""Variable projection: eliminate u by ridge regression, L-BFGS on the scales t.

With v = t^power spread over the groups, the loss in t is

    phi(t) = strength power/2 |t|^2 + min_u 1/2 |y - B (v u)|^2 + strength/2 |u|^2,

smooth, and for power 1 convex in t^2: no spurious minima. The inner minimum is one Cholesky
factorization, of size m or n.
Poon and Peyre, "Smooth over-parameterized solvers for non-smooth structured optimization",
Mathematical Programming 2023.
"""

from typing import TYPE_CHECKING, ClassVar

import numpy as np

from symbias.solvers import LBFGS
from symbias.training.quadratic import Quadratic

if TYPE_CHECKING:
    from symbias.training.products import Reduced


class VariableProjection:
    """A reduced problem, from scales t that are equal for all powers; u is what they make it."""

    MAX_ITER: ClassVar[int] = 5_000
    CHUNK: ClassVar[int] = 10  # steps between two certificates

    def __init__(self, problem: "Reduced", strength: float, u: np.ndarray, t: np.ndarray) -> None:
        self._labels, self._power, self._strength = problem.labels, problem.power, strength
        self._quadratic = Quadratic(problem.B, problem.y)
        self._search = LBFGS(self._function, t)

    @property
    def steps(self) -> int:
        return self._search.steps

    def advance(self, steps: int) -> None:
        """L-BFGS until progress ends or so many steps are made."""
        self._search.advance(steps)

    def product(self) -> np.ndarray:
        """z = u t^power."""
        v = self._search.x[self._labels] ** self._power
        return self._quadratic.ridge(v, self._strength) * v

    def _function(self, t: np.ndarray) -> tuple[float, np.ndarray]:
        """phi and its gradient, to which u, which is optimal, adds nothing (envelope theorem)."""
        power, strength = self._power, self._strength
        v = t[self._labels] ** power
        try:
            u = self._quadratic.ridge(v, strength)
        except (np.linalg.LinAlgError, ValueError):  # a trial point too far out
            return np.inf, np.zeros_like(t)
        value, slope = self._quadratic.value_and_slope(u * v)
        pulled = np.bincount(self._labels, slope * u, len(t))
        decay = 0.5 * strength * (float(u @ u) + power * float(t @ t))
        return value + decay, power * (strength * t + pulled * t ** (power - 1))
