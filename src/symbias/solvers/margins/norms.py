r"""The least norm with all margins at least 1: LP, QP or SDP, certified by the dual norm.

.. math:: \min_w \|w\| \text{ s.t. } Bw \ge 1 \quad=\quad
          \max_{\alpha \ge 0} \sum_i \alpha_i \text{ s.t. } \|B^T \alpha\|_* \le 1
"""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import scipy.sparse as sp

from symbias._core.arrays import Shape
from symbias.solvers.margins.problem import MarginSolution
from symbias.solvers.margins.separation import refuse_unless_separable
from symbias.solvers.program import Program, Term

_TOLERANCE = 1e-8


class Norm(NamedTuple):
    """A norm, its dual, and how it becomes the cost of a program.

    ``add`` does that for w of a shape at variable ``start``, by variables of its own.
    """

    of: Callable[[np.ndarray], float]
    dual: Callable[[np.ndarray], float]
    add: Callable[[Program, int, Shape], None]


def least_norm(matrix: np.ndarray, norm: str, shape: Shape) -> MarginSolution:
    """min |w| subject to B w >= 1, by an interior-point method (Clarabel).

    Parameters
    ----------
    matrix : array (m, size of w)
    norm : "l1", "l2", "linf" or "spectral"
    shape : tuple
        Of w; two axes for the spectral norm, whose semidefinite program takes a second where rows
        and columns together are 40, and 4 seconds where they are 60.

    Raises
    ------
    NotSeparable
        If no w has positive margins, with Gordan's certificate.
    ValueError
        If the solver fails.
    """
    refuse_unless_separable(matrix)
    rule = BY_NAME[norm]
    unit = float(np.max(np.linalg.norm(matrix, axis=1)))
    rows, program = matrix / unit, Program()
    w = program.variables(matrix.shape[1])
    program.at_most([Term(w, sp.csc_array(-rows))], -np.ones(len(rows)))
    rule.add(program, w, shape)
    x, multipliers = program.solve_both()
    c, alpha = x[: matrix.shape[1]], np.maximum(multipliers[: len(rows)], 0.0)
    least = float(np.min(rows @ c))
    if not least > 0:
        raise ValueError("the solver of the margin ended at a point that separates nothing")
    c = c / least
    alpha = alpha / rule.dual((rows.T @ alpha).reshape(shape))
    value = rule.of(c.reshape(shape))
    gap = max(value - float(alpha.sum()), 0.0) / value
    reason = "converged" if gap <= _TOLERANCE else "max_iter"
    return MarginSolution(c / unit, rows @ c, value / unit, alpha / unit, gap, 1, reason)


def _largest_entry(program: Program, start: int, shape: Shape) -> None:
    size = int(np.prod(shape))
    bound, identity = program.variables(1, cost=1.0), sp.eye_array(size, format="csc")
    below = Term(bound, sp.csc_array(-np.ones((size, 1))))
    for sign in (1, -1):
        program.at_most([Term(start, sign * identity), below], np.zeros(size))


def _sum_of_entries(program: Program, start: int, shape: Shape) -> None:
    size = int(np.prod(shape))
    bounds = program.variables(size, cost=1.0)
    program.absolute([Term(start, sp.eye_array(size, format="csc"))], bounds)


def _length(program: Program, start: int, shape: Shape) -> None:
    """Half the square in its place: of the same minimum, and sharper in w."""
    identity = sp.eye_array(int(np.prod(shape)), format="csc")
    same = program.variables(identity.shape[0], square=1.0)
    program.equal([Term(start, identity), Term(same, -identity)], np.zeros(identity.shape[0]))


def _largest_singular_value(program: Program, start: int, shape: Shape) -> None:
    """[[t I, W], [W^T, t I]] >= 0, as the scaled upper triangle by columns."""
    rows, cols = shape
    side, bound = rows + cols, program.variables(1, cost=1.0)
    i, j = np.triu_indices(side)
    order = np.lexsort((i, j))
    i, j = i[order], j[order]
    at = np.flatnonzero((i < rows) & (j >= rows))
    entries = i[at] * cols + (j[at] - rows)
    pick = (np.full(len(at), np.sqrt(2)), (at, entries))
    program.positive(
        [
            Term(start, sp.csc_array(pick, shape=(len(i), rows * cols))),
            Term(bound, sp.csc_array((i == j).astype(float)[:, None])),
        ],
        side,
    )


def _l1(w: np.ndarray) -> float:
    return float(np.abs(w).sum())


def _linf(w: np.ndarray) -> float:
    return float(np.abs(w).max())


def _l2(w: np.ndarray) -> float:
    return float(np.linalg.norm(w.ravel()))


def _spectral(w: np.ndarray) -> float:
    return float(np.linalg.norm(w, 2))


def _nuclear(w: np.ndarray) -> float:
    return float(np.linalg.norm(w, "nuc"))


BY_NAME = {
    "l1": Norm(_l1, _linf, _sum_of_entries),
    "l2": Norm(_l2, _l2, _length),
    "linf": Norm(_linf, _l1, _largest_entry),
    "spectral": Norm(_spectral, _nuclear, _largest_singular_value),
}
