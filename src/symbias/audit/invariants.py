"""Did a rewritten checkpoint keep its function? Each bond's invariants, old against new."""

from collections.abc import Sequence
from itertools import product

import numpy as np

from symbias.checkpoints import Numpy
from symbias.symmetry import Bond, ComplexScaling, Gauge, GeneralLinear, Symmetry, act

PARTS = 256  # compared at a time
WORK = 1e-13  # of float64 arithmetic, relative to the factors


def deviation(bond: Bond, old: dict[str, Numpy], new: dict[str, Numpy], eps: float) -> float:
    """How far the invariants of one bond moved, over what rounding to the dtype explains.

    The invariant is the contraction ``X^T Y`` of every head for ``GeneralLinear``, of every
    component for scales, ``X^H Y`` of every plane for complex scales. The change is its Frobenius
    norm, exactly, from triangular factors of the old and new ends stacked; rounding explains
    ``2 eps |X'| |Y'|``. Values up to 1 pass.
    """
    x, y = (_parts(bond, block) for block in bond.blocks(np, old))
    x2, y2 = (_parts(bond, block) for block in bond.blocks(np, new))
    worst = 0.0
    for head, first in product(range(len(x)), range(0, x.shape[1], PARTS)):
        at = head, slice(first, first + PARTS)
        a = np.concat([x2[at], x[at]], axis=-2)
        b = np.concat([y2[at], -y[at]], axis=-2)
        change = _norm(_triangle(a) @ np.swapaxes(_triangle(b), -1, -2).conj())
        bound = 2 * eps * _norm(x2[at]) * _norm(y2[at])
        bound = bound + WORK * _norm(x[at]) * _norm(y[at])
        ratio = change / np.where(bound > 0, bound, np.finfo(float).tiny)
        worst = max(worst, float(np.max(ratio, initial=0.0)))
    return worst


def _parts(bond: Bond, block: Numpy) -> Numpy:
    """Blocks that one matrix, or one number, acts on: ``(heads, parts, size, k)``."""
    heads, size, k = block.shape
    if isinstance(bond.group, GeneralLinear):
        return block[:, None]
    if isinstance(bond.group, ComplexScaling):
        a, b = bond.group.planes.T
        return (block[:, a] + 1j * block[:, b])[:, :, None]
    return block.reshape(heads, size, 1, k)


def _triangle(a: Numpy) -> Numpy:
    return np.asarray(np.linalg.qr(np.swapaxes(a, -1, -2).conj(), mode="r"))


def _norm(a: Numpy) -> Numpy:
    return np.sqrt(np.sum(np.abs(a) ** 2, axis=(-1, -2), keepdims=True))


def deviation_of_coupled(
    bonds: Sequence[Bond],
    gauge: Gauge,
    old: dict[str, Numpy],
    new: dict[str, Numpy],
    eps: float,
) -> float:
    """The same for coupled bonds, whose contractions move: new arrays against the group's action.

    ``act`` takes the vector side of the element only and inverts it itself.
    """
    symmetry = Symmetry(bonds)
    element = {name: pair[0] for name, pair in gauge.items()}
    expected = act(symmetry, element, old)
    worst = 0.0
    for name in symmetry.arrays:
        size = np.abs(expected[name])
        bound = (2 * eps + WORK) * size + eps * 1e-6 * np.max(size, initial=0.0)
        change = np.abs(new[name] - expected[name])
        ratio = change / np.where(bound > 0, bound, np.finfo(float).tiny)
        worst = max(worst, float(np.max(ratio, initial=0.0)))
    return worst
