"""Solutions by working sets, certified by a duality gap; single strengths and paths of them."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import numpy as np

from symbias._core.numbers import positive
from symbias.solvers import entries
from symbias.solvers.certificate import Point, certify, proven_zeros
from symbias.solvers.problem import Problem
from symbias.solvers.reweighted import ReweightedSet
from symbias.solvers.sets import LeastSquaresSet, WholeSet, WorkingSet

_SMALLEST, _LARGEST = 64, 256  # columns of the first set
_STAGE, _STAGE_GAP = 0.2, 0.5  # continuation in the strength, where X is wide
_SMALL = 512  # features up to which a path keeps the whole Gram matrix
_PATIENCE = 8


@dataclass(frozen=True, eq=False)
class Solution:
    """The answer at one strength.

    c (m,) and f (k,); ``objective``; ``gap``, the absolute duality gap; ``violation``, gap /
    max(objective, 1e-10 loss at c = 0), which convergence is judged by; ``n_iter``, rounds over
    all columns; ``reason``, "converged", "max_iter" or "stalled: ..."; ``zeros``, groups proven
    to be zero at every optimum (empty proof, all False, where the curvature of the loss has no
    bound).
    """

    c: np.ndarray
    f: np.ndarray
    objective: float
    gap: float
    violation: float
    n_iter: int
    reason: str
    zeros: np.ndarray

    def __repr__(self) -> str:
        return (
            f"Solution(c of shape {self.c.shape}, nonzero={np.count_nonzero(self.c)}, "
            f"objective={self.objective:.6g}, gap={self.gap:.2g}, n_iter={self.n_iter}, "
            f"reason={self.reason!r})"
        )

    @property
    def converged(self) -> bool:
        return self.reason == "converged"


def solve(
    problem: Problem,
    strength: float,
    c: np.ndarray | None = None,
    *,
    tol: float = 1e-10,
    max_iter: int = 100,
) -> Solution:
    """Minimise the problem at one strength, to a relative duality gap of `tol`.

    Each round computes B^T nu once over all columns, certifies, and solves on a working set: the
    support, and the columns nearest to their constraint. Where X is wide and no start is given,
    the strength comes down in stages, so that no set outgrows the support of its stage.

    Parameters
    ----------
    c : ndarray (m,) or None
        Where to start.
    tol : float
        Bound on the violation.

    Raises
    ------
    ValueError
        For a strength that is not positive, or that underflows times l1; for a start of another
        shape.

    Cost O(n m) a round; the set keeps its columns and, for the squared loss, its Gram matrix in
    the problem, for the next strength.
    """
    if not positive("strength", strength) * problem.l1 > np.finfo(float).tiny:
        raise ValueError(f"strength {strength!r} underflows")
    m = problem.inputs.shape[1]
    if c is not None and np.shape(c) != (m,):
        raise ValueError(f"the start must have shape ({m},), got {np.shape(c)}")
    start = np.zeros(m) if c is None else np.asarray(c, dtype=float)
    active = _working_set(problem, start)
    stage, now = strength, start[active.index]
    if c is None and m > problem.inputs.shape[0]:
        stage = max(strength, _STAGE * problem.strength_max())
    best, waited, rounds = None, 0, 0
    while True:
        here = _Round.at(problem, active.point(now), now, stage)
        while stage > strength and (here.gap <= _STAGE_GAP * here.objective or rounds >= max_iter):
            stage, best = max(strength, _STAGE * stage), None
            here = _Round.at(problem, here.point, now, stage)
        waited = 0 if best is None or here.gap < 0.5 * best.gap else waited + 1
        if best is None or here.gap < best.gap:
            best = here
        if stage == strength and best.gap <= tol * _floor(problem, best):
            reason = "converged"
            break
        if waited > _PATIENCE and stage == strength:
            reason = "stalled: rounding hides what is left of the gap"
            break
        if rounds >= max_iter:
            reason = "max_iter"
            break
        rounds += 1
        added = _extend(active, here, stage * problem.l1)
        now = np.concatenate([now, np.zeros(len(active.index) - len(now))])
        target = 0.3 * tol * _floor(problem, here)
        settled = stage == strength and added <= 0.05 * active.local.count
        if stage > strength or not (settled or len(active.index) <= 2 * _SMALLEST):
            target = max(target, 0.1 * here.gap)
        now = active.minimise(stage, now, target)
    return _solution(active, best, strength, rounds, reason)


def path(
    problem: Problem, strengths: Iterable[float], *, tol: float = 1e-10, max_iter: int = 100
) -> Iterator[Solution]:
    """Solutions at one strength after the other, each from the one before.

    With at most 512 features that are not more than the samples, the squared loss keeps the Gram
    matrix of all columns and does not touch X again: O(m^2) a sweep.
    """
    n, m = problem.inputs.shape
    c = None
    if problem.quadratic and m <= min(n, _SMALL):
        active = problem.cache.get("set")
        if not isinstance(active, WholeSet):
            problem.cache["set"] = active = WholeSet(problem)
        order = list(strengths)
        if active.single and problem.l2 == 0 and falling(order):
            yield from sweep_path(active, order, tol, max_iter)
            return
        strengths = order
    for strength in strengths:
        solution = solve(problem, strength, c, tol=tol, max_iter=max_iter)
        c = solution.c
        yield solution


def falling(strengths: list[float]) -> bool:
    """Whether no strength is above the one before."""
    return bool(strengths) and bool(np.all(np.diff(strengths) <= 0))


def sweep_path(
    active: LeastSquaresSet, strengths: list[float], tol: float, max_iter: int
) -> Iterator[Solution]:
    """A falling path by coordinate descent on the whole Gram matrix, all of it certified at once.

    What the sweeps have left too far is solved from there.
    """
    problem, index = active.problem, active.index
    q = -problem.null.pull[index]
    target = np.array([np.sqrt(2 * problem.null.loss)])
    l1 = np.array(strengths) * problem.l1
    C = entries.sweeps(active.gram, q, target, l1, tol * 0.01)
    curved = active.gram @ C
    losses = np.maximum(problem.null.loss - q @ C + 0.5 * np.sum(C * curved, axis=0), 0.0)
    pulls, costs = curved - q[:, None], l1 * np.abs(C).sum(axis=0)
    largest = np.abs(pulls).max(axis=0, initial=1e-300)
    scales = np.minimum(1.0, l1 / largest)
    gaps = (1 - scales) ** 2 * losses + np.maximum(costs + scales * np.sum(C * pulls, axis=0), 0)
    null = 1e-10 * problem.null.loss
    floors = np.maximum(losses + costs, null)
    for k, strength in enumerate(strengths):
        c = active.full(C[:, k])
        if not gaps[k] <= tol * floors[k]:
            yield solve(problem, strength, c, tol=tol, max_iter=max_iter)
            continue
        reach = np.sqrt(2 * (gaps[k] + 1e-15 * problem.null.loss))
        zeros = np.zeros(len(c), dtype=bool)
        zeros[index] = scales[k] * np.abs(pulls[:, k]) + problem.norms[index] * reach < l1[k]
        f = problem.recover(problem.projected(c))
        values = (float(losses[k] + costs[k]), float(gaps[k]), float(gaps[k] / (floors[k] or 1.0)))
        yield Solution(c, f, *values, 1, "converged", zeros)


@dataclass(frozen=True, eq=False)
class _Round:
    """A point of the working set's coordinates ``c`` and how good it is."""

    point: Point
    c: np.ndarray
    objective: float
    gap: float
    scale: float

    @classmethod
    def at(cls, problem: Problem, point: Point, c: np.ndarray, strength: float) -> "_Round":
        l1, l2 = strength * problem.l1, strength * problem.l2
        found = certify(point, problem.blocks, l1, l2)
        return cls(point, c, found.objective, found.gap, found.scale)


def _floor(problem: Problem, here: _Round) -> float:
    """What a gap is relative to: below 1e-10 of the null loss, double precision cannot tell."""
    return max(here.objective, 1e-10 * problem.null.loss) or 1.0


def _working_set(problem: Problem, c: np.ndarray) -> WorkingSet:
    """The set that the problem keeps, with the support of c in it; a new one if it has grown far
    beyond that."""
    used = problem.blocks.sizes(c) > 0
    active = problem.cache.get("set")
    enough = 4 * max(int(used.sum()), _LARGEST)
    if active is None or (active.local.count > enough and not active.complete):
        kind = WholeSet if problem.small else LeastSquaresSet
        active = kind(problem) if problem.quadratic else ReweightedSet(problem)
        problem.cache["set"] = active
    active.extend(np.flatnonzero(used & ~active.inside))
    return active


def _extend(active: WorkingSet, here: _Round, l1: float) -> int:
    """Take in the groups nearest to their constraint; how many.

    By (1 - |B_g^T nu| / l1) / |B_g|, up to twice the support, and never fewer than a first set.
    """
    if active.complete:
        return 0
    problem, blocks = active.problem, active.problem.blocks
    pulls, norms = blocks.sizes(here.point.pull), blocks.sizes(problem.norms)
    outside = ~active.inside & (norms > 0)
    first = min(max(min(problem.inputs.shape) // 4, _SMALLEST), _LARGEST)
    first = max(int(first / blocks.typical), 8)
    support = int(np.count_nonzero(active.local.sizes(here.c)))
    violated = int(np.count_nonzero(outside & (pulls > l1)))
    count = max(max(first, 2 * support) - active.local.count, min(violated, first))
    count = min(count, int(outside.sum()))
    if count <= 0:
        return 0
    safe = np.where(outside, norms, 1.0)
    distance = np.where(outside, (1 - here.scale * pulls / l1) / safe, np.inf)
    chosen = np.sort(np.argpartition(distance, count - 1)[:count])
    active.extend(chosen)
    return count


def _solution(
    active: WorkingSet, best: _Round, strength: float, rounds: int, reason: str
) -> Solution:
    problem = active.problem
    gap = best.gap + 1e-15 * problem.null.loss  # a gap is only known up to rounding
    reach = float(np.sqrt(2 * gap * problem.loss.bound))
    l1 = strength * problem.l1
    zeros = proven_zeros(best.point, problem.blocks, l1, problem.norms, reach, best.scale)
    inside = best.point.c[active.index]  # which may have grown since
    f = problem.recover(active.offset(inside)) if problem.free is not None else np.zeros(0)
    violation = best.gap / _floor(problem, best)
    c = best.point.c.copy()
    return Solution(c, f, best.objective, best.gap, violation, rounds, reason, zeros)
