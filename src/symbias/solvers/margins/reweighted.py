"""Stationary points of concave powers: convex problems, reweighted until nothing moves.

References
----------
Candes, Wakin, Boyd, "Enhancing sparsity by reweighted l1 minimization", 2008; Mohan, Fazel,
"Iterative reweighted algorithms for matrix rank minimization", JMLR 2012.
"""

from dataclasses import replace

import numpy as np
import scipy.linalg

from symbias.penalties import Entries, Piece, Power
from symbias.solvers.margins import conic
from symbias.solvers.margins.problem import MarginSolution, MarginProblem, certify

_ROUNDS = 500
_ZERO = 1e-7  # of the largest size: gone, since its weight is without bound
_STILL = 1e-10


def descend(problem: MarginProblem, c: np.ndarray) -> MarginSolution:
    """From c with positive margins down to a stationary point on the support of c; q < 1.

    R lies below its tangent in t (single numbers) or in t^2 (singular values), which touches it at
    c: the tangent's minimum never has a larger R, and what is zero stays zero. Each round is
    the convex problem in z with c = D z. A stationary point solves its own: `MarginSolution.gap` is
    that problem's duality gap, and its multipliers are those of R.
    """
    scaled = problem.to_margin_one(c)
    assert scaled is not None
    rounds, reason = 0, "max_iter"
    while True:
        convex, D = _tangent(problem, scaled)
        z, alpha = conic.solve(convex)
        new = problem.to_margin_one(problem.without_dust(D @ z, _ZERO))
        assert new is not None
        rounds += 1
        moved = float(np.abs(new - scaled).max()) / float(np.abs(new).max())
        scaled = new if problem.value(new) <= problem.value(scaled) else scaled
        if moved <= _STILL or rounds == _ROUNDS:
            reason = "converged" if moved <= _STILL else reason
            break
    convex, D = _tangent(problem, scaled)
    found = certify(convex, np.linalg.lstsq(D, scaled)[0], conic.solve(convex)[1])
    assert found is not None
    return replace(
        found,
        c=scaled,
        margins=problem.matrix @ scaled,
        value=problem.value(scaled),
        n_iter=rounds,
        reason=reason,
    )


def _tangent(problem: MarginProblem, c: np.ndarray) -> tuple[MarginProblem, np.ndarray]:
    """The convex problem in z whose objective touches R, but for a constant, at c = D z.

    Single numbers: sum |z_i| with z = a q |c|^(q - 1) c on the support. Matrices W = U S V^T:
    |Z|^2 / 2 with W = U S^((2 - q)/2) Z / sqrt(a q); single numbers beside them likewise.
    """
    linear = all(piece.sizes.elementwise for piece in problem.pieces)
    parts = zip(problem.pieces, problem.split(c), strict=True)
    D = scipy.linalg.block_diag(*[_columns(piece, part, linear) for piece, part in parts])
    scalar = Power(1.0, 1.0) if linear else Power(2.0, 0.5)
    return MarginProblem(problem.matrix @ D, (Piece(Entries((D.shape[1],)), scalar),)), D


def _columns(piece: Piece, c: np.ndarray, linear: bool) -> np.ndarray:
    """The block of D of one piece."""
    q, factor = piece.scalar.exponent, piece.scalar.coefficient * piece.scalar.exponent
    if piece.sizes.elementwise:
        sizes = np.abs(c).ravel()
        scale = sizes ** (1 - q) / factor if linear else sizes ** (1 - q / 2) / np.sqrt(factor)
        return np.diag(scale)[:, sizes > 0]
    u, s, _ = np.linalg.svd(c, full_matrices=False)
    kept = s > _ZERO * s.max(initial=0.0)
    scaled = u[:, kept] * s[kept] ** (1 - q / 2) / np.sqrt(factor)
    return np.kron(scaled, np.eye(c.shape[1]))
