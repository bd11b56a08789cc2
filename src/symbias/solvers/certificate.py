"""The certificate of a penalised solution: duality gap, and zeros that are proven."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from symbias.solvers.blocks import Blocks


@dataclass(frozen=True)
class Certificate:
    """``objective`` at a point and ``gap``, what is left to gain at most (to rounding).

    ``scale`` is the share of the gradient in eta that served as the dual point.
    """

    objective: float
    gap: float
    scale: float


@dataclass(frozen=True, eq=False)
class Point:
    """Coordinates c, free coordinates polished, and what the certificate asks of the loss there.

    ``pull`` is B^T nu with nu the weighted gradient in eta; it is orthogonal to the free
    directions. ``slack(s)`` is loss(eta) + conjugate(s nu) - s nu^T eta: the Fenchel gap of the
    loss against the dual point s nu, zero at s = 1.
    """

    c: np.ndarray
    loss: float
    pull: np.ndarray
    slack: Callable[[float], float]


def certify(point: Point, blocks: Blocks, l1: float, l2: float) -> Certificate:
    """Fenchel duality gap of loss + sum_g (l1 |c_g| + l2/2 |c_g|^2).

    The dual point is s nu. Scaled into |B_g^T nu| <= l1 by s = min(1, l1 / max_g |B_g^T nu|):

        gap = slack(s) + sum_g l1 |c_g| + l2/2 |c_g|^2 + s c_g^T B_g^T nu;

    with l2 > 0, s = 1 is feasible too and adds sum_g max(|B_g^T nu| - l1, 0)^2 / (2 l2); the
    better of the two is taken. Sums run group by group, where the terms cancel.
    """
    pulls, sizes = blocks.sizes(point.pull), blocks.sizes(point.c)
    along = blocks.totals(point.c * point.pull)
    costs = l1 * sizes + 0.5 * l2 * sizes**2
    objective = point.loss + float(costs.sum())
    largest = float(pulls.max(initial=0.0))
    scale = min(1.0, l1 / largest) if largest > 0 else 1.0
    slack = point.slack(scale) if scale < 1 else 0.0
    gap = slack + float(np.sum(costs + scale * along))
    if l2 > 0:
        conjugates = np.maximum(pulls - l1, 0.0) ** 2 / (2 * l2)
        whole = float(np.sum(costs + along + conjugates))
        if whole < gap:
            gap, scale = whole, 1.0
    return Certificate(objective, max(gap, 0.0), scale)


def proven_zeros(
    point: Point, blocks: Blocks, l1: float, norms: np.ndarray, reach: float, scale: float
) -> np.ndarray:
    """Which groups are zero at every optimum, for certain; boolean, (n_groups,).

    Gap-safe sphere (Ndiaye, Fercoq, Gramfort, Salmon, "Gap safe screening rules for sparsity
    enforcing penalties", JMLR 2017): the dual optimum is within ``reach`` = sqrt(2 gap bound) of
    the dual point, bound the largest curvature of the loss; so c_g = 0 where
    scale |B_g^T nu| + |B_g|_F reach < l1.
    """
    if not np.isfinite(reach):
        return np.zeros(blocks.count, dtype=bool)
    return scale * blocks.sizes(point.pull) + blocks.sizes(norms) * reach < l1
