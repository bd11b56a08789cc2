"""Did a rewritten checkpoint keep its function? Each bond's invariants, old against new."""

from collections.abc import Sequence
from itertools import product

import numpy as np

from symbias.audit.squares import CACHED, gram, in_blocks, of_scales, pooled, products
from symbias.checkpoints import Numpy
from symbias.symmetry import Bond, ComplexScaling, Gauge, GeneralLinear, Rescaling, Symmetry, act

WORK = 1e-13  # of float64 arithmetic, relative to the factors
COARSE = 1e-4  # rounding beside which that of moments does not count


def deviation(bond: Bond, old: dict[str, Numpy], new: dict[str, Numpy], eps: float) -> float:
    """How far the invariants of one bond moved, over what rounding to the dtype explains.

    The invariant is the contraction ``X^T Y`` of every head for ``GeneralLinear``, of every
    component for scales, ``X^H Y`` of every plane for complex scales. The change is its Frobenius
    norm, ``|A^T B|`` of the ends stacked, ``A = (X', X)`` and ``B = (Y', -Y)``; rounding explains
    ``2 eps |X'| |Y'|``. Values up to 1 pass. Arrays in single precision are read as they are.
    """
    if eps > COARSE and of_scales(bond) and isinstance(bond.group, Rescaling):
        change, after, before = _of_units(bond, old, new)
        return _worst(change, after, before, eps)
    x, y = (_parts(bond, block) for block in bond.blocks(np, old))
    x2, y2 = (_parts(bond, block) for block in bond.blocks(np, new))
    change_of = _by_moments if eps > COARSE else _by_triangles
    count = max(1, CACHED // 2 // max(x[0, 0].size, y[0, 0].size))
    worst = 0.0
    for head, first in product(range(len(x)), range(0, x.shape[1], count)):
        at = head, slice(first, first + count)
        a = np.concat([x2[at], x[at]], axis=-2)
        b = np.concat([y2[at], -y[at]], axis=-2)
        after, before = np.prod([_norms(side) for side in (a, b)], axis=0)
        worst = max(worst, _worst(change_of(a, b), after, before, eps))
    return worst


def _worst(change: Numpy, after: Numpy, before: Numpy, eps: float) -> float:
    bound = 2 * eps * after + WORK * before
    ratio = change / np.where(bound > 0, bound, np.finfo(float).tiny)
    return float(np.max(ratio, initial=0.0))


def _of_units(
    bond: Bond, old: dict[str, Numpy], new: dict[str, Numpy]
) -> tuple[Numpy, Numpy, Numpy]:
    """Change, ``|x'| |y'|`` and ``|x| |y|`` of units, from moments, where arrays lie as they do.

    ``|x' y'^T - x y^T|^2 = |x'|^2 |y'|^2 - 2 <x', x> <y', y> + |x|^2 |y|^2``.
    """
    sides = np.ones((3, bond.heads or 1, bond.group.size, 1))
    for dual in (False, True):
        moments = np.zeros_like(sides)
        for end in bond.ends:
            if end.dual is dual:
                found = _inner(new[end.name], old[end.name], end.axis or 0)
                moments += np.stack([pooled(end, row) for row in found])
        sides *= moments
    after, cross, before = sides
    return np.sqrt(np.abs(after - 2 * cross + before)), np.sqrt(after), np.sqrt(before)


def _inner(a: Numpy, b: Numpy, axis: int) -> Numpy:
    """``<a, a>``, ``<a, b>`` and ``<b, b>`` along an axis, in double precision."""
    total, first = np.zeros((3, a.shape[axis])), 0
    for pair in zip(in_blocks(a), in_blocks(b), strict=True):
        p, q = (side.astype(np.float64) for side in pair)
        place = slice(first, first + len(p)) if axis == 0 else slice(None)
        total[:, place] += [products(p, p, axis), products(p, q, axis), products(q, q, axis)]
        first += len(p)
    return total


def _parts(bond: Bond, block: Numpy) -> Numpy:
    """Blocks that one matrix, or one number, acts on: ``(heads, parts, size, k)``."""
    heads, size, k = block.shape
    if isinstance(bond.group, GeneralLinear):
        return block[:, None]
    if isinstance(bond.group, ComplexScaling):
        a, b = bond.group.planes.T
        planes: Numpy = block[:, a] + np.complex64(1j) * block[:, b]
        return planes[:, :, None]
    return block.reshape(heads, size, 1, k)


def _by_triangles(a: Numpy, b: Numpy) -> Numpy:
    """``|A^T B|`` for each part, from triangular factors: to 1e-16 of ``|A| |B|``."""
    product = _triangle(a) @ np.swapaxes(_triangle(b), -1, -2).conj()
    return np.linalg.norm(product, axis=(-2, -1))


def _by_moments(a: Numpy, b: Numpy) -> Numpy:
    """The same as ``tr(A A^T B B^T)^1/2``: to 1e-7 of ``|A| |B|``, in a fraction of the time."""
    return np.sqrt(np.abs(np.sum(gram(a) * gram(b).conj(), axis=(-1, -2))))


def _triangle(a: Numpy) -> Numpy:
    return np.asarray(np.linalg.qr(np.swapaxes(a, -1, -2).conj(), mode="r"))


def _norms(a: Numpy) -> Numpy:
    """Of both halves of the rows of each part, ``(2, parts)``."""
    squares = np.vecdot(a, a).real.astype(np.float64)
    return np.sqrt(np.sum(squares.reshape(len(a), 2, -1), axis=-1)).T


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
