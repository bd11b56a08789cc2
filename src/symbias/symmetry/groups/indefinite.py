"""The indefinite orthogonal groups, boosts among them."""

from dataclasses import dataclass, field
from typing import Any, ClassVar

import numpy as np

from symbias._core.arrays import Array, constant
from symbias.symmetry.groups.base import Gauge, Numpy
from symbias.symmetry.groups.matrix import rounding
from symbias.symmetry.groups.orthogonal import Orthogonal


@dataclass(frozen=True)
class IndefiniteOrthogonal(Orthogonal):
    r"""The matrices that keep :math:`\eta = diag(1, \ldots, 1, -1, \ldots, -1)`: O(p, q).

    O(1, 1) is a boost, the hyperbolic rotation of a pair: the symmetry of u^2 - v^2, where u + v
    is scaled by g and u - v by 1 / g. Algebra elements are eta K with K antisymmetric, so the
    orbit Gram is that of O(p + q), of Z = (X, eta Y). Charge: the ``(p, q)`` block of Z Z^T. What
    the group keeps is W = Z^T eta Z, and half the least squared norm is half its nuclear norm.

    Parameters
    ----------
    plus, minus
        p and q: the first p components have the sign 1, the last q the sign -1.
    """

    size: int = field(init=False, repr=False)
    plus: int = 1
    minus: int = 1
    compact: ClassVar[bool] = False

    def __post_init__(self) -> None:
        for count in (self.plus, self.minus):
            if isinstance(count, bool) or not isinstance(count, int | np.integer) or count < 1:
                raise ValueError(
                    f"IndefiniteOrthogonal takes two positive integers, got {self.plus!r} and "
                    f"{self.minus!r}"
                )
        object.__setattr__(self, "size", int(self.plus + self.minus))
        super().__post_init__()

    def _terms(self) -> tuple[Numpy, Numpy]:
        entries, _ = super()._terms()
        i, j = np.triu_indices(self.size, 1)
        boost = (i < self.plus) & (j >= self.plus)
        return entries, np.stack([np.ones(len(i)), np.where(boost, 1.0, -1.0)], axis=1)

    def _eta(self, xp: Any, x: Array) -> Array:
        signs = np.repeat([1.0, -1.0], [self.plus, self.minus])
        return x * constant(signs[:, None], x)

    def _joined(self, xp: Any, x: Array, y: Array) -> Array:
        return xp.concat([x, self._eta(xp, y)], axis=-1)

    def dual(self, xp: Any, g: Array) -> Array:
        return xp.matrix_transpose(self._eta(xp, xp.matrix_transpose(self._eta(xp, g))))

    def charge(self, xp: Any, x: Array, y: Array) -> Array:
        z = self._joined(xp, x, y)
        return z[..., : self.plus, :] @ xp.matrix_transpose(z[..., self.plus :, :])

    def least(self, xp: Any, x: Array, y: Array) -> Array:
        z = self._joined(xp, x, y)
        s = xp.linalg.svdvals(xp.matrix_transpose(z) @ self._eta(xp, z))
        cut = rounding(xp, z) * s[..., :1]
        return xp.sum(xp.where(s > cut, s, xp.zeros_like(s)), axis=-1) / 2

    def balancing(self, x: Numpy, y: Numpy) -> Gauge:
        # With W = sum of lam e e^T the balanced ends are rows |lam|^1/2 e^T, those with lam > 0
        # among the first p. On the live part they are g Z with rows |lam|^-1/2 e^T Z^T eta of g.
        z = self._joined(np, x, y)
        z = np.pad(z, ((0, 0), (0, 0), (0, max(self.size - z.shape[-1], 0))))
        lam, e = np.linalg.eigh(np.swapaxes(z, -1, -2) @ self._eta(np, z))
        pick = np.r_[-self.plus : 0, 0 : self.minus]
        lam, e = lam[:, pick], e[:, :, pick]
        size = lam * np.repeat([1.0, -1.0], [self.plus, self.minus])
        live = size > rounding(np, z) * np.max(np.abs(lam), axis=-1, keepdims=True)
        root = np.where(live, 1 / np.sqrt(np.where(live, size, 1)), 0)
        g = root[..., None] * np.swapaxes(self._eta(np, z) @ e, -1, -2)
        # Of all balanced points, equal up to O(p) x O(q), take the one nearest to where we are.
        near = z @ np.swapaxes(g @ z, -1, -2)
        for part in (np.s_[: self.plus], np.s_[self.plus :]):
            a, _, bt = np.linalg.svd(near[:, part, part])
            g[:, part] = a @ bt @ g[:, part]
        return g, self.dual(np, g)

    def imbalance(self, x: Numpy, y: Numpy) -> Numpy:
        size = np.sum(x * x, axis=(-1, -2)) + np.sum(y * y, axis=(-1, -2))
        charge = np.sqrt(np.sum(self.charge(np, x, y) ** 2, axis=(-1, -2)))
        return charge / np.where(size > 0, size, 1)

    def dead(self, x: Numpy, y: Numpy, grain: float = 0.0) -> Numpy:
        return self.size - np.linalg.matrix_rank(self._joined(np, x, y))
