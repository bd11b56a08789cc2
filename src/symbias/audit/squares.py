"""The blocks of a bond, as small as its group allows.

Groups of scales see nothing of their ends but the squared norms of rows, so arrays pass by once, in
blocks of rows, and only sums stay. Groups of matrices see nothing but ``X X^T`` and ``X^T Y`` up to
rotations of columns, so ``r`` columns stay.
"""

from collections.abc import Iterable
from dataclasses import replace
from math import prod
from threading import Lock
from typing import Any

import numpy as np

from symbias.checkpoints import Numpy, Source, is_half
from symbias.models import Claim
from symbias.symmetry import Bond, ComplexScaling, Rescaling
from symbias.symmetry.groups import Group

CACHED = 1 << 17  # values at a time: they stay in the cache
PIECE = 2048  # squares that are summed in the precision of the block
TINY = 1e-25  # sums of squares below which single ones may vanish in single precision
SURE = 1e-8  # least over largest eigenvalue of a Gram from which on its rounding does not count


class Squares:
    """Sums of squares along the axes that scales act on; every array is read once for all bonds."""

    def __init__(self, source: Source, claims: Iterable[Claim]) -> None:
        self._source = source
        self._axes: dict[str, set[int]] = {}
        self._sums: dict[tuple[str, int], Numpy] = {}
        for claim in claims:
            for end in claim.bond.ends if of_scales(claim.bond) else ():
                self._axes.setdefault(end.name, set()).add(end.axis or 0)
        self._locks = {name: Lock() for name in self._axes}

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
        with self._locks[name]:
            if (name, axis) not in self._sums:
                self._pass(name)
        return self._sums[name, axis]

    def _pass(self, name: str) -> None:
        """All sums of an array."""
        shape = self._source.entries[name].shape
        sums = {axis: np.zeros(shape[axis]) for axis in sorted(self._axes[name])}
        first = 0
        for rows in self._source.rows(name, working(self._source, [name]), CACHED):
            block = rows.reshape(len(rows), *shape[1:])
            for axis, total in sums.items():
                place = slice(first, first + len(rows)) if axis == 0 else slice(None)
                total[place] += _squares(block, axis)
            first += len(rows)
        self._sums |= {(name, axis): total for axis, total in sums.items()}


def working(source: Source, names: Iterable[str]) -> type[np.floating[Any]]:
    """Single precision for arrays stored in two bytes or less: it holds them exactly."""
    half = all(is_half(source.entries[name].dtype) for name in names)
    return np.float32 if half else np.float64


def _squares(block: Numpy, axis: int) -> Numpy:
    """Sums of squares over all axes but one.

    In single precision off by a few of its roundings, since all terms have one sign; where squares
    may overflow or vanish there, in double precision.
    """
    with np.errstate(over="ignore"):
        sums = _sums_of_squares(block, axis)
    if block.dtype == np.float32 and not (np.min(sums) > TINY and np.max(sums) < np.inf):
        return _sums_of_squares(block.astype(np.float64), axis)
    return sums


def _sums_of_squares(block: Numpy, axis: int) -> Numpy:
    before, after = prod(block.shape[:axis]), prod(block.shape[axis + 1 :])
    x = block.reshape(before, block.shape[axis], after)
    if after == 1:
        return np.einsum("ij,ij->j", x[..., 0], x[..., 0])
    parts = [np.vecdot(p, p) for p in np.split(x, range(PIECE, after, PIECE), axis=2)]
    return np.sum(parts, axis=(0, 1), dtype=np.float64)


def of_scales(bond: Bond) -> bool:
    """Whether the bond's group sees squared norms of rows only, and of rows of an axis."""
    plain = all(end.axis is not None for end in bond.ends)
    return plain and isinstance(bond.group, Rescaling | ComplexScaling)


def compress(block: Numpy, group: Group) -> Numpy:
    """A block with as few columns as its group needs to see, in double precision.

    For matrices the Cholesky factor of ``X X^T``: with rounding ``u = 1.1e-16`` it has the squared
    singular values to ``u r |X|^2``. Where that is not a small part of the least of them, it is
    the triangle of a QR decomposition, which has them to ``u`` of the largest times their own root.
    """
    if isinstance(group, Rescaling | ComplexScaling):
        return np.sqrt(gram(block[:, :, None]))[..., 0] if block.size else block[..., :0] * 1.0
    if group.linear and block.shape[2] > block.shape[1]:
        factor = cholesky(gram(block))
        if factor is not None:
            return factor
        block = block.astype(np.float64, copy=False)
        return np.swapaxes(np.linalg.qr(np.swapaxes(block, 1, 2), mode="r"), 1, 2)
    return block.astype(np.float64, copy=False)


def gram(block: Numpy) -> Numpy:
    """``X X^T`` in double precision, a piece of the columns at a time."""
    step = max(1, CACHED // max(prod(block.shape[:-1]), 1))
    total = np.zeros((*block.shape[:-1], block.shape[-2]))
    for first in range(0, block.shape[-1], step):
        part = block[..., first : first + step].astype(np.float64)
        total += part @ np.swapaxes(part, -1, -2).conj()
    return total


def cholesky(moment: Numpy) -> Numpy | None:
    """The lower triangular factor, None where rounding is not a small part of an eigenvalue."""
    values = np.linalg.eigvalsh(moment)
    if not np.all(values[..., 0] > SURE * values[..., -1]):
        return None
    return np.linalg.cholesky(moment)


def compressed(bond: Bond, params: dict[str, Numpy]) -> tuple[Numpy, Numpy]:
    """Both compressed blocks of a bond whose arrays are at hand."""
    x, y = bond.blocks(np, params)
    return compress(x, bond.group), compress(y, bond.group)
