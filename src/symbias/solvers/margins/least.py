"""The least penalty with all margins at least 1, by the solver that suits it."""

from collections.abc import Callable
from dataclasses import replace

import numpy as np

from symbias.penalties import Form
from symbias.solvers.margins import conic, primal_dual, reweighted, vertex
from symbias.solvers.margins.problem import (
    TOO_NEAR,
    MarginProblem,
    MarginSolution,
    certify,
    homogeneous,
)
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
    """The global minimum: by interior points, at a vertex, or by proximal steps.

    Interior points end early on some semidefinite programs, and where rows are nearly parallel (as
    behind columns with large means), where rounding begins.
    """
    found = None
    for suits, solve in ((conic.has_cones, conic.solve), (vertex.has_vertices, vertex.solve)):
        if suits(problem) and not _close(found):
            found = _better(found, _certified(problem, solve))
    if not _close(found):
        refuse_unless_separable(problem.matrix)
        c, alpha, steps = primal_dual.solve(problem, TOLERANCE)
        other = certify(problem, c, alpha)
        found = _better(found, other and replace(other, n_iter=steps))
    if found is None:
        raise ValueError(TOO_NEAR)
    return replace(found, reason="converged" if _close(found) else "max_iter")


def _close(found: MarginSolution | None) -> bool:
    return found is not None and found.gap <= TOLERANCE


def _better(old: MarginSolution | None, new: MarginSolution | None) -> MarginSolution | None:
    return new if old is None or (new is not None and new.gap < old.gap) else old


def _certified(
    problem: MarginProblem, solve: Callable[[MarginProblem], tuple[np.ndarray, np.ndarray]]
) -> MarginSolution | None:
    """By a direct method; None where that fails."""
    try:
        return certify(problem, *solve(problem))
    except ValueError:
        return None
