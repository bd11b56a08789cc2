"""Train the factors of a reduced problem until a certificate says that it is solved."""

from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from functools import cache
from typing import Any

import jax
import numpy as np
from threadpoolctl import ThreadpoolController

from symbias.solvers import descent, variable_projection
from symbias.solvers.certificate import Certificate, certify, proven_zeros, strength_max
from symbias.solvers.problem import Factors, ReducedProblem
from symbias.solvers.quadratic import pack, padded

SOLVERS: dict[str, Any] = {"lbfgs": variable_projection, "gd": descent}
_WORKING_SET = 64
_CONTINUATION = np.geomspace(0.01, 1, 12)

Callback = Callable[[int, float], None]


@dataclass(frozen=True)
class Solution:
    """Penalised coordinates z = factors.product(labels), and how far they are from optimal."""

    z: np.ndarray
    factors: Factors
    certificate: Certificate
    n_iter: int
    converged: bool


def solve(
    problem: ReducedProblem,
    strength: float,
    *,
    solver: str = "lbfgs",
    start: np.ndarray | None = None,
    tol: float = 1e-8,
    max_iter: int | None = None,
    callback: Callback | None = None,
) -> Solution:
    """Solve at one strength, from scratch or warm from the coordinates ``start``.

    Convex problems start with scales that are alive everywhere. Problems that are not (power 2
    and more) start at the least-squares solution and raise the strength from 1% to the full one;
    what they find is a local minimum, no worse than zero.

    Parameters
    ----------
    solver : "lbfgs" or "gd"
        Variable projection with L-BFGS, or momentum descent with weight decay.
    tol : float
        Bound on `Certificate.violation`.
    callback : function of (steps, objective), optional
        Called now and then.
    """
    limit = SOLVERS[solver].MAX_ITER if max_iter is None else max_iter
    if problem.groups == 0 or strength_max(problem) == 0:
        return _finish(problem, _zero(problem), strength, 0, tol)
    if problem.power == 1:
        if strength >= strength_max(problem):
            return _finish(problem, _zero(problem), strength, 0, tol)
        return _grow(problem, strength, start, solver, tol, limit, callback)
    if start is not None:
        return _train(problem, strength, start, solver, tol, limit, callback)
    z, steps = np.linalg.lstsq(problem.design, problem.target)[0], 0
    for fraction in _CONTINUATION:
        # only the last strength must be met
        loose = tol if fraction == 1 else max(tol, 1e-4)
        solution = _train(problem, fraction * strength, z, solver, loose, limit, callback, steps)
        z, steps = solution.z, solution.n_iter
    # zero is a local minimum at every strength
    zero = _finish(problem, _zero(problem), strength, steps, tol)
    return min(zero, solution, key=lambda s: s.certificate.objective)


def solve_path(
    problem: ReducedProblem, strengths: Iterable[float], **options: Any
) -> Iterator[Solution]:
    """Solve at one strength after the other, convex problems warm from the one before.

    ``options`` are those of `solve`.
    """
    warm = None
    for strength in strengths:
        solution = solve(problem, strength, start=warm, **options)
        yield solution
        warm = solution.z if problem.power == 1 else None


def least_squares(problem: ReducedProblem, keep: np.ndarray) -> Solution:
    """No penalty, only the coordinates in ``keep``: the solution of least norm, balanced."""
    z = np.zeros(len(keep))
    z[keep] = np.linalg.lstsq(problem.design[:, keep], problem.target)[0]
    r = problem.target - problem.design @ z
    t = problem.group_norms(z) ** (1 / (problem.power + 1))
    spread = np.where(t > 0, t, 1.0)[problem.labels] ** problem.power
    factors = Factors(z / spread, np.tile(t, (problem.power, 1)))
    return Solution(z, factors, Certificate(0.5 * float(r @ r), float("nan"), 0.0), 0, True)


def starting_factors(problem: ReducedProblem, z: np.ndarray | None) -> Factors:
    """Factors alive in every group, of product ``z`` where it is given.

    A section with a positive charge (1% of the largest group): at charge 0 zeros and signs of
    ``z`` would be frozen. Without ``z``: u = 0 and equal scales of the reach of one coordinate.
    """
    norms = problem.group_norms(problem.correlation)
    safe = np.where(problem.squared_norms > 0, problem.squared_norms, 1.0)
    reach = float((norms / safe).max())
    if z is None:
        t = np.full(problem.groups, (0.3 * np.sqrt(reach)) ** (1 / problem.power))
    else:
        sizes = problem.group_norms(z)
        charge = 1e-2 * (float(sizes.max()) or reach)
        if problem.power == 1:
            t = np.sqrt(charge / 2 + np.hypot(charge / 2, sizes))
        else:
            t = (sizes + charge) ** (1 / (problem.power + 1))
    u = np.zeros(len(problem.labels)) if z is None else z / t[problem.labels] ** problem.power
    return Factors(u, np.tile(t, (problem.power, 1)))


def _grow(
    problem: ReducedProblem,
    strength: float,
    start: np.ndarray | None,
    solver: str,
    tol: float,
    limit: int,
    callback: Callback | None,
) -> Solution:
    """Train the groups that matter, certify against all, and take in those that were missed.

    A working set of 64, then 128, ... groups: those of the support first, then those that the
    residual pulls most. The set doubles, so all of it costs at most twice the last round.
    """
    z = np.zeros(len(problem.labels)) if start is None else start
    size, steps = _WORKING_SET, 0
    while True:
        pull = problem.group_norms(problem.design.T @ (problem.target - problem.design @ z))
        pull[problem.group_norms(z) > 0] = np.inf
        size = max(size, padded(int(np.sum(np.isinf(pull)))))
        if size >= problem.groups:
            return _train(problem, strength, start, solver, tol, limit, callback, steps)
        groups = np.sort(np.argpartition(-pull, size)[:size])
        part, columns = problem.restrict(groups)
        warm = z[columns] if np.any(z) else None
        found = _train(part, strength, warm, solver, tol, limit, callback, steps)
        z = np.zeros(len(problem.labels))
        z[columns] = found.z
        t = np.zeros((1, problem.groups))
        t[:, groups] = found.factors.t
        u = np.zeros(len(problem.labels))
        u[columns] = found.factors.u
        steps = found.n_iter
        solution = _finish(problem, Factors(u, t), strength, steps, tol)
        if solution.converged or not found.converged:
            return solution
        start, size = z, 2 * size


def _train(
    problem: ReducedProblem,
    strength: float,
    start: np.ndarray | None,
    solver: str,
    tol: float,
    limit: int,
    callback: Callback | None,
    steps: int = 0,
) -> Solution:
    method, last, depth = SOLVERS[solver], steps + limit, problem.power + 1
    scaled, unit, cost = problem.normalized()
    relative = float(strength * unit ** (2 / depth) / cost)
    with jax.enable_x64(True), _blas_threads(len(problem.labels)):
        data, form = pack(scaled)
        begin = starting_factors(scaled, None if start is None else start / unit)
        state = method.begin(begin, data, form, steps)
        inner, patience = 0.5 * float(tol), 3
        while True:
            chunk = min(method.CHUNK, last - int(state.steps))
            before = int(state.steps)
            state = method.advance(
                state, data, relative, inner, chunk, power=problem.power, form=form
            )
            if callback:
                callback(int(state.steps), cost * float(state.objective))
            met, spent = float(state.violation) <= inner, int(state.steps) >= last
            if met or spent or int(state.steps) < before + chunk:
                found = method.factors_of(state, data, relative, problem.power, form)
                found = Factors(*(unit ** (1 / depth) * a for a in found))
                last_chance = spent or not patience
                solution = _finish(problem, found, strength, int(state.steps), tol, last_chance)
                if solution.converged or last_chance:
                    return solution
                # zeros were set, or the padded arithmetic was too kind: go on, more strictly
                inner, patience = (inner / 10 if met else inner), patience - 1
            state = method.revise(state, begin, data, form)


@cache
def _blas() -> ThreadpoolController:
    return ThreadpoolController()


def _blas_threads(size: int) -> AbstractContextManager[Any]:
    """One BLAS thread for small systems: more only wait for one another."""
    return _blas().limit(limits=1, user_api="blas") if size <= 512 else nullcontext()


def _zero(problem: ReducedProblem) -> Factors:
    return Factors(np.zeros(len(problem.labels)), np.zeros((problem.power, problem.groups)))


def _finish(
    problem: ReducedProblem,
    factors: Factors,
    strength: float,
    steps: int,
    tol: float,
    keep: bool = False,
) -> Solution:
    """Set the groups that are proven to be zero to zero, and certify what is left.

    With ``keep`` they stay as they are if the others have not adapted to it yet.
    """
    factors = Factors(factors.u[: len(problem.labels)], factors.t[:, : problem.groups])
    z = factors.product(problem.labels)
    certificate = certify(problem, z, strength)
    zero = proven_zeros(problem, z, strength, certificate.gap)
    sparse = Factors(np.where(zero[problem.labels], 0.0, factors.u), factors.t)
    sparse_z = sparse.product(problem.labels)
    after = certify(problem, sparse_z, strength)
    if not keep or certificate.violation > tol or after.violation <= tol:
        factors, z, certificate = sparse, sparse_z, after
    return Solution(z, factors, certificate, steps, bool(certificate.violation <= tol))
