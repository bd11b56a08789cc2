r"""Greedy low rank: from small starts, flow on W = P Q learns one direction after the other.

With :math:`G = -\nabla L(W)` and the columns of :math:`Z = (P; Q^\top)` the flow is
:math:`\dot Z = S(G)\,Z`, :math:`S(G) = \begin{pmatrix}0&G\\G^\top&0\end{pmatrix}`: columns that
are small grow along the singular vectors of G at the rates of its singular values, whatever the
others do. Between switches W stands at a minimum of rank r, and G with it.

References
----------
Li, Luo, Lyu, "Towards resolving the implicit bias of gradient descent for matrix factorization:
greedy low-rank learning", ICLR 2021; Gissin, Shalev-Shwartz, Daniely, "The implicit bias of depth:
how incremental learning drives generalization", ICLR 2020: the limit of small starts.
"""

import math
from dataclasses import dataclass
from typing import Any

import numpy as np

from symbias._core.numbers import positive
from symbias.mechanisms.saddles import Model, Stage, directions, stage_from, triangular, waiting
from symbias.mechanisms.staircase import Staircase

FLAT = 1e-7  # of the largest gradient at the start: nothing moves any more
_SMALL = 1e-2  # of a column on its plateau, up to which its growth is linear


@dataclass(frozen=True, eq=False)
class RankEvent:
    """A direction that switches on: W has rank ``rank`` from ``time`` on.

    ``left`` (d,) and ``right`` (m,), of length 1, are the direction in which it escapes.
    ``separable`` unless the plateau before or after it is left before it is reached.
    """

    rank: int
    time: float
    left: np.ndarray
    right: np.ndarray
    separable: bool = True


@dataclass(frozen=True, eq=False)
class GreedyRank(Staircase):
    """What is learned when.

    Attributes
    ----------
    events : tuple of RankEvent
        By rank, which is the order of their times where they are separable.
    plateaus : array (events + 1, d, m)
        W before the first event and after each.
    losses : array (events + 1,)
        Of the plateaus: a staircase.
    charge : float
    """

    events: tuple[RankEvent, ...]


def greedy_rank(X: Any, y: Any, *, charge: float) -> GreedyRank:
    r"""When gradient flow on W = P Q from W = 0 switches which direction on.

    Columns of (P; Q^T) that are small follow the linear law :math:`\dot z = S(G)\,z`, and W moves
    by those that are not. From :math:`P = \sqrt c\,1` (its first columns where d > m), Q = 0 the
    first direction is that of the largest singular value of :math:`G_0 = -\nabla L(0)`, and

    .. math:: t_1 = \frac{\log(4K_1/c)}{2\lambda_1(G_0)}, \qquad
        t_2 = t_1 + \frac{\tfrac12\log\tfrac1c - \lambda_2(G_0)\,t_1}{\lambda_1(G_1)} + O(1),

    where W has gone to the minimum :math:`W_1` of rank 1 that flow from this direction reaches, of
    size :math:`K_1`, and G to :math:`G_1`: what the other columns have grown to before counts.
    Here they are carried along: by exponentials on the plateaus, and by the linear law while
    the flow of the columns that are on goes from one to the next. Times are those at which the
    r-th singular value of W passes half of what it is on plateau r.

    Parameters
    ----------
    X, y : arrays
        (n, d, m) and (n,) for <X_i, W>, or (n, d) and (n, m) for x W; the loss is
        sum (prediction - y)^2 / 2n.
    charge : float
        c = P^T P - Q Q^T at the start, as in ``GradientFlow(init_scale)`` of
        ``MatrixProduct(d, m)`` with c = init_scale^2.

    Raises
    ------
    ValueError
        For data that are not finite or do not fit each other, or a charge that is not below 1% of
        the largest singular value of the least-squares W: there nothing is incremental.

    Notes
    -----
    A plateau is reached where W has gone 95% of the way to it before the next direction rises. It
    often is not, since other saddles can be near; then the events on both sides of it are not
    separable. Cost O((d m)^3), and for each rank a flow of all columns to its plateau (LSODA) with
    a refinement by Newton's steps, however small the charge.
    """
    model = Model.of(X, y)
    _check_small(positive("charge", charge), model)
    d, m = model.shape
    flat = FLAT * float(np.linalg.norm(model.pull(np.zeros((d, m))), 2))
    time, small = 0.0, 0.0
    active = np.zeros((d + m, 0))
    rest = math.sqrt(charge) * np.eye(d + m, min(d, m))
    stages: list[Stage] = []
    while len(stages) < min(d, m):
        growth, V = directions(model.pull(active[:d] @ active[d:].T))
        rest = triangular(V.T @ rest)
        if not stages or stages[-1].joined is None:  # on a plateau
            if growth[0] <= flat:
                break
            small = _SMALL * math.sqrt(2 * growth[0] / model.bend(V[:, 0]))
            wait = waiting(growth, rest[:, 0], small)
            if not math.isfinite(wait):  # the start has no part of what grows
                break
            time, rest = time + wait, np.exp(wait * growth)[:, None] * rest
        rest = V @ rest
        stage = stage_from(model, np.column_stack([active, rest[:, 0]]), rest[:, 1:], small, time)
        stages.append(stage)
        time, active, rest = stage.joined or stage.settled
    plateaus = np.array([np.zeros((d, m)), *(stage.W for stage in stages)])
    losses = np.array([model.loss(w) for w in plateaus])
    return GreedyRank(_events(stages), plateaus, losses, float(charge))


def _events(stages: list[Stage]) -> tuple[RankEvent, ...]:
    """Not separable where the plateau before or after is not reached."""
    found, before = list[RankEvent](), True
    for rank, (stage, after) in enumerate(zip(stages, [*stages[1:], None], strict=False), 1):
        left, right = (a / np.linalg.norm(a) for a in np.split(stage.new, [len(stage.W)]))
        reached = after is None or stage.near <= after.begun
        found.append(RankEvent(rank, stage.half, left, right, before and reached))
        before = reached
    return tuple(found)


def _check_small(charge: float, model: Model) -> None:
    w = np.linalg.lstsq(model.rows, model.target)[0]
    size = float(np.linalg.norm(w.reshape(model.shape), 2))
    if not charge < size / 100:
        raise ValueError(
            f"a charge of {charge:g} is no small start beside a W of {size:.3g}: directions rise "
            f"together. Take one below {size / 100:.2g}"
        )
