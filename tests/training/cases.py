"""Real data, and every convex penalty written out once more: a matrix or a list of groups."""

import warnings
from collections.abc import Callable
from importlib.resources import files
from typing import Any, NamedTuple

import cvxpy as cp
import numpy as np
from sklearn.datasets import load_diabetes

import symbias as sb
from symbias.solvers import SquaredError
from symbias.training import Trainer, trainers


class Case(NamedTuple):
    """A regression and a convex penalty, as symbias names it and as a convex program has it."""

    X: np.ndarray
    y: np.ndarray
    fit_intercept: bool
    penalty: sb.Penalty
    value: Callable[[np.ndarray], float]
    expression: Callable[[Any], Any]

    def trainer(self, solver: str) -> Trainer:
        p = sb.design(self.penalty, sb.WeightDecay(1.0), shape=self.X.shape[1])
        weights = np.full(len(self.y), 1 / len(self.y))
        (found,) = trainers(
            p, self.X, weights, self.fit_intercept, SquaredError(), [self.y], solver
        )
        return found

    def objective(self, strength: float, w: np.ndarray, b: float) -> float:
        """|y - X w - b|^2 / (2 n) + strength * penalty(w), from its definition."""
        r = self.y - self.X @ w - b
        return float(np.mean(r**2) / 2 + strength * self.value(w))

    def optimum(self, strength: float) -> tuple[np.ndarray, float]:
        """The solution by Clarabel, in units where y is about 1: (w, b)."""
        scale = np.abs(self.y).max()
        w, b = cp.Variable(self.X.shape[1]), cp.Variable() if self.fit_intercept else 0.0
        loss = cp.sum_squares(self.y / scale - self.X @ w - b) / (2 * len(self.y))
        problem = cp.Problem(cp.Minimize(loss + strength / scale * self.expression(w)))
        with warnings.catch_warnings():
            # interior points end where rounding begins: 1e-12 is wished for, 1e-9 is enough
            warnings.simplefilter("ignore", UserWarning)
            problem.solve(cp.CLARABEL, **_tolerances(1e-12), **_tolerances(1e-9, "reduced_"))
        assert problem.status in (cp.OPTIMAL, cp.OPTIMAL_INACCURATE)
        return scale * w.value, scale * float(b.value if self.fit_intercept else 0.0)


def _tolerances(value: float, prefix: str = "") -> dict[str, float]:
    return {f"{prefix}{name}": value for name in ("tol_gap_abs", "tol_gap_rel", "tol_feas")}


def nile() -> np.ndarray:
    """Annual flow of the Nile at Aswan, 1871 to 1970."""
    path = files("symbias") / "data" / "nile.csv"
    rows = [line for line in path.read_text().splitlines() if not line.startswith("#")]
    return np.array([float(row.split(",")[1]) for row in rows[1:]])


def cosines(n: int) -> np.ndarray:
    """Orthonormal rows cos(pi k (i + 1/2) / n)."""
    k, i = np.arange(n)[:, None], np.arange(n)
    rows = np.cos(np.pi * k * (i + 0.5) / n)
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)


def _case(X: np.ndarray, y: np.ndarray, fit_intercept: bool, name: str) -> Case:
    p = X.shape[1]
    if name == "group":
        labels = np.array([0, 1, 2, 0, 3, 3, 1, 4, 3, 2] * (p // 10))
        members = [np.flatnonzero(labels == g) for g in range(5)]
        return Case(
            X,
            y,
            fit_intercept,
            sb.GroupLasso(labels),
            lambda w: sum(np.sqrt(len(m)) * np.linalg.norm(w[m]) for m in members),
            lambda w: sum(np.sqrt(len(m)) * cp.norm2(w[m]) for m in members),
        )
    first = np.diff(np.eye(p), axis=0)
    penalty, matrix = {
        "l1": (sb.L1(), np.eye(p)),
        "tv": (sb.TotalVariation(), first),
        "trend": (sb.TrendFilter(), np.diff(first, axis=0)),
        "spaced": (sb.TrendFilter(_SPACING[1:p]), np.diff(first / _SPACING[1:p, None], axis=0)),
        "spectral": (sb.Spectral(), cosines(p)),
    }[name]
    return Case(
        X,
        y,
        fit_intercept,
        penalty,
        lambda w: np.abs(matrix @ w).sum(),
        lambda w: cp.norm1(matrix @ w),
    )


_SPACING = np.random.default_rng(0).uniform(0.3, 3.0, 100)
_DIABETES = load_diabetes(return_X_y=True)
NAMES = ("l1", "group", "tv", "trend", "spectral")
CASES = {f"diabetes-{name}": _case(*_DIABETES, True, name) for name in NAMES} | {
    f"nile-{name}": _case(np.eye(100), nile(), False, name) for name in (*NAMES, "spaced")
}
