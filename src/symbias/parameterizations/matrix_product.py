"""Matrix products: low rank from plain weight decay."""

import math
from itertools import pairwise
from typing import Any

import numpy as np
from array_api_compat import array_namespace

from symbias._core.arrays import Array, Params, Shape, concrete, constant, namespace
from symbias.parameterizations.base import Parameterization
from symbias.parameterizations.hadamard import chain_factors
from symbias.parameterizations.inputs import compressed
from symbias.parameterizations.normal import BoxImage
from symbias.penalties import Form, Piece, Power, SingularValues
from symbias.symmetry import Bond, GeneralLinear, Symmetry

RANK_TOLERANCE = 1e-10


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

    balanced_section = True

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

    def balanced_form(self) -> Form:
        """(L / 2) sum sigma_i^(2 / L); of the matrices of rank at most `rank`."""
        return Piece(SingularValues(self.shape, self.rank), Power(2 / self.depth, self.depth / 2))

    def box_image(self) -> BoxImage:
        """rank^(L - 1) b^L is the entry of factors full of b; other corners are cut off."""
        return BoxImage.power(self.depth, self.rank ** (self.depth - 1), whole=False)

    def least_gradients(self, w: Array, inputs: Array) -> Array | None:
        """2 sqrt(m tr S) nuclear(S^(1/2) w) for x @ w with m columns, S the sum of x x^T.

        For <a_i, w>: 2 nuclear(B^(1/2) w A^(1/2)), A the sum of a_i^T a_i, B that of a_i a_i^T.
        """
        seen = concrete(w)
        if seen is not None and self.rank < min(self.shape):
            self.section(seen)  # refuses a w of higher rank
        if self.depth != 2:
            return None
        xp = array_namespace(w, inputs)
        if inputs.ndim == 2:
            spectrum = xp.linalg.svdvals(compressed(inputs) @ w)
            return 2 * xp.sqrt(w.shape[1] * xp.sum(inputs**2)) * xp.sum(spectrum)
        rows, cols = self.shape
        right = compressed(xp.reshape(inputs, (-1, cols)))
        left = compressed(xp.reshape(xp.permute_dims(inputs, (0, 2, 1)), (-1, rows)))
        return 2 * xp.sum(xp.linalg.svdvals(left @ w @ right.T))

    @property
    def gradients_formula(self) -> str:
        if self.depth > 2:
            return super().gradients_formula
        return "2 sqrt(m tr S) nuclear(S^(1/2) w)"

    @property
    def law_formula(self) -> str:
        if self.depth > 2 or len({*self.shape, self.rank}) > 1:
            return super().law_formula
        return "(T / 2) sum_ij log(sigma_i + sigma_j), square w"

    def live(self, w: np.ndarray) -> "MatrixProduct":
        s = np.linalg.svdvals(w)
        rank = max(1, int(np.sum(s > RANK_TOLERANCE * s[0])))
        rows, cols = self.shape
        return self if rank >= self.rank else MatrixProduct(rows, cols, rank, self.depth)

    def resized(self, shape: Shape) -> "MatrixProduct":
        """Square, or with a smaller or larger inner dimension, where this one is: laws differ."""
        if len(shape) == 2:
            return MatrixProduct(*shape, depth=self.depth)
        (rows, cols), least = self.shape, min(self.shape)
        size = 3 if self.rank < least else 2
        rank = min(size, 2) + (self.rank > least)
        return MatrixProduct(size + (rows > cols), size + (cols > rows), rank, self.depth)

    def cut(self, theta: Params, threshold: float, unit: Array | float = 1.0) -> Array:
        w = self(theta)
        xp = array_namespace(w)
        u, s, vt = xp.linalg.svd(xp.astype(w * unit, xp.float64), full_matrices=False)
        kept = s > threshold
        if bool(xp.all(kept)):
            return w
        return xp.astype((u * (s * xp.astype(kept, s.dtype))) @ vt / unit, w.dtype)


def _pad(xp: Any, a: Array, shape: Shape) -> Array:
    """``a`` in the upper left corner of zeros."""
    rows, cols = shape[0] - a.shape[0], shape[1] - a.shape[1]
    if rows:
        a = xp.concat([a, constant(np.zeros((rows, a.shape[1])), a)], axis=0)
    if cols:
        a = xp.concat([a, constant(np.zeros((a.shape[0], cols)), a)], axis=1)
    return a
