"""Block elimination of the Gram of a network of scales, and its null space."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from symbias._core.arrays import Array, concrete, constant
from symbias.symmetry.bonds import Bond
from symbias.symmetry.scales import Blocks, Term, laplacian


class Elimination:
    """Block elimination of a symmetric positive definite matrix, fewest neighbours first.

    A chain costs ``O(sum n^3)`` for blocks of size ``n``, trees and other graphs of bonds what
    their fill costs. The diagonal is scaled to one first; rows of zeros keep a pivot of one.

    Parameters
    ----------
    diagonal, blocks
        As :func:`symbias.symmetry.scales.laplacian` makes them.
    rhs
        A right-hand side per bond; zeros if only the determinant is wanted.
    ridge
        Relative increase of the diagonal.
    """

    def __init__(
        self,
        xp: Any,
        diagonal: dict[int, Array],
        blocks: Blocks,
        rhs: dict[int, Array] | None = None,
        ridge: float = 0.0,
    ) -> None:
        self.xp = xp
        self.roots = {a: xp.sqrt(xp.where(d > 0, d, xp.ones_like(d))) for a, d in diagonal.items()}
        g = {(a, a): constant((1 + ridge) * np.eye(d.shape[0]), d) for a, d in diagonal.items()}
        for (a, b), block in blocks.items():
            block = block / self.roots[a][:, None] / self.roots[b][None, :]
            g[a, b] = g[a, b] + block if a == b else block
            g[b, a] = xp.matrix_transpose(g[a, b])
        rest = {a: (rhs[a] if rhs else d * 0) / self.roots[a] for a, d in diagonal.items()}
        self.steps: list[tuple[int, Array, Array, dict[int, Array]]] = []
        left = set(diagonal)
        while left:
            near = {a: [b for b in left if b != a and (a, b) in g] for a in left}
            a = min(left, key=lambda i: (len(near[i]), i))
            left.remove(a)
            columns = xp.concat([rest[a][:, None], *(g[a, b] for b in near[a])], axis=1)
            solved = xp.linalg.solve(g[a, a], columns)
            fill, start = {}, 1
            for b in near[a]:
                fill[b] = solved[:, start : start + g[a, b].shape[1]]
                start += g[a, b].shape[1]
                rest[b] = rest[b] - g[b, a] @ solved[:, 0]
            for b in near[a]:
                for c in near[a]:
                    change = g[b, a] @ fill[c]
                    g[b, c] = g[b, c] - change if (b, c) in g else -change
            self.steps.append((a, g[a, a], solved[:, 0], fill))

    def solution(self) -> dict[int, Array]:
        """The solution for the right-hand side, per bond."""
        x: dict[int, Array] = {}
        for a, _, value, fill in reversed(self.steps):
            for b, block in fill.items():
                value = value - block @ x[b]
            x[a] = value
        return {a: v / self.roots[a] for a, v in x.items()}

    def log_det(self) -> tuple[Array, list[Array]]:
        """Log-determinant without the rows of zeros, and the square roots of the pivots."""
        xp = self.xp
        roots = [xp.linalg.diagonal(xp.linalg.cholesky(pivot)) for _, pivot, _, _ in self.steps]
        total = sum(xp.sum(xp.log(root)) for root in [*self.roots.values(), *roots])
        return 2 * total, roots


def network_log_det(
    xp: Any, bonds: Sequence[Bond], network: Sequence[Term]
) -> tuple[Array, Array, bool]:
    """Half the log pseudo-determinant of a network of scales, and its zero eigenvalues.

    For an island of ``n`` scales the pseudo-determinant is ``n`` times the determinant without
    one of them. The last value says whether the pivots kept nine digits; while tracing, True.
    """
    sizes = [(bond.heads or 1) * bond.group.size for bond in bonds]
    diagonal, blocks = laplacian(xp, network)
    correction = 0.0
    if _may_float(network):
        free = islands(network, sizes)
        keep = np.ones(sum(sizes))
        keep[[island[0] for island in free]] = 0
        masks = np.split(keep, np.cumsum(sizes)[:-1])
        diagonal = {a: d * constant(masks[a], d) for a, d in diagonal.items()}
        blocks = {
            (a, b): g * constant(masks[a], g)[:, None] * constant(masks[b], g)[None, :]
            for (a, b), g in blocks.items()
        }
        correction = float(sum(np.log(len(island)) for island in free))
    dead = sum(xp.sum(xp.astype(d == 0, xp.int32)) for d in diagonal.values())
    try:
        value, roots = Elimination(xp, diagonal, blocks).log_det()
    except (np.linalg.LinAlgError, RuntimeError):
        return dead * float("nan"), dead, False
    seen = [concrete(root) for root in roots]
    exact = all(root is None or bool(np.all(root > 1e-3)) for root in seen)
    return (value + correction) / 2, dead, exact


def _may_float(network: Sequence[Term]) -> bool:
    """Whether some scales may be tied to no fixed point; not seen while tracing."""
    weights = [concrete(term.weights) for term in network]
    if any(w is None for w in weights):
        return False
    whole = all(np.all(w) for w in weights if w is not None)
    return not (whole and any(len(term.scales) == 1 for term in network))


def islands(network: Sequence[Term], sizes: Sequence[int]) -> list[np.ndarray]:
    """Components of live scales that no entry ties to a fixed point, as arrays of their indices.

    On each of them one combination ``s_i = +-s`` moves nothing: a stabilizer. Found on the double
    cover of the signed graph: a scale ``i`` is free if ``(i, +)`` and ``(i, -)`` do not connect.
    """
    count = sum(sizes)
    offsets = np.cumsum([0, *sizes])
    grounded = np.zeros(count, dtype=bool)
    edges: list[np.ndarray] = []
    for term in network:
        weights, scales = concrete(term.weights), term.scales
        assert weights is not None
        if len(scales) == 1:
            (a, _, _) = scales[0]
            grounded[offsets[a] + np.flatnonzero(weights)] = True
            continue
        (a, sign, p), (b, other, q) = scales
        index = np.nonzero(weights)
        i, j = offsets[a] + index[p], offsets[b] + index[q]
        swap = count if sign == other else 0
        edges += [np.stack([i, j + swap]), np.stack([i + count, (j + count + swap) % (2 * count)])]
    touched = grounded.copy()
    for edge in edges:
        touched[edge % count] = True
    ground = np.flatnonzero(grounded)
    edges.append(np.stack([ground, ground + count]))
    i, j = np.concatenate(edges, axis=1)
    graph = coo_array((np.ones(len(i)), (i, j)), shape=(2 * count, 2 * count))
    labels = connected_components(graph, directed=False)[1]
    plus, minus = labels[:count], labels[count:]
    free = np.flatnonzero(touched & (plus != minus))
    key = np.minimum(plus[free], minus[free])
    return [free[key == k] for k in np.unique(key)]
