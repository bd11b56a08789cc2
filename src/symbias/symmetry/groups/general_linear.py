"""The general linear group."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from symbias._core.arrays import Array
from symbias.symmetry.groups.base import Numpy, inverse_roots
from symbias.symmetry.groups.matrix import (
    MatrixGroup,
    left_singular,
    rounding,
    squared_singular_values,
)


@dataclass(frozen=True)
class GeneralLinear(MatrixGroup):
    """All invertible matrices: products ``P Q``, attention heads, deep linear nets.

    Orbit Gram: eigenvalues ``n_i + m_j`` with ``m, n`` the squared singular values of the stacked
    vector and covector ends, in ``O(r^2 k)``. Charge: ``M - N``.
    """

    def _terms(self) -> tuple[Numpy, Numpy]:
        entries = np.arange(self.size**2)[:, None]
        return entries, np.ones(entries.shape)

    def charge(self, xp: Any, x: Array, y: Array) -> Array:
        return x @ xp.matrix_transpose(x) - y @ xp.matrix_transpose(y)

    def spectrum(self, xp: Any, x: Array, y: Array) -> tuple[Array, float]:
        m, n = squared_singular_values(xp, x), squared_singular_values(xp, y)
        sums = n[..., :, None] + m[..., None, :]
        return xp.reshape(sums, (x.shape[0], self.dim)), rounding(xp, x, y)

    def whiten(self, xp: Any, x: Array, y: Array) -> Callable[[Array], Array]:
        u, m = left_singular(xp, x)
        v, n = left_singular(xp, y)
        shape = (x.shape[0], self.size, self.size)
        sums = xp.reshape(n[..., :, None] + m[..., None, :], (x.shape[0], self.dim))
        factors = xp.reshape(inverse_roots(xp, sums, rounding(xp, x, y)), shape)

        def apply(c: Array) -> Array:
            a = xp.matrix_transpose(v) @ self.matrix(xp, c) @ u
            return self.coefficients(xp, v @ (a * factors) @ xp.matrix_transpose(u))

        return apply

    def least(self, xp: Any, x: Array, y: Array) -> Array:
        if not x.shape[-1] or not y.shape[-1]:
            return xp.sum(x, axis=(-1, -2))
        s = xp.linalg.svdvals(xp.matrix_transpose(x) @ y)
        cut = rounding(xp, x, y) * s[..., :1]
        return xp.sum(xp.where(s > cut, s, xp.zeros_like(s)), axis=-1)

    def balancing(self, x: Numpy, y: Numpy) -> tuple[Numpy, Numpy]:
        # With X^T Y = U s V^T the balanced ends are s^1/2 U^T and s^1/2 V^T. In terms of the core
        # X^T Y = Qx (Rx Ry^T) Qy^T they are s^-1/2 V^T Ry X and s^-1/2 U^T Rx Y on the live part.
        rx = np.linalg.qr(np.swapaxes(x, -1, -2), mode="r")
        ry = np.linalg.qr(np.swapaxes(y, -1, -2), mode="r")
        u, s, vt = np.linalg.svd(rx @ np.swapaxes(ry, -1, -2), full_matrices=False)
        live = s > rounding(np, x, y) * s[..., :1]
        root = np.where(live, 1 / np.sqrt(np.where(live, s, 1)), 0)[..., None]
        pad = ((0, 0), (0, self.size - s.shape[-1]), (0, 0))
        g = np.pad(root * (vt @ ry), pad)
        h = np.pad(root * (np.swapaxes(u, -1, -2) @ rx), pad)
        # Of all balanced points, equal up to O(r), take the one nearest to where we are.
        near = x @ np.swapaxes(g @ x, -1, -2) + y @ np.swapaxes(h @ y, -1, -2)
        a, _, bt = np.linalg.svd(near)
        return a @ bt @ g, a @ bt @ h

    def dead(self, x: Numpy, y: Numpy, grain: float = 0.0) -> Numpy:
        if grain:
            x, y = (_above(side, grain) for side in (x, y))
        s = np.linalg.svd(np.swapaxes(x, -1, -2) @ y, compute_uv=False)
        return self.size - np.sum(s > rounding(np, x, y) * s[..., :1], axis=-1)


def _above(side: Numpy, grain: float) -> Numpy:
    """A side without what may be rounding.

    Entries that are off by up to half of ``grain`` times themselves make a matrix of noise with a
    spectral norm of at most about grain |A|_F / sqrt(3 r), for r rows and at least as many columns.
    """
    noise = grain * np.sqrt(np.sum(side * side, axis=(-1, -2)) / (3 * side.shape[-2]))[..., None]
    if np.all(np.linalg.svdvals(side) > noise):
        return side
    u, s, vt = np.linalg.svd(side, full_matrices=False)
    return (u * np.where(s > noise, s, 0.0)[..., None, :]) @ vt
