"""Stationary points of concave powers: convex problems, reweighted until nothing moves.

References
----------
Candes, Wakin, Boyd, "Enhancing sparsity by reweighted l1 minimization", 2008; Mohan, Fazel,
"Iterative reweighted algorithms for matrix rank minimization", JMLR 2012.
"""

from dataclasses import replace
from functools import partial

import numpy as np
import scipy.linalg

from symbias.penalties import Entries, Piece, Power
from symbias.solvers.margins import conic
from symbias.solvers.margins.problem import MarginProblem, MarginSolution, certify, coefficient

_ROUNDS = 500
_ZERO = 1e-7  # of the largest size: gone, since its weight is without bound
_STILL = 1e-10
_SHORTEST = 1e-6


def descend(problem: MarginProblem, c: np.ndarray) -> MarginSolution:
    """From c with positive margins down to a stationary point on the support of c; q < 1.

    Each round is a convex problem in z, c = D z, whose objective has the slope of R at c; it goes
    from c towards its minimum as far as R falls. For single numbers that is reweighted l1, whose
    objective lies above R everywhere; matrices keep their rank, while both their spaces turn. What
    is zero stays zero. A stationary point is the minimum of its own convex problem:
    `MarginSolution.gap` is the duality gap there, and the multipliers are those of R.
    """
    now = problem.to_margin_one(problem.without_dust(c, _ZERO))
    assert now is not None
    rounds, reason = 0, "max_iter"
    while rounds < _ROUNDS and reason == "max_iter":
        convex, D = _local(problem, now)
        z, alpha = conic.solve(convex)
        new = _lower(problem, now, D @ z)
        moved, now, rounds = float(np.abs(new - now).max()), new, rounds + 1
        if moved <= _STILL * np.abs(now).max():
            reason = "converged"
    convex, D = _local(problem, now)
    found = certify(convex, np.linalg.lstsq(D, now)[0], alpha)
    assert found is not None
    value, margins = problem.value(now), problem.matrix @ now
    return replace(found, c=now, margins=margins, value=value, n_iter=rounds, reason=reason)


def _lower(problem: MarginProblem, c: np.ndarray, goal: np.ndarray) -> np.ndarray:
    """The first point of smaller R on the way back from the goal to c, of the rank of c."""
    ranks = [int(np.count_nonzero(t)) for t in _sizes(problem, c)]
    share, value = 1.0, problem.value(c)
    while share > _SHORTEST:
        parts = problem.split(c + share * (goal - c))
        cut = np.concatenate(
            [
                piece.sizes.resize(part, partial(_largest, rank))
                for piece, part, rank in zip(problem.pieces, parts, ranks, strict=True)
            ],
            axis=None,
        )
        new = problem.to_margin_one(problem.without_dust(cut, _ZERO))
        if new is not None and problem.value(new) <= value:
            return new
        share /= 2
    return c


def _largest(count: int, t: np.ndarray) -> np.ndarray:
    """So many of the largest sizes, zeros for the rest."""
    return t * (t >= np.sort(t)[-count]) if count else np.zeros_like(t)


def _sizes(problem: MarginProblem, c: np.ndarray) -> list[np.ndarray]:
    parts = zip(problem.pieces, problem.split(c), strict=True)
    return [np.asarray(piece.sizes.of(part)) for piece, part in parts]


def _local(problem: MarginProblem, c: np.ndarray) -> tuple[MarginProblem, np.ndarray]:
    """The convex problem in z about c = D z.

    Single numbers: sum |z_i| with z = a q |c|^(q - 1) c on the support. Matrices W = U S V^T:
    (|Z_1|^2 + |Z_2|^2) / 2 with W = (U S^(1 - q/2) Z_1 + N Z_2 S^(1 - q/2) V^T) / sqrt(a q), N the
    rest of the column space: the tangent space of their rank. Numbers beside them likewise.
    """
    linear = all(piece.sizes.elementwise for piece in problem.pieces)
    parts = zip(problem.pieces, problem.split(c), strict=True)
    D = scipy.linalg.block_diag(
        *[_weights(piece, part) if linear else _tangents(piece, part) for piece, part in parts]
    )
    scalar = Power(1.0, 1.0) if linear else Power(2.0, 0.5)
    return MarginProblem(problem.matrix @ D, (Piece(Entries((D.shape[1],)), scalar),)), D


def _weights(piece: Piece, c: np.ndarray) -> np.ndarray:
    """The block of D of single numbers, alone."""
    q, factor = piece.scalar.exponent, coefficient(piece) * piece.scalar.exponent
    sizes = np.abs(c).ravel()
    return np.diag(sizes ** (1 - q) / factor)[:, sizes > 0]


def _tangents(piece: Piece, c: np.ndarray) -> np.ndarray:
    """The block of D of a matrix, or of single numbers beside one."""
    q, factor = piece.scalar.exponent, coefficient(piece) * piece.scalar.exponent
    if piece.sizes.elementwise:
        sizes = np.abs(c).ravel()
        return np.diag(sizes ** (1 - q / 2) / np.sqrt(factor))[:, sizes > 0]
    u, s, vt = np.linalg.svd(c)
    rank = int(np.count_nonzero(s > _ZERO * s.max(initial=0.0)))
    scale = s[:rank] ** (1 - q / 2) / np.sqrt(factor)
    rows = np.kron(u[:, :rank] * scale, np.eye(c.shape[1]))
    return np.hstack([rows, np.kron(u[:, rank:], vt[:rank].T * scale)])
