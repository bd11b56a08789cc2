"""The map from the Lie algebra to the tangent space of the orbit, and its dense Gram matrix."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from symbias._arrays import Array, Params, constant
from symbias.symmetry.bonds import Bond, Symmetry


def tangent_matrix(xp: Any, bonds: Sequence[Bond], params: Params) -> Array:
    """Generators of the bonds as rows ``(dim, entries)``, over the arrays they act on."""
    names = list(dict.fromkeys(name for bond in bonds for name in bond.arrays))
    rows = [[_generators(xp, bond, name, params[name]) for name in names] for bond in bonds]
    return xp.concat([xp.concat(row, axis=1) for row in rows], axis=0)


def _generators(xp: Any, bond: Bond, name: str, array: Array) -> Array:
    """All generators of one bond at one array, ``(bond.dim, array.size)``."""
    heads, dim = bond.heads or 1, bond.group.dim
    stacked = xp.zeros_like(array[..., None] + constant(np.zeros(heads * dim), array))
    total = stacked
    for end in bond.ends:
        if end.name != name:
            continue
        x = end.unfold(xp, array)
        basis = constant(np.eye(dim), array)
        parts = [
            bond.group.vary(xp, xp.broadcast_to(basis[i, :], (heads, dim)), x, end.dual)
            for i in range(dim)
        ]
        block = xp.stack(parts, axis=-1)[..., None, :] * constant(_head_mask(heads), array)
        block = xp.reshape(block, (heads, bond.group.size, -1))
        total = total + end.fold(xp, block, stacked, batch=1)
    return xp.permute_dims(xp.reshape(total, (-1, heads * dim)), (1, 0))


def _head_mask(heads: int) -> np.ndarray:
    return np.eye(heads)[:, None, None, :, None]


def gram(symmetry: Symmetry, params: Params) -> Array:
    """The orbit Gram matrix ``<xi_a, xi_b>`` of all generators, dense.

    Rows are ordered by bond, head and basis element. This is the reference every shortcut is held
    to; it costs ``O(dim^2 P)`` time and ``O(dim P)`` memory for ``P`` parameters. Its square root,
    the matrix of generators, keeps small eigenvalues that rounding destroys here.

    Raises
    ------
    ValueError, TypeError
        If the arrays do not fit the bonds.
    """
    xp = symmetry.check(params)
    t = tangent_matrix(xp, symmetry.bonds, params)
    return t @ xp.matrix_transpose(t)
