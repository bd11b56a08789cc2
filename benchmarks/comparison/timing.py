"""How long a solver takes to a relative gap of 1e-10, at its loosest tolerance that gets there."""

import time
import warnings

import numpy as np

from comparison.peers import Solve
from comparison.problems import Problem

GAP = 1e-10
_TOLERANCES = 10.0 ** -np.arange(4, 15)
_REPEATS, _LONG, _PATIENCE = 5, 1.0, 20.0


def seconds(solve: Solve, problem: Problem, strength: float) -> tuple[float, float]:
    """The least time of up to five runs, and the gap reached; nan if no tolerance gets there."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        solve(problem, problem.strength_max / 2, 1e-3)  # what compiles, compiles now
        spent, least = 0.0, np.inf
        for tol in _TOLERANCES:
            took, w = _timed(solve, problem, strength, tol)
            spent += took
            gap = problem.gap(w, strength)
            least = min(least, gap)
            if gap <= GAP:
                break
            if spent > _PATIENCE:
                return float("nan"), least
        else:
            return float("nan"), least
        for _ in range(_REPEATS - 1):
            if took > _LONG:
                break
            took = min(took, _timed(solve, problem, strength, tol)[0])
    return took, gap


def _timed(solve: Solve, problem: Problem, strength: float, tol: float) -> tuple[float, np.ndarray]:
    start = time.perf_counter()
    w = solve(problem, strength, tol)
    return time.perf_counter() - start, w
