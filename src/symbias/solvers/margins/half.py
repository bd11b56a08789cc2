r"""The least R with all margins at least 1 among c >= 0: LP or QP, certified by its dual.

.. math:: \min_{c \ge 0} \sum_j a_j c_j^q \text{ s.t. } Bc \ge 1 \quad=\quad \max_{\alpha \ge 0}
    \sum_i \alpha_i - R^*((B^T\alpha)_+)

with R* zero on [0, a] and infinite beyond for q = 1, and sum g^2/4a for q = 2.
"""

import numpy as np
import scipy.sparse as sp

from symbias.solvers.margins.problem import MarginSolution
from symbias.solvers.margins.separation import refuse_unless_separable
from symbias.solvers.program import Program, Term

_TOLERANCE = 1e-8


def least_nonnegative(matrix: np.ndarray, costs: np.ndarray, exponent: float) -> MarginSolution:
    """min sum a_j c_j^q over c >= 0 with B c >= 1, by an interior-point method (Clarabel).

    Parameters
    ----------
    matrix : array (m, size)
        B.
    costs : array (size,)
        a, positive.
    exponent : 1 or 2
        q.

    Raises
    ------
    NotSeparable
        If no c >= 0 has positive margins: alpha >= 0 of sum 1 has B^T alpha <= 0 (Farkas).
    ValueError
        If the solver fails.
    """
    refuse_unless_separable(matrix, low=0.0)
    unit = float(np.max(np.linalg.norm(matrix, axis=1)))
    rows, size, program = matrix / unit, len(costs), Program()
    linear = exponent == 1
    c = program.variables(size, cost=costs if linear else 0.0, square=0.0 if linear else 2 * costs)
    program.at_most([Term(c, sp.csc_array(-rows))], -np.ones(len(rows)))
    program.at_most([Term(c, -sp.eye_array(size, format="csc"))], np.zeros(size))
    x, multipliers = program.solve_both()
    x, alpha = np.maximum(x[:size], 0.0), np.maximum(multipliers[: len(rows)], 0.0)
    x[x <= 1e-9 * x.max()] = 0.0
    x = x / float(np.min(rows @ x))
    value = float(np.sum(costs * x**exponent))
    pull = np.maximum(rows.T @ alpha, 0.0)
    if linear:
        alpha = alpha / float(np.max(pull / costs))
        bound = float(alpha.sum())
    else:
        conjugate = float(np.sum(pull**2 / costs)) / 4
        alpha = alpha * float(alpha.sum()) / (2 * conjugate)
        bound = float(alpha.sum()) / 2
    gap = max(value - bound, 0.0) / value
    reason = "converged" if gap <= _TOLERANCE else "max_iter"
    scale = unit**exponent
    return MarginSolution(x / unit, rows @ x, value / scale, alpha / scale, gap, 1, reason)
