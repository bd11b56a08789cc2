"""The least penalty with all margins at least 1, by the solver that suits it."""

from dataclasses import replace

import numpy as np

from symbias.penalties import Form
from symbias.solvers.margins import conic, primal_dual, reweighted
from symbias.solvers.margins.problem import MarginProblem, MarginSolution, certify, homogeneous
from symbias.solvers.margins.separation import refuse_unless_separable

TOLERANCE = 1e-8


def least_margin(
    matrix: np.ndarray, form: Form, exponent: float, start: np.ndarray | None = None
) -> MarginSolution:
    """min R(c) subject to B c >= 1, certified; R of the degree ``exponent``.

    Convex (exponent >= 1): the global minimum, with its duality gap, by an interior-point method
    (Clarabel: QP, LP, SOCP or SDP), or primal-dual proximal steps where the problem is no such
    program or too large for one. Not convex: a stationary point on the support of ``start``, by
    reweighting; by default from the minimum of the convex sum of sizes.

    Parameters
    ----------
    matrix : array (m, size)
    form : Form
        Whose pieces act on c, in their order.
    exponent : float
        R(s c) = s^exponent R(c).
    start : array (size,), optional
        With positive margins, where R is not convex.

    Raises
    ------
    NotSeparable
        If no c has positive margins, with Gordan's certificate.
    ValueError
        If the solver fails.
    """
    unit = float(np.max(np.linalg.norm(matrix, axis=1), initial=0.0)) or 1.0
    own = homogeneous(matrix / unit, form, exponent)
    if exponent < 1:
        c = _convex(homogeneous(matrix / unit, form, 1.0)).c if start is None else start
        found = reweighted.descend(own, c)
    else:
        found = _convex(own)
    return replace(
        found,
        c=found.c / unit,
        value=found.value / unit**exponent,
        multipliers=found.multipliers / unit**exponent,
    )


def _convex(problem: MarginProblem) -> MarginSolution:
    """The global minimum: by interior points, and by proximal steps where those do not get there.

    Interior points end early on some semidefinite programs, where rounding begins.
    """
    found = _conic(problem) if conic.has_cones(problem) else None
    if found is None or found.gap > TOLERANCE:
        refuse_unless_separable(problem.matrix)
        c, alpha, steps = primal_dual.solve(problem, TOLERANCE)
        other = certify(problem, c, alpha)
        if other is not None and (found is None or other.gap < found.gap):
            found = replace(other, n_iter=steps)
    if found is None:
        raise ValueError("the solver of the margin ended at a point that separates nothing")
    close = found.gap <= TOLERANCE
    return replace(found, reason="converged" if close else "max_iter")


def _conic(problem: MarginProblem) -> MarginSolution | None:
    """By an interior-point method; None where that fails."""
    try:
        return certify(problem, *conic.solve(problem))
    except ValueError:
        return None
