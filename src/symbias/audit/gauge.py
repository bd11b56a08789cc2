"""New arrays for one set of coupled bonds: the same function, at the point of least norm."""

from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np

from symbias.audit.measure import may_move
from symbias.audit.squares import of_scales
from symbias.checkpoints import Numpy
from symbias.models import Claim
from symbias.symmetry import (
    Bond,
    ComplexScaling,
    End,
    Gauge,
    GeneralLinear,
    Symmetry,
    balancing_of_blocks,
    least_norm,
)

Blocks = Mapping[str, tuple[Numpy, Numpy]]
TOLERANCE, SWEEPS = 1e-11, 500


def components(claims: Sequence[Claim]) -> list[tuple[Bond, ...]]:
    """The bonds that balancing may move, in sets that share no array."""
    return list(Symmetry(claim.bond for claim in claims if may_move(claim)).components)


def least(
    bonds: Sequence[Bond], params: dict[str, Numpy], blocks: Blocks, grain: Mapping[str, float]
) -> tuple[Gauge, dict[str, str]]:
    """What moves each bond to least norm, and why some of it stays where it is.

    A direction that is dead on one side has no point of least norm: sent to zero it would keep
    the function and lose the gradient for ever. Such heads of ``GeneralLinear`` bonds, and such
    units of scales, stay. ``grain`` is the relative rounding of each array: a direction that is
    not to be told from it counts as dead, since of rounding there is nothing to balance. ``blocks``
    are those of the bonds, compressed: of a bond that is coupled to none they are all it takes.
    """
    if len(bonds) == 1 and not bonds[0].loops:
        bond = bonds[0]
        element = balancing_of_blocks(bond.group, *blocks[bond.name], TOLERANCE, SWEEPS)
        gauge: Gauge = {} if element is None else {bond.name: element}
    else:
        gauge, _ = least_norm(bonds, dict(params), TOLERANCE, SWEEPS)
    left: dict[str, str] = {}
    for bond in bonds:
        if bond.name not in gauge:
            continue
        g, h = gauge[bond.name]
        if isinstance(bond.group, GeneralLinear):
            rounding = max(grain[name] for name in bond.arrays)
            count = bond.group.dead(*blocks[bond.name], rounding)
            stay = count > 0
            what = f"{int(stay.sum())} of {len(stay)} heads have directions dead on one side"
        elif isinstance(bond.group, ComplexScaling):
            stay = np.diagonal(g, axis1=1, axis2=2) == 0
            what = f"{int(stay.sum())} entries are dead on one side"
        else:
            stay = (g == 0) | (h == 0)
            what = f"{int(stay.sum())} units are dead on one side"
        if stay.any():
            left[bond.name] = f"{what}: left as they are"
            gauge[bond.name] = _still(g, stay), _still(h, stay)
    if len(bonds) > 1 and any(isinstance(b.group, GeneralLinear) and b.name in left for b in bonds):
        return {}, {bond.name: "coupled to a bond with dead directions: left" for bond in bonds}
    return gauge, left


def _still(g: Numpy, stay: Numpy) -> Numpy:
    """The element with the identity where it is to stay: heads, or single components."""
    if g.ndim == 2:
        return np.where(stay, 1.0, g)
    eye = np.eye(g.shape[-1])
    if stay.ndim == 1:
        return np.where(stay[:, None, None], eye, g)
    return g + stay[..., None] * eye


def apply(bonds: Sequence[Bond], gauge: Gauge, params: dict[str, Numpy]) -> dict[str, Numpy]:
    """The arrays that the element moves, moved."""
    work = dict(params)
    for bond in bonds:
        if bond.name not in gauge:
            continue
        for end in bond.ends:
            move, array = gauge[bond.name][int(end.dual)], work[end.name]
            if of_scales(bond):
                work[end.name] = array * _factors(end, move, array)
            else:
                block = end.unfold(np, array).astype(np.float64, copy=False)
                moved = bond.group.apply(np, move, block)
                work[end.name] = end.fold(np, moved.astype(array.dtype, copy=False), array)
    return {name: a for name, a in work.items() if a is not params[name]}


def _factors(end: End, move: Numpy, array: Numpy) -> Numpy:
    """What each entry along the axis of an end is multiplied by, one where it is not in the bond.

    ``move`` has scales, or diagonal matrices of them.
    """
    axis = end.axis or 0
    scales = move if move.ndim == 2 else np.diagonal(move, axis1=1, axis2=2)
    ones = np.ones(array.shape[axis])
    line = replace(end, axis=0)
    factors = line.fold(np, line.unfold(np, ones) * scales[..., None], ones)
    shape = [-1 if i == axis else 1 for i in range(array.ndim)]
    return factors.reshape(shape).astype(array.dtype)
