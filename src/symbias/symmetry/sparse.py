"""Scales: the sparsest diagonal generators."""

from collections import defaultdict
from collections.abc import Iterator

import numpy as np
from scipy.optimize import linprog

from symbias.symmetry.bonds import Bond
from symbias.symmetry.equations import Axis, Numpy, Unknowns
from symbias.symmetry.groups import Group, Rescaling, UniformScale

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
    """For every coordinate the generator of least 1-norm that moves it at unit rate, small first.

    Earlier axes cost slightly less, so that ties fall alike for all components of a chain.
    """
    places = unknowns.diagonal
    basis = diagonal[places]
    count, dim = basis.shape
    order = {axis: k for k, axis in enumerate(unknowns.axes)}
    cost = np.array([1 + 1e-3 * order[unknowns.places[p][0]] for p in places])
    found = []
    for p in range(count):
        if np.linalg.norm(basis[p]) < 1e-6:
            continue
        equal = np.block([[basis, -np.eye(count), np.eye(count)]])
        pin = np.concatenate([basis[p], np.zeros(2 * count)])[None, :]
        result = linprog(
            np.concatenate([np.zeros(dim), cost, cost]),
            A_eq=np.concatenate([equal, pin]),
            b_eq=np.concatenate([np.zeros(count), [1.0]]),
            bounds=[(None, None)] * dim + [(0, None)] * (2 * count),
            method="highs",
        )
        if result.success:
            values = basis @ result.x[:dim]
            column = np.zeros(unknowns.count)
            column[places] = np.where(np.abs(values) > 1e-6, values, 0)
            found.append(column)
    return sorted(found, key=lambda column: (np.count_nonzero(column), np.flatnonzero(column)[0]))


def _scale(unknowns: Unknowns, column: Numpy) -> Scale:
    scale: Scale = defaultdict(dict)
    for k in np.flatnonzero(column):
        axis, i, _ = unknowns.places[k]
        scale[axis][i] = round(float(column[k]))
    return dict(sorted(scale.items(), key=lambda item: list(unknowns.axes).index(item[0])))


def _bonds(unknowns: Unknowns, scales: list[Scale]) -> Iterator[Bond]:
    """Scales with the same ends are components of one bond."""
    alike: dict[tuple[object, ...], list[Scale]] = defaultdict(list)
    for scale in scales:
        first = next(iter(next(iter(scale.values())).values()))
        ends = []
        for axis, signs in scale.items():
            if len(set(signs.values())) > 1:
                break
            whole = len(signs) == unknowns.axes[axis][0] > 1
            ends.append((axis, next(iter(signs.values())) != first, whole))
        else:
            alone = len(scales) if any(whole for _, _, whole in ends) else 0
            alike[(*ends, alone and len(alike))].append(scale)
    for (*ends, _), group in alike.items():
        yield _bond(unknowns, ends, group)


def _bond(unknowns: Unknowns, ends: list[object], group: list[Scale]) -> Bond:
    group = sorted(group, key=lambda scale: [min(signs) for signs in scale.values()])
    sides: tuple[list[tuple[object, ...]], list[tuple[object, ...]]] = ([], [])
    one_sided = not any(dual for _, dual, _ in ends)  # type: ignore[misc]
    whole_bond = any(whole for _, _, whole in ends)  # type: ignore[misc]
    count = len(group)
    bond_group: Group = UniformScale() if one_sided or whole_bond else Rescaling(count)
    heads = count if one_sided and count > 1 else None
    for axis, dual, whole in ends:  # type: ignore[misc]
        name, position = axis
        n = unknowns.axes[axis][0]
        labels = np.full(n, -1)
        for k, scale in enumerate(group):
            labels[list(scale[axis])] = k
        spec: tuple[object, ...] = (name, position if unknowns.shapes[name] else None)
        if whole:
            spec = (name, None)
        elif not _plain(labels, count, one_sided):
            spec = (*spec, labels)
        sides[dual].append(spec)
    return Bond(bond_group, sides[0], sides[1], heads=heads)  # type: ignore[arg-type]


def _plain(labels: Numpy, count: int, one_sided: bool) -> bool:
    n = len(labels)
    if one_sided and n % count == 0:
        return np.array_equal(labels, np.repeat(np.arange(count), n // count))
    return np.array_equal(labels, np.arange(count))
