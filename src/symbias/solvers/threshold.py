"""The strength from which on every penalised coordinate is zero, or next to nothing."""

from functools import partial

import numpy as np

from symbias.penalties import Piece
from symbias.solvers.composite import Composite

_DIRECTIONS = 32
_LEFT = 0.01


def strength_max(composite: Composite) -> float:
    """The smallest strength at which c = 0 is the answer; infinite if there is none.

    The largest pull at c = 0 over the slope of the penalty there. Where the penalty is not convex,
    at which no single size improves on zero by the quadratic model of the loss: the largest gain
    of one size over what it costs.
    """
    largest, at = 0.0, 0
    pulls = composite.form.split(composite.problem.null.pull)
    for piece, pull in zip(composite.form.pieces, pulls, strict=True):
        slope = piece.scalar.slope_at_zero
        pulled = float(np.max(piece.sizes.of(pull), initial=0.0))
        if pulled > 0 and slope == 0:
            return float("inf")
        if 0 < slope < np.inf:
            largest = max(largest, pulled / slope)
        if pulled > 0 and not piece.scalar.convex:
            largest = max(largest, _largest_gain(composite, piece, pull, at))
        at += pull.size
    return largest


def strength_of_shrinkage(composite: Composite) -> float:
    """The strength s at which ridge leaves 1% or less of every direction; infinite for others.

    By the quadratic model of the loss, of curvature H in c: s R'' = k s, and the fit along a
    direction of curvature h is h / (h + k s) of what it is without a penalty. With the largest h:
    s = 99 |H| / k.
    """
    bends = []
    for piece in composite.form.pieces:
        if piece.scalar.exponent != 2:
            return float("inf")
        bends.append(float(piece.scalar.curvature(np.ones(1))[0]))
    return (1 / _LEFT - 1) * composite.lipschitz / min(bends)


def _largest_gain(composite: Composite, piece: Piece, pull: np.ndarray, at: int) -> float:
    """max over t, and over single coordinates, groups or the first singular pair, of gain / R."""
    problem, best = composite.problem, 0.0
    bend = problem.a * problem.loss.bend(problem.null_eta, problem.y, problem.a)
    root = np.sqrt(bend)
    E = root[:, None] * problem.basis
    pulls = np.sort(np.asarray(piece.sizes.of(pull)))[::-1]
    for pulled in pulls[: _DIRECTIONS if piece.sizes.labels is not None else 1]:
        along = piece.sizes.resize(pull, partial(_only, pulled))
        c = np.zeros(composite.size)
        c[at : at + pull.size] = along.ravel()
        seen = root * problem.inputs.push(c)
        seen -= E @ np.linalg.lstsq(E, seen)[0]
        gamma = float(seen @ seen)
        if gamma > 0:
            best = max(best, piece.scalar.largest_gain(float(pulled), gamma))
    return best


def _only(size: float, sizes: np.ndarray) -> np.ndarray:
    """1 where the size is this one."""
    return (sizes == size).astype(float)
