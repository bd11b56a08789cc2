"""Names for a space of generators: larger groups first, then scales."""

from collections import defaultdict
from collections.abc import Iterator, Sequence

import numpy as np

from symbias.symmetry.discovery.blocks import Block, find_blocks, generator_columns, joined
from symbias.symmetry.bonds import Bond
from symbias.symmetry.ends import EndSpec
from symbias.symmetry.discovery.equations import Axis, Numpy, Unknowns, confirmed
from symbias.symmetry.groups import ComplexScaling, GeneralLinear, Group, Orthogonal
from symbias.symmetry.discovery.scales import name_scales


def name_linear(unknowns: Unknowns, found: Numpy, trivial: Numpy) -> list[Bond]:
    """The bonds whose generators lie in the space ``found``, larger groups first."""
    on = np.zeros(unknowns.count, dtype=bool)
    on[unknowns.diagonal] = True
    entries = np.eye(unknowns.count)
    diagonal, off = confirmed(found, entries[~on]), confirmed(found, entries[on])
    blocks = list(find_blocks(unknowns, off, joined(trivial, diagonal), found))
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
