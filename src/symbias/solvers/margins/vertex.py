"""Least sums of sizes of single numbers with margins, at a vertex: an LP by the simplex method."""

import math

import numpy as np
from scipy.optimize import linprog

from symbias.solvers.margins.problem import MarginProblem, coefficient


def has_vertices(problem: MarginProblem) -> bool:
    """Whether the problem is a linear program."""
    return problem.exponent == 1 and all(piece.sizes.elementwise for piece in problem.pieces)


def solve(problem: MarginProblem) -> tuple[np.ndarray, np.ndarray]:
    """Coordinates c and multipliers alpha, by HiGHS: for rows that are nearly parallel, too.

    Raises
    ------
    ValueError
        Where it ends without a solution.
    """
    sizes = [math.prod(piece.shape) for piece in problem.pieces]
    cost = np.repeat([coefficient(piece) for piece in problem.pieces], sizes)
    B = problem.matrix
    found = linprog(
        np.tile(cost, 2), A_ub=np.hstack([-B, B]), b_ub=-np.ones(len(B)), method="highs"
    )
    if found.status != 0:
        raise ValueError(f"the solver of the margin (HiGHS) failed: {found.message}")
    plus, minus = np.split(found.x, 2)
    return plus - minus, -found.ineqlin.marginals
