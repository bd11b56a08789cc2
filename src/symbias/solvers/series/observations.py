"""A series as it was observed: its loss, the fit without a change, and the dual variable."""

from dataclasses import dataclass, field
from functools import cached_property

import numpy as np

from symbias.solvers.losses import Loss, SquaredError

_NEWTON_STEPS = 50


@dataclass(frozen=True, eq=False)
class SeriesSolution:
    """The fit of a series at one strength.

    Attributes
    ----------
    signal : array (n,)
    knots : array of int
        Where Dw is not zero: jumps between the points k and k + 1, or kinks at the point k + 1.
    objective, gap, violation : float
        The gap is absolute; the violation is gap / max(objective, 1e-10 loss of the null fit).
    n_iter : int
        Rounds over all points.
    reason : str
        "converged", "max_iter" or "stalled: ...".
    """

    signal: np.ndarray
    knots: np.ndarray
    objective: float
    gap: float
    violation: float
    n_iter: int
    reason: str

    @property
    def converged(self) -> bool:
        return self.reason == "converged"


@dataclass(frozen=True, eq=False)
class Observations:
    """Observed points, in order, with what is penalised.

    Parameters
    ----------
    y : array (n,)
    order : int
        1: jumps; 2: changes of slope.
    times : array (n,), optional
        Increasing; 0, 1, 2, ... by default. Order 1 does not depend on them.
    weights : array (n,), optional
        Positive, of sum 1; 1/n each by default.
    loss : Loss

    Raises
    ------
    ValueError
        Where shapes do not match, times do not increase, or weights are not positive.
    """

    y: np.ndarray
    order: int = 1
    times: np.ndarray | None = None
    weights: np.ndarray | None = None
    loss: Loss = field(default_factory=SquaredError)

    def __post_init__(self) -> None:
        if self.y.ndim != 1 or not self.y.size:
            raise ValueError(f"y must be one list of numbers, not empty, got {self.y.shape}")
        if self.order not in (1, 2):
            raise ValueError(f"the order must be 1 or 2, got {self.order}")
        for name, array in (("times", self.times), ("weights", self.weights)):
            if array is not None and np.shape(array) != (len(self.y),):
                raise ValueError(f"{name} must have shape ({len(self.y)},), got {np.shape(array)}")
        if self.times is not None and not np.all(np.diff(self.times) > 0):
            raise ValueError("times must increase, each stamp once")
        if self.weights is not None and not np.all(self.weights > 0):
            raise ValueError("weights must be positive: leave out what was not observed")
        self.loss.check(self.y)

    @property
    def quadratic(self) -> bool:
        return isinstance(self.loss, SquaredError)

    @cached_property
    def a(self) -> np.ndarray:
        n = len(self.y)
        return np.full(n, 1 / n) if self.weights is None else self.weights

    @cached_property
    def t(self) -> np.ndarray:
        return np.arange(len(self.y), dtype=float) if self.times is None else self.times

    @cached_property
    def null(self) -> np.ndarray:
        """The fit without a change: the level, or the line, of least loss."""
        return self.polish(np.zeros_like(self.y))

    @cached_property
    def null_loss(self) -> float:
        return self.value(self.null)

    def floor(self, objective: float) -> float:
        """What a gap is relative to: below 1e-10 of the null loss, double precision cannot tell."""
        return max(objective, 1e-10 * self.null_loss) or 1.0

    @cached_property
    def strength_max(self) -> float:
        """The smallest strength whose fit has no change: the largest |u| of the null fit."""
        u = self.dual(self.null)
        return float(np.abs(u).max(initial=0.0))

    def value(self, w: np.ndarray) -> float:
        """sum a l(w, y)."""
        with np.errstate(over="ignore", invalid="ignore"):
            return float(self.a @ self.loss.value(w, self.y))

    def dual(self, w: np.ndarray) -> np.ndarray:
        """u with D^T u = -a l'(w), shape (n - order,)."""
        u = self.loss.gradient(w, self.y)
        u = np.cumsum(self.a * u)[:-1]
        if self.order == 2:
            u *= np.diff(self.t)
            u = -np.cumsum(u)[:-1]
        return u

    def _directions(self) -> list[np.ndarray]:
        """What is free, orthonormal under the weights: the level, and the slope."""
        ones = np.ones(len(self.y)) / np.sqrt(self.a.sum())
        if self.order == 1 or len(self.y) < 2:
            return [ones]
        line = self.t - float(self.a @ self.t) / float(self.a.sum())
        return [ones, line / np.sqrt(float(self.a @ line**2))]

    def polish(self, w: np.ndarray) -> np.ndarray:
        """w with the best level and slope added: a projection, or Newton with halvings."""
        directions = self._directions()
        if self.quadratic:
            for e in directions:
                w = w + e * float((self.a * e) @ (self.y - w))
            return w
        E, loss, y = np.stack(directions, axis=1), self.loss, self.y
        if not np.any(w):
            w = E @ (E.T @ (self.a * loss.guess(y)))
        value = float(self.a @ loss.value(w, y))
        for _ in range(_NEWTON_STEPS):
            slope = E.T @ (self.a * loss.gradient(w, y))
            hessian = (E * (self.a * loss.bend(w, y, self.a))[:, None]).T @ E
            step, size = -np.linalg.solve(hessian, slope), 1.0
            decrease = float(slope @ step)
            if not decrease < -1e-30 * value:
                break
            while size > 1e-10:
                new = w + size * (E @ step)
                ahead = float(self.a @ loss.value(new, y))
                if ahead <= value + 1e-4 * size * decrease + 1e-15 * value:
                    break
                size /= 2
            w, value = new, min(ahead, value)
            if -decrease <= 1e-26 * max(value, 1e-300):
                break
        return w
