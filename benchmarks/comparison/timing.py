"""How long a solver takes to a relative gap of 1e-10, at its loosest tolerance that gets there."""

import time
import warnings
from collections.abc import Callable

import numpy as np

from comparison.peers import Solve
from comparison.problems import Problem

GAP = 1e-10
_TOLERANCES = 10.0 ** -np.arange(4, 15)
_REPEATS, _LONG, _PATIENCE = 9, 1.0, 20.0


def least(run: Callable[[], object], turns: int) -> float:
    """The least seconds of several runs."""
    times = []
    for _ in range(turns):
        begun = time.perf_counter()
        run()
        times.append(time.perf_counter() - begun)
    return min(times)


def seconds(
    solvers: dict[str, Solve], problem: Problem, strength: float
) -> dict[str, tuple[float, float]]:
    """The least time of up to nine runs in turns, and the gap; nan if no tolerance gets there."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        found = {name: _first(solve, problem, strength) for name, solve in solvers.items()}
        for _ in range(_REPEATS - 1):
            for name, (took, gap, tol) in found.items():
                if took <= _LONG:
                    again = _timed(solvers[name], problem, strength, tol)[0]
                    found[name] = (min(took, again), gap, tol)
    return {name: (took, gap) for name, (took, gap, _) in found.items()}


def _first(solve: Solve, problem: Problem, strength: float) -> tuple[float, float, float]:
    """Seconds, gap and tolerance of the loosest one that reaches the gap."""
    solve(problem, problem.strength_max / 2, 1e-3)  # what compiles, compiles now
    spent, least = 0.0, np.inf
    for tol in _TOLERANCES:
        took, w = _timed(solve, problem, strength, tol)
        spent += took
        gap = problem.gap(w, strength)
        least = min(least, gap)
        if gap <= GAP:
            return took, gap, tol
        if spent > _PATIENCE:
            break
    return float("nan"), least, float("nan")


def _timed(solve: Solve, problem: Problem, strength: float, tol: float) -> tuple[float, np.ndarray]:
    start = time.perf_counter()
    w = solve(problem, strength, tol)
    return time.perf_counter() - start, w
