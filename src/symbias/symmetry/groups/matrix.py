"""What all groups of full matrices have in common."""

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import scipy

from symbias._core.arrays import Array, constant
from symbias.symmetry.groups.base import Gauge, Group, Numpy


@dataclass(frozen=True)
class MatrixGroup(Group):
    """A matrix group whose basis elements are sums of ``+-E_ij`` with disjoint supports.

    A subclass gives ``_terms()``: the flat entries ``i r + j`` of each basis element and their
    signs, both of shape ``(dim, m)``. The algebra follows from them.
    """

    def _terms(self) -> tuple[Numpy, Numpy]:
        raise NotImplementedError

    @cached_property
    def _tables(self) -> tuple[Numpy, Numpy, Numpy, Numpy]:
        entries, signs = self._terms()
        weights = signs / np.sqrt(entries.shape[1])
        owner = np.full(self.size**2, len(entries))
        weight = np.zeros(self.size**2)
        owner[entries] = np.arange(len(entries))[:, None]
        weight[entries] = weights
        return entries, weights, owner, weight

    @property
    def dim(self) -> int:
        return len(self._tables[0])

    @property
    def element_shape(self) -> tuple[int, ...]:
        return (self.size, self.size)

    def matrix(self, xp: Any, c: Array) -> Array:
        """The algebra element ``(..., r, r)`` with coefficients ``c``, shape ``(..., dim)``."""
        _, _, owner, weight = self._tables
        padded = xp.concat([c, constant(np.zeros((*c.shape[:-1], 1)), c)], axis=-1)
        flat = xp.take(padded, constant(owner, c, index=True), axis=-1) * constant(weight, c)
        return xp.reshape(flat, (*c.shape[:-1], self.size, self.size))

    def coefficients(self, xp: Any, a: Array) -> Array:
        """The transpose of :meth:`matrix`: project ``a``, shape ``(..., r, r)``, on the basis."""
        entries, weights, _, _ = self._tables
        flat = xp.reshape(a, (*a.shape[:-2], self.size**2))
        picked = xp.take(flat, constant(entries.reshape(-1), a, index=True), axis=-1)
        picked = xp.reshape(picked, (*a.shape[:-2], *entries.shape))
        return xp.sum(picked * constant(weights, a), axis=-1)

    def matrix_basis(self) -> list[Numpy]:
        return list(self.matrix(np, np.eye(self.dim)))

    def random(self, rng: np.random.Generator, heads: int, scale: float) -> Numpy:
        a = self.matrix(np, rng.standard_normal((heads, self.dim)))
        return scipy.linalg.expm(scale * a / np.sqrt(self.size))

    def apply(self, xp: Any, g: Array, x: Array) -> Array:
        return g @ x

    def dual(self, xp: Any, g: Array) -> Array:
        return xp.matrix_transpose(xp.linalg.inv(g))

    def compose(self, step: Gauge, done: Gauge) -> Gauge:
        return step[0] @ done[0], step[1] @ done[1]

    def vary(self, xp: Any, c: Array, x: Array, dual: bool) -> Array:
        a = self.matrix(xp, c)
        return -xp.matrix_transpose(a) @ x if dual else a @ x

    def adjoint(self, xp: Any, t: Array, x: Array, dual: bool) -> Array:
        a = -x @ xp.matrix_transpose(t) if dual else t @ xp.matrix_transpose(x)
        return self.coefficients(xp, a)


def squared_singular_values(xp: Any, x: Array) -> Array:
    """Squared singular values of ``x``, shape ``(heads, r, k)``, filled up with zeros to ``r``."""
    r, k = x.shape[1:]
    if k == 0:
        return xp.sum(x, axis=-1)
    s = xp.linalg.svdvals(x)
    if k < r:
        s = xp.concat([s, constant(np.zeros((x.shape[0], r - k)), x)], axis=-1)
    return s * s


def left_singular(xp: Any, x: Array) -> tuple[Array, Array]:
    """All ``r`` left singular vectors and squared singular values of ``x``."""
    r, k = x.shape[1:]
    if k < r:
        x = xp.concat([x, constant(np.zeros((x.shape[0], r, r - k)), x)], axis=-1)
    u, s, _ = xp.linalg.svd(x, full_matrices=False)
    return u, s * s


def rounding(xp: Any, *blocks: Array) -> float:
    """Relative rounding error of the singular values of ``blocks``."""
    return 10 * float(xp.finfo(blocks[0].dtype).eps) * max(max(b.shape[1:]) for b in blocks)
