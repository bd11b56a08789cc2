"""The map ``J`` from the Lie algebra to the tangent space of the orbit, and the Gram ``J^T J``."""

from collections.abc import Callable, Sequence
from functools import cached_property
from typing import Any

import numpy as np

from symbias._core.arrays import Array, Params, at_least_single, constant
from symbias.symmetry.bonds import Bond, Symmetry


def gram(symmetry: Symmetry, params: Params) -> Array:
    """The orbit Gram matrix ``<xi_a, xi_b>`` of all generators, dense, ``(dim, dim)``.

    Rows are ordered by bond, head and basis element. This is the reference every shortcut is held
    to; it costs ``O(dim^2 P)`` time and ``O(dim P)`` memory for ``P`` parameters. Differentiable,
    jittable.

    Raises
    ------
    ValueError, TypeError
        If the arrays do not fit the bonds.
    """
    xp = symmetry.check(params)
    params = at_least_single(xp, params)
    t = generator_matrix(xp, symmetry.bonds, params)
    return t @ xp.matrix_transpose(t)


def generator_matrix(xp: Any, bonds: Sequence[Bond], params: Params) -> Array:
    """All generators as rows ``(dim, P)``, over the arrays that the bonds act on.

    Its singular values keep what squaring them in the Gram matrix would lose.
    """
    names = list(dict.fromkeys(name for bond in bonds for name in bond.arrays))
    rows = []
    for bond in bonds:
        found = _generators(xp, bond, {name: params[name] for name in names})
        rows.append(xp.concat([found[name] for name in names], axis=1))
    return xp.concat(rows, axis=0)


def _generators(xp: Any, bond: Bond, params: Params) -> dict[str, Array]:
    """All generators of one bond at every array, ``(bond.dim, array.size)``."""
    heads, dim, size = bond.heads or 1, bond.group.dim, bond.group.size
    like = params[bond.ends[0].name]
    zeros = {k: a[..., None] * constant(np.zeros(heads * dim), a) for k, a in params.items()}
    mask = constant(np.eye(heads)[:, None, None, :, None], like)
    basis = constant(np.broadcast_to(np.eye(dim)[:, None, :], (dim, heads, dim)).copy(), like)
    total = dict(zeros)
    for leg in bond.legs:
        varied = leg.vary(xp, bond.group, basis, params)
        block = xp.permute_dims(varied, (1, 2, 3, 0))[..., None, :] * mask
        block = xp.reshape(block, (heads, size, varied.shape[3] * heads * dim))
        for name, moved in leg.write(xp, block, zeros, batch=1).items():
            total[name] = total[name] + moved
    return {k: xp.permute_dims(xp.reshape(t, (-1, heads * dim)), (1, 0)) for k, t in total.items()}


class Generators:
    """``J`` and its transpose without the matrix, on coefficients ``(bond.dim,)`` per bond."""

    def __init__(self, xp: Any, bonds: Sequence[Bond], params: Params) -> None:
        self.xp, self.bonds, self.params = xp, bonds, params
        self.arrays = list(dict.fromkeys(name for bond in bonds for name in bond.arrays))

    def tangent(self, coefficients: Sequence[Array]) -> dict[str, Array]:
        """``J c``: the variation of every array."""
        xp = self.xp
        result = {name: xp.zeros_like(self.params[name]) for name in self.arrays}
        for bond, c in zip(self.bonds, coefficients, strict=True):
            c = xp.reshape(c, (bond.heads or 1, bond.group.dim))
            zeros = {name: xp.zeros_like(self.params[name]) for name in bond.arrays}
            for leg in bond.legs:
                block = leg.vary(xp, bond.group, c, self.params)
                for name, moved in leg.write(xp, block, zeros).items():
                    result[name] = result[name] + moved
        return result

    def adjoint(self, tangent: Params) -> list[Array]:
        """``J^T t``: the coefficients of a variation."""
        xp = self.xp
        result = []
        for bond in self.bonds:
            parts = [leg.adjoint(xp, bond.group, tangent, self.params) for leg in bond.legs]
            result.append(xp.reshape(sum(parts[1:], parts[0]), (-1,)))
        return result

    @cached_property
    def _whiteners(self) -> list[Callable[[Array], Array]]:
        blocks = (bond.blocks(self.xp, self.params) for bond in self.bonds)
        pairs = zip(self.bonds, blocks, strict=True)
        return [bond.group.whiten(self.xp, x, y) for bond, (x, y) in pairs]

    def whiten(self, coefficients: Sequence[Array]) -> list[Array]:
        """Multiply by ``Gram^(-1/2)`` of every bond taken alone."""
        xp, result = self.xp, []
        for bond, white, c in zip(self.bonds, self._whiteners, coefficients, strict=True):
            c = white(xp.reshape(c, (bond.heads or 1, bond.group.dim)))
            result.append(xp.reshape(c, (-1,)))
        return result
