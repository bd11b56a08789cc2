"""Which array of a twin stands for each array of the full model: layers repeat, names stay.

Names are paths. Where both models number the same children, each stands for itself; where the full
one has more, a child stands for those with the same arrays below it.
"""

from collections.abc import Iterable, Mapping
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
