"""Least penalties with margins as cone programs, for Clarabel: QP, LP, SOCP, SDP."""

import math

import numpy as np
import scipy.sparse as sp

from symbias.penalties import Piece, SingularValues
from symbias.solvers.margins.problem import MarginProblem, coefficient
from symbias.solvers.program import Program, Term

LARGEST_SIDE = 60  # rows + columns of a matrix: seconds


def has_cones(problem: MarginProblem) -> bool:
    """Whether the problem is a cone program of a size that interior points can do."""
    return problem.exponent == 2 or (
        problem.exponent == 1
        and all(
            piece.sizes.labels is not None
            or (isinstance(piece.sizes, SingularValues) and sum(piece.shape) <= LARGEST_SIDE)
            for piece in problem.pieces
        )
    )


def solve(problem: MarginProblem) -> tuple[np.ndarray, np.ndarray]:
    """Coordinates c and multipliers alpha, by an interior-point method.

    Raises
    ------
    ValueError
        Where it ends without a solution, as where no c has positive margins.
    """
    program, count = Program(), len(problem.matrix)
    sizes = [math.prod(piece.shape) for piece in problem.pieces]
    coefficients = [coefficient(piece) for piece in problem.pieces]
    quadratic = problem.exponent == 2
    square = 2 * np.repeat(coefficients, sizes) if quadratic else 0.0
    c = program.variables(sum(sizes), square=square)
    program.at_most([Term(c, sp.csc_array(-problem.matrix))], -np.ones(count))
    if not quadratic:
        starts = np.cumsum([0, *sizes[:-1]])
        for piece, start, cost in zip(problem.pieces, starts, coefficients, strict=True):
            _add(program, piece, c + int(start), cost)
    x, multipliers = program.solve_both()
    return x[: sum(sizes)], multipliers[:count]


def _add(program: Program, piece: Piece, start: int, cost: float) -> None:
    """cost times the sum of the sizes of one piece."""
    size, labels = math.prod(piece.shape), piece.sizes.labels
    identity = sp.eye_array(size, format="csr")
    if labels is None:
        program.nuclear(start, piece.shape, cost)
    elif piece.sizes.elementwise:
        program.absolute([Term(start, identity)], program.variables(size, cost=cost))
    else:
        order = np.argsort(labels, kind="stable")
        groups = np.split(order, np.cumsum(np.bincount(labels))[:-1])
        for width in sorted({len(group) for group in groups}):
            alike = [group for group in groups if len(group) == width]
            bounds = program.variables(len(alike), cost=cost)
            program.norms([Term(start, identity[np.concatenate(alike)])], bounds, width)
