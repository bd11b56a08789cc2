"""Which array of a twin stands for each array of the full model: layers repeat, names stay.

Names are paths. Where both models number the same children, each stands for itself; where the full
one has more, a child stands for those with the same arrays below it.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

Key = tuple[str, ...]


@dataclass
class _Node:
    leaf: str = ""
    children: dict[str, "_Node"] = field(default_factory=dict)


@dataclass(frozen=True)
class Place:
    """An array of the full model: its twin, and the number it has wherever numbers were mapped."""

    name: str
    twin: str
    numbers: Mapping[Key, tuple[str, str]]  # path in the twin -> (twin's number, own number)


def places(twin: Iterable[str], full: Iterable[str]) -> list[Place]:
    """The twin of every array of the full model that has one."""
    found: list[Place] = []
    _pair(_tree(twin), _tree(full), (), {}, found)
    return found


def _tree(names: Iterable[str]) -> _Node:
    root = _Node()
    for name in names:
        node = root
        for part in name.split("."):
            node = node.children.setdefault(part, _Node())
        node.leaf = name
    return root


def _pair(
    twin: _Node, full: _Node, path: Key, numbers: Mapping[Key, tuple[str, str]], found: list[Place]
) -> None:
    if twin.leaf and full.leaf:
        found.append(Place(full.leaf, twin.leaf, dict(numbers)))
    counted = {k for k in twin.children if k.isdigit()}, {k for k in full.children if k.isdigit()}
    repeated = counted[0] != counted[1] and bool(counted[0])
    for key, child in full.children.items():
        if not (key.isdigit() and repeated):
            if key in twin.children:
                _pair(twin.children[key], child, (*path, key), numbers, found)
            continue
        own = _stand_in(child, key, {k: twin.children[k] for k in sorted(counted[0], key=int)})
        if own is not None:
            here = {**numbers, path: (own, key)}
            _pair(twin.children[own], child, (*path, own), here, found)


def _stand_in(child: _Node, key: str, twins: Mapping[str, _Node]) -> str | None:
    """The twin's child with the same arrays, or else the first that has them and more."""
    below = _below(child)
    same = [k for k, node in twins.items() if _below(node) == below]
    if key in same:
        return key
    if same:
        return same[-1]
    return next((k for k, node in twins.items() if _below(node) >= below), None)


def _below(node: _Node) -> frozenset[str]:
    """Paths of the arrays below a node, without their numbers."""
    paths = {""} if node.leaf else set()
    for key, child in node.children.items():
        part = "#" if key.isdigit() else key
        paths |= {f"{part}.{rest}" for rest in _below(child)}
    return frozenset(paths)


def instances(arrays: Iterable[str], everywhere: Iterable[Place]) -> list[dict[str, list[str]]]:
    """For the arrays of a bond of the twin, the arrays of the bonds that it stands for.

    A bond inside one layer stands for one in every such layer; one that reaches beyond stands for
    one bond over all of them.
    """
    names = list(dict.fromkeys(arrays))
    standing = {name: [p for p in everywhere if p.twin == name] for name in names}
    if not all(standing.values()):
        return []
    keys = {k for ps in standing.values() for p in ps for k in p.numbers}
    local = [
        key
        for key in sorted(keys)
        if len({p.numbers.get(key, ("", ""))[0] for ps in standing.values() for p in ps}) == 1
    ]
    groups: dict[tuple[str, ...], dict[str, list[str]]] = {}
    for name, ps in standing.items():
        for p in ps:
            where = tuple(p.numbers[key][1] for key in local)
            groups.setdefault(where, {}).setdefault(name, []).append(p.name)
    return [group for group in groups.values() if set(group) == set(names)]


def groupings(
    arrays: Iterable[str], twin: Iterable[str], full: Iterable[str]
) -> Iterator[list[dict[str, list[str]]]]:
    """For the arrays of a bond of a twin of several layers, choices of the bonds it stands for.

    One that reaches from layer ``i`` to ``i + 1`` stands for one at every ``i``, or else for one
    as far from the first layer, or the last; one that all layers take part in, for one over all.
    """
    names, every = list(dict.fromkeys(arrays)), set(full)
    stacks = _stacks(twin, every)
    split = {name: _split(name, stacks) for name in names}
    inside: dict[str, set[int]] = {}
    for prefix, number, _ in split.values():
        if prefix:
            inside.setdefault(prefix, set()).add(number)
    options = [list(_shifts(inside[p], *stacks[p])) for p in inside]
    slides = len(inside) == 1 and all(prefix for prefix, _, _ in split.values())
    if slides and (moved := options[0][:-1]):
        (prefix,) = inside
        yield [g for shift in moved if (g := _moved(split, {prefix: shift}, every))]
    last = {prefix: shifts[-1] for prefix, shifts in zip(inside, options, strict=True)}
    yield [g for g in [_moved(split, last, every)] if g]


Stack = tuple[list[int], list[int]]  # numbers of layers in the twin, and in the full model
Shift = Mapping[int, Sequence[int]]  # layer of the twin -> layers that it stands for


def _stacks(twin: Iterable[str], full: Iterable[str]) -> dict[str, Stack]:
    """Every outermost prefix whose children have other numbers in both models."""
    found: dict[str, tuple[set[int], set[int]]] = {}
    for side, names in enumerate((twin, full)):
        for name in names:
            parts = name.split(".")
            for k, part in enumerate(parts):
                if part.isdigit():
                    found.setdefault(".".join(parts[:k]), (set(), set()))[side].add(int(part))
    return {p: (sorted(a), sorted(b)) for p, (a, b) in found.items() if a and a != b}


def _split(name: str, stacks: Mapping[str, Stack]) -> tuple[str, int, str]:
    """The outermost stack that an array lies in, its layer there, and its name below."""
    parts = name.split(".")
    for k in range(1, len(parts)):
        if (prefix := ".".join(parts[:k])) in stacks:
            return prefix, int(parts[k]), ".".join(parts[k + 1 :])
    return "", 0, name


def _shifts(inside: set[int], twin: list[int], full: list[int]) -> Iterator[Shift]:
    """Layers that those of a bond may stand for: every distance, and in the end the likeliest."""
    spread = {twin[0]: full[:1], twin[-1]: full[-1:]} | dict.fromkeys(twin[1:-1], full[1:-1])
    if inside == set(twin):
        yield {k: spread[k] for k in inside}
        return
    at = [twin.index(k) for k in sorted(inside)]
    for shift in range(-at[0], len(full) - at[-1]):
        yield {twin[k]: [full[k + shift]] for k in at}
    behind = len(full) - len(twin) if at[0] and at[-1] == len(twin) - 1 else 0
    if at[0] == 0 and at[-1] == len(twin) - 1:
        yield {k: spread[k] for k in inside}
    else:
        yield {twin[k]: [full[k + behind]] for k in at}


def _moved(
    split: Mapping[str, tuple[str, int, str]], shifts: Mapping[str, Shift], full: set[str]
) -> dict[str, list[str]]:
    """Arrays of the full model for those of a bond; none if one of them stands for nothing."""
    found: dict[str, list[str]] = {}
    for name, (prefix, number, rest) in split.items():
        layers = shifts[prefix][number] if prefix else [0]
        every = [f"{prefix}.{layer}.{rest}" for layer in layers] if prefix else [name]
        found[name] = [n for n in every if n in full]
    return found if all(found.values()) else {}
