"""A series as it was observed: its loss, the fit without a change, and the dual variable."""

from dataclasses import dataclass, field
from functools import cached_property

import numpy as np

from symbias.solvers.free import newton
from symbias.solvers.losses import Loss, SquaredError
from symbias.solvers.series.found import Found
from symbias.solvers.series.stretches import sizes


@dataclass(frozen=True, eq=False, kw_only=True, repr=False)
class SeriesSolution(Found):
    """The fit of a series at one strength.

    Attributes
    ----------
    signal : array (n,) or (channels, n)
    knots : array of int
        Where Dw is not zero: jumps between the points k and k + 1, or kinks at the point k + 1.
    """

    signal: np.ndarray
    knots: np.ndarray


@dataclass(frozen=True, eq=False)
class Observations:
    """Observed points, in order, with what is penalised.

    Parameters
    ----------
    y : array (n,) or (channels, n)
        Channels change together: |(Dw)_j| is the norm over them.
    order : int
        1: jumps; 2: changes of slope.
    times : array (n,), optional
        Increasing; 0, 1, 2, ... by default. Order 1 does not depend on them.
    weights : array of the shape of y, optional
        Positive, of sum 1; 1/n each by default. In channels 0 stands for what was not observed,
        and y there does not count; every point and channel needs what was.
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
        shape, order = np.shape(self.y), self.order
        if len(shape) not in (1, 2) or not self.y.size:
            raise ValueError(
                f"y must be a list of numbers, or rows of them, not empty, got {shape}"
            )
        if order not in (1, 2):
            raise ValueError(f"the order must be 1 or 2, got {order}")
        for name, array, wanted in (
            ("times", self.times, shape[-1:]),
            ("weights", self.weights, shape),
        ):
            if array is not None and np.shape(array) != wanted:
                raise ValueError(f"{name} must have shape {wanted}, got {np.shape(array)}")
        if self.times is not None and not np.all(np.diff(self.times) > 0):
            raise ValueError("times must increase, each stamp once")
        if self.weights is not None and not np.all(self.weights > 0):
            self._check_missing(self.weights)
        self.loss.check(self.y)

    def _check_missing(self, weights: np.ndarray) -> None:
        if self.y.ndim == 1 or not np.all(weights >= 0) or not np.all(weights.any(axis=0)):
            raise ValueError("weights must be positive: leave out what was not observed")
        known = np.count_nonzero(weights, axis=1)
        if np.any(known < min(self.order, self.n)):
            few = int(np.argmin(known))
            raise ValueError(
                f"channel {few} has {known[few]} observed values, and needs {self.order}"
            )

    @property
    def n(self) -> int:
        """How many points."""
        return int(self.y.shape[-1])

    @property
    def quadratic(self) -> bool:
        return isinstance(self.loss, SquaredError)

    @cached_property
    def a(self) -> np.ndarray:
        """The weights, of the shape of y."""
        if self.weights is not None:
            return self.weights
        return np.broadcast_to(np.full(self.n, 1 / self.n), self.y.shape)

    @cached_property
    def t(self) -> np.ndarray:
        return np.arange(self.n, dtype=float) if self.times is None else self.times

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
        return float(sizes(self.dual(self.null)).max(initial=0.0))

    def value(self, w: np.ndarray) -> float:
        """sum a l(w, y)."""
        with np.errstate(over="ignore", invalid="ignore"):
            return float(np.vdot(self.a, self.loss.value(w, self.y)))

    def dual(self, w: np.ndarray) -> np.ndarray:
        """u with D^T u = -a l'(w), shape (..., n - order)."""
        u = self.loss.gradient(w, self.y)
        u = np.cumsum(self.a * u, axis=-1)[..., :-1]
        if self.order == 2:
            u *= np.diff(self.t)
            u = -np.cumsum(u, axis=-1)[..., :-1]
        return u

    def _directions(self) -> list[np.ndarray]:
        """What is free, orthonormal under the weights: the level, and the slope."""
        total = self.a.sum(axis=-1, keepdims=True)
        ones = 1 / np.sqrt(total)
        if self.order == 1 or self.n < 2:
            return [ones]
        line = self.t - np.sum(self.a * self.t, axis=-1, keepdims=True) / total
        return [ones, line / np.sqrt(np.sum(self.a * line**2, axis=-1, keepdims=True))]

    def polish(self, w: np.ndarray) -> np.ndarray:
        """w with the best level and slope added: a projection, or Newton with halvings."""
        directions = self._directions()
        if self.quadratic:
            for e in directions:
                w = w + e * np.sum(self.a * e * (self.y - w), axis=-1, keepdims=True)
            return w
        E = np.stack([np.broadcast_to(e, w.shape) for e in directions], axis=-1)
        if w.ndim == 1:
            return shifted(self.loss, E, self.a, self.y, w)
        rows = zip(E, self.a, self.y, w, strict=True)
        return np.stack([shifted(self.loss, *row) for row in rows])


def shifted(loss: Loss, E: np.ndarray, a: np.ndarray, y: np.ndarray, w: np.ndarray) -> np.ndarray:
    """w (n,) with the best combination of the columns of E added, orthonormal under a."""
    g = E.T @ (a * loss.guess(y)) if not np.any(w) else np.zeros(E.shape[1])
    return w + E @ newton(loss, E, a, y, w, g)
