"""How two bonds that share arrays are coupled: what joint log volumes are bounded by.

With ``G`` the orbit Gram, ``|E_ab|^2`` is that of ``G_aa^-1/2 G_ab G_bb^-1/2`` (Frobenius norm).
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np
from scipy.sparse import coo_array

from symbias.audit.squares import CACHED, Squares, of_scales, pooled, working
from symbias.checkpoints import Numpy, Source
from symbias.symmetry import Bond, ComplexScaling, End, GeneralLinear

Blocks = Mapping[str, tuple[Numpy, Numpy]]
Coupled = tuple[float, Numpy, Numpy]  # |E_ab|^2, and what shares of both lie in common arrays


def part_of(bond: Bond, squares: Squares, blocks: Blocks) -> "Scales | Matrices | None":
    """What is known of a bond; None where it is not of a kind that couplings are known of."""
    if bond.loops:
        return None
    if of_scales(bond):
        return Scales(bond, squares)
    known = isinstance(bond.group, GeneralLinear) and bond.name in blocks
    return Matrices(bond, *blocks[bond.name]) if known else None


class Scales:
    """A bond of scales: its components, by the diagonal of its Gram."""

    def __init__(self, bond: Bond, squares: Squares) -> None:
        self.bond, self._squares = bond, squares
        self.inverse = _inverse(np.sum([self._sums(end) for end in bond.ends], axis=0))

    def _sums(self, end: End) -> Numpy:
        sums = pooled(end, self._squares.along(end.name, end.axis or 0))[..., 0]
        if isinstance(self.bond.group, ComplexScaling):
            sums = sums[:, self.bond.group.planes].sum(axis=2)
        return sums.reshape(-1)

    def labels(self, end: End, length: int) -> Numpy:
        """The component of each entry along the axis of an end, -1 outside the bond."""
        line, heads = replace(end, axis=0), self.bond.heads or 1
        component = np.arange(heads * self.bond.group.size)
        if isinstance(self.bond.group, ComplexScaling):
            planes = self.bond.group.planes
            of = np.zeros(self.bond.group.size, int)
            of[planes] = np.arange(len(planes))[:, None]
            component = (np.arange(heads)[:, None] * len(planes) + of).reshape(-1)
        none = np.full(length, -1)
        block = np.broadcast_to(component.reshape(heads, -1, 1), line.unfold(np, none).shape)
        return line.fold(np, block, none)

    def coupled(
        self, other: "Scales", pairs: Sequence[tuple[End, End]], source: Source
    ) -> Coupled | None:
        """Squared sums of squares ``(sum +-w^2)^2 / (d_i d_j)``, and shares of ``d_i, d_j``."""
        placed = []
        for e, f in pairs:
            shape = source.shapes[e.name]
            labels = self.labels(e, shape[e.axis or 0]), other.labels(f, shape[f.axis or 0])
            placed.append((e, f, *labels))
        e, f, p, q = placed[0]
        if len(placed) == 1 and len(source.shapes[e.name]) == 2 and _whole(p) and _whole(q):
            lines = [self.inverse[p], other.inverse[q]]
            square = _fourth_powers(source, e.name, *(lines if e.axis == 0 else lines[::-1]))
            return square, self._sums(e) * self.inverse, other._sums(f) * other.inverse
        total = np.zeros((len(self.inverse), len(other.inverse)))  # over the roots of d_i d_j
        size = np.zeros_like(total)
        for e, f, p, q in placed:
            lines = [np.r_[s.inverse, 0.0][k] ** 0.25 for s, k in ((self, p), (other, q))]
            array = source.read(e.name, working(source, [e.name]))
            block = np.moveaxis(array, (e.axis or 0, f.axis or 0), (0, 1))
            block = block.reshape(*block.shape[:2], -1)
            block *= lines[0].astype(block.dtype)[:, None, None]
            block *= lines[1].astype(block.dtype)[:, None]
            table = np.vecdot(block, block) if block.shape[2] > 1 else np.square(block[..., 0])
            table = _summed(_summed(table, p, len(total)).T, q, total.shape[1]).T
            total += table if e.dual is f.dual else -table
            size += table
        p, q = (np.sqrt(s.inverse) for s in (self, other))
        return float(np.sum(total**2)), p * (size @ _inverse(q)), q * (_inverse(p) @ size)


class Matrices:
    """A bond of matrices: the eigenbases of ``M`` and ``N``, for each head."""

    def __init__(self, bond: Bond, x: Numpy, y: Numpy) -> None:
        self.bond = bond
        (self._m, self._u), (self._n, self._w) = (
            np.linalg.eigh(side @ np.swapaxes(side, 1, 2)) for side in (x, y)
        )

    def _share(self, sides: set[bool]) -> Numpy:
        """The largest share of a direction's squared norm that may lie in these sides."""
        inside, beside = (self._n, self._m) if sides == {True} else (self._m, self._n)
        top, rest = np.max(inside, axis=1), np.maximum(np.min(beside, axis=1), 0.0)
        return np.ones(1) if len(sides) == 2 else np.max(top * _inverse(top + rest), keepdims=True)

    def coupled(
        self, other: "Scales | Matrices", pairs: Sequence[tuple[End, End]], source: Source
    ) -> Coupled | None:
        """With ``z`` a column, ``(W^T z)_k (U^T z)_l`` over the roots of both Grams, squared."""
        assert isinstance(other, Scales)
        size = np.zeros(len(other.inverse))
        columns: list[tuple[float, Numpy, Numpy]] = []
        for e, f in pairs:
            shape = source.shapes[e.name]
            labels = other.labels(f, shape[f.axis or 0])
            if len(shape) != 2 or not _single(labels):
                return None
            array = source.read(e.name, working(source, [e.name]))
            block = e.unfold(np, array).astype(np.float64)
            inside = np.flatnonzero(labels >= 0)
            for copy in np.split(block, block.shape[2] // len(labels), axis=2):
                z = np.zeros((*copy.shape[:2], len(other.inverse)))
                z[..., labels[inside]] = copy[..., inside]
                size += np.sum(z * z, axis=(0, 1))
                sign = 1.0 if e.dual is f.dual else -1.0
                w, u = (np.swapaxes(basis, 1, 2) @ z for basis in (self._w, self._u))
                columns.append((sign, w, u))
        grams = _inverse(self._n[:, :, None] + self._m[:, None, :])
        total = 0.0
        for sign, w, u in columns:
            for sign2, w2, u2 in columns:
                sums = (w * w2 * other.inverse) @ np.swapaxes(u * u2, 1, 2)
                total += sign * sign2 * float(np.sum(sums * grams))
        return total, self._share({e.dual for e, _ in pairs}), size * other.inverse


def _inverse(values: Numpy) -> Numpy:
    """Reciprocals, zero where nothing moves."""
    live = values > 1e-24 * np.max(values, initial=0.0)
    return np.where(live, 1 / np.where(live, values, 1.0), 0.0)


def _summed(table: Numpy, labels: Numpy, count: int) -> Numpy:
    """Rows of a table, summed by their labels."""
    if len(labels) == count and np.array_equal(labels, np.arange(count)):
        return table
    inside = np.flatnonzero(labels >= 0)
    ones = np.ones(len(inside), table.dtype)
    total: Numpy = coo_array((ones, (labels[inside], inside)), (count, len(labels))).tocsr() @ table
    return total


def _whole(labels: Numpy) -> bool:
    """Whether every entry is a component of its own."""
    return bool(np.all(labels >= 0)) and _single(labels)


def _single(labels: Numpy) -> bool:
    """Whether no component owns more than one entry."""
    inside = labels[labels >= 0]
    return len(np.unique(inside)) == len(inside)


def _fourth_powers(source: Source, name: str, rows: Numpy, columns: Numpy) -> float:
    """``sum_ij w_ij^4 r_i c_j`` of a matrix, a block of rows at a time."""
    total, first = 0.0, 0
    for block in source.rows(name, working(source, [name]), CACHED):
        root = np.sqrt(np.sqrt(rows[first : first + len(block)])).astype(block.dtype)
        z = block * root[:, None]
        z *= np.sqrt(np.sqrt(columns)).astype(block.dtype)
        z *= z
        total += float(np.sum(np.vecdot(z, z), dtype=np.float64))
        first += len(block)
    return total
