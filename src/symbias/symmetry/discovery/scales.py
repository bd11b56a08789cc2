"""Scales: the sparsest diagonal generators."""

from collections import defaultdict
from collections.abc import Iterator
from itertools import pairwise
from typing import NamedTuple

import numpy as np
from scipy.optimize import linprog

from symbias.symmetry.bonds import Bond
from symbias.symmetry.ends import EndSpec
from symbias.symmetry.discovery.equations import Axis, Numpy, Unknowns
from symbias.symmetry.groups import Rescaling, UniformScale

Scale = dict[Axis, dict[int, int]]  # sign of every coordinate it moves


def name_scales(unknowns: Unknowns, diagonal: Numpy, known: Numpy) -> list[Bond]:
    """Bonds for the diagonal generators that ``known`` does not span already."""
    scales = []
    for column in _sparsest(unknowns, diagonal):
        if np.max(np.abs(np.abs(column[column != 0]) - 1)) > 1e-5:
            continue  # powers other than one: no group of ours
        new = column - known @ (known.T @ column)
        norm = np.linalg.norm(new)
        if norm > 1e-6 * np.linalg.norm(column):
            known = np.concatenate([known, new[:, None] / norm], axis=1)
            scales.append(_scale(unknowns, column))
    return list(_bonds(unknowns, scales))


def _sparsest(unknowns: Unknowns, diagonal: Numpy) -> list[Numpy]:
    """For every array entry the generator of least 1-norm that moves it at unit rate, small first.

    The norm is that of the motion, which knows nothing of how it is shared out between the axes of
    an array. Earlier arrays cost slightly less, so that ties fall alike for all components.
    """
    coordinates = diagonal[unknowns.diagonal]
    motion = _motion(unknowns) @ coordinates
    _, s, vt = np.linalg.svd(motion, full_matrices=False)
    moving = vt[s > 1e-7].T
    rates, where, counts = np.unique(
        np.round(motion @ moving, 7) + 0.0, axis=0, return_index=True, return_counts=True
    )
    cost = counts * (1 + 1e-4 * where)
    found = []
    for p in np.flatnonzero(np.linalg.norm(rates, axis=1) > 1e-6):
        z = _least(rates, cost, rates[p])
        rate = rates @ z
        size = int(counts[np.abs(rate) > 1e-6].sum())
        column = np.zeros(unknowns.count)
        column[unknowns.diagonal] = _shared_out(unknowns, coordinates @ (moving @ z))
        found.append((size, where[p], column))
    return [column for _, _, column in sorted(found, key=lambda item: item[:2])]


def _motion(unknowns: Unknowns) -> Numpy:
    """Rate of every array entry, from those of its coordinates on all axes."""
    starts = dict(
        zip(unknowns.axes, np.cumsum([0, *(n for n, _ in unknowns.axes.values())]), strict=False)
    )
    blocks = []
    for name, shape in unknowns.shapes.items():
        index = np.indices(shape or (1,)).reshape(len(shape or (1,)), -1)
        block = np.zeros((index.shape[1], len(unknowns.diagonal)))
        for axis, row in enumerate(index):
            block[np.arange(len(row)), starts[name, axis] + row] = 1
        blocks.append(block)
    return np.concatenate(blocks)


def _least(rates: Numpy, cost: Numpy, pin: Numpy) -> Numpy:
    """Minimise ``sum cost |rates z|`` with ``pin z = 1``."""
    count, dim = rates.shape
    result = linprog(
        np.concatenate([np.zeros(dim), cost]),
        A_ub=np.block([[rates, -np.eye(count)], [-rates, -np.eye(count)]]),
        b_ub=np.zeros(2 * count),
        A_eq=np.concatenate([pin, np.zeros(count)])[None, :],
        b_eq=[1.0],
        bounds=[(None, None)] * dim + [(0, None)] * count,
        method="highs",
    )
    return result.x[:dim]


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
    for k in np.flatnonzero(column):
        axis, i, _ = unknowns.places[k]
        scale[axis][i] = round(float(column[k]))
    return dict(sorted(scale.items(), key=lambda item: list(unknowns.axes).index(item[0])))


def _bonds(unknowns: Unknowns, scales: list[Scale]) -> Iterator[Bond]:
    """Scales with the same ends are components of one bond; those of whole arrays stand alone."""
    alike: dict[tuple[tuple[ScaleEnd, ...], int], list[Scale]] = defaultdict(list)
    for number, scale in enumerate(scales):
        ends = _ends(unknowns, scale)
        if ends is not None:
            alone = number if any(end.whole for end in ends) else -1
            alike[ends, alone].append(scale)
    for (ends, _), group in alike.items():
        yield _bond(unknowns, ends, group)


class ScaleEnd(NamedTuple):
    axis: Axis
    dual: bool
    whole: bool


def _ends(unknowns: Unknowns, scale: Scale) -> tuple[ScaleEnd, ...] | None:
    """The axes a scale acts on, or None if it acts both ways on one of them."""
    first = next(iter(next(iter(scale.values())).values()))
    ends = []
    for axis, signs in scale.items():
        if len(set(signs.values())) > 1:
            return None
        whole = len(signs) == unknowns.axes[axis][0] > 1
        ends.append(ScaleEnd(axis, next(iter(signs.values())) != first, whole))
    return tuple(ends)


def _bond(unknowns: Unknowns, ends: tuple[ScaleEnd, ...], group: list[Scale]) -> Bond:
    group = sorted(group, key=lambda scale: [min(signs) for signs in scale.values()])
    sides: tuple[list[EndSpec], list[EndSpec]] = ([], [])
    one_sided = not any(end.dual for end in ends)
    count = len(group)
    uniform = one_sided or any(end.whole for end in ends)
    for axis, dual, whole in ends:
        name, position = axis
        labels = np.full(unknowns.axes[axis][0], -1)
        for k, scale in enumerate(group):
            labels[list(scale[axis])] = k
        place = position if unknowns.shapes[name] else None
        if whole:
            sides[dual].append((name, None))
        elif _plain(labels, count, one_sided):
            sides[dual].append((name, place))
        else:
            sides[dual].append((name, place, labels))
    heads = count if one_sided and count > 1 else None
    return Bond(UniformScale() if uniform else Rescaling(count), *sides, heads=heads)


def _plain(labels: Numpy, count: int, one_sided: bool) -> bool:
    """Whether an axis with these labels needs none."""
    copies = len(labels) // count if one_sided else 1
    return np.array_equal(labels, np.repeat(np.arange(count), copies))
