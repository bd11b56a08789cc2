"""Independent solvers, for comparison: the penalty written out in w, no factors.

An interior-point method where the penalty is convex, proximal gradient descent from many starts
where it is not.
"""

import warnings
from typing import Any, NamedTuple

import numpy as np

from symbias.penalties import (
    L1,
    Differences,
    ElasticNet,
    Elementwise,
    GroupLasso,
    LatentGroupLasso,
    Nuclear,
    Penalty,
    Ridge,
    Schatten,
    Spectral,
    TotalVariation,
    TrendFilter,
)
from symbias.training.proximal import Scalar, descend, scalar_prox, tabulated_prox

_TOLERANCES = ("tol_gap_abs", "tol_gap_rel", "tol_feas")


class Reference(NamedTuple):
    """The best solution found; of shape (n_features,) or (n_features, n_targets)."""

    solver: str
    coef: np.ndarray
    intercept: Any
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

    Xc, yc, scale = _centred(X, y, fit_intercept)
    w = cp.Variable((X.shape[1], *y.shape[1:]))
    loss = cp.sum_squares(yc - Xc @ w) / (2 * len(y) * scale)
    constraints: list[Any] = []
    cost = strength / scale * _expression(penalty, w, constraints)
    problem = cp.Problem(cp.Minimize(loss + cost), constraints)
    for tol in (1e-12, 1e-9):
        try:
            # interior points end where rounding begins; accept what they then have
            accepted = {f"reduced_{name}": max(tol, 1e-8) for name in _TOLERANCES}
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", UserWarning)  # of an inaccurate solution
                problem.solve(solver=cp.CLARABEL, **dict.fromkeys(_TOLERANCES, tol), **accepted)
            break
        except cp.error.SolverError:
            continue
    else:
        raise ValueError("the convex solver (Clarabel) failed on this problem")
    if w.value is None:
        raise ValueError(f"the convex solver (Clarabel) ended as {problem.status}")
    coef = np.asarray(w.value, dtype=float)
    return _reference("Clarabel", penalty, strength, coef, X, y, fit_intercept)


def proximal_reference(
    penalty: Penalty,
    strength: float,
    X: np.ndarray,
    y: np.ndarray,
    fit_intercept: bool = True,
    *,
    starts: int = 20,
    seed: int = 0,
) -> Reference:
    """The best of so many proximal gradient descents on the same objective, convex or not.

    From zero, the least-squares solution, and normal random numbers of several sizes. For
    penalties that are a sum over entries, or over singular values. Cost O(starts n p) per step,
    5,000 steps with a tabulated proximal map and 100 with the exact one.

    Raises
    ------
    ValueError
        For another penalty.
    """
    R = _scalar(penalty)
    Xc, yc, _ = _centred(X, y, fit_intercept)
    n, shape = len(y), (X.shape[1], *y.shape[1:])
    lipschitz = float(np.linalg.norm(Xc, 2)) ** 2 / n
    full = np.linalg.lstsq(Xc, yc)[0]
    rng = np.random.default_rng(seed)
    sizes = np.abs(full).mean() * np.geomspace(0.1, 3, starts)
    rows = sizes.reshape(-1, *[1] * len(shape)) * rng.standard_normal((starts, *shape))
    rows[:2] = np.stack([np.zeros(shape), full])[:starts]

    def gradient(w: np.ndarray) -> np.ndarray:
        each = w.reshape(len(w), shape[0], -1)
        return (Xc.T @ (Xc @ each - yc.reshape(n, -1)) / n).reshape(w.shape)

    def with_map(shrink: Scalar) -> Scalar:
        def prox(w: np.ndarray) -> np.ndarray:
            if isinstance(penalty, Schatten):
                u, s, vt = np.linalg.svd(w, full_matrices=False)
                return (u * shrink(s.ravel()).reshape(s.shape)[:, None, :]) @ vt
            return np.sign(w) * shrink(np.abs(w).ravel()).reshape(w.shape)

        return prox

    tau = strength / lipschitz
    largest = 10 * float(np.abs(rows).max() + np.abs(full).max()) * (1 + shape[0] ** 0.5)
    rough, exact = tabulated_prox(R, tau, largest), lambda t: scalar_prox(R, t, tau)
    rows = descend(gradient, with_map(rough), rows, 1 / lipschitz, 5_000)
    rows = descend(gradient, with_map(exact), rows, 1 / lipschitz, 100)
    name = f"proximal gradient, best of {starts}"
    found = [_reference(name, penalty, strength, w, X, y, fit_intercept) for w in rows]
    return min(found, key=lambda reference: reference.objective)


def _centred(X: np.ndarray, y: np.ndarray, fit_intercept: bool) -> tuple[Any, Any, float]:
    """X and y without their means, and the size of the loss: for solvers of few digits."""
    if fit_intercept:
        X, y = X - X.mean(axis=0), y - y.mean(axis=0)
    return X, y, float(np.sum(y**2) / len(y)) or 1.0


def _reference(
    name: str,
    penalty: Penalty,
    strength: float,
    coef: np.ndarray,
    X: np.ndarray,
    y: np.ndarray,
    fit_intercept: bool,
) -> Reference:
    intercept = y.mean(axis=0) - X.mean(axis=0) @ coef if fit_intercept else np.zeros(y.shape[1:])
    r = y - X @ coef - intercept
    objective = float(np.sum(r * r)) / (2 * len(y)) + strength * float(penalty(coef))
    return Reference(name, coef, float(intercept) if y.ndim == 1 else intercept, objective)


def _scalar(penalty: Penalty) -> Scalar:
    if isinstance(penalty, Schatten):
        return lambda t: t**penalty.p
    if isinstance(penalty, L1) and penalty.weights is not None:
        raise ValueError("L1 with weights has no proximal reference; it is convex")
    if isinstance(penalty, Elementwise):
        return penalty.scalar
    raise ValueError(f"{type(penalty).__name__} has no proximal reference")


def _expression(penalty: Penalty, w: Any, constraints: list[Any]) -> Any:
    import cvxpy as cp

    size = w.shape[0]
    match penalty:
        case L1():
            weights = np.ones(size) if penalty.weights is None else np.asarray(penalty.weights)
            return cp.sum(cp.abs(cp.multiply(weights, w)))
        case Ridge():
            return cp.sum_squares(w) / 2
        case ElasticNet(l1_ratio=ratio):
            return ratio * cp.sum(cp.abs(w)) + (1 - ratio) / 2 * cp.sum_squares(w)
        case GroupLasso():
            flat = cp.reshape(w, (int(np.prod(w.shape)),), order="C")
            groups = penalty.sizes(w.shape)
            members = [np.flatnonzero(groups.labels == g) for g in range(len(groups.names))]
            weights = penalty.group_weights(groups)
            return sum(c * cp.norm2(flat[m]) for c, m in zip(weights, members, strict=True))
        case LatentGroupLasso():
            copies = penalty.copies(size)
            parts = [cp.Variable(len(group)) for group in penalty.groups]
            whole = sum(
                np.eye(size)[:, np.asarray(g)] @ v
                for g, v in zip(penalty.groups, parts, strict=True)
            )
            norms = [c * cp.norm2(v) for c, v in zip(copies.weights, parts, strict=True)]
            constraints.append(w == whole)
            return sum(norms)
        case Nuclear():
            return cp.normNuc(w)
        case TotalVariation(tree=None):
            lines = w.T if penalty.axis in (1, -1) else w
            return _sizes(cp.diff(lines, axis=0), penalty.joint)
        case TotalVariation():
            parents = np.asarray(penalty.tree)
            nodes = np.flatnonzero(parents >= 0)
            return _sizes(w[nodes] - w[parents[nodes]], penalty.joint)
        case TrendFilter():
            spacing = np.ones(size - 1) if penalty.spacing is None else np.asarray(penalty.spacing)
            slopes = np.diff(np.eye(size), axis=0) / spacing[:, None]
            return _sizes(np.diff(slopes, axis=0) @ w, penalty.joint)
        case Spectral() | Differences():
            transform = penalty.transform(size)
            analysis = transform.inverse(np.eye(size))[transform.free :]
            return cp.sum(cp.abs(analysis @ w))
    raise ValueError(f"{type(penalty).__name__} has no convex reference")


def _sizes(z: Any, joint: bool) -> Any:
    import cvxpy as cp

    return cp.sum(cp.norm2(z, axis=1)) if joint and z.ndim > 1 else cp.sum(cp.abs(z))
