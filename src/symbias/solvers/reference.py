"""An independent convex solver, for comparison: the penalty written out in w, no factors."""

from typing import Any, NamedTuple

import numpy as np

from symbias.designs import L1, GroupLasso, Penalty, Spectral, TotalVariation, TrendFilter
from symbias.parameterizations import Cosine, GroupProduct


class Reference(NamedTuple):
    """The solution of a convex program."""

    solver: str
    coef: np.ndarray
    intercept: float
    objective: float


def convex_reference(
    penalty: Penalty, strength: float, X: np.ndarray, y: np.ndarray, fit_intercept: bool = True
) -> Reference:
    """min |y - X w - b|^2 / (2 n) + strength * penalty(w) by an interior-point method (Clarabel).

    Raises
    ------
    ImportError
        Without cvxpy, which the extra ``symbias[verify]`` brings.
    ValueError
        If the penalty is not convex or not known here, or the solver fails.
    """
    import cvxpy as cp

    # centred and scaled: an interior point knows no offsets, and few digits
    X_mean = X.mean(axis=0) if fit_intercept else np.zeros(X.shape[1])
    y_mean = float(y.mean()) if fit_intercept else 0.0
    scale = float(np.mean((y - y_mean) ** 2)) or 1.0
    w = cp.Variable(X.shape[1])
    loss = cp.sum_squares((y - y_mean) - (X - X_mean) @ w) / (2 * len(y) * scale)
    problem = cp.Problem(cp.Minimize(loss + strength / scale * _expression(penalty, w)))
    try:
        problem.solve(
            solver=cp.CLARABEL,
            tol_gap_abs=1e-12,
            tol_gap_rel=1e-12,
            tol_feas=1e-12,
            # interior points end where rounding begins; accept what they then have
            reduced_tol_gap_abs=1e-8,
            reduced_tol_gap_rel=1e-8,
            reduced_tol_feas=1e-8,
        )
    except cp.error.SolverError:
        raise ValueError("the convex solver (Clarabel) failed on this problem") from None
    if w.value is None:
        raise ValueError(f"the convex solver (Clarabel) ended as {problem.status}")
    coef = np.asarray(w.value, dtype=float)
    intercept = y_mean - float(X_mean @ coef)
    r = y - X @ coef - intercept
    objective = float(r @ r) / (2 * len(y)) + strength * float(penalty(coef))
    return Reference("Clarabel", coef, intercept, objective)


def _expression(penalty: Penalty, w: Any) -> Any:
    import cvxpy as cp

    size = w.shape[0]
    match penalty:
        case L1():
            weights = np.ones(size) if penalty.weights is None else np.asarray(penalty.weights)
            return cp.norm1(cp.multiply(weights, w))
        case GroupLasso():
            product = GroupProduct(size, groups=penalty.labels((size,)))
            members = [np.flatnonzero(product.labels == g) for g in range(product.shapes["s"][0])]
            weights = penalty.group_weights(product)
            return sum(c * cp.norm2(w[m]) for c, m in zip(weights, members, strict=True))
        case TotalVariation():
            return cp.norm1(cp.diff(w))
        case TrendFilter():
            spacing = np.ones(size - 1) if penalty.spacing is None else np.asarray(penalty.spacing)
            return cp.norm1(cp.diff(cp.multiply(cp.diff(w), 1 / spacing)))
        case Spectral():
            return cp.norm1(Cosine().inverse(np.eye(size)) @ w)
    raise ValueError(f"{type(penalty).__name__} has no convex reference")
