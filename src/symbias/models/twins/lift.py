"""Bonds of a twin at the sizes of the full model."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import islice
from math import prod
from typing import TypeVar

import numpy as np

from symbias.models.twins.layouts import Layout, layout_of
from symbias.models.twins.sizes import Triple, readings
from symbias.symmetry import Bond, EndSpec, UniformScale, WeightedRescaling

MOST = 24  # readings of a bond that are tried on the function
MOST_NUMBERS = 50_000  # readings of the numbers of one end
Shape = tuple[int, ...]
Group = Mapping[str, Sequence[str]]  # array of the twin -> arrays that it stands for
T = TypeVar("T")


@dataclass(frozen=True)
class Sized:
    """A model's shapes and its sizes by name."""

    shapes: Mapping[str, Shape]
    sizes: Mapping[str, int]


def lifted(
    bond: Bond,
    other: Bond | None,
    twins: tuple[Sized, Sized],
    full: Sized,
    choices: Iterable[Sequence[Group]],
) -> Iterator[list[Bond]]:
    """Readings of a bond of the first twin at full size, likely ones first.

    Each is a list of bonds, one for every place that the twin's stands for: for every group of
    arrays, of which there are choices. ``other`` is the same bond in the second twin; without it
    only bonds without labels are lifted.
    """
    for groups in filter(None, choices):
        triples = _triples(bond, twins, full, groups[0])
        for reading in islice(_readings(bond, other, full, triples, groups[0]), MOST):
            try:
                yield [_at(bond, reading, group) for group in groups]
            except ValueError:
                continue


def repeated(bond: Bond, groups: Sequence[Group]) -> list[Bond]:
    """A bond of a twin at its own sizes, on other arrays: one for every group of them."""
    same = Reading(bond.heads, bond.group.size, {})
    return [_at(bond, same, group) for group in groups]


def partner(bond: Bond, others: Sequence[Bond]) -> Bond | None:
    """The bond with the same ends and kind of group."""
    return next((b for b in others if _key(b) == _key(bond)), None)


def _key(bond: Bond) -> tuple[object, ...]:
    ends = [[(e[0], e[1], len(e)) for e in side] for side in (bond.vectors, bond.covectors)]
    return type(bond.group).__name__, *map(tuple, ends)


def _triples(bond: Bond, twins: tuple[Sized, Sized], full: Sized, group: Group) -> list[Triple]:
    """Sizes in both twins and the full model: those with names, and lengths of the bond's axes,
    with how many entries lie between one index and the next."""
    a, b = twins
    named = [(a.sizes[k], b.sizes[k], full.sizes[k]) for k in a.sizes
             if k in b.sizes and k in full.sizes]  # fmt: skip
    for name in bond.arrays:
        if name in b.shapes:
            shapes = (a.shapes[name], b.shapes[name], full.shapes[group[name][0]])
            named += zip(*shapes, strict=True)
            named += zip(*map(_strides, shapes), strict=True)
    return list(dict.fromkeys(named))


def _strides(shape: Shape) -> list[int]:
    return [prod(shape[k:]) for k in range(1, len(shape) - 1)]


def _rules(specs: Sequence[EndSpec]) -> dict[int, Layout | None]:
    """The layout of every end with labels."""
    return {k: layout_of(np.asarray(s[2])) for k, s in enumerate(specs) if len(s) == 3}


@dataclass(frozen=True)
class Reading:
    """Heads and size of the group, and the layout of every labelled end."""

    heads: int | None
    size: int
    layouts: Mapping[int, Layout]


def _readings(
    bond: Bond, other: Bond | None, full: Sized, triples: list[Triple],
    group: Group,
) -> Iterator[Reading]:  # fmt: skip
    specs = [*bond.vectors, *bond.covectors]
    labelled = _rules(specs)
    second = {} if other is None else _rules([*other.vectors, *other.covectors])
    kinds: dict[tuple[Layout | None, Layout | None, int], list[int]] = {}  # ends laid out alike
    for k, layout in labelled.items():
        length = _length(full.shapes[group[str(specs[k][0])][0]], specs[k][1])
        kinds.setdefault((layout, second.get(k), length), []).append(k)
    options = [_layouts(one, two, length, triples) for one, two, length in kinds]
    heads = _heads(bond, other, triples)
    for chosen in islice(_likely(options), MOST_NUMBERS):
        pairs = zip(kinds.values(), chosen, strict=True)
        layouts = {k: layout for ends, layout in pairs for k in ends}
        if not _agree(layouts, labelled, second):
            continue
        for count in heads:
            size = _size(bond, count, layouts, full, group)
            if size is not None:
                yield Reading(count, size, layouts)


def _layouts(
    one: Layout | None, two: Layout | None, length: int, triples: list[Triple]
) -> list[Layout]:
    """Layouts at full size, of a form that both twins share."""
    if one is None or two is None or one.form != two.form:
        return []
    options = [readings(pair, triples) for pair in zip(one.numbers, two.numbers, strict=True)]
    found = []
    for numbers in islice(_likely(options), MOST_NUMBERS):
        layout = one.with_numbers(length, numbers)
        if layout.fits and _alike(layout, one, two):
            found.append(layout)
    return found


def _likely(options: Sequence[Sequence[T]]) -> Iterator[tuple[T, ...]]:
    """All choices of one of each, those with early ones first."""
    lengths = [len(o) for o in options]
    for total in range(sum(lengths) - len(lengths) + 1 if all(lengths) else 0):
        for ranks in _ranks(total, lengths):
            yield tuple(o[r] for o, r in zip(options, ranks, strict=True))


def _ranks(total: int, lengths: Sequence[int]) -> Iterator[tuple[int, ...]]:
    """Ranks below these lengths with this sum."""
    if not lengths:
        yield from [()] * (total == 0)
        return
    for first in range(min(total + 1, lengths[0])):
        yield from ((first, *rest) for rest in _ranks(total - first, lengths[1:]))


def _agree(
    full: Mapping[int, Layout], one: Mapping[int, Layout | None], two: Mapping[int, Layout | None]
) -> bool:
    """Whether ends whose digits have the same counts in both twins have them at full size."""

    def counts(layout: Layout | None) -> tuple[int, ...]:
        return () if layout is None else tuple(count for count, _ in layout.digits)

    seen: dict[object, tuple[int, ...]] = {}
    return all(
        seen.setdefault((counts(one[k]), counts(two[k])), counts(full[k])) == counts(full[k])
        for k in full
    )


def _alike(full: Layout, one: Layout, two: Layout) -> bool:
    """Whether a layout owns all of its axis, and reaches its end, where both twins' do."""
    covers = full.covers or not (one.covers and two.covers)
    return covers and (full.tail == 0 or one.tail != 0 or two.tail != 0)


def _heads(bond: Bond, other: Bond | None, triples: list[Triple]) -> list[int | None]:
    if bond.heads is None and (other is None or other.heads is None):
        return [None]
    pair = (bond.heads or 1, (other.heads or 1) if other else bond.heads or 1)
    return [*readings(pair, triples)]


def _size(
    bond: Bond, heads: int | None, layouts: Mapping[int, Layout], full: Sized,
    group: Group,
) -> int | None:  # fmt: skip
    """Size of the group at full size, if all ends agree on it."""
    if isinstance(bond.group, UniformScale):
        return 1
    found = {layout.size // (heads or 1) for layout in layouts.values() if layout.size}
    specs = [*bond.vectors, *bond.covectors]
    if not found or heads is None:
        plain = [s for k, s in enumerate(specs) if k not in layouts]
        lengths = [_length(full.shapes[group[str(s[0])][0]], s[1]) for s in plain]
        if heads is None:
            found |= set(lengths)
        elif lengths:
            found.add(min(lengths) // heads)
    return found.pop() if len(found) == 1 else None


def _length(shape: Shape, axis: int | None) -> int:
    return prod(shape) if axis is None else shape[axis]


def _at(bond: Bond, reading: Reading, group: Group) -> Bond:
    """The bond on arrays of the full model."""
    sides: tuple[list[EndSpec], list[EndSpec]] = ([], [])
    weights: tuple[list[float], list[float]] = ([], [])
    cut = len(bond.vectors)
    for k, spec in enumerate([*bond.vectors, *bond.covectors]):
        names = spec[0]
        if not isinstance(names, str):
            raise ValueError("ends over several arrays are not lifted")
        for name in group[names]:
            end: EndSpec = (name, *spec[1:])
            if k in reading.layouts:
                end = (name, spec[1], reading.layouts[k].labels())
            sides[k >= cut].append(end)
            if isinstance(bond.group, WeightedRescaling):
                weights[k >= cut].append(bond.group.weights[k])
    sized = bond.group
    if isinstance(sized, WeightedRescaling):
        sized = WeightedRescaling(reading.size, (*weights[0], *weights[1]))
    elif not isinstance(sized, UniformScale):
        sized = replace(sized, size=reading.size)
    return Bond(sized, *sides, heads=reading.heads)
