"""Blocks: the coordinates that one irreducible matrix group mixes.

Off-diagonal generators of the known groups have disjoint supports, so the projector on all of them
falls apart into single generators; those that do not commute form one block.
"""

from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from scipy.sparse import csr_array
from scipy.sparse.csgraph import connected_components

from symbias.symmetry.discovery.equations import Numpy, Unknowns, null_space
from symbias.symmetry.groups import (
    ComplexScaling,
    GeneralLinear,
    Group,
    IndefiniteOrthogonal,
    Orthogonal,
)

Side = tuple[int, bool]  # a space of coordinates; whether they are covectors
Generator = dict[tuple[int, int], float]  # by row and column coordinate


@dataclass
class Block:
    """Coordinates that one irreducible group mixes: their labels, side by side."""

    group: Group
    labels: dict[Side, dict[int, int]]

    def generators(self, unknowns: Unknowns) -> Numpy:
        """All generators as columns over the unknowns."""
        return generator_columns(unknowns, self.group.matrix_basis(), self.labels)


def generator_columns(
    unknowns: Unknowns, algebra: Sequence[Numpy], labels: dict[Side, dict[int, int]]
) -> Numpy:
    """Algebra elements spread over labelled coordinates; copies of a label go in order."""
    columns = np.zeros((unknowns.count, len(algebra)))
    stacked = np.stack(algebra, axis=-1)
    for (_, dual), labelled in labels.items():
        for copy in _copies_of(labelled):
            for i in copy:
                for j in copy:
                    a, b = labelled[i], labelled[j]
                    value = -stacked[b, a] if dual else stacked[a, b]
                    columns[unknowns.position[i, j]] += value
    return columns


def _copies_of(labelled: dict[int, int]) -> list[list[int]]:
    """Coordinates by copy: the first of every label, the second, and so on."""
    copies: dict[int, list[int]] = defaultdict(list)
    turn: dict[int, int] = defaultdict(int)
    for i in sorted(labelled):
        copies[turn[labelled[i]]].append(i)
        turn[labelled[i]] += 1
    return list(copies.values())


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
    rows, columns = unknowns.places
    generators: list[Generator] = []
    for support in _supports(off):
        u, s, _ = np.linalg.svd(off[support], full_matrices=False)
        if np.sum(s > 1e-6) == 1:
            column = np.zeros(len(off))
            column[support] = u[:, 0] / u[np.argmax(np.abs(u[:, 0])), 0]
            if not within(explained, column[:, None]):
                generators.append({(int(rows[k]), int(columns[k])): column[k] for k in support})
    for ideal in _ideals(generators, len(unknowns.spaces)):
        block = _read(unknowns, ideal)
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


def _ideals(generators: list[Generator], size: int) -> list[list[Generator]]:
    """Generators, grouped so that those of different groups commute.

    With random x and z, ``z [A, B] x`` vanishes for all that commute and almost surely for no
    others.
    """
    if not generators:
        return []
    x, z = np.random.default_rng(0).standard_normal((2, size))
    right, left = np.zeros((2, len(generators), size))
    for k, generator in enumerate(generators):
        for (i, j), value in generator.items():
            right[k, i] += value * x[j]
            left[k, j] += value * z[i]
    tied = np.abs(left @ right.T - right @ left.T) > 1e-9
    labels = connected_components(csr_array(tied), directed=False)[1]
    return [
        [g for g, label in zip(generators, labels, strict=True) if label == k]
        for k in range(labels.max() + 1)
    ]


def _read(unknowns: Unknowns, generators: list[Generator]) -> Block | None:
    """Match coordinates across copies by the generators whose rows and columns they index."""
    rows: dict[int, set[tuple[int, int]]] = defaultdict(set)
    columns: dict[int, set[tuple[int, int]]] = defaultdict(set)
    for k, generator in enumerate(generators):
        sign = next(v for _, v in sorted(generator.items()))
        for (i, j), value in generator.items():
            rows[i].add((k, round(value * sign)))
            columns[j].add((k, -round(value * sign)))
    keys: dict[tuple[frozenset[tuple[int, int]], int], int] = {}
    labels: dict[Side, dict[int, int]] = defaultdict(dict)
    copies = _copies(generators, len(unknowns.spaces))
    for copy in copies:
        for dual, sets in enumerate((rows, columns)):
            named = _ranked([frozenset(sets[i]) for i in copy])
            keys = keys or {key: label for label, key in enumerate(named)}
            if set(named) == set(keys):
                side = (int(unknowns.spaces[copy[0]]), bool(dual))
                labels[side] |= {i: keys[key] for i, key in zip(copy, named, strict=True)}
                break
        else:
            return None
    size = len(keys)
    if size > 1 and len(generators) == size * (size - 1):
        return Block(GeneralLinear(size), dict(labels))
    if size > 1 and len(generators) == size * (size - 1) // 2:
        return _with_signs(Block(Orthogonal(size), dict(labels)), generators, copies[0])
    return None


def _copies(generators: list[Generator], size: int) -> list[list[int]]:
    """Coordinates that generators lead to one another, in order."""
    i, j = np.array([place for generator in generators for place in generator]).T
    graph = csr_array((np.ones(len(i)), (i, j)), shape=(size, size))
    labels = connected_components(graph, directed=False)[1]
    found: dict[int, list[int]] = defaultdict(list)
    for coordinate in sorted({*i.tolist(), *j.tolist()}):
        found[labels[coordinate]].append(coordinate)
    return list(found.values())


def _ranked(sets: list[frozenset[tuple[int, int]]]) -> list[tuple[frozenset[tuple[int, int]], int]]:
    """Sets that are equal, numbered."""
    return [(s, sets[:k].count(s)) for k, s in enumerate(sets)]


def _with_signs(block: Block, generators: list[Generator], copy: list[int]) -> Block:
    """Symmetric generators are boosts, between components of different signs."""
    plus = [True] * len(copy)
    for generator in generators:
        for (i, j), value in generator.items():
            if i == copy[0] and generator.get((j, i), 0) * value > 0:
                plus[copy.index(j)] = False
    if all(plus):
        return block
    order = {label: k for k, label in enumerate(np.argsort(np.logical_not(plus), kind="stable"))}
    labels = {side: {i: order[k] for i, k in at.items()} for side, at in block.labels.items()}
    return Block(IndefiniteOrthogonal(sum(plus), len(plus) - sum(plus)), labels)


def _with_complex_scale(unknowns: Unknowns, block: Block, found: Numpy) -> Block:
    """A plane that turns and scales is complex; the scale says which ends are covectors."""
    if block.group != Orthogonal(2):
        return block
    copies = [
        (side, {i: labelled[i] for i in copy})
        for side, labelled in block.labels.items()
        for copy in _copies_of(labelled)
    ]
    parts = [generator_columns(unknowns, [np.eye(2)], {side: copy}) for side, copy in copies]
    columns = np.concatenate(parts, axis=1)
    weights = null_space(columns - found @ (found.T @ columns), 1e-6)
    if weights.shape[1] != 1:
        return block
    signs = weights[:, 0] / weights[0, 0] if abs(weights[0, 0]) > 1e-6 else weights[:, 0]
    if np.max(np.abs(np.abs(signs) - 1)) > 1e-5:
        return block
    labels: dict[Side, dict[int, int]] = defaultdict(dict)
    for ((space, _), copy), sign in zip(copies, signs, strict=True):
        labels[space, bool(sign < 0)] |= copy
    return Block(ComplexScaling(2), dict(labels))
