"""Lasso on a Gram matrix: sweeps of coordinate descent, and Newton steps on the support.

min over c of 1/2 c^T G c - q^T c + strength |c|_1
"""

import warnings
from typing import Any

import numpy as np
from scipy.linalg.lapack import dpotrf, dpotrs
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import enet_path

_PATH_SWEEPS = 100

# without scikit-learn's check of parameters, which costs more than a small sweep
_enet_path = getattr(enet_path, "__wrapped__", enet_path)


def sweep(
    gram: np.ndarray, q: np.ndarray, target: np.ndarray, strength: float, c: np.ndarray
) -> np.ndarray:
    """A few sweeps of coordinate descent, by scikit-learn's compiled kernel.

    ``target`` is any y with the norm of the targets: all that the kernel asks of them.
    """
    start = c.copy()  # the kernel writes to it
    few = 5 + np.count_nonzero(c) // 20
    found = _kernel(gram, q, target, [strength], coef_init=start, max_iter=few, tol=1e-30)
    return np.ascontiguousarray(found[:, 0])


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
    with warnings.catch_warnings():
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


def newton(
    gram: np.ndarray, q: np.ndarray, target: np.ndarray, strength: float, c: np.ndarray, gap: float
) -> np.ndarray:
    """Solve on the support with signs kept, dropping what reaches zero on the way.

    One Cholesky factor G_AA = L L^T serves all drops: with entries D held at zero the solution
    is x - K_D K_DD^{-1} x_D, where K = G_AA^{-1} and x is the one with none held. So a drop
    costs O(k^2), not O(k^3). The objective never rises.
    """
    support = np.flatnonzero(c)
    if not len(support):
        return c
    gram, q, now = gram[np.ix_(support, support)], q[support], c[support]
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
    result = c.copy()
    result[support] = now
    return result


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
