"""The quadratic model of a working set, and the loop that minimises it: sweeps, then Newton."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from symbias.solvers import entries, groups

_ROUNDS, _PATIENCE = 200, 10


@dataclass(frozen=True, eq=False)
class Quadratic:
    """1/2 c^T G c - q^T c + square/2 + strength sum_g |c_g|_2 in the s coordinates of a set.

    ``square`` is |y|^2 of the least-squares problem that G = A^T A and q = A^T y come from.
    Groups are contiguous and begin at ``starts``; None stands for groups of one coordinate.
    """

    gram: np.ndarray
    q: np.ndarray
    square: float
    starts: np.ndarray | None = None

    def totals(self, v: np.ndarray) -> np.ndarray:
        """Sums over the groups."""
        return v if self.starts is None else np.add.reduceat(v, self.starts)

    def sizes(self, v: np.ndarray) -> np.ndarray:
        """|v_g|_2 of all groups."""
        return np.abs(v) if self.starts is None else np.sqrt(self.totals(v * v))

    def gap(self, c: np.ndarray, strength: float) -> float:
        """Duality gap at c, with the residual, scaled into the feasible set, as the dual point."""
        curved = self.gram @ c
        pull = self.q - curved
        largest = float(self.sizes(pull).max())
        scale = min(1.0, strength / largest) if largest > 0 else 1.0
        rest = max(self.square - 2 * float(self.q @ c) + float(c @ curved), 0.0)
        terms = strength * self.sizes(c) - scale * self.totals(c * pull)
        return 0.5 * (1 - scale) ** 2 * rest + float(np.sum(terms))


def minimise(model: Quadratic, strength: float, c: np.ndarray, gap: float) -> np.ndarray:
    """Minimise the model from c, to an absolute duality gap or as far as rounding lets it.

    Sweeps of (block) coordinate descent find the support, second-order steps solve on it; in
    turns, until the gap on the whole set is small. Cost O(s^2) a sweep, O(k^3) a solve with a
    support of size k.
    """
    sweep: Callable[..., np.ndarray] = entries.sweep
    newton: Callable[..., np.ndarray] = entries.newton
    arguments: tuple[np.ndarray, ...] = (model.gram, model.q)
    if model.starts is None:
        arguments = (*arguments, np.array([np.sqrt(model.square)]))
    else:
        sweep, newton = groups.sweep, groups.newton
        arguments = (*arguments, model.starts, groups.steepness(model.gram, model.starts))
    best, best_gap, waited = c, np.inf, 0
    for _ in range(_ROUNDS):
        c = sweep(*arguments, strength, c)
        now = model.gap(c, strength)
        if now > gap:
            c = newton(*arguments, strength, c, gap)
            now = model.gap(c, strength)
        waited = 0 if now < 0.5 * best_gap else waited + 1
        if now < best_gap:
            best, best_gap = c, now
        if best_gap <= gap or waited > _PATIENCE:
            break
    return best
