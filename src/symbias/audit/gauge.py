"""New arrays for one set of coupled bonds: the same function, at the point of least norm."""

from collections.abc import Mapping, Sequence

import numpy as np

from symbias.audit.measure import may_move
from symbias.audit.squares import compressed
from symbias.checkpoints import Numpy
from symbias.models import Claim
from symbias.symmetry import (
    Bond,
    ComplexScaling,
    Gauge,
    GeneralLinear,
    Symmetry,
    least_norm,
)

TOLERANCE, SWEEPS = 1e-11, 500


def components(claims: Sequence[Claim]) -> list[tuple[Bond, ...]]:
    """The bonds that balancing may move, in sets that share no array."""
    return list(Symmetry(claim.bond for claim in claims if may_move(claim)).components)


def least(
    bonds: Sequence[Bond], params: dict[str, Numpy], grain: Mapping[str, float]
) -> tuple[Gauge, dict[str, str]]:
    """What moves each bond to least norm, and why some of it stays where it is.

    A direction that is dead on one side has no point of least norm: sent to zero it would keep
    the function and lose the gradient for ever. Such heads of ``GeneralLinear`` bonds, and such
    units of scales, stay. ``grain`` is the relative rounding of each array: a direction that is
    not to be told from it counts as dead, since of rounding there is nothing to balance.
    """
    gauge, _ = least_norm(bonds, dict(params), TOLERANCE, SWEEPS)
    left: dict[str, str] = {}
    for bond in bonds:
        if bond.name not in gauge:
            continue
        g, h = gauge[bond.name]
        if isinstance(bond.group, GeneralLinear):
            rounding = max(grain[name] for name in bond.arrays)
            count = bond.group.dead(*compressed(bond, params), rounding)
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
            move = gauge[bond.name][int(end.dual)]
            block = bond.group.apply(np, move, end.unfold(np, work[end.name]))
            work[end.name] = end.fold(np, block, work[end.name])
    return {name: a for name, a in work.items() if a is not params[name]}
