"""Effective parameters w(theta), written out: a power, a product, a square product."""

from typing import Any

import jax.numpy as jnp

from symbias._core.arrays import Array
from symbias.symmetry import Bond, GeneralLinear, Orthogonal, Rescaling, Symmetry


class Radius:
    """w = |x|^p for x in R^n: the power family, invariant under O(n)."""

    shape: tuple[int, ...] = ()

    def __init__(self, n: int, p: float) -> None:
        self.n, self.p = n, p
        bonds = [Bond(Orthogonal(n), vectors=[("x", 0)])] if n > 1 else []
        self.symmetry = Symmetry(bonds)

    def __call__(self, params: Any) -> Array:
        return jnp.sum(params["x"] ** 2) ** (self.p / 2)

    def section(self, w: Array) -> dict[str, Array]:
        return {"x": jnp.zeros(self.n, w.dtype).at[0].set(w ** (1 / self.p))}


class Product:
    """w = u v elementwise."""

    def __init__(self, size: int) -> None:
        self.shape: tuple[int, ...] = (size,)
        self.symmetry = Symmetry([Bond(Rescaling(size), vectors=[("u", 0)], covectors=[("v", 0)])])

    def __call__(self, params: Any) -> Array:
        return params["u"] * params["v"]

    def section(self, w: Array) -> dict[str, Array]:
        root = jnp.sqrt(jnp.abs(w))
        return {"u": root, "v": jnp.sign(w) * root}


class SquareProduct:
    """W = P Q with square factors."""

    def __init__(self, n: int) -> None:
        self.shape: tuple[int, ...] = (n, n)
        bond = Bond(GeneralLinear(n), vectors=[("P", 1)], covectors=[("Q", 0)])
        self.symmetry = Symmetry([bond])

    def __call__(self, params: Any) -> Array:
        return params["P"] @ params["Q"]

    def section(self, w: Array) -> dict[str, Array]:
        u, s, vt = jnp.linalg.svd(w)
        root = jnp.sqrt(s)
        return {"P": u * root, "Q": root[:, None] * vt}
