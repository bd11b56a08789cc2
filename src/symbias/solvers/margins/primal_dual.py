"""Primal-dual steps with a proximal map, where no cone program is at hand.

References
----------
Chambolle and Pock, "A first-order primal-dual algorithm for convex problems with applications to
imaging", 2011; Applegate et al., "Practical large-scale linear programming using primal-dual
hybrid gradient", 2021, for the restarts and the balance of the two steps.
"""

import numpy as np

from symbias.solvers.margins.problem import MarginProblem

_CHECK = 100  # steps between two looks at the gap
_MOST = 200_000


def solve(problem: MarginProblem, tol: float) -> tuple[np.ndarray, np.ndarray, int]:
    """Coordinates c, multipliers alpha and the steps that it took.

    c <- prox(c + tau B^T alpha), alpha <- (alpha + sigma (1 - B (2 c_new - c)))_+, with
    tau sigma |B|^2 < 1. The mean of a stretch is where the next one begins, if it is better there.
    Cost: two products with B and a proximal map a step.
    """
    B = problem.matrix
    norm = float(np.linalg.norm(B, 2))
    c, alpha = np.zeros(B.shape[1]), np.full(len(B), 1.0 / len(B))
    start = kept = (c, alpha)
    weight, best, steps = 1.0, np.inf, 0
    sums, length = [np.zeros_like(c), np.zeros_like(alpha)], 0
    at_restart = np.inf
    while steps < _MOST:
        tau, sigma = 0.99 / (norm * weight), 0.99 * weight / norm
        for _ in range(_CHECK):
            new = problem.prox(c + tau * (B.T @ alpha), tau)
            alpha = np.maximum(alpha + sigma * (1 - B @ (2 * new - c)), 0.0)
            c = new
            sums[0] += c
            sums[1] += alpha
        steps, length = steps + _CHECK, length + _CHECK
        candidates = [(c, alpha), (sums[0] / length, sums[1] / length)]
        gaps = [_gap(problem, *pair) for pair in candidates]
        now, pair = min(zip(gaps, candidates, strict=True), key=lambda both: both[0])
        if now < best:
            best, kept = now, pair
        if best <= tol:
            break
        if now < 0.2 * at_restart or length > 0.4 * steps:
            moved = [float(np.linalg.norm(a - b)) for a, b in zip(pair, start, strict=True)]
            if min(moved) > 0:
                weight = float(np.exp(0.5 * np.log(moved[1] / moved[0]) + 0.5 * np.log(weight)))
            c, alpha = start = pair
            sums, length, at_restart = [np.zeros_like(c), np.zeros_like(alpha)], 0, now
    return *kept, steps


def _gap(problem: MarginProblem, c: np.ndarray, alpha: np.ndarray) -> float:
    """The relative duality gap at a least margin of 1; infinite where c separates nothing."""
    scaled = problem.to_margin_one(c)
    if scaled is None:
        return np.inf
    value = problem.value(scaled)
    return (value - problem.dual(alpha)[0]) / value
