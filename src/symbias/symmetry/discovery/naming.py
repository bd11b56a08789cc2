"""Names for a space of generators: larger groups first, then scales."""

from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import replace

import numpy as np

from symbias.symmetry.action import act
from symbias.symmetry.bonds import Bond, Symmetry
from symbias.symmetry.discovery.blocks import Block, Side, find_blocks, joined
from symbias.symmetry.discovery.draws import Draws
from symbias.symmetry.discovery.equations import Axis, Numpy, Unknowns, null_space
from symbias.symmetry.discovery.scales import name_scales
from symbias.symmetry.ends import EndSpec
from symbias.symmetry.groups import ComplexScaling, Group, Orthogonal

Named = tuple[Bond, Numpy]  # a bond and its generators, as columns over the unknowns


def name_linear(unknowns: Unknowns, found: Numpy, trivial: Numpy) -> list[Named]:
    """The bonds whose generators lie in the space ``found``, larger groups first."""
    on = np.zeros(unknowns.count, dtype=bool)
    on[unknowns.diagonal] = True
    diagonal, off = _vanishing(found, ~on), _vanishing(found, on)
    blocks = list(find_blocks(unknowns, off, joined(trivial, diagonal), found))
    named = [block.generators(unknowns) for block in blocks]
    scales = name_scales(unknowns, diagonal, joined(trivial, *named))
    return [*_bonds(unknowns, blocks), *scales]


def _vanishing(found: Numpy, where: Numpy) -> Numpy:
    """The part of a space that is zero at some positions."""
    return found @ null_space(found[where], 1e-7)


def left_of(found: Numpy, *known: Numpy) -> Numpy:
    """What known generators leave of a space, orthogonal to them."""
    span = joined(np.zeros((len(found), 0)), *known)
    u, s, _ = np.linalg.svd(found - span @ (span.T @ found), full_matrices=False)
    return u[:, s > 1e-6]


def without_false_reflections(bond: Bond, draws: Draws) -> Bond:
    """The bond, of a special group where a reflection moves the predictor."""
    group = bond.group
    if not isinstance(group, Orthogonal):
        return bond
    mirrors = np.broadcast_to(np.eye(group.size), (bond.heads or 1, group.size, group.size)).copy()
    mirrors[:, 0, 0] = -1
    one = Symmetry([bond])
    if draws.keeps(lambda params: act(one, {bond.name: mirrors}, params)):
        return bond
    return replace(bond, group=replace(group, special=True))


def named_apart(bonds: Sequence[Bond]) -> list[Bond]:
    """The same bonds, numbered where names are equal."""
    seen: dict[str, int] = defaultdict(int)
    result = []
    for bond in bonds:
        seen[bond.name] += 1
        again = f"{bond.name} {seen[bond.name]}"
        result.append(bond if seen[bond.name] == 1 else replace(bond, name=again))
    return result


Ends = tuple[tuple[tuple[Axis, ...], bool], ...]  # axes that one end acts on, and its side


def _bonds(unknowns: Unknowns, blocks: list[Block]) -> Iterator[Named]:
    """Blocks with the same ends are heads of one bond, or planes of one complex scaling."""
    alike: dict[tuple[Group, Ends], list[Block]] = defaultdict(list)
    for block in blocks:
        ends = tuple((_axes(unknowns, block, side), side[1]) for side in block.labels)
        alike[block.group, ends].append(block)
    for (group, ends), same in alike.items():
        first = next(iter(same[0].labels))
        same.sort(key=lambda block: min(block.labels.get(first, {0: 0})))
        count = len(same)
        shapes: list[tuple[Group, int | None]] = [(group, count if count > 1 else None)]
        if isinstance(group, ComplexScaling):
            layouts = (ComplexScaling(2 * count), ComplexScaling(2 * count, layout="half"))
            shapes = [(layout, None) for layout in layouts]
        made = [_bond(unknowns, same, ends, *shape) for shape in shapes]
        bond = min(made, key=lambda bond: sum(end.rows is not None for end in bond.ends))
        yield bond, np.concatenate([block.generators(unknowns) for block in same], axis=1)


def _axes(unknowns: Unknowns, block: Block, side: Side) -> tuple[Axis, ...]:
    return tuple(dict.fromkeys(unknowns.axis(i)[0] for i in sorted(block.labels[side])))


def _bond(
    unknowns: Unknowns, blocks: list[Block], ends: Ends, group: Group, heads: int | None
) -> Bond:
    sides: tuple[list[EndSpec], list[EndSpec]] = ([], [])
    half = isinstance(group, ComplexScaling) and group.layout == "half"
    for axes, dual in ends:
        labels = {axis: np.full(unknowns.axes[axis][0], -1) for axis in axes}
        for k, block in enumerate(blocks):
            for side, labelled in block.labels.items():
                for i, label in labelled.items() if side[1] == dual else ():
                    axis, place = unknowns.axis(i)
                    if axis in labels:
                        own = block.group.size
                        labels[axis][place] = label * len(blocks) + k if half else k * own + label
        if len(axes) > 1:
            names = tuple(name for name, _ in axes)
            sides[dual].append((names, None, tuple(labels.values())))
            continue
        name, position = unknowns.place(axes[0])
        plain = _plain_labels(len(labels[axes[0]]), group.size, heads)
        same = plain is not None and np.array_equal(labels[axes[0]], plain)
        sides[dual].append((name, position) if same else (name, position, labels[axes[0]]))
    return Bond(group, *sides, heads=heads)


def _plain_labels(n: int, size: int, heads: int | None) -> Numpy | None:
    """Labels of an axis that needs none."""
    if n % (size * (heads or 1)) or (heads is None and n != size):
        return None
    inner = np.arange((heads or 1) * size).reshape(heads or 1, 1, size)
    copies = n // inner.size
    return np.broadcast_to(inner, (heads or 1, copies, size)).reshape(-1)
