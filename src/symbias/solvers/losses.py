"""Losses l(eta, y) in the linear predictor eta, with what solvers and certificates need of them."""

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Any

import numpy as np
from array_api_compat import array_namespace
from scipy.special import xlogy

from symbias._core.arrays import Array


class Loss(ABC):
    """A convex loss, elementwise in eta and y; never negative.

    `curvature` is at most `bound` where that is finite.
    """

    bound: float = np.inf

    @abstractmethod
    def value(self, eta: Array, y: Array) -> Array:
        """l(eta, y)."""

    @abstractmethod
    def gradient(self, eta: Array, y: Array) -> Array:
        """dl/deta."""

    @abstractmethod
    def curvature(self, eta: Array, y: Array) -> Array:
        """d^2 l/deta^2."""

    @abstractmethod
    def conjugate(self, nu: Array, y: Array) -> Array:
        """sup over eta of nu eta - l(eta, y), for nu = a dl/deta with 0 <= a <= 1."""

    def mean(self, eta: Array) -> Array:
        """The inverse link: what is predicted for y."""
        return eta

    def guess(self, y: np.ndarray) -> np.ndarray:
        """An eta that y would be likely under, to start from."""
        return y

    def bend(self, eta: np.ndarray, y: np.ndarray, weights: np.ndarray) -> np.ndarray:
        """`curvature`, bounded away from zero: at least 1e-5 of its weighted mean.

        0 of rows that weigh nothing, which may overflow.
        """
        with np.errstate(over="ignore"):
            curvature = np.where(weights > 0, self.curvature(eta, y), 0.0)
        mean = float(np.vdot(weights, curvature)) / float(np.sum(weights))
        return np.maximum(curvature, 1e-5 * mean if mean > 0 else min(self.bound, 1.0))

    def majorizer(self, eta: np.ndarray, y: np.ndarray) -> np.ndarray | None:
        """h such that l(eta) + l'(eta) d + h d^2 / 2 lies above l(eta + d); None if there is none.

        By default the bound of the curvature.
        """
        return np.full(np.shape(eta), self.bound) if np.isfinite(self.bound) else None

    def check(self, y: np.ndarray) -> None:  # noqa: B027
        """Refuse targets that the loss is not defined for, with a ValueError."""


@dataclass(frozen=True)
class SquaredError(Loss):
    """(eta - y)^2 / 2."""

    bound = 1.0

    def value(self, eta: Array, y: Array) -> Array:
        return (eta - y) ** 2 / 2

    def gradient(self, eta: Array, y: Array) -> Array:
        return eta - y

    def curvature(self, eta: Array, y: Array) -> Array:
        return _namespace(eta).ones_like(eta)

    def conjugate(self, nu: Array, y: Array) -> Array:
        return nu**2 / 2 + nu * y


@dataclass(frozen=True)
class Logistic(Loss):
    """log(1 + exp(eta)) - y eta, for y in {0, 1} (or a probability)."""

    bound = 0.25

    def value(self, eta: Array, y: Array) -> Array:
        xp = _namespace(eta)
        # eta (1 - y) where eta > 0, which is 0 for y = 1: nothing cancels
        return xp.log1p(xp.exp(-xp.abs(eta))) + eta * ((eta > 0) * 1.0 - y)

    def gradient(self, eta: Array, y: Array) -> Array:
        return self.mean(eta) - y

    def curvature(self, eta: Array, y: Array) -> Array:
        return self.mean(eta) * self.mean(-eta)

    def conjugate(self, nu: Array, y: Array) -> Array:
        t = _within(nu + y, 0.0, 1.0)
        return _xlogx(t) + _xlogx(1 - t)

    def mean(self, eta: Array) -> Array:
        xp = _namespace(eta)
        return 0.5 * (1 + xp.tanh(eta / 2))

    def guess(self, y: np.ndarray) -> np.ndarray:
        return 4 * (y - 0.5)

    def majorizer(self, eta: np.ndarray, y: np.ndarray) -> np.ndarray:
        """tanh(eta / 2) / (2 eta) (Jaakkola and Jordan, 2000)."""
        half = np.where(eta == 0, 1e-8, eta) / 2
        return np.tanh(half) / (4 * half)

    def check(self, y: np.ndarray) -> None:
        if not np.all((y >= 0) & (y <= 1)):
            raise ValueError("the logistic loss needs targets between 0 and 1")


@dataclass(frozen=True)
class Poisson(Loss):
    """exp(eta) - y eta - y + y log y: half the deviance, with a log link, for y >= 0."""

    def value(self, eta: Array, y: Array) -> Array:
        xp = _namespace(eta)
        return xp.exp(eta) - y * eta - y + _xlogx(y)

    def gradient(self, eta: Array, y: Array) -> Array:
        return _namespace(eta).exp(eta) - y

    def curvature(self, eta: Array, y: Array) -> Array:
        return _namespace(eta).exp(eta)

    def conjugate(self, nu: Array, y: Array) -> Array:
        t = _within(nu + y, 0.0, np.inf)
        return _xlogx(t) - t + y - _xlogx(y)

    def mean(self, eta: Array) -> Array:
        return _namespace(eta).exp(eta)

    def guess(self, y: np.ndarray) -> np.ndarray:
        return np.log(np.maximum(y, 0.1))

    def check(self, y: np.ndarray) -> None:
        if not np.all(y >= 0):
            raise ValueError("the Poisson loss needs targets that are not negative")


@dataclass(frozen=True)
class Huber(Loss):
    """r^2 / 2 for |r| <= delta, else delta |r| - delta^2 / 2, with r = eta - y."""

    delta: float = 1.35
    bound = 1.0

    def __post_init__(self) -> None:
        if not 0 < self.delta < np.inf:
            raise ValueError(f"delta must be positive and finite, got {self.delta}")

    def value(self, eta: Array, y: Array) -> Array:
        xp = _namespace(eta)
        size = xp.abs(eta - y)
        inner = _within(size, 0.0, self.delta)
        return inner**2 / 2 + self.delta * (size - inner)

    def gradient(self, eta: Array, y: Array) -> Array:
        return _within(eta - y, -self.delta, self.delta)

    def curvature(self, eta: Array, y: Array) -> Array:
        xp = _namespace(eta)
        return xp.where(xp.abs(eta - y) <= self.delta, xp.ones_like(eta), xp.zeros_like(eta))

    def majorizer(self, eta: np.ndarray, y: np.ndarray) -> np.ndarray:
        """min(1, delta / |eta - y|): iteratively reweighted least squares."""
        return self.delta / np.maximum(np.abs(eta - y), self.delta)

    def conjugate(self, nu: Array, y: Array) -> Array:
        return nu**2 / 2 + nu * y


LOSSES: dict[str, type[Loss]] = {"squared": SquaredError, "huber": Huber, "poisson": Poisson}


def as_loss(loss: str | Loss) -> Loss:
    """A loss object from its short name, or as it is.

    Raises
    ------
    ValueError
        For an unknown name, with the list of names.
    """
    if isinstance(loss, Loss):
        return loss
    if isinstance(loss, str) and loss in LOSSES:
        return LOSSES[loss]()
    raise ValueError(
        f"unknown loss {loss!r}; expected a symbias loss or one of {', '.join(LOSSES)}"
    )


def _namespace(x: Array) -> Any:
    """The array namespace, by the shortest way for NumPy."""
    return np if isinstance(x, np.ndarray) else array_namespace(x)


def _within(x: Array, low: float, high: float) -> Array:
    """Clipped; for NumPy without the checks of `clip`, which cost more than small arrays."""
    if isinstance(x, np.ndarray):
        return np.minimum(np.maximum(x, low), high)
    return array_namespace(x).clip(x, low, high)


def _xlogx(x: Array) -> Array:
    if isinstance(x, np.ndarray):
        return xlogy(x, x)
    xp = _namespace(x)
    return xp.where(x > 0, x * xp.log(xp.where(x > 0, x, xp.ones_like(x))), xp.zeros_like(x))
