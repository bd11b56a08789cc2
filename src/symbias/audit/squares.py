"""The blocks of a bond, as small as its group allows.

Groups of scales see nothing of their ends but the squared norms of rows, so arrays pass by once, in
blocks of rows, and only sums stay. Groups of matrices see nothing but ``X X^T`` and ``X^T Y`` up to
rotations of columns, so ``r`` columns stay.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace
from math import prod
from threading import Lock
from typing import Any

import numpy as np

from symbias.checkpoints import Numpy, Source, is_coarse
from symbias.models import Claim, Shape
from symbias.symmetry import Bond, ComplexScaling, End, Rescaling
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
        return _norms(bond, self.along)

    def along(self, name: str, axis: int) -> Numpy:
        """Sums of squares over all other axes of an array."""
        with self._locks[name]:
            if (name, axis) not in self._sums:
                rows = self._source.rows(name, working(self._source, [name]), CACHED)
                shape, axes = self._source.entries[name].shape, sorted(self._axes[name])
                sums = _squares((r.reshape(len(r), *shape[1:]) for r in rows), shape, axes)
                self._sums |= {(name, a): total for a, total in zip(axes, sums, strict=True)}
        return self._sums[name, axis]


def _norms(bond: Bond, along: Callable[[str, int], Numpy]) -> tuple[Numpy, Numpy]:
    """Those roots, from sums of squares of each array along each axis."""
    sides = []
    for dual in (False, True):
        ends = [end for end in bond.ends if end.dual is dual]
        total = sum(pooled(end, along(end.name, end.axis or 0)) for end in ends)
        sides.append(np.sqrt(total) if ends else np.zeros((bond.heads or 1, bond.group.size, 0)))
    return sides[0], sides[1]


def pooled(end: End, sums: Numpy) -> Numpy:
    """Sums along the axis of an end, for each component of its bond, ``(heads, r, 1)``."""
    total: Numpy = replace(end, axis=0).unfold(np, sums).sum(axis=2, keepdims=True)
    return total


def working(source: Source, names: Iterable[str]) -> type[np.floating[Any]]:
    """Single precision for arrays stored in two bytes or less."""
    coarse = all(is_coarse(source.entries[name].dtype) for name in names)
    return np.float32 if coarse else np.float64


def _squares(blocks: Iterable[Numpy], shape: Shape, axes: Sequence[int]) -> list[Numpy]:
    """Sums of squares over all axes but one, for each of ``axes``; blocks are along the first.

    In single precision they are off by a few of its roundings, since all terms have one sign;
    where squares may overflow or vanish there, they are taken in double precision.
    """
    sums, first = [np.zeros(shape[axis]) for axis in axes], 0
    for block in blocks:
        for axis, total in zip(axes, sums, strict=True):
            with np.errstate(over="ignore"):
                part = products(block, block, axis)
            if not (np.min(part) > TINY and np.max(part) < np.inf) and block.size:
                double = block.astype(np.float64, copy=False)
                part = products(double, double, axis)
            total[slice(first, first + len(block)) if axis == 0 else slice(None)] += part
        first += len(block)
    return sums


def products(a: Numpy, b: Numpy, axis: int) -> Numpy:
    """Sums of products over all axes but one."""
    before, after = prod(a.shape[:axis]), prod(a.shape[axis + 1 :])
    x, y = (side.reshape(before, side.shape[axis], after) for side in (a, b))
    if after == 1:
        return np.einsum("ij,ij->j", x[..., 0], y[..., 0])
    parts = [
        np.vecdot(x[..., i : i + PIECE], y[..., i : i + PIECE]) for i in range(0, after, PIECE)
    ]
    total: Numpy = np.asarray(parts).sum(axis=(0, 1), dtype=np.float64)
    return total


def in_blocks(array: Numpy) -> Iterator[Numpy]:
    """Views of some rows each, that fit in the cache."""
    step = max(1, CACHED // max(array[:1].size, 1))
    for first in range(0, len(array), step):
        yield array[first : first + step]


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
        return np.sqrt(np.vecdot(block, block, dtype=np.float64))[..., None][..., : block.shape[2]]
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
    double = np.result_type(block, np.float64)
    total = np.zeros((*block.shape[:-1], block.shape[-2]), double)
    for first in range(0, block.shape[-1], step):
        part = block[..., first : first + step].astype(double)
        if part.shape[-2] <= 2:  # as many products of vectors cost less than those of matrices
            total += np.vecdot(part[..., None, :, :], part[..., :, None, :])
        else:
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
    if of_scales(bond):
        return _norms(bond, lambda name, axis: _squares(
            in_blocks(params[name]), params[name].shape, [axis])[0])  # fmt: skip
    x, y = bond.blocks(np, params)
    return compress(x, bond.group), compress(y, bond.group)
