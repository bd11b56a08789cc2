"""The problems of the table: drawn once, centred, all solvers without an intercept."""

from dataclasses import dataclass, field
from functools import cached_property

import numpy as np


@dataclass(frozen=True, eq=False)
class Problem:
    """A loss with |w|_1, or with group norms for ``size`` > 1 (groups are contiguous)."""

    name: str
    X: np.ndarray
    y: np.ndarray
    loss: str = "squared"
    size: int = 1
    cache: dict = field(default_factory=dict)

    @cached_property
    def strength_max(self) -> float:
        n = len(self.y)
        pull = self.X.T @ (self.y if self.loss == "squared" else self.y / 2) / n
        return float(self._sizes(pull).max())

    def _sizes(self, v: np.ndarray) -> np.ndarray:
        return np.sqrt(np.add.reduceat(v**2, np.arange(0, len(v), self.size)))

    def gap(self, w: np.ndarray, strength: float) -> float:
        """Duality gap over the objective: the same certificate for every solver."""
        n, eta = len(self.y), self.X @ w
        cost = strength * float(self._sizes(w).sum())
        if self.loss == "squared":
            r = self.y - eta
            loss, slope = float(r @ r) / (2 * n), -r
        else:
            margin = self.y * eta
            loss = float(np.mean(np.logaddexp(0, -margin)))
            slope = -self.y / (1 + np.exp(margin))
        pull = self.X.T @ slope / n
        scale = min(1.0, strength / float(self._sizes(pull).max()))
        if self.loss == "squared":
            slack = (1 - scale) ** 2 * loss
        else:
            t = np.clip(scale * np.abs(slope), 1e-300, 1 - 1e-16)
            conjugate = t * np.log(t) + (1 - t) * np.log1p(-t)
            slack = loss + float(np.mean(conjugate - scale * slope * eta))
        return (slack + cost + scale * float(w @ pull)) / (loss + cost)


def regression(
    name: str, n: int, p: int, correlation: float = 0.0, size: int = 1, seed: int = 0
) -> Problem:
    """Normal rows with correlation^|i-j|; 1% of the groups matter (10 at least); noise 1/10."""
    rng = np.random.default_rng(seed)
    X = _rows(rng, n, p, correlation)
    w = np.zeros(p)
    chosen = rng.choice(p // size, max(10, p // size // 100), replace=False)
    index = (chosen[:, None] * size + np.arange(size)).ravel()
    w[index] = rng.normal(size=len(index))
    y = X @ w
    y += 0.1 * np.std(y) * rng.normal(size=n)
    return Problem(name, np.asfortranarray(X - X.mean(axis=0)), y - y.mean(), size=size)


def classification(name: str, n: int, p: int, seed: int = 0) -> Problem:
    """Normal rows, 10 features that matter, labels by the logistic model."""
    rng = np.random.default_rng(seed)
    X = rng.normal(size=(n, p))
    w = np.zeros(p)
    w[:10] = rng.normal(size=10)
    y = np.where(rng.uniform(size=n) < 1 / (1 + np.exp(-2 * X @ w)), 1.0, -1.0)
    return Problem(name, np.asfortranarray(X), y, loss="logistic")


def _rows(rng: np.random.Generator, n: int, p: int, correlation: float) -> np.ndarray:
    X = rng.normal(size=(n, p))
    if correlation:
        for j in range(1, p):
            X[:, j] = correlation * X[:, j - 1] + np.sqrt(1 - correlation**2) * X[:, j]
    return X


def steps(n: int, jumps: int, seed: int = 0) -> np.ndarray:
    """Piecewise constant with so many jumps, normal noise."""
    rng = np.random.default_rng(seed)
    cuts = np.sort(rng.choice(np.arange(1, n), jumps, replace=False))
    levels = rng.normal(size=jumps + 1) * 3
    return np.repeat(levels, np.diff([0, *cuts, n])) + rng.normal(size=n)


def slopes(n: int, kinks: int, seed: int = 0) -> np.ndarray:
    """Piecewise linear with so many kinks, normal noise."""
    rng = np.random.default_rng(seed)
    at = np.concatenate([[0], np.sort(rng.choice(np.arange(1, n - 1), kinks, False)), [n - 1]])
    return np.interp(np.arange(n), at, 5 * rng.normal(size=kinks + 2)) + rng.normal(size=n)
