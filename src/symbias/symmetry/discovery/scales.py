"""Scales: the sparsest diagonal generators."""

from collections import defaultdict
from collections.abc import Iterator
from itertools import pairwise
from typing import NamedTuple

import numpy as np
import scipy

from symbias.symmetry.bonds import Bond
from symbias.symmetry.discovery.equations import Axis, Numpy, Unknowns
from symbias.symmetry.ends import EndSpec
from symbias.symmetry.groups import Rescaling, UniformScale, WeightedRescaling

MOST_DENOMINATOR = 12
SMALL = 0.05  # of all arrays
MANY = 150  # rates, from which on not every entry has a program of its own

Scale = dict[Axis, dict[int, float]]  # weight of every coordinate it moves


def name_scales(unknowns: Unknowns, diagonal: Numpy, known: Numpy) -> list[tuple[Bond, Numpy]]:
    """Bonds, with their generators, for the diagonal part that ``known`` does not span already."""
    motions = _Motions(unknowns, diagonal)
    columns = [_whole_numbers(column) for column in motions.sparsest()]
    scales: list[Numpy] = []
    for column in sorted(columns, key=lambda c: bool(np.max(np.abs(c), initial=0) > 1)):
        known, new = _with(known, column)
        scales += [column] if new else []
    return list(_bonds(unknowns, [*scales, *_beyond(motions, known)]))


def further_scales(unknowns: Unknowns, diagonal: Numpy, known: Numpy) -> list[tuple[Bond, Numpy]]:
    """The same where known ones span most: no search for the sparsest at every entry."""
    return list(_bonds(unknowns, list(_beyond(_Motions(unknowns, diagonal), known))))


def _beyond(motions: "_Motions", known: Numpy) -> Iterator[Numpy]:
    """The sparsest generators that a span, and those before, do not hold."""
    while (further := motions.beyond(known)) is not None:
        column = _whole_numbers(further)
        known, new = _with(known, column)
        if not new:
            return
        yield column


def _with(known: Numpy, column: Numpy) -> tuple[Numpy, bool]:
    """A span and a column more, and whether it was new."""
    new = column - known @ (known.T @ column)
    norm = np.linalg.norm(new)
    if norm <= 1e-6 * np.linalg.norm(column):
        return known, False
    return np.concatenate([known, new[:, None] / norm], axis=1), True


def _whole_numbers(column: Numpy) -> Numpy:
    """The generator with the smallest whole weights, or real ones from 1 up if none fit."""
    least = np.min(np.abs(column[column != 0]), initial=np.inf)
    weights = column / least if np.isfinite(least) else column
    for factor in range(1, MOST_DENOMINATOR + 1):
        whole = np.round(factor * weights)
        if np.max(np.abs(factor * weights - whole), initial=0) < 1e-5:
            return whole
    return np.round(weights, 10)


class _Motions:
    """How diagonal generators move the entries of arrays, and the sparsest of them.

    Sparse is of least 1-norm of the motion, which knows nothing of how it is shared out between the
    axes of an array. Entries count as shares of their arrays: a unit costs less than a whole layer.
    Earlier arrays cost slightly less, so that ties fall alike for all components.
    """

    def __init__(self, unknowns: Unknowns, diagonal: Numpy) -> None:
        self.unknowns = unknowns
        self.coordinates = diagonal[unknowns.diagonal]
        motion = motion_of(unknowns) @ self.coordinates
        _, s, vt = np.linalg.svd(motion, full_matrices=False)
        self.moving = vt[s > 1e-5].T
        if self.moving.shape[1]:
            rates, self.first, self.shares, self.cost = _distinct(
                motion @ self.moving, _shares(unknowns)
            )
            self.rates, basis = _reduced(rates)
            self.moving = self.moving @ basis

    def sparsest(self) -> list[Numpy]:
        """For every array entry the sparsest generator that moves it, small ones first.

        Entries that a very small one moves, as a unit of a wide layer, are asked for no other.
        """
        if not self.moving.shape[1]:
            return []
        found, asked = [], np.zeros(len(self.rates), dtype=bool)
        for p in self._pins():
            if asked[p]:
                continue
            z = self._pinned(self.rates[p])
            moved = np.abs(self.rates @ z) > 1e-6
            size = round(float(self.shares[moved].sum()), 9)
            found.append((size, self.first[p], self._column(z)))
            if size < SMALL * len(self.unknowns.shapes):
                asked |= moved
        return [column for _, _, column in sorted(found, key=lambda item: item[:2])]

    def _pins(self) -> Numpy:
        """Entries to start from: all, or of many those on the edges of their arrays."""
        if len(self.rates) <= MANY:
            return np.arange(len(self.rates))
        return np.flatnonzero(_on_edges(self.unknowns)[self.first])

    def beyond(self, known: Numpy) -> Numpy | None:
        """The sparsest generator with a part beyond a span; None if all lie within."""
        span = self.coordinates @ self.moving
        within = known[self.unknowns.diagonal].T @ span
        values, vectors = np.linalg.eigh(span.T @ span - within.T @ within)
        if not len(values) or values[-1] < 1e-9:
            return None
        return self._column(self._pinned(values[-1] ** 0.5 * vectors[:, -1]))

    def _pinned(self, pin: Numpy) -> Numpy:
        return _settled(self.rates, _least(self.rates, self.cost, pin), pin)

    def _column(self, z: Numpy) -> Numpy:
        column = np.zeros(self.unknowns.count)
        values = self.coordinates @ (self.moving @ z)
        column[self.unknowns.diagonal] = _shared_out(self.unknowns, values)
        return column


def _shares(unknowns: Unknowns) -> Numpy:
    """Of every entry: of how many entries in its array it is one."""
    sizes = [int(np.prod(shape)) for shape in unknowns.shapes.values()]
    return np.repeat([1 / size for size in sizes], sizes)


def _distinct(rates: Numpy, shares: Numpy) -> tuple[Numpy, Numpy, Numpy, Numpy]:
    """Rates up to their size, each once: unit rows, the first entry of each, which share of arrays
    they are, and what moving them costs."""
    sizes = np.linalg.norm(rates, axis=1)
    live = np.flatnonzero(sizes > 1e-4)
    unit = rates[live] / sizes[live, None]
    lead = np.argmax(np.abs(unit) > 1e-2, axis=1)
    unit *= np.sign(unit[np.arange(len(unit)), lead])[:, None]
    rounded = np.round(unit, 5) + 0.0
    _, where, group = np.unique(rounded, axis=0, return_index=True, return_inverse=True)
    group = group.reshape(-1)
    cost = np.bincount(group, sizes[live] * shares[live]) * (1 + 1e-4 * where)
    return unit[where], live[where], np.bincount(group, shares[live]), cost


def _reduced(rates: Numpy) -> tuple[Numpy, Numpy]:
    """The rates in a basis in which most are zero, and that basis: as many rates as there are
    columns move with one of them each (a reduced echelon form, pivots by QR)."""
    _, _, order = scipy.linalg.qr(rates.T, mode="economic", pivoting=True)
    basis = np.linalg.inv(rates[order[: rates.shape[1]]])
    sparse = rates @ basis
    return np.where(np.abs(sparse) > 1e-9, sparse, 0.0), basis


def _on_edges(unknowns: Unknowns) -> Numpy:
    """Whether an entry has the index 0 on all axes but one."""
    parts = []
    for shape in unknowns.shapes.values():
        index = np.indices(shape or (1,)).reshape(len(shape or (1,)), -1)
        parts.append(np.count_nonzero(index, axis=0) <= 1)
    return np.concatenate(parts)


def motion_of(unknowns: Unknowns) -> Numpy:
    """Rate of every array entry, from those of its coordinates on all axes."""
    blocks = []
    for name, shape in unknowns.shapes.items():
        index = np.indices(shape or (1,)).reshape(len(shape or (1,)), -1)
        block = np.zeros((index.shape[1], len(unknowns.diagonal)))
        for axis, row in enumerate(index):
            block[np.arange(len(row)), unknowns.axes[name, axis][1] + row] = 1
        blocks.append(block)
    return np.concatenate(blocks)


def _least(rates: Numpy, cost: Numpy, pin: Numpy) -> Numpy:
    """Minimise ``sum cost |rates z|`` with ``pin z = 1``."""
    count, dim = rates.shape
    eye = scipy.sparse.eye_array(count)
    moved = scipy.sparse.block_array([[scipy.sparse.csr_array(rates), -eye, eye]])
    pinned = scipy.sparse.csr_array(np.concatenate([pin, np.zeros(2 * count)])[None, :])
    result = scipy.optimize.linprog(
        np.concatenate([np.zeros(dim), cost, cost]),  # of z, and what moves up and down
        A_eq=scipy.sparse.vstack([moved, pinned], format="csc"),
        b_eq=np.concatenate([np.zeros(count), [1.0]]),
        bounds=[(None, None)] * dim + [(0, None)] * (2 * count),
        method="highs-ds",
    )
    return np.asarray(result.x[:dim])


def _settled(rates: Numpy, z: Numpy, pin: Numpy) -> Numpy:
    """The solution with the same zeros, to all digits."""
    still = rates[np.abs(rates @ z) < 1e-4]
    values, vectors = np.linalg.eigh(still.T @ still)
    free = vectors[:, values < 1e-9].T
    along = free @ pin
    return z if not len(free) else free.T @ along / max(along @ along, 1e-12)


def _shared_out(unknowns: Unknowns, values: Numpy) -> Numpy:
    """The same motion with as few coordinates as possible: constants go to one axis."""
    result, start = values.copy(), 0
    for shape in unknowns.shapes.values():
        ends = start + np.cumsum([0, *(shape or (1,))])
        axes = [values[a:b] for a, b in pairwise(ends)]
        constants = [_most_common(a) for a in axes]
        options = []
        for main in range(len(axes)):
            shifted = [a - c for a, c in zip(axes, constants, strict=True)]
            shifted[main] = axes[main] + sum(constants) - constants[main]
            flat = np.concatenate(shifted)
            options.append(np.where(np.abs(flat) > 1e-6, flat, 0))
        result[start : ends[-1]] = min(options, key=np.count_nonzero)
        start = ends[-1]
    return result


def _most_common(values: Numpy) -> float:
    found, counts = np.unique(np.round(values, 6), return_counts=True)
    return float(values[np.argmin(np.abs(values - found[np.argmax(counts)]))])


def _scale(unknowns: Unknowns, column: Numpy) -> Scale:
    scale: Scale = defaultdict(dict)
    for i in np.flatnonzero(column[unknowns.diagonal]):
        axis, place = unknowns.axis(int(i))
        scale[axis][place] = float(column[unknowns.diagonal][i])
    return dict(scale)


class ScaleEnd(NamedTuple):
    """Coordinates of one axis that a scale moves by one weight; the first end is a vector."""

    axis: Axis
    dual: bool
    weight: float
    whole: bool


def _bonds(unknowns: Unknowns, scales: list[Numpy]) -> Iterator[tuple[Bond, Numpy]]:
    """Scales with the same ends are components of one bond; those of whole arrays stand alone."""
    alike: dict[tuple[tuple[ScaleEnd, ...], int], list[int]] = defaultdict(list)
    parts = [_ends(unknowns, _scale(unknowns, column)) for column in scales]
    for k, ends in enumerate(parts):
        alone = k if any(end.whole for end, _ in ends) else -1
        alike[tuple(end for end, _ in ends), alone].append(k)
    for (kinds, _), group in alike.items():
        group.sort(key=lambda k: [min(places) for _, places in parts[k]])
        bond = _bond(unknowns, kinds, [[places for _, places in parts[k]] for k in group])
        yield bond, np.stack([scales[k] for k in group], axis=1)


def _ends(unknowns: Unknowns, scale: Scale) -> list[tuple[ScaleEnd, list[int]]]:
    """The ends a scale acts on, with their coordinates."""
    first = next(iter(next(iter(scale.values())).values()))
    ends = []
    for axis, weights in scale.items():
        for weight in sorted(set(weights.values()), key=lambda w: (w * first < 0, abs(w))):
            places = [i for i, w in weights.items() if w == weight]
            whole = len(places) == unknowns.axes[axis][0] > 1
            ends.append((ScaleEnd(axis, weight * first < 0, abs(weight), whole), places))
    return ends


def _bond(unknowns: Unknowns, ends: tuple[ScaleEnd, ...], group: list[list[list[int]]]) -> Bond:
    sides: tuple[list[EndSpec], list[EndSpec]] = ([], [])
    weights: tuple[list[float], list[float]] = ([], [])
    weighted = any(end.weight != 1 for end in ends)
    tied = not any(end.dual for end in ends) and not weighted
    count = len(group)
    for k, (axis, dual, weight, whole) in enumerate(ends):
        labels = np.full(unknowns.axes[axis][0], -1)
        for component, parts in enumerate(group):
            labels[parts[k]] = component
        name, place = unknowns.place(axis)
        if whole:
            sides[dual].append((name, None))
        elif _plain(labels, count, tied):
            sides[dual].append((name, place))
        else:
            sides[dual].append((name, place, labels))
        weights[dual].append(int(weight) if weight == round(weight) else weight)
    if weighted:
        return Bond(WeightedRescaling(count, (*weights[0], *weights[1])), *sides)
    uniform = tied or any(end.whole for end in ends)
    heads = count if tied and count > 1 else None
    return Bond(UniformScale() if uniform else Rescaling(count), *sides, heads=heads)


def _plain(labels: Numpy, count: int, tied: bool) -> bool:
    """Whether an axis with these labels needs none."""
    copies = len(labels) // count if tied else 1
    return np.array_equal(labels, np.repeat(np.arange(count), copies))
