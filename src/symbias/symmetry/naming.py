"""Splitting a space of generators into bonds and naming their groups.

Off-diagonal generators of the known groups have disjoint supports, so the projector on all of them
falls apart into single generators; those that share coordinates form one block. Diagonal ones may
overlap; the sparsest of them, found by linear programming, are the scales.
"""

from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

import numpy as np
from scipy.sparse import csr_array
from scipy.sparse.csgraph import connected_components

from symbias.symmetry.bonds import Bond, EndSpec
from symbias.symmetry.equations import Axis, Numpy, Unknowns, confirmed, null_space
from symbias.symmetry.groups import ComplexScaling, GeneralLinear, Group, Orthogonal
from symbias.symmetry.sparse import name_scales

Coordinate = tuple[Axis, int]


@dataclass
class Block:
    """Coordinates that one irreducible group mixes: their labels, axis by axis."""

    kind: str
    size: int
    labels: dict[Axis, dict[int, int]]
    duals: dict[Axis, bool] = field(default_factory=dict)

    def generators(self, unknowns: Unknowns) -> Numpy:
        """All generators as columns over the unknowns."""
        return generator_columns(unknowns, _algebra(self.kind, self.size), self.labels, self.duals)


def _algebra(kind: str, size: int) -> list[Numpy]:
    units = [np.outer(a, b) for a in np.eye(size) for b in np.eye(size)]
    if kind == "linear":
        return units
    turns = [unit - unit.T for unit in units if np.triu(unit, 1).any()]
    return [*turns, np.eye(size)] if kind == "complex" else turns


def generator_columns(
    unknowns: Unknowns,
    algebra: Sequence[Numpy],
    labels: dict[Axis, dict[int, int]],
    duals: dict[Axis, bool],
) -> Numpy:
    """Algebra elements spread over labelled coordinates; copies of a label go in order."""
    columns = np.zeros((unknowns.count, len(algebra)))
    for axis, labelled in labels.items():
        n, start = unknowns.axes[axis]
        seen: dict[int, int] = defaultdict(int)
        copies = {}
        for i in sorted(labelled):
            copies[i] = seen[labelled[i]]
            seen[labelled[i]] += 1
        for i, a in labelled.items():
            for j, b in labelled.items():
                if copies[i] == copies[j]:
                    for k, matrix in enumerate(algebra):
                        value = -matrix[b, a] if duals.get(axis) else matrix[a, b]
                        columns[start + i * n + j, k] += value
    return columns


def within(space: Numpy, columns: Numpy, tolerance: float = 1e-6) -> bool:
    """Whether columns lie in a space given by orthonormal columns."""
    size = np.linalg.norm(columns)
    return bool(np.linalg.norm(columns - space @ (space.T @ columns)) <= tolerance * size)


def joined(*spaces: Numpy) -> Numpy:
    """An orthonormal basis of a sum of spaces."""
    u, s, _ = np.linalg.svd(np.concatenate(spaces, axis=1), full_matrices=False)
    return u[:, s > 1e-7 * max(s.max(initial=0), 1e-300)]


def name_linear(unknowns: Unknowns, found: Numpy, trivial: Numpy) -> list[Bond]:
    """The bonds whose generators lie in the space ``found``, larger groups first."""
    on = np.zeros(unknowns.count, dtype=bool)
    on[unknowns.diagonal] = True
    entries = np.eye(unknowns.count)
    diagonal, off = confirmed(found, entries[~on]), confirmed(found, entries[on])
    blocks = list(_blocks(unknowns, off, joined(trivial, diagonal), found))
    named = [block.generators(unknowns) for block in blocks]
    scales = name_scales(unknowns, diagonal, joined(trivial, *named))
    return [*_bonds(unknowns, blocks), *scales]


def span_without(unknowns: Unknowns, found: Numpy, trivial: Numpy, bonds: Sequence[Bond]) -> Numpy:
    """What the bonds leave of the found space, orthogonal to them and to the trivial part."""
    known = joined(trivial, *(_bond_columns(unknowns, bond) for bond in bonds))
    left = found - known @ (known.T @ found)
    u, s, _ = np.linalg.svd(left, full_matrices=False)
    return u[:, s > 1e-6]


def _bond_columns(unknowns: Unknowns, bond: Bond) -> Numpy:
    """Generators of a bond over the unknowns."""
    columns = []
    for head in range(bond.heads or 1):
        labels: dict[Axis, dict[int, int]] = {}
        duals: dict[Axis, bool] = {}
        for end in bond.ends:
            axis = (end.name, end.axis or 0)
            n = unknowns.axes[axis][0]
            if end.rows is not None:
                rows = end.rows
            elif end.axis is None:
                rows = np.arange(n).reshape(bond.heads or 1, bond.group.size, -1)
            else:
                rows = np.arange(n).reshape(bond.heads or 1, -1, bond.group.size)
                rows = np.swapaxes(rows, 1, 2)
            labels[axis] = {
                int(i): component for component, row in enumerate(rows[head]) for i in row if i >= 0
            }
            duals[axis] = end.dual
        basis = bond.group.matrix_basis()
        columns.append(generator_columns(unknowns, basis, labels, duals))
    return np.concatenate(columns, axis=1)


# ------------------------------------------------------------------------- off-diagonal generators


def _blocks(unknowns: Unknowns, off: Numpy, explained: Numpy, found: Numpy) -> Iterator[Block]:
    """Blocks of off-diagonal generators that belong to a known group."""
    generators = []
    for support in _supports(off):
        rows = off[support]
        u, s, _ = np.linalg.svd(rows, full_matrices=False)
        if np.sum(s > 1e-6) == 1:
            column = np.zeros(len(off))
            column[support] = u[:, 0] / u[np.argmax(np.abs(u[:, 0])), 0]
            if not within(explained, column[:, None]):
                generators.append({unknowns.places[k]: column[k] for k in support})
    for group in _by_coordinates(generators):
        block = _read(group)
        if block is not None:
            block = _with_complex_scale(unknowns, block, found)
            if within(found, block.generators(unknowns)):
                yield block


def _supports(off: Numpy) -> Iterator[Numpy]:
    """Sets of entries that the projector on a space ties together."""
    live = np.flatnonzero(np.linalg.norm(off, axis=1) > 1e-6)
    if not len(live):
        return
    projector = off[live] @ off[live].T
    labels = connected_components(csr_array(np.abs(projector) > 1e-6), directed=False)[1]
    for label in range(labels.max() + 1):
        yield live[labels == label]


Generator = dict[tuple[Axis, int, int], float]


def _by_coordinates(generators: list[Generator]) -> list[list[Generator]]:
    """Generators, grouped by shared coordinates."""
    owners: dict[Coordinate, list[int]] = defaultdict(list)
    for k, generator in enumerate(generators):
        for axis, i, j in generator:
            owners[axis, i].append(k)
            owners[axis, j].append(k)
    edges = [(ks[0], k) for ks in owners.values() for k in ks]
    if not edges:
        return []
    i, j = np.array(edges).T
    graph = csr_array((np.ones(len(i)), (i, j)), shape=(len(generators),) * 2)
    labels = connected_components(graph, directed=False)[1]
    return [
        [g for g, label in zip(generators, labels, strict=True) if label == k]
        for k in range(labels.max() + 1)
    ]


def _read(generators: list[Generator]) -> Block | None:
    """Match coordinates across axes by the generators whose rows and columns they index."""
    values = np.array([v for generator in generators for v in generator.values()])
    if np.max(np.abs(np.abs(values) - 1)) > 1e-5:
        return None
    axes = sorted({axis for generator in generators for axis, _, _ in generator})
    signs = [next(v for (axis, _, _), v in sorted(g.items())) for g in generators]
    rows: dict[Coordinate, set[tuple[int, int]]] = defaultdict(set)
    columns: dict[Coordinate, set[tuple[int, int]]] = defaultdict(set)
    for k, generator in enumerate(generators):
        for (axis, i, j), value in generator.items():
            rows[axis, i].add((k, round(value * signs[k])))
            columns[axis, j].add((k, round(value * signs[k])))
    keys: dict[frozenset[tuple[int, int]], int] = {}
    labels: dict[Axis, dict[int, int]] = {axis: {} for axis in axes}
    duals: dict[Axis, bool] = {}
    for axis, i in sorted(set(rows) | set(columns)):
        own = frozenset(rows[axis, i])
        other = frozenset((k, -sign) for k, sign in columns[axis, i])
        if axis == axes[0]:
            keys.setdefault(own, len(keys))
        dual = own not in keys
        key = other if dual else own
        if key not in keys or duals.setdefault(axis, dual) != dual:
            return None
        labels[axis][i] = keys[key]
    size = len(keys)
    kind = {size * (size - 1): "linear", size * (size - 1) // 2: "turns"}.get(len(generators))
    return Block(kind, size, labels, duals) if kind and size > 1 else None


def _with_complex_scale(unknowns: Unknowns, block: Block, found: Numpy) -> Block:
    """A plane that turns and scales is complex; the scale says which ends are covectors."""
    if block.kind != "turns" or block.size != 2:
        return block
    parts = [
        generator_columns(unknowns, [np.eye(2)], {axis: labelled}, {})
        for axis, labelled in block.labels.items()
    ]
    columns = np.concatenate(parts, axis=1)
    weights = null_space(columns - found @ (found.T @ columns), 1e-6)
    if weights.shape[1] != 1:
        return block
    signs = weights[:, 0] / weights[0, 0] if abs(weights[0, 0]) > 1e-6 else weights[:, 0]
    if np.max(np.abs(np.abs(signs) - 1)) > 1e-5:
        return block
    duals = {axis: bool(s < 0) for axis, s in zip(block.labels, signs, strict=True)}
    return Block("complex", 2, block.labels, duals)


# ------------------------------------------------------------------------------- blocks to bonds


Ends = tuple[tuple[Axis, bool], ...]


def _bonds(unknowns: Unknowns, blocks: list[Block]) -> Iterator[Bond]:
    """Blocks with the same ends are heads of one bond, or planes of one complex scaling."""
    alike: dict[tuple[str, int, Ends], list[Block]] = defaultdict(list)
    for block in blocks:
        ends = tuple((axis, block.duals.get(axis, False)) for axis in block.labels)
        alike[block.kind, block.size, ends].append(block)
    for (kind, size, ends), group in alike.items():
        group.sort(key=lambda block: min(block.labels[ends[0][0]]))
        count = len(group)
        if kind == "complex":
            shapes: list[tuple[Group, int | None]] = [
                (ComplexScaling(2 * count), None),
                (ComplexScaling(2 * count, layout="half"), None),
            ]
        else:
            make = GeneralLinear if kind == "linear" else Orthogonal
            shapes = [(make(size), count if count > 1 else None)]
        yield min((_bond(unknowns, group, ends, *shape) for shape in shapes), key=_labelled)


def _labelled(bond: Bond) -> int:
    return sum(end.rows is not None for end in bond.ends)


def _bond(
    unknowns: Unknowns, blocks: list[Block], ends: Ends, group: Group, heads: int | None
) -> Bond:
    sides: tuple[list[EndSpec], list[EndSpec]] = ([], [])
    half = isinstance(group, ComplexScaling) and group.layout == "half"
    for axis, dual in ends:
        name, position = axis
        labels = np.full(unknowns.axes[axis][0], -1)
        for k, block in enumerate(blocks):
            for i, label in block.labels[axis].items():
                labels[i] = label * len(blocks) + k if half else k * block.size + label
        plain = _plain_labels(len(labels), group.size, heads)
        same = plain is not None and np.array_equal(labels, plain)
        sides[dual].append((name, position) if same else (name, position, labels))
    return Bond(group, *sides, heads=heads)


def _plain_labels(n: int, size: int, heads: int | None) -> Numpy | None:
    """Labels of an axis that needs none."""
    if n % (size * (heads or 1)) or (heads is None and n != size):
        return None
    inner = np.arange((heads or 1) * size).reshape(heads or 1, 1, size)
    copies = n // inner.size
    return np.broadcast_to(inner, (heads or 1, copies, size)).reshape(-1)
