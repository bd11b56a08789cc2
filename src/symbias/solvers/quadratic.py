"""The quadratic model of a working set, and the loop that minimises it: sweeps, then Newton."""

from abc import ABC, abstractmethod
from dataclasses import dataclass

import numpy as np

_ROUNDS, _PATIENCE = 200, 10


@dataclass(frozen=True, eq=False)
class Quadratic(ABC):
    """1/2 c^T G c - q^T c + square/2 + strength sum_g |c_g|_2 in the s coordinates of a set.

    ``square`` is |y|^2 of the least-squares problem that G = A^T A and q = A^T y come from.
    """

    q: np.ndarray
    square: float

    @abstractmethod
    def times(self, c: np.ndarray) -> np.ndarray:
        """G c."""

    @abstractmethod
    def totals(self, v: np.ndarray) -> np.ndarray:
        """Sums over the groups."""

    @abstractmethod
    def sweep(self, strength: float, c: np.ndarray) -> np.ndarray:
        """A few sweeps of (block) coordinate descent from c."""

    @abstractmethod
    def newton(self, strength: float, c: np.ndarray, gap: float) -> np.ndarray:
        """Second-order steps on the support of c."""

    def sizes(self, v: np.ndarray) -> np.ndarray:
        """|v_g|_2 of all groups."""
        return np.sqrt(self.totals(v * v))

    def gap(self, c: np.ndarray, strength: float) -> float:
        """Duality gap at c, with the residual, scaled into the feasible set, as the dual point."""
        curved = self.times(c)
        pull = self.q - curved
        largest = float(self.sizes(pull).max())
        scale = min(1.0, strength / largest) if largest > 0 else 1.0
        rest = max(self.square - 2 * float(self.q @ c) + float(c @ curved), 0.0)
        terms = strength * self.sizes(c) - scale * self.totals(c * pull)
        return 0.5 * (1 - scale) ** 2 * rest + float(np.sum(terms))


def minimise(model: Quadratic, strength: float, c: np.ndarray, gap: float) -> np.ndarray:
    """Minimise the model from c, to an absolute duality gap or as far as rounding lets it.

    Sweeps of (block) coordinate descent find the support, second-order steps solve on it; in
    turns, until the gap on the whole set is small.
    """
    best, best_gap, waited = c, np.inf, 0
    for _ in range(_ROUNDS):
        c = model.sweep(strength, c)
        now = model.gap(c, strength)
        if now > gap:
            c = model.newton(strength, c, gap)
            now = model.gap(c, strength)
        waited = 0 if now < 0.5 * best_gap else waited + 1
        if now < best_gap:
            best, best_gap = c, now
        if best_gap <= gap or waited > _PATIENCE:
            break
    return best
