"""Matrix products: low rank from plain weight decay."""

import math
from itertools import pairwise
from typing import Any

import numpy as np

from symbias._core.arrays import Array, Params, Shape, concrete, constant, namespace
from symbias.parameterizations.base import Parameterization
from symbias.parameterizations.hadamard import chain_factors
from symbias.symmetry import Bond, GeneralLinear, Symmetry


class MatrixProduct(Parameterization):
    """W = p1 @ p2 @ ... @ pL with an inner dimension ``rank``.

    Weight decay lam on the factors is the penalty lam (L/2) sum_i sigma_i^(2/L) on the singular
    values of W: the nuclear norm at depth 2, Schatten quasi-norms beyond. The symmetry is L - 1
    GeneralLinear bonds in a chain, with charges p_k^T p_k - p_(k+1) p_(k+1)^T.

    Parameters
    ----------
    rows, cols : int
        Shape of W.
    rank : int, optional
        Inner dimension; min(rows, cols) by default. A smaller one forbids a W of larger rank, and
        the minimum of the penalised problem may be cut off.
    depth : int
        Number of factors L, at least 2: ``p1`` (rows, rank), (rank, rank) ..., ``pL`` (rank, cols).

    References
    ----------
    Srebro, Rennie, Jaakkola, "Maximum-margin matrix factorization", NIPS 2004; Shang, Liu, Shang,
    "Unified scalable equivalent formulations for Schatten quasi-norms", 2016.
    """

    def __init__(self, rows: int, cols: int, rank: int | None = None, depth: int = 2) -> None:
        if not isinstance(depth, int) or depth < 2:
            raise ValueError(f"depth must be an integer of at least 2, got {depth!r}")
        rank = min(rows, cols) if rank is None else rank
        for name, size in (("rows", rows), ("cols", cols), ("rank", rank)):
            if not isinstance(size, int) or size < 1:
                raise ValueError(f"{name} must be a positive integer, got {size!r}")
        self.shape = (rows, cols)
        self.rank, self.depth = rank, depth

    def __repr__(self) -> str:
        return f"MatrixProduct({self.shape[0]}, {self.shape[1]}, {self.rank}, depth={self.depth})"

    @property
    def names(self) -> list[str]:
        """The factors in order, ``p1`` to ``pL``."""
        return [f"p{k}" for k in range(1, self.depth + 1)]

    @property
    def shapes(self) -> dict[str, Shape]:
        sizes = [self.shape[0], *[self.rank] * (self.depth - 1), self.shape[1]]
        return dict(zip(self.names, pairwise(sizes), strict=True))

    @property
    def symmetry(self) -> Symmetry:
        group = GeneralLinear(self.rank)
        pairs = pairwise(self.names)
        return Symmetry(
            [Bond(group, vectors=[(a, 1)], covectors=[(b, 0)], name=f"{a}-{b}") for a, b in pairs]
        )

    def _effective(self, params: Params) -> Array:
        product = params[self.names[0]]
        for name in self.names[1:]:
            product = product @ params[name]
        return product

    def _section(self, w: Array, charge: float) -> dict[str, Array]:
        """By the SVD; charges are c on the first min(rank, rows, cols) directions, 0 on others."""
        xp = namespace({"w": w})
        u, s, vt = xp.linalg.svd(w, full_matrices=False)
        seen = concrete(s)
        if seen is not None and np.any(seen[self.rank :] > 1e-6 * seen[0]):
            raise ValueError(f"w has a rank above {self.rank}, the inner dimension of {self!r}")
        kept = min(self.rank, math.prod(s.shape))
        s = s[:kept]
        *others, last = chain_factors(s, charge, self.depth)
        middle = [constant(np.eye(kept), w) * f[:, None] for f in others[1:]]
        factors = [u[:, :kept] * others[0], *middle, last[:, None] * vt[:kept, :]]
        return {
            name: _pad(xp, factor, shape)
            for (name, shape), factor in zip(self.shapes.items(), factors, strict=True)
        }


def _pad(xp: Any, a: Array, shape: Shape) -> Array:
    """``a`` in the upper left corner of zeros."""
    rows, cols = shape[0] - a.shape[0], shape[1] - a.shape[1]
    if rows:
        a = xp.concat([a, constant(np.zeros((rows, a.shape[1])), a)], axis=0)
    if cols:
        a = xp.concat([a, constant(np.zeros((a.shape[0], cols)), a)], axis=1)
    return a
