r"""Log volumes of bonds that share arrays, together: computed where that is cheap, or bounded.

The orbit Gram of coupled bonds has those of each bond on its diagonal. With them taken out it is
``1 + E``, with ``E`` zero on the diagonal blocks, so the joint log volume is that of all bonds by
themselves, added, plus ``1/2 log det(1 + E)``, and ``tr E = 0``. Since ``f(e) = (e - log(1 + e)) /
e^2`` falls with ``e``, eigenvalues within ``-rho ... rho``, ``rho < 1``, give

.. math:: f(\rho) |E|^2 \le -\log\det(1 + E) \le f(-\rho) |E|^2.

``|E|^2`` is a sum over pairs of bonds in closed form. With ``s_ab(i)`` the share of direction ``i``
of bond ``a`` that lies in arrays of ``b``, and any ``v > 0``, ``rho = max over a, i of
sum_b s_ab(i) v_b / v_a`` will do: in arrays that both have, ``2 <t_a, t_b>`` is at most
``|t_a|^2 v_b / v_a + |t_b|^2 v_a / v_b``. That ``rho < 1`` proves that no directions of several
bonds cancel: where some do, the product of the determinants of the diagonal blocks (Fischer's
inequality) bounds no pseudo-determinant.
"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from itertools import combinations
from math import log1p, prod
from typing import Any

import numpy as np

from symbias.audit.measure import Row
from symbias.audit.squares import CACHED, Squares, of_scales, pooled, working
from symbias.checkpoints import Numpy, Source
from symbias.symmetry import Bond, ComplexScaling, End, GeneralLinear, Symmetry, volume

SWEEPS = 50
CHEAP = 2e8  # dim^2 times numbers, up to which the joint volume is computed
Blocks = Mapping[str, tuple[Numpy, Numpy]]
Coupled = tuple[float, Numpy, Numpy]  # |E_ab|^2, and what shares of both lie in common arrays


@dataclass(frozen=True)
class Joint:
    """Bonds that share arrays, together.

    Attributes
    ----------
    alone
        The sum of their log volumes, each with all others held where they are.
    lower, upper
        Bounds of their joint log volume; equal where it was computed, None where none is known.
    exact
        Whether it was computed.
    """

    bonds: tuple[str, ...]
    dimension: int
    alone: float
    lower: float | None
    upper: float | None
    exact: bool

    def to_dict(self) -> dict[str, Any]:
        """Plain values."""
        return asdict(self)


def sharing(bonds: Sequence[Bond]) -> list[tuple[Bond, ...]]:
    """Sets of two bonds or more that are connected by the arrays they have in common."""
    group: dict[str, list[Bond]] = {}
    for bond in bonds:
        met = {id(g): g for g in (group.get(name, []) for name in bond.arrays)}
        joined = [b for g in met.values() for b in g] + [bond]
        for name in {name for b in joined for name in b.arrays}:
            group[name] = joined
    order = {bond.name: i for i, bond in enumerate(bonds)}
    found = {id(g): tuple(sorted(g, key=lambda b: order[b.name])) for g in group.values()}
    return sorted((g for g in found.values() if len(g) > 1), key=lambda g: order[g[0].name])


def joint_volume(
    bonds: Sequence[Bond], rows: Sequence[Row], source: Source, squares: Squares, blocks: Blocks
) -> Joint:
    """The joint log volume of one set; ``rows`` are theirs, ``blocks`` those of matrix groups."""
    names = list(dict.fromkeys(name for bond in bonds for name in bond.arrays))
    dim, numbers = sum(bond.dim for bond in bonds), sum(prod(source.shapes[n]) for n in names)
    alone = float(sum(row.log_volume for row in rows))
    set_of = tuple(bond.name for bond in bonds)
    if dim * dim * numbers <= CHEAP:
        value = volume(Symmetry(bonds), {name: source.read(name) for name in names})
        exact = float(value.log_volume)
        return Joint(set_of, dim, alone, exact, exact, exact=True)
    found = coupling(bonds, source, squares, blocks)
    if found is None or found[0] >= 1:
        return Joint(set_of, dim, alone, None, None, exact=False)
    rho, square = found
    lower, upper = (alone - _loss(e) * square / 2 for e in (-rho, rho))
    return Joint(set_of, dim, alone, lower, upper, exact=False)


def coupling(
    bonds: Sequence[Bond], source: Source, squares: Squares, blocks: Blocks
) -> tuple[float, float] | None:
    """``rho`` and ``|E|^2``, None for bonds on the same axis and groups that are not known here."""
    parts = [_part(bond, squares, blocks) for bond in bonds]
    shares: list[dict[int, Numpy]] = [{} for _ in parts]
    square = 0.0
    for i, j in combinations(range(len(parts)), 2):
        a, b = parts[i], parts[j]
        if a is None or b is None:
            return None
        if isinstance(b, Matrices):
            a, b, i, j = b, a, j, i
        pairs = [
            (e, f) for e in a.bond.ends for f in b.bond.ends if e.name == f.name and e.meets(f)
        ]
        if not pairs:
            continue
        if isinstance(b, Matrices) or any(e.axis in (None, f.axis) for e, f in pairs):
            return None
        found = a.coupled(b, pairs, source)
        if found is None:
            return None
        entry, shares[i][j], shares[j][i] = found
        square += 2 * entry
    return _radius(shares) * (1 + 1e-6), square


def _radius(shares: Sequence[Mapping[int, Numpy]]) -> float:
    """``rho``, with the ``v`` that makes it least: what iterations of the right side find."""
    v = np.ones(len(shares))
    for _ in range(SWEEPS):
        sums = np.array([np.max(sum(s * v[b] for b, s in of.items())) for of in shares])
        rho = float(np.max(sums / v))
        v = (sums + v) / np.max(sums + v)
    return rho


def _loss(e: float) -> float:
    """``(e - log(1 + e)) / e^2``."""
    return (e - log1p(e)) / e**2 if abs(e) > 1e-4 else 0.5 - e / 3


def _part(bond: Bond, squares: Squares, blocks: Blocks) -> "Scales | Matrices | None":
    if bond.loops:
        return None
    if of_scales(bond):
        return Scales(bond, squares)
    return Matrices(bond, *blocks[bond.name]) if isinstance(bond.group, GeneralLinear) else None


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
        total = np.zeros((len(self.inverse), len(other.inverse)))
        size = np.zeros_like(total)
        for e, f, p, q in placed:
            array = source.read(e.name)
            others = tuple(k for k in range(array.ndim) if k not in (e.axis, f.axis))
            table = np.sum(array * array, axis=others)
            table = table if (e.axis or 0) < (f.axis or 0) else table.T
            table = _summed(_summed(table, p, len(total)).T, q, total.shape[1]).T
            total += table if e.dual is f.dual else -table
            size += table
        square = float(np.sum(total**2 * self.inverse[:, None] * other.inverse))
        return square, size.sum(axis=1) * self.inverse, size.sum(axis=0) * other.inverse


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
    total = np.zeros((count, table.shape[1]))
    np.add.at(total, labels[labels >= 0], table[labels >= 0])
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
