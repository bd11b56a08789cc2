"""Blocks: the coordinates that one irreducible matrix group mixes.

Off-diagonal generators of the known groups have disjoint supports, so the projector on all of them
falls apart into single generators; those that share coordinates form one block.
"""

from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

import numpy as np
from scipy.sparse import csr_array
from scipy.sparse.csgraph import connected_components

from symbias.symmetry.discovery.equations import Axis, Numpy, Unknowns, null_space

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


def find_blocks(unknowns: Unknowns, off: Numpy, explained: Numpy, found: Numpy) -> Iterator[Block]:
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
