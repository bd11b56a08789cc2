"""From which strength on is nothing left?"""

from typing import Any

import numpy as np

from symbias.training import cores
from symbias.training.objective import Objective


def largest_pull(objective: Objective) -> float:
    """The largest pull at c = 0 over the slope of the penalty there.

    Where the penalty is steeper at zero than any pull: the largest gain of one size, over what it
    costs, by the quadratic model of the loss.
    """
    largest = 0.0
    eta = objective.offset(objective.null_offset)
    at = 0
    for core, pull in zip(objective.linear.cores, objective.null_pull, strict=True):
        slope = cores.slope_at_zero(core.design)
        b = cores.sizes(core.design, pull)
        if b.max(initial=0.0) > 0 and slope == 0:
            return float("inf")
        if 0 < slope < np.inf:
            largest = max(largest, float(b.max(initial=0.0)) / slope)
        if not cores.is_convex(core.design):
            largest = max(largest, _largest_gain(objective, core.design, pull, eta, at))
        at += core.size
    return largest


def _largest_gain(
    objective: Objective, p: Any, pull: np.ndarray, eta: np.ndarray, at: int
) -> float:
    """max over directions of the first singular pair or of one coordinate, and over t."""
    R = cores.scalar(p)
    b = cores.sizes(p, pull)
    if R is None or not b.max(initial=0.0) > 0:
        return 0.0
    bend = objective.weights * objective.loss.bend(eta, objective.Y, objective.weights)
    flat = np.zeros(objective.size)
    elementwise = len(b) == pull.size
    directions = np.argsort(-b)[:32] if elementwise else np.array([0])
    best = 0.0
    for k in directions:
        flat[:] = 0.0
        if elementwise:
            flat[at + k] = 1.0
        else:
            only = cores.resize(p, pull, lambda s: (s == s.max()).astype(float))
            flat[at : at + pull.size] = only.ravel()
        along = objective.forward(flat)
        along = along + objective.offset(_projection(objective, along, bend))
        gamma = float(np.sum(bend * along**2))
        if gamma > 0:
            t = np.geomspace(1e-6, 2, 400) * b[k] / gamma
            best = max(best, float(np.max((b[k] * t - gamma * t**2 / 2) / R(t))))
    return best


def _projection(objective: Objective, along: np.ndarray, bend: np.ndarray) -> np.ndarray:
    """The free directions that take most of ``along`` away, in the metric ``bend``."""
    root = np.sqrt(bend).ravel()
    weighted = root[:, None] * objective.basis
    return -np.linalg.lstsq(weighted, root * along.ravel())[0]
