"""The volume of an orbit: half the log pseudo-determinant of its Gram matrix."""

from typing import Any

from symbias._arrays import Array, Params
from symbias.symmetry.bonds import Bond, Symmetry
from symbias.symmetry.generators import tangent_matrix
from symbias.symmetry.groups import rounding


def log_volume(symmetry: Symmetry, params: Params) -> Array:
    """``1/2 log pdet`` of the orbit Gram matrix, a scalar."""
    xp = symmetry.check(params)
    total: Any = 0.0
    for bonds in symmetry.components:
        if len(bonds) == 1 and len(bonds[0].ends) == len(bonds[0].arrays):
            value, tolerance = bonds[0].group.spectrum(xp, *bonds[0].blocks(xp, params))
        else:
            value, tolerance = _dense(xp, bonds, params)
        total = total + log_pdet(xp, value, tolerance)[0] / 2
    return total


def _dense(xp: Any, bonds: tuple[Bond, ...], params: Params) -> tuple[Array, float]:
    t = tangent_matrix(xp, bonds, params)[None, ...]
    s = xp.linalg.svdvals(t)
    return s * s, rounding(xp, t)


def log_pdet(xp: Any, values: Array, tolerance: float) -> tuple[Array, Array]:
    """Sum of the logs of the eigenvalues ``(heads, n)`` that are not zero, and how many are."""
    cut = tolerance**2 * xp.max(values, axis=-1, keepdims=True)
    live = values > cut
    safe = xp.where(live, values, xp.ones_like(values))
    return xp.sum(xp.log(safe)), xp.sum(xp.astype(~live, values.dtype))
