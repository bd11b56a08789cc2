r"""The least norm with all margins at least 1: LP, QP or SDP, certified by the dual norm.

.. math:: \min_w \|w\| \text{ s.t. } Bw \ge 1 \quad=\quad
          \max_{\alpha \ge 0} \sum_i \alpha_i \text{ s.t. } \|B^T \alpha\|_* \le 1
"""

from collections.abc import Callable

import numpy as np
import scipy.sparse as sp

from symbias._core.arrays import Shape
from symbias._core.norms import DUALS, VALUES
from symbias.solvers.margins.problem import TOO_NEAR, MarginSolution
from symbias.solvers.margins.separation import refuse_unless_separable
from symbias.solvers.program import Program, Term, triangle

_TOLERANCE = 1e-8


def least_norm(
    matrix: np.ndarray, norm: str, shape: Shape, *, signed: bool = True
) -> MarginSolution:
    """min |w| subject to B w >= 1, and w >= 0 unless signed, by interior points (Clarabel).

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
        If no w has positive margins, with Gordan's certificate, or Farkas's for w >= 0.
    ValueError
        If the solver fails.
    """
    refuse_unless_separable(matrix, low=-1.0 if signed else 0.0)
    unit = float(np.max(np.linalg.norm(matrix, axis=1)))
    rows, program = matrix / unit, Program()
    w = program.variables(matrix.shape[1])
    program.at_most([Term(w, sp.csc_array(-rows))], -np.ones(len(rows)))
    if not signed:
        below = -sp.eye_array(matrix.shape[1], format="csc")
        program.at_most([Term(w, below)], np.zeros(matrix.shape[1]))
    _COSTS[norm](program, w, shape)
    try:
        x, multipliers = program.solve_both()
    except ValueError:
        raise ValueError(TOO_NEAR) from None
    c, alpha = x[: matrix.shape[1]], np.maximum(multipliers[: len(rows)], 0.0)
    least = float(np.min(rows @ c))
    if not least > 0:
        raise ValueError(TOO_NEAR)
    c = (c if signed else np.maximum(c, 0.0)) / least
    pull = rows.T @ alpha
    pull = pull if signed else np.maximum(pull, 0.0)
    alpha = alpha / float(VALUES[DUALS[norm]](pull.reshape(shape)))
    value = float(VALUES[norm](c.reshape(shape)))
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
    i, j = triangle(side)
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


# how each norm becomes the cost of a program, for w of a shape at a variable
_COSTS: dict[str, Callable[[Program, int, Shape], None]] = {
    "l1": _sum_of_entries,
    "l2": _length,
    "linf": _largest_entry,
    "spectral": _largest_singular_value,
}
