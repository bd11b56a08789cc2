"""The part of a tangent vector that no symmetry can produce."""

from math import prod
from typing import Any

from symbias._core.arrays import Array, Params
from symbias.symmetry.bonds import Bond, Symmetry
from symbias.symmetry.checks import decomposing
from symbias.symmetry.generators import Generators, generator_matrix
from symbias.symmetry.groups.base import live_part
from symbias.symmetry.groups.matrix import rounding
from symbias.symmetry.lanczos import solve, split
from symbias.symmetry.volumes import DENSE_COST, in_units


def horizontal(symmetry: Symmetry, params: Params, tangent: Params) -> dict[str, Array]:
    """The orthogonal projection of a tangent vector off the orbit of ``params``.

    ``t - J (J^T J)^+ J^T t`` with ``J`` the map from the algebra to the tangent space. One bond
    takes its closed form, ``O(r^3)``; coupled bonds a dense decomposition, or conjugate gradients
    where that would cost too much (then eager). Jittable otherwise.

    Parameters
    ----------
    symmetry, params
        The bonds and the named arrays they act on.
    tangent
        Arrays of the same names and shapes; those no bond acts on are returned as they are.

    Raises
    ------
    ValueError, TypeError
        If arrays do not fit the bonds or each other.
    """
    xp = symmetry.check(params)
    symmetry.check(tangent)
    for name in symmetry.arrays:
        if tangent[name].shape != params[name].shape:
            raise ValueError(
                f"tangent {name!r} has shape {tuple(tangent[name].shape)}, its array "
                f"{tuple(params[name].shape)}"
            )
    result = dict(tangent)
    for bonds in symmetry.components:
        names = list(dict.fromkeys(name for bond in bonds for name in bond.arrays))
        scaled, _ = in_units(xp, bonds, params)  # the orbit's directions are the same
        with decomposing(symmetry, {**tangent, **params}):
            vertical = _vertical(xp, bonds, scaled, {name: tangent[name] for name in names})
        result.update({name: result[name] - vertical[name] for name in names})
    return result


def _vertical(
    xp: Any, bonds: tuple[Bond, ...], params: Params, tangent: dict[str, Array]
) -> dict[str, Array]:
    sizes = [prod(a.shape) for a in tangent.values()]
    closed = len(bonds) == 1 and not bonds[0].loops
    if not closed and sum(b.dim for b in bonds) ** 2 * sum(sizes) <= DENSE_COST:
        flat = xp.concat([xp.reshape(a, (-1,)) for a in tangent.values()], axis=0)
        pieces = split(_project(xp, generator_matrix(xp, bonds, params), flat), sizes)
        return {
            name: xp.reshape(piece, tangent[name].shape)
            for name, piece in zip(tangent, pieces, strict=True)
        }
    generators = Generators(xp, bonds, params)
    c = generators.whiten(generators.adjoint(tangent))
    if not closed:
        dims = [bond.dim for bond in bonds]

        def operator(vector: Array) -> Array:
            inner = generators.tangent(generators.whiten(split(vector, dims)))
            return xp.concat(generators.whiten(generators.adjoint(inner)), axis=0)

        rhs = xp.concat(c, axis=0)
        c = split(solve(operator, rhs, xp, 10 * float(xp.finfo(rhs.dtype).eps)), dims)
    return generators.tangent(generators.whiten(c))


def _project(xp: Any, matrix: Array, vector: Array) -> Array:
    """Project on the row space of a matrix."""
    _, s, vh = xp.linalg.svd(matrix, full_matrices=False)
    live, _ = live_part(xp, s * s, rounding(xp, matrix[None, ...]))
    return xp.matrix_transpose(vh) @ xp.where(live, vh @ vector, xp.zeros_like(s))
