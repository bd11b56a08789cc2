"""When is a solution a solution: duality gap, stationarity, and zeros that are proven."""

from typing import NamedTuple

import numpy as np

from symbias.training.problem import ReducedProblem


class Certificate(NamedTuple):
    """``objective`` at z, and ``gap``: what is left to gain at most (nan if not convex).

    ``violation`` is the relative error that convergence is judged by: gap / objective where the
    problem is convex; else sum_g |<z_g, B_g^T r> - strength |z_g|^q| / objective, which is zero
    at the stationary points in z and only there.
    """

    objective: float
    gap: float
    violation: float


def certify(problem: ReducedProblem, z: np.ndarray, strength: float) -> Certificate:
    """Duality gap of ``z`` (power 1), or its distance from stationarity (power 2 and more).

    The dual point is the residual r scaled into the feasible set |B_g^T r| <= strength:
    gap = 1/2|r|^2 + strength sum_g |z_g| - a <r, y> + a^2/2 |r|^2. Cost O(n m).
    """
    r = problem.target - problem.design @ z
    depth = problem.power + 1
    norms = problem.group_norms(z)
    penalty = strength * depth / 2 * float(np.sum(norms ** (2 / depth)))
    objective = 0.5 * float(r @ r) + penalty
    # below this, double precision cannot tell
    floor = max(objective, 1e-10 * 0.5 * float(problem.target @ problem.target)) or 1.0
    pull = problem.design.T @ r
    if problem.power > 1:
        terms = problem.per_group(z * pull) - strength * norms ** (2 / depth)
        return Certificate(objective, float("nan"), float(np.sum(np.abs(terms))) / floor)
    largest = float(problem.group_norms(pull).max(initial=0.0))
    a = min(1.0, strength / largest) if largest > 0 else 1.0
    dual = a * float(r @ problem.target) - 0.5 * a**2 * float(r @ r)
    gap = max(objective - dual, 0.0)
    return Certificate(objective, gap, gap / floor)


def proven_zeros(problem: ReducedProblem, z: np.ndarray, strength: float, gap: float) -> np.ndarray:
    """Which groups are zero at the optimum, for certain; a boolean per group.

    Convex (gap-safe sphere; Ndiaye, Fercoq, Gramfort, Salmon, "Gap safe screening rules for
    sparsity enforcing penalties", JMLR 2017): |B_g^T a r| + |B_g| sqrt(2 gap) < strength.
    Not convex: no local minimum has 0 < |z_g| < (strength q (1 - q) depth/2 / |B_g|^2)^(1/(2-q)).
    """
    if problem.power > 1:
        depth = problem.power + 1
        q = 2 / depth
        curvature = strength * depth / 2 * q * (1 - q)
        safe = np.where(problem.squared_norms > 0, problem.squared_norms, 1.0)
        bound = (curvature / safe) ** (1 / (2 - q))
        return (problem.group_norms(z) < bound / 2) | (problem.squared_norms == 0)
    r = problem.target - problem.design @ z
    norms = problem.group_norms(problem.design.T @ r)
    a = min(1.0, strength / max(norms.max(initial=0.0), 1e-300))
    # a gap of zero is only known up to rounding
    gap += 1e-15 * float(problem.target @ problem.target)
    return a * norms + np.sqrt(problem.squared_norms * 2 * gap) < strength


def strength_max(problem: ReducedProblem) -> float:
    """The smallest strength at which z = 0 is the answer.

    Convex: max_g |B_g^T y|. Not convex: the smallest at which no single coordinate lowers the
    objective from zero, max_j of (b t - g t^2/2) / (depth/2 t^q) at t = 2 (1-q)/(2-q) b/g.
    """
    b = problem.group_norms(problem.correlation)
    if problem.power == 1:
        return float(b.max(initial=0.0))
    depth = problem.power + 1
    q = 2 / depth
    g = np.where(problem.squared_norms > 0, problem.squared_norms, 1.0)
    t = 2 * (1 - q) / (2 - q) * b / g
    gain = b * t ** (1 - q) - 0.5 * g * t ** (2 - q)
    return float((gain / (depth / 2)).max(initial=0.0))
