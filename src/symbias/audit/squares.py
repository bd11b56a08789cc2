"""The blocks of a bond, as small as its group allows.

Groups of scales see nothing of their ends but the squared norms of rows, so arrays pass by once, in
blocks of rows, and only sums stay. Groups of matrices see nothing but ``X X^T`` and ``X^T Y`` up to
rotations of columns, so ``r`` columns stay.
"""

from collections.abc import Iterable
from dataclasses import replace

import numpy as np

from symbias.checkpoints import Numpy, Source
from symbias.models import Claim
from symbias.symmetry import Bond, ComplexScaling, Rescaling
from symbias.symmetry.groups import Group


class Squares:
    """Sums of squares along the axes that scales act on; every array is read once for all bonds."""

    def __init__(self, source: Source, claims: Iterable[Claim]) -> None:
        self._source = source
        self._axes: dict[str, set[int]] = {}
        self._sums: dict[tuple[str, int], Numpy] = {}
        for claim in claims:
            for end in claim.bond.ends if of_scales(claim.bond) else ():
                self._axes.setdefault(end.name, set()).add(end.axis or 0)

    def blocks(self, bond: Bond) -> tuple[Numpy, Numpy]:
        """Root squared norms of the rows of both sides, ``(heads, r, 1)`` or ``(heads, r, 0)``."""
        sides = []
        for dual in (False, True):
            total: Numpy | None = None
            for end in bond.ends:
                if end.dual is dual:
                    squares = self._along(end.name, end.axis or 0)
                    part = replace(end, axis=0).unfold(np, squares).sum(axis=2, keepdims=True)
                    total = part if total is None else total + part
            empty = np.zeros((bond.heads or 1, bond.group.size, 0))
            sides.append(empty if total is None else np.sqrt(total))
        return sides[0], sides[1]

    def _along(self, name: str, axis: int) -> Numpy:
        if (name, axis) not in self._sums:
            shape = self._source.entries[name].shape
            axes = sorted(self._axes.pop(name))
            sums = {a: np.zeros(shape[a]) for a in axes}
            first = 0
            for rows in self._source.rows(name, np.float64):
                block = rows.reshape(len(rows), *shape[1:])
                np.multiply(block, block, out=block)
                for a in axes:
                    others = tuple(i for i in range(block.ndim) if i != a)
                    part = block.sum(axis=others)
                    if a == 0:
                        sums[a][first : first + len(part)] = part
                    else:
                        sums[a] += part
                first += len(rows)
            self._sums |= {(name, a): total for a, total in sums.items()}
        return self._sums[name, axis]


def of_scales(bond: Bond) -> bool:
    """Whether the bond's group sees squared norms of rows only, and of rows of an axis."""
    plain = all(end.axis is not None for end in bond.ends)
    return plain and isinstance(bond.group, Rescaling | ComplexScaling)


def compress(block: Numpy, group: Group) -> Numpy:
    """A block with as few columns as its group needs to see."""
    if isinstance(group, Rescaling | ComplexScaling):
        return np.sqrt(np.einsum("hrk,hrk->hr", block, block))[..., None] if block.size else block
    if group.linear and block.shape[2] > block.shape[1]:
        return np.swapaxes(np.linalg.qr(np.swapaxes(block, 1, 2), mode="r"), 1, 2)
    return block


def compressed(bond: Bond, params: dict[str, Numpy]) -> tuple[Numpy, Numpy]:
    """Both compressed blocks of a bond whose arrays are at hand."""
    x, y = bond.blocks(np, params)
    return compress(x, bond.group), compress(y, bond.group)
