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
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np
from scipy.integrate import solve_ivp
from scipy.optimize import least_squares

from symbias._core.numbers import positive

FLAT = 1e-7  # of the largest gradient at the start: nothing moves any more
NEAR = 0.05  # of the way to a plateau, within which it is reached
_SMALL, _CALM, _SPAN = 1e-2, 1e-4, 20.0  # a direction's size as it escapes; where its flow may end
_CHUNKS, _NEWTON = 100, 60


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
class GreedyRank:
    """What is learned when.

    Attributes
    ----------
    events : tuple of RankEvent
        In the order of their times.
    plateaus : array (events + 1, d, m)
        W before the first event and after each.
    losses : array (events + 1,)
        Of the plateaus: a staircase.
    charge : float
    """

    events: tuple[RankEvent, ...]
    plateaus: np.ndarray
    losses: np.ndarray
    charge: float

    def loss_at(self, times: Any) -> np.ndarray:
        """The staircase of the loss."""
        at = np.searchsorted([event.time for event in self.events], times, side="right")
        return np.asarray(self.losses[at])


def greedy_rank(X: Any, y: Any, *, charge: float) -> GreedyRank:
    r"""When gradient flow on W = P Q from W = 0 switches which direction on.

    From :math:`P = \sqrt c\,1` (its first columns where d > m) and Q = 0 the first direction is that of the largest singular value
    of :math:`G_0 = -\nabla L(0)`, at

    .. math:: t_1 = \frac{\log(4K_1/c)}{2\lambda_1(G_0)}, \qquad K = u^\top W\,v \text{ on the next
        plateau.}

    There W goes to the minimum :math:`W_1` of rank 1 that flow reaches from this direction, and
    G to :math:`G_1`. What the other columns have grown to by then counts: they go on from there
    at the singular values of :math:`G_1`, in its directions, until the longest has the length
    :math:`\sqrt{2K_2}`, and so on. To leading order in :math:`\log(1/c)`, and generic directions,
    :math:`t_2 = t_1 + (\tfrac12\log\tfrac1c - \lambda_2(G_0)\,t_1)/\lambda_1(G_1)`.

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
        For data that are not finite or do not fit each other, or a charge that is not small beside
        what is learned first.

    Notes
    -----
    Times err by O(1 / log(1/c)), since G does not change at once. Where the next direction rises
    before W has gone 95% of the way to a plateau, which can be long where other saddles are near,
    the events on both sides of it are not separable: their times and that plateau are not
    promised. Cost O((d m)^3) and, for each rank r, a flow of r columns (LSODA) with a Newton
    refinement of where it ends.
    """
    model = _Model.of(X, y)
    positive("charge", charge)
    d, m = model.shape
    columns = math.sqrt(charge) * np.eye(d + m, min(d, m))
    factors, W, time = np.zeros((d + m, 0)), np.zeros((d, m)), 0.0
    found: list[RankEvent] = []
    plateaus, settling = [W], list[float]()
    largest = float(np.linalg.norm(model.pull(W), 2))
    while len(found) < min(d, m):
        growth, V = _directions(model.pull(W))
        if growth[0] <= FLAT * largest:
            break
        graded = _triangular(V.T @ columns)
        rising = _Rising(growth, graded[:, 0])
        escape = V @ rising.at(rising.time(1.0))
        escape *= _SMALL / np.linalg.norm(escape)
        factors, takes = _settled(model, np.column_stack([factors, escape]), growth[0])
        W = factors[:d] @ factors[d:].T
        left, right = (a / np.linalg.norm(a) for a in (escape[:d], escape[d:]))
        size = abs(float(left @ W @ right))
        if not found:
            _check_small(charge, size)
        rest = rising.time(math.sqrt(2 * size))
        time += rest
        columns = V @ (np.exp(rest * growth)[:, None] * graded[:, 1:])
        found.append(RankEvent(len(found) + 1, time, left, right))
        plateaus.append(W)
        settling.append(takes)
    losses = np.array([model.loss(w) for w in plateaus])
    return GreedyRank(_apart(found, settling), np.array(plateaus), losses, float(charge))


@dataclass(frozen=True, eq=False)
class _Model:
    """|rows w - target|^2 / 2 + level, w the entries of W."""

    shape: tuple[int, int]
    rows: np.ndarray
    target: np.ndarray
    level: float

    @classmethod
    def of(cls, X: Any, y: Any) -> "_Model":
        x, target = np.asarray(X, dtype=float), np.asarray(y, dtype=float)
        sensing = x.ndim == 3 and target.shape == x.shape[:1]
        regression = x.ndim == 2 and target.ndim == 2 and len(target) == len(x)
        if not (sensing or regression) or not x.size or not target.size:
            raise ValueError(
                f"X and y must be (n, d, m) and (n,), or (n, d) and (n, m), got {x.shape} and "
                f"{target.shape}"
            )
        if not (np.all(np.isfinite(x)) and np.all(np.isfinite(target))):
            raise ValueError("X and y must be finite")
        n, shape = len(x), (x.shape[1], (x if sensing else target).shape[-1])
        flat = x.reshape(n, -1)
        hessian, b = flat.T @ flat / n, flat.T @ target / n
        if regression:
            hessian, b = np.kron(hessian, np.eye(shape[1])), b.ravel()
        if not np.any(b):
            raise ValueError("y says nothing of W: the gradient at W = 0 is zero")
        h, U = np.linalg.eigh(hessian)
        kept = h > 1e-13 * h[-1]
        rows = np.sqrt(h[kept])[:, None] * U[:, kept].T
        seen = (U[:, kept].T @ b) / np.sqrt(h[kept])
        return cls(shape, rows, seen, float(np.sum(target**2) / n - seen @ seen) / 2)

    @cached_property
    def hessian(self) -> np.ndarray:
        return self.rows.T @ self.rows

    @cached_property
    def _b(self) -> np.ndarray:
        return self.rows.T @ self.target

    def pull(self, W: np.ndarray) -> np.ndarray:
        """G = -grad L(W), (d, m)."""
        return (self._b - self.hessian @ W.ravel()).reshape(self.shape)

    def loss(self, W: np.ndarray) -> float:
        return float(np.sum((self.rows @ W.ravel() - self.target) ** 2)) / 2 + self.level

    def residuals(self, z: np.ndarray) -> np.ndarray:
        """Of the flattened factors (P; Q^T)."""
        d, m = self.shape
        Z = z.reshape(d + m, -1)
        return self.rows @ (Z[:d] @ Z[d:].T).ravel() - self.target

    def velocity(self, z: np.ndarray) -> np.ndarray:
        """S(G) Z, flat."""
        d, m = self.shape
        Z = z.reshape(d + m, -1)
        G = self.pull(Z[:d] @ Z[d:].T)
        return np.concatenate([G @ Z[d:], G.T @ Z[:d]]).ravel()

    def jacobian(self, z: np.ndarray) -> np.ndarray:
        """d residuals / d factors."""
        d, m = self.shape
        Z = z.reshape(d + m, -1)
        rows = self.rows.reshape(-1, d, m)
        left = np.einsum("nij,jk->nik", rows, Z[d:])
        right = np.einsum("nij,ik->njk", rows, Z[:d])
        return np.concatenate([left, right], axis=1).reshape(len(rows), -1)


def _directions(G: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Growth rates of S(G), largest first, and its orthonormal directions (u; v) / sqrt 2."""
    zero = np.zeros
    d, m = G.shape
    growth, V = np.linalg.eigh(np.block([[zero((d, d)), G], [G.T, zero((m, m))]]))
    return growth[::-1], V[:, ::-1]


@dataclass(frozen=True)
class _Rising:
    """A column in the directions of S(G), and how it grows."""

    growth: np.ndarray
    start: np.ndarray

    def at(self, time: float) -> np.ndarray:
        return np.exp(self.growth * time) * self.start

    def time(self, length: float) -> float:
        """When it has this length, at once where it has; Newton's steps on its logarithm.

        That is a convex function of time, below the line of the largest rate.
        """
        parts = np.abs(self.start[self.growth > 0])
        rates = self.growth[self.growth > 0][parts > 0]
        logs = np.log(parts[parts > 0])
        time = max(0.0, float(np.min((math.log(length) - logs) / rates)))
        for _ in range(_NEWTON):
            height = 2 * (logs + rates * time)
            share = np.exp(height - height.max())
            off = (height.max() + math.log(share.sum())) / 2 - math.log(length)
            step = off / (share @ rates / share.sum())
            time = max(time - step, 0.0)
            if abs(step) <= 1e-13 * time:
                break
        return time


def _triangular(C: np.ndarray) -> np.ndarray:
    """C R with R orthogonal, zero right of the diagonal: rotations of pairs of columns.

    Columns of very different sizes keep their relative precision: each is changed by what is of its
    own size.
    """
    C = C.copy()
    for i in range(C.shape[1] - 1):
        for j in range(i + 1, C.shape[1]):
            length = math.hypot(C[i, i], C[i, j])
            if length:
                cos, sin = C[i, i] / length, C[i, j] / length
                C[:, i], C[:, j] = cos * C[:, i] + sin * C[:, j], cos * C[:, j] - sin * C[:, i]
                C[i, j] = 0.0
    return C


def _settled(model: _Model, Z: np.ndarray, rate: float) -> tuple[np.ndarray, float]:
    """The minimum that the flow of these columns goes to, and how long it takes.

    That is from halfway there in the direction of the last column to 5% of the way. Refined by
    Newton's steps.
    """
    z, time, d = Z.ravel(), 0.0, model.shape[0]
    times, path = [np.zeros(1)], [z[None]]
    for _ in range(_CHUNKS):
        flow = solve_ivp(
            lambda _, z: model.velocity(z), (time, time + _SPAN / rate), z, method="LSODA",
            rtol=1e-7, atol=1e-9,
        )  # fmt: skip
        z, time = flow.y[:, -1], flow.t[-1]
        times.append(flow.t)
        path.append(flow.y.T)
        if np.abs(model.velocity(z)).max() <= _CALM * rate * np.abs(z).max():
            break
    found = least_squares(model.residuals, z, model.jacobian, xtol=1e-15, ftol=1e-15, gtol=1e-15)
    end = np.asarray(found.x).reshape(Z.shape)
    all_Z = np.concatenate(path).reshape(-1, *Z.shape)
    W = all_Z[:, :d] @ np.swapaxes(all_Z[:, d:], 1, 2)
    way = np.linalg.norm(W - end[:d] @ end[d:].T, axis=(1, 2))
    along = np.einsum("i,tij,j->t", Z[:d, -1], W, Z[d:, -1])
    at = np.concatenate(times)
    begun = at[np.argmax(along >= along[-1] / 2)]
    return end, float(at[np.flatnonzero(way > NEAR * way[0])[-1]] - begun)


def _apart(found: list[RankEvent], settling: list[float]) -> tuple[RankEvent, ...]:
    """The events, not separable where a plateau beside them is not reached."""
    times = np.array([event.time for event in found])
    reached = np.diff(times) >= np.array(settling[:-1])
    sides = zip([True, *reached], [*reached, True], strict=True)
    return tuple(replace(e, separable=bool(all(pair))) for e, pair in zip(found, sides, strict=True))


def _check_small(charge: float, size: float) -> None:
    if not charge < size / 100:
        raise ValueError(
            f"a charge of {charge:g} is no small start beside a W of {size:.3g}: directions rise "
            f"together. Take one below {size / 100:.2g}"
        )
