"""Bonds of a model that no family knows, in a small YAML file.

.. code-block:: yaml

    bonds:
      - name: layer {i} logits        # {i} runs over repeat
        group: GeneralLinear(32)      # Rescaling, ComplexScaling(64, half), UniformScale, ...
        heads: 12
        vectors: [[blocks.{i}.q.weight, 0], [blocks.{i}.q.bias, 0]]
        covectors: [[blocks.{i}.k.weight, 0]]
        repeat: 6                     # optional, as is heads
        kind: qk                      # optional, for tables
        movable: true                 # optional: may balancing act on it?
"""

import re
from pathlib import Path
from typing import Any, TypeGuard

from symbias.checkpoints import CheckpointError, read_small, shown
from symbias.models.claims import Claim
from symbias.symmetry import (
    Bond,
    ComplexScaling,
    EndSpec,
    GeneralLinear,
    Orthogonal,
    Rescaling,
    Translation,
    UniformScale,
)
from symbias.symmetry.groups import Group

MAX_BYTES, MAX_BONDS, MAX_SIZE, MAX_LABELS = 1_000_000, 10_000, 1_000_000, 100_000
_GROUPS = {"GeneralLinear": GeneralLinear, "Rescaling": Rescaling, "Orthogonal": Orthogonal,
           "ComplexScaling": ComplexScaling, "Translation": Translation}  # fmt: skip
# by PyYAML on damaged input, besides its own errors
_RAISED = (ValueError, TypeError, LookupError, ArithmeticError, AttributeError, RecursionError)
_KEYS = {"name", "group", "heads", "vectors", "covectors", "repeat", "kind", "movable"}


def read_bonds(path: Path) -> list[Claim]:
    """Bonds of a YAML file.

    Raises
    ------
    CheckpointError
        With the file, the bond and what is wrong with it.
    """
    import yaml

    text = read_small(path, MAX_BYTES)
    try:
        content = yaml.load(text.decode(), Loader=_loader())
    except (yaml.YAMLError, *_RAISED) as error:
        mark = getattr(error, "problem_mark", None)
        where = f", line {mark.line + 1}" if mark else ""
        raise CheckpointError(f"{shown(path)}: not valid YAML{where}") from None
    if not isinstance(content, dict) or set(content) != {"bonds"}:
        raise CheckpointError(f"{shown(path)}: needs one key, bonds")
    listed = content["bonds"]
    if not isinstance(listed, list) or not 0 < len(listed) <= MAX_BONDS:
        raise CheckpointError(f"{shown(path)}: bonds must be a list of 1 to {MAX_BONDS}")
    found: list[Claim] = []
    seen: set[str] = set()
    for number, item in enumerate(listed, start=1):
        try:
            for claim in _claims(item):
                key = _key(claim.bond)
                if key in seen:
                    raise ValueError(f"the same as an earlier one: {key[:200]}")
                seen.add(key)
                found.append(claim)
        except (ValueError, TypeError) as error:
            raise CheckpointError(f"{shown(path)}: bond {number}: {shown(error)}") from None
        if len(found) > MAX_BONDS:
            raise CheckpointError(f"{shown(path)}: more than {MAX_BONDS} bonds")
    return found


def _loader() -> Any:
    """PyYAML's safe loader, which takes no key twice."""
    import yaml

    class Loader(yaml.SafeLoader):
        def construct_mapping(self, node: Any, deep: bool = False) -> Any:
            keys = [k.value for k, _ in node.value if isinstance(k, yaml.ScalarNode)]
            if twice := [k for k in keys if keys.count(k) > 1]:
                problem = f"{shown(twice[0], 40)} is there twice"
                raise yaml.constructor.ConstructorError(None, None, problem, node.start_mark)
            return super().construct_mapping(node, deep)

    return Loader


def _key(bond: Bond) -> str:
    """The same for bonds that differ by name alone."""
    sides = [
        sorted(f"{e.name} {e.axis} {None if e.rows is None else e.rows.tolist()}" for e in side)
        for side in ([e for e in bond.ends if not e.dual], [e for e in bond.ends if e.dual])
    ]
    return f"{bond.group} {bond.heads or 1} {sides}"


def _claims(item: object) -> list[Claim]:
    if not isinstance(item, dict):
        raise ValueError("is not a map")
    if not all(isinstance(key, str) for key in item) or not set(item) <= _KEYS:
        unknown = [key for key in item if not isinstance(key, str) or key not in _KEYS]
        raise ValueError(f"unknown key {_text(unknown[0])}; known: {', '.join(sorted(_KEYS))}")
    group = _group(item.get("group"))
    heads, repeat = item.get("heads"), item.get("repeat")
    for key, value in (("heads", heads), ("repeat", repeat)):
        if value is not None and not _integer(value, 1, MAX_SIZE if key == "heads" else MAX_BONDS):
            raise ValueError(f"{key} must be a positive integer")
    if (heads or 1) * group.size > 10 * MAX_SIZE:
        raise ValueError("heads times the size of the group is too large")
    movable = item.get("movable", True)
    name, kind = item.get("name", ""), item.get("kind", "given")
    if not isinstance(movable, bool) or not isinstance(name, str) or not isinstance(kind, str):
        raise ValueError("name and kind must be text, movable true or false")
    if not (name + kind).isprintable() or len(name) > 200:
        raise ValueError("its name or kind is too long, or holds control characters")
    claims = []
    for i in range(repeat or 1):
        index = i if repeat else None
        left, right = (_ends(item.get(side, []), index) for side in ("vectors", "covectors"))
        bond = Bond(group, left, right, heads=heads, name=_filled(name, index))
        claims.append(Claim(bond, kind[:40], index, movable=movable))
    return claims


def _group(text: object) -> Group:
    if text == "UniformScale":
        return UniformScale()
    pattern = r"(\w+)\((\d{1,7})(?:, *(half|interleaved|signed))?\)"
    match = re.fullmatch(pattern, text) if isinstance(text, str) else None
    if match is None or match[1] not in _GROUPS or not 0 < int(match[2]) <= MAX_SIZE:
        raise ValueError(f"group must be like GeneralLinear(32), Rescaling(64), got {_text(text)}")
    size = int(match[2])
    if match[3] in ("half", "interleaved") and match[1] == "ComplexScaling":
        return ComplexScaling(size, match[3])  # type: ignore[arg-type]
    if match[3] == "signed" and match[1] == "Rescaling":
        return Rescaling(size, signed=True)
    if match[3]:
        raise ValueError(f"{match[1]} takes no {match[3]}")
    return _GROUPS[match[1]](size)


def _ends(listed: object, index: int | None) -> list[EndSpec]:
    if not isinstance(listed, list) or len(listed) > 1000:
        raise ValueError("vectors and covectors must be lists of [array, axis]")
    ends: list[EndSpec] = []
    for end in listed:
        if not isinstance(end, list) or len(end) not in (2, 3) or not isinstance(end[0], str):
            raise ValueError(f"an end is [array, axis] or [array, axis, labels], got {_text(end)}")
        name, axis = end[:2]
        if axis is not None and not _integer(axis, 0, 31):
            raise ValueError(f"the axis of {_text(name)} must be a small integer or null")
        full = (_filled(name, index), axis)
        if len(end) == 3:
            labels = end[2]
            good = isinstance(labels, list) and 0 < len(labels) <= MAX_LABELS
            if not good or not all(_integer(v, -1, 10 * MAX_SIZE) for v in labels):
                raise ValueError(f"the labels of {_text(name)} must be a list of integers")
            ends.append((*full, labels))
        else:
            ends.append(full)
    return ends


def _integer(value: object, low: int, high: int) -> TypeGuard[int]:
    return isinstance(value, int) and not isinstance(value, bool) and low <= value <= high


def _filled(text: str, index: int | None) -> str:
    return text if index is None else text.replace("{i}", str(index))


def _text(value: object) -> str:
    """Any YAML value in few words; never walks into what it holds."""
    if isinstance(value, list | dict | set | tuple):
        return f"a {type(value).__name__}"
    return repr(shown(value, 60))
