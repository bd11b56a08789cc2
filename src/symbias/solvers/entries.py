"""Lasso on a Gram matrix: sweeps of coordinate descent, and Newton steps on the support.

min over c of 1/2 c^T G c - q^T c + strength |c|_1
"""

import warnings
from dataclasses import dataclass
from functools import cached_property
from threading import Lock
from typing import Any

import numpy as np
from scipy.linalg.lapack import dpotrf, dpotrs
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import enet_path

from symbias.solvers.quadratic import Quadratic

_PATH_SWEEPS = 100
_one_at_a_time = Lock()  # filters of warnings belong to the process, not to a thread

# without scikit-learn's check of parameters, which costs more than a small sweep
_enet_path = getattr(enet_path, "__wrapped__", enet_path)


@dataclass(frozen=True, eq=False)
class Entries(Quadratic):
    """The model on a Gram matrix G (s, s), every coordinate a group. O(s^2) a sweep."""

    gram: np.ndarray

    @cached_property
    def _target(self) -> np.ndarray:
        """Any y of the length of the targets: all that the kernel asks of them."""
        return np.array([np.sqrt(self.square)])

    def times(self, c: np.ndarray) -> np.ndarray:
        return self.gram @ c

    def totals(self, v: np.ndarray) -> np.ndarray:
        return v

    def sizes(self, v: np.ndarray) -> np.ndarray:
        return np.abs(v)

    def sweep(self, strength: float, c: np.ndarray) -> np.ndarray:
        start = c.copy()  # the kernel writes to it
        options = {"max_iter": 5 + np.count_nonzero(c) // 20, "tol": 1e-30}
        found = _kernel(self.gram, self.q, self._target, [strength], coef_init=start, **options)
        return np.ascontiguousarray(found[:, 0])

    def newton(self, strength: float, c: np.ndarray, gap: float) -> np.ndarray:
        support = np.flatnonzero(c)
        if not len(support):
            return c
        result = c.copy()
        part = self.gram[np.ix_(support, support)]
        result[support] = on_support(part, self.q[support], strength, c[support])
        return result


def sweeps(
    gram: np.ndarray, q: np.ndarray, target: np.ndarray, strengths: np.ndarray, tol: float
) -> np.ndarray:
    """Coordinate descent along falling strengths, (m, n_strengths); ``tol`` relative to |y|^2."""
    if not len(q):
        return np.zeros((0, len(strengths)))
    return _kernel(gram, q, target, strengths, max_iter=_PATH_SWEEPS, tol=tol)


def _kernel(
    gram: np.ndarray, q: np.ndarray, target: np.ndarray, strengths: Any, **options: Any
) -> np.ndarray:
    with _one_at_a_time, warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        _, coefficients, _ = _enet_path(
            np.zeros((1, len(q)), order="F"),
            target,
            l1_ratio=1.0,
            alphas=strengths,
            precompute=gram,
            Xy=q,
            check_input=False,
            **options,
        )
    return coefficients


def on_support(gram: np.ndarray, q: np.ndarray, strength: float, now: np.ndarray) -> np.ndarray:
    """Solve where no coordinate is zero, signs kept, dropping what reaches zero on the way.

    One Cholesky factor G = L L^T serves all drops: with entries D held at zero the solution is
    x - K_D K_DD^{-1} x_D, where K = G^{-1} and x is the one with none held. So a drop costs
    O(k^2), not O(k^3). The objective never rises.
    """
    sign, factor = np.sign(now), factorise(gram)
    free = now + dpotrs(factor, q - strength * sign - gram @ now, lower=1)[0]

    def value(x: np.ndarray) -> float:
        return float(x @ (0.5 * (gram @ x) - q + strength * sign))

    held = np.zeros(len(now), dtype=bool)
    order: list[int] = []
    columns = np.empty((max(20, len(now) // 3), len(now)))
    goal = free
    while True:
        flips = (goal * sign <= 0) & ~held
        if not flips.any():
            now = goal
            break
        reach = now[flips] / (now[flips] - goal[flips])
        out = np.flatnonzero(flips)[reach <= reach.min()]
        walked = now + float(reach.min()) * (goal - now)
        walked[out] = 0.0
        cut = np.where(flips, 0.0, goal)
        if len(out) < np.count_nonzero(flips) and value(cut) < value(walked):
            walked, out = cut, np.flatnonzero(flips)
        now, held[out] = walked, True
        first, last = len(order), len(order) + len(out)
        if last > len(columns) or held.all():
            break
        unit = np.zeros((len(now), len(out)), order="F")
        unit[out, np.arange(len(out))] = 1.0
        columns[first:last] = dpotrs(factor, unit, lower=1)[0].T
        order.extend(out.tolist())
        kept = columns[:last]
        goal = free - np.linalg.solve(kept[:, order], free[order]) @ kept
        goal[order] = 0.0
    return now


def factorise(matrix: np.ndarray) -> np.ndarray:
    """Lower Cholesky factor of a positive semidefinite matrix, with a ridge where singular.

    A Newton step from the present point with the ridge is a proximal-point step: it still goes
    down, and its fixed points are the same.
    """
    factor, info = dpotrf(matrix, lower=1)
    pivots = factor.diagonal()
    ridge = 1e-11 * float(np.trace(matrix)) / len(matrix) or 1.0
    while info or not pivots.min() > 1e-7 * pivots.max():
        ridge *= 10
        factor, info = dpotrf(matrix + ridge * np.eye(len(matrix)), lower=1)
        if ridge > 1e-9 * float(np.trace(matrix)) / len(matrix) and not info:
            break
        pivots = factor.diagonal()
    return factor
