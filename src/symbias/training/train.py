"""Train all factors of a problem, and certify what was reached."""

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from functools import cache
from typing import Any

import jax
import numpy as np
from threadpoolctl import ThreadpoolController

from symbias.training import descent, variable_projection
from symbias.training.certificate import Certificate, certify, proven_zeros
from symbias.training.problem import Factors, ReducedProblem
from symbias.training.quadratic import pack

SOLVERS: dict[str, Any] = {"varpro": variable_projection, "gd": descent}

Callback = Callable[[int, float], None]


@dataclass(frozen=True)
class Solution:
    """Penalised coordinates z = factors.product(labels), and how far they are from optimal."""

    z: np.ndarray
    factors: Factors
    certificate: Certificate
    n_iter: int
    converged: bool


@dataclass(frozen=True)
class Options:
    """How to train.

    Parameters
    ----------
    solver : "varpro" or "gd"
        Variable projection with L-BFGS, or momentum descent with weight decay.
    tol : float
        Bound on `Certificate.violation`.
    max_iter : int, optional
        Steps at most, of one round of training; by default what suits the solver.
    callback : function of (steps, objective), optional
        Called now and then.
    starts : int
        Proximal starts of a problem that is not convex, beside the continuation.
    """

    solver: str = "varpro"
    tol: float = 1e-10
    max_iter: int | None = None
    callback: Callback | None = None
    starts: int = 20

    @property
    def limit(self) -> int:
        """``max_iter``, or what suits the solver."""
        return int(self.max_iter or SOLVERS[self.solver].MAX_ITER)


def train(
    problem: ReducedProblem,
    strength: float,
    options: Options,
    start: np.ndarray | None = None,
    steps: int = 0,
) -> Solution:
    """Train from the coordinates ``start``, or from scratch, until the certificate is met.

    ``steps`` were made before, and are counted in.
    """
    method, tol = SOLVERS[options.solver], float(options.tol)
    last = steps + options.limit
    scaled, unit, cost = problem.normalized()
    depth = problem.power + 1
    relative = float(strength * unit ** (2 / depth) / cost)
    with jax.enable_x64(True), _blas_threads(len(problem.labels)):
        data, form = pack(scaled)
        begin = starting_factors(scaled, None if start is None else start / unit)
        state = method.begin(begin, data, form, steps)
        inner, patience = 0.5 * tol, 3
        while True:
            before = int(state.steps)
            chunk = min(method.CHUNK, last - before)
            state = method.advance(
                state, data, relative, inner, chunk, power=problem.power, form=form
            )
            steps = int(state.steps)
            if options.callback:
                options.callback(steps, cost * float(state.objective))
            met, spent = float(state.violation) <= inner, steps >= last
            if met or spent or steps < before + chunk:
                found = method.factors_of(state, data, relative, problem.power, form)
                found = Factors(*(unit ** (1 / depth) * a for a in found))
                last_chance = spent or not patience
                solution = finish(problem, found, strength, steps, tol, last_chance)
                if solution.converged or last_chance:
                    return solution
                # zeros were set, or the padded arithmetic was too kind: go on, more strictly
                inner, patience = (inner / 10 if met else inner), patience - 1
            state = method.revise(state, begin, data, form)


def finish(
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


def zero_factors(problem: ReducedProblem) -> Factors:
    """All factors zero."""
    return Factors(np.zeros(len(problem.labels)), np.zeros((problem.power, problem.groups)))


@cache
def _blas() -> ThreadpoolController:
    return ThreadpoolController()


def _blas_threads(size: int) -> AbstractContextManager[Any]:
    """One BLAS thread for small systems: more only wait for one another."""
    return _blas().limit(limits=1, user_api="blas") if size <= 512 else nullcontext()
