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
        If the penalty is not convex or not known here.
    """
    import cvxpy as cp

    w, b = cp.Variable(X.shape[1]), cp.Variable()
    residual = y - X @ w - (b if fit_intercept else 0)
    n, scale = len(y), float(np.var(y)) or 1.0
    loss = cp.sum_squares(residual) / (2 * n * scale)
    problem = cp.Problem(cp.Minimize(loss + strength / scale * _expression(penalty, w)))
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
    coef = np.asarray(w.value, dtype=float)
    intercept = float(np.asarray(b.value)) if fit_intercept else 0.0
    r = y - X @ coef - intercept
    objective = float(r @ r) / (2 * n) + strength * float(penalty(coef))
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
