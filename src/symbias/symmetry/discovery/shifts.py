"""Names for the shifts a predictor does not see."""

from collections.abc import Iterator, Mapping
from itertools import combinations

import numpy as np

from symbias.symmetry.bonds import Bond
from symbias.symmetry.discovery.equations import Numpy, Shapes
from symbias.symmetry.groups import Translation


def name_shifts(
    shapes: Shapes, shifts: Numpy
) -> tuple[list[Bond], tuple[str, ...], tuple[Mapping[str, Numpy], ...]]:
    """Bonds for the shifts, the dead arrays among them, and the shifts without a name."""
    bonds: list[Bond] = []
    dead: list[str] = []
    named = np.zeros((len(shifts), 0))
    for bond, directions in _candidates(shapes, shifts):
        new = directions - named @ (named.T @ directions)
        if np.linalg.norm(new) < 1e-7 or named.shape[1] >= shifts.shape[1]:
            continue
        if np.linalg.norm(directions - shifts @ (shifts.T @ directions)) < 1e-6:
            bonds.append(bond)
            name = bond.ends[0].name
            if len(bond.ends) == 1 and bond.dim == int(np.prod(shapes[name])):
                dead.append(name)
            u, s, _ = np.linalg.svd(new, full_matrices=False)
            named = np.concatenate([named, u[:, s > 1e-7]], axis=1)
    left = shifts - named @ (named.T @ shifts)
    u, s, _ = np.linalg.svd(left, full_matrices=False)
    unnamed = tuple(_split(shapes, column) for column in u[:, s > 1e-6].T)
    return bonds, tuple(dead), unnamed


def _split(shapes: Shapes, column: Numpy) -> dict[str, Numpy]:
    ends = np.cumsum([int(np.prod(shape)) for shape in shapes.values()])
    pieces = np.split(column, ends[:-1])
    parts = {k: p.reshape(shapes[k]) for k, p in zip(shapes, pieces, strict=True)}
    return {k: p for k, p in parts.items() if np.abs(p).max(initial=0) > 1e-7}


def _candidates(shapes: Shapes, shifts: Numpy) -> Iterator[tuple[Bond, Numpy]]:
    """Whole arrays, some entries, shifts along an axis, and from one axis or array to another."""
    sizes = {name: int(np.prod(shape)) for name, shape in shapes.items()}
    starts = dict(zip(sizes, np.cumsum([0, *sizes.values()]).tolist(), strict=False))
    total = sum(sizes.values())
    free = np.linalg.norm(shifts, axis=1) > 1 - 1e-9

    def place(name: str, block: Numpy) -> Numpy:
        column = np.zeros((total, block.shape[1]))
        column[starts[name] : starts[name] + sizes[name]] = block
        return column

    def along(name: str, axis: int) -> Numpy:
        shape = shapes[name]
        return place(name, np.eye(shape[axis])[np.indices(shape)[axis].reshape(-1)])

    for name, size in sizes.items():
        bond = Bond(Translation(size), [(name, None)], name=f"{name} dead")
        yield bond, place(name, np.eye(size))
    for name, size in sizes.items():
        here = free[starts[name] : starts[name] + size]
        if here.any():
            labels = np.where(here, np.cumsum(here) - 1, -1)
            ends = [(name, 0 if len(shapes[name]) == 1 else None, labels)]
            bond = Bond(Translation(int(here.sum())), ends, name=f"{name} dead entries")
            yield bond, place(name, np.eye(size)[:, here])
    axes = [(name, axis) for name, shape in shapes.items() for axis in range(len(shape))]
    for name, axis in axes:
        if len(shape := shapes[name]) > 2:  # alike along one axis, whatever it is on the others
            rest = np.arange(sizes[name] // shape[axis])
            labels = np.broadcast_to(
                np.expand_dims(rest.reshape(shape[:axis] + shape[axis + 1 :]), axis), shape
            ).reshape(-1)
            bond = Bond(Translation(len(rest)), [(name, None, labels)], name=f"{name} mean {axis}")
            yield bond, place(name, np.eye(len(rest))[labels])
    for name, axis in axes:
        if len(shapes[name]) > 1:
            n = shapes[name][axis]
            bond = Bond(Translation(n), [(name, axis)], name=f"{name} shift {axis}")
            yield bond, along(name, axis)
    for name, size in sizes.items():
        labels = np.zeros(size, dtype=int)
        bond = Bond(Translation(1), [(name, None, labels)], name=f"{name} shift")
        yield bond, place(name, np.ones((size, 1)))
    for a, b in combinations(shapes, 2):
        if sizes[a] == sizes[b]:
            eye, group = np.eye(sizes[a]), Translation(sizes[a])
            bond = Bond(group, [(a, None)], [(b, None)], name=f"{a} - {b}")
            yield bond, place(a, eye) - place(b, eye)
            bond = Bond(group, [(a, None), (b, None)], name=f"{a} + {b}")
            yield bond, place(a, eye) + place(b, eye)
    for one, other in combinations(axes, 2):
        n = shapes[one[0]][one[1]]
        if one[0] != other[0] and n == shapes[other[0]][other[1]]:
            name = f"{one[0]} shift {one[1]} - {other[0]} shift {other[1]}"
            yield Bond(Translation(n), [one], [other], name=name), along(*one) - along(*other)
