"""Solve a reduced problem: which start, which continuation, which part of it first."""

from collections.abc import Iterable, Iterator
from dataclasses import replace
from typing import Any

import numpy as np

from symbias.training.certificate import Certificate, strength_max
from symbias.training.problem import Factors, ReducedProblem
from symbias.training.quadratic import padded
from symbias.training.train import Options, Solution, finish, train, zero_factors

_WORKING_SET = 64
_CONTINUATION = np.geomspace(0.01, 1, 12)


def solve(
    problem: ReducedProblem, strength: float, *, start: np.ndarray | None = None, **options: Any
) -> Solution:
    """Solve at one strength, from scratch or warm from the coordinates ``start``.

    Convex problems start with scales that are alive everywhere, on a growing working set.
    Problems that are not (power 2 and more) start at the least-squares solution and raise the
    strength from 1% to the full one, where a group that has become zero stays zero; what they
    find is a local minimum, no worse than zero.
    ``options`` are those of `symbias.training.train.Options`.
    """
    settings = Options(**options)
    trivial = finish(problem, zero_factors(problem), strength, 0, settings.tol)
    largest = strength_max(problem)
    if largest == 0 or (problem.power == 1 and strength >= largest):
        return trivial
    if problem.power == 1:
        return _grow(problem, strength, settings, start)
    z, steps = start, 0
    if z is None:
        z = np.linalg.lstsq(problem.design, problem.target)[0]
    for fraction in _CONTINUATION if start is None else _CONTINUATION[-1:]:
        if not np.any(z):
            return trivial
        # only the last strength must be met
        loose = settings if fraction == 1 else replace(settings, tol=max(settings.tol, 1e-4))
        alive = np.flatnonzero(problem.group_norms(z))
        solution = _train_part(problem, alive, fraction * strength, loose, z, steps)
        z, steps = solution.z, solution.n_iter
    # zero is a local minimum at every strength
    return min(trivial, solution, key=lambda s: s.certificate.objective)


def solve_path(
    problem: ReducedProblem, strengths: Iterable[float], **options: Any
) -> Iterator[Solution]:
    """Solve at one strength after the other, each warm from the one before.

    Problems that are not convex are all solved upward, from the weakest strength on, before the
    first solution is given back in the order of ``strengths``. ``options`` are those of `solve`.
    """
    warm = None
    if problem.power == 1:
        for strength in strengths:
            solution = solve(problem, strength, start=warm, **options)
            yield solution
            warm = solution.z
        return
    order = list(strengths)
    found: dict[float, Solution] = {}
    for strength in sorted(set(order)):
        found[strength] = solve(problem, strength, start=warm, **options)
        warm = found[strength].z
    yield from (found[strength] for strength in order)


def least_squares(problem: ReducedProblem, keep: np.ndarray) -> Solution:
    """No penalty, only the coordinates in ``keep``: the solution of least norm, balanced."""
    z = np.zeros(len(keep))
    z[keep] = np.linalg.lstsq(problem.design[:, keep], problem.target)[0]
    r = problem.target - problem.design @ z
    t = problem.group_norms(z) ** (1 / (problem.power + 1))
    spread = np.where(t > 0, t, 1.0)[problem.labels] ** problem.power
    factors = Factors(z / spread, np.tile(t, (problem.power, 1)))
    return Solution(z, factors, Certificate(0.5 * float(r @ r), float("nan"), 0.0), 0, True)


def _grow(
    problem: ReducedProblem, strength: float, options: Options, start: np.ndarray | None
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
            return train(problem, strength, options, start, steps)
        groups = np.sort(np.argpartition(-pull, size)[:size])
        solution = _train_part(problem, groups, strength, options, z, steps)
        if solution.converged or solution.n_iter >= steps + options.limit:
            return solution
        start = z = solution.z
        size, steps = 2 * size, solution.n_iter


def _train_part(
    problem: ReducedProblem,
    groups: np.ndarray,
    strength: float,
    options: Options,
    z: np.ndarray,
    steps: int,
) -> Solution:
    """Train some groups from ``z``, the others zero, and certify against all."""
    part, columns = problem.restrict(groups)
    found = train(part, strength, options, z[columns] if np.any(z) else None, steps)
    factors = zero_factors(problem)
    factors.u[columns], factors.t[:, groups] = found.factors
    return finish(problem, factors, strength, found.n_iter, options.tol)
