"""The orthogonal group."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, ClassVar

import numpy as np

from symbias._core.arrays import Array, constant
from symbias.symmetry.groups.base import Numpy, inverse_roots, square_norm
from symbias.symmetry.groups.matrix import (
    MatrixGroup,
    left_singular,
    rounding,
    squared_singular_values,
)


@dataclass(frozen=True)
class Orthogonal(MatrixGroup):
    """Rotations and reflections, ``g^-T = g``: the residual stream of an RMSNorm transformer.

    Orbit Gram: eigenvalues ``(k_i + k_j) / 2``, ``i < j``, with ``k`` the squared singular values
    of all ends stacked. No symmetric generators, hence no charge; norms are constant on orbits.
    ``special=True`` leaves reflections out; the algebra is the same.
    """

    special: bool = field(default=False, kw_only=True)
    compact: ClassVar[bool] = True
    two_sided: ClassVar[bool] = False

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.size < 2:
            raise ValueError("Orthogonal needs a size of at least 2: smaller ones have no algebra")

    def _terms(self) -> tuple[Numpy, Numpy]:
        i, j = np.triu_indices(self.size, 1)
        entries = np.stack([i * self.size + j, j * self.size + i], axis=1)
        return entries, np.broadcast_to([1.0, -1.0], entries.shape)

    def random(self, rng: np.random.Generator, heads: int, scale: float) -> Numpy:
        g = super().random(rng, heads, scale)
        if scale > 0.1 and not self.special:
            g[:, 0, :] *= rng.choice([-1.0, 1.0], (heads, 1))
        return g

    def dual(self, xp: Any, g: Array) -> Array:
        return g

    def charge(self, xp: Any, x: Array, y: Array) -> Array:
        return xp.sum(x[..., :0], axis=-2)[..., :0]

    def _pairs(self, xp: Any, k: Array) -> Array:
        sums = (k[..., :, None] + k[..., None, :]) / 2
        upper = self._tables[0][:, 0]
        flat = xp.reshape(sums, (k.shape[0], self.size**2))
        return xp.take(flat, constant(upper, k, index=True), axis=-1)

    def _joined(self, xp: Any, x: Array, y: Array) -> Array:
        """All ends as vectors."""
        return xp.concat([x, y], axis=-1)

    def _eta(self, xp: Any, x: Array) -> Array:
        """The sign of every component: algebra elements are eta K, K antisymmetric."""
        return x

    def spectrum(self, xp: Any, x: Array, y: Array) -> tuple[Array, float]:
        z = self._joined(xp, x, y)
        return self._pairs(xp, squared_singular_values(xp, z)), rounding(xp, z)

    def whiten(self, xp: Any, x: Array, y: Array) -> Callable[[Array], Array]:
        z = self._joined(xp, x, y)
        u, k = left_singular(xp, z)
        factors = inverse_roots(xp, self._pairs(xp, k), rounding(xp, z))
        weights = 2**0.5 * xp.abs(self.matrix(xp, factors))

        def apply(c: Array) -> Array:
            a = xp.matrix_transpose(u) @ self._eta(xp, self.matrix(xp, c)) @ u
            a = u @ (a * weights) @ xp.matrix_transpose(u)
            return self.coefficients(xp, self._eta(xp, a))

        return apply

    def least(self, xp: Any, x: Array, y: Array) -> Array:
        return xp.sum(square_norm(xp, x) + square_norm(xp, y), axis=-1) / 2
