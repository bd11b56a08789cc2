"""Numbers of two twins, told as sizes of their architecture, and read at the full model's."""

from collections.abc import Iterator, Mapping
from typing import Any

MOST = 4  # readings of one number that are tried
Triple = tuple[int, int, int]  # of the two twins and the full model


def sizes_of(config: Any) -> dict[str, int]:
    """Every positive whole number of a configuration, by its path, and a few made of them."""
    found = dict(_numbers(config.to_dict() if hasattr(config, "to_dict") else config))
    for name in ("head_dim", "qk_head_dim"):
        if isinstance(value := getattr(config, name, None), int):
            found[name] = value
    heads = next((found[k] for k in ("num_attention_heads", "n_head", "num_heads", "n_heads")
                  if k in found), 0)  # fmt: skip
    width = next((found[k] for k in ("hidden_size", "n_embd", "d_model", "dim") if k in found), 0)
    if heads and width and "head_dim" not in found:
        found["head_dim"] = width // heads
    rope = getattr(config, "rope_parameters", None) or {}
    factor = rope.get("partial_rotary_factor") if isinstance(rope, dict) else None
    if factor and "head_dim" in found:
        found["rotary"] = int(found["head_dim"] * factor)
    return found


def _numbers(config: Any, path: str = "") -> Iterator[tuple[str, int]]:
    items = config.items() if isinstance(config, Mapping) else enumerate(config)
    for key, value in items:
        if isinstance(value, bool):
            continue
        if isinstance(value, int) and value > 0 and "token_id" not in str(key):
            yield f"{path}{key}", value
        elif isinstance(value, Mapping | list):
            yield from _numbers(value, f"{path}{key}.")


def readings(value: tuple[int, int], sizes: list[Triple]) -> list[int]:
    """What a number of the twins may be in the full model, the simplest first."""
    found: list[int] = []
    for number in _told(value, sizes):
        if number not in found and number >= min(value):
            found.append(number)
        if len(found) == MOST:
            break
    return found


def _told(value: tuple[int, int], sizes: list[Triple]) -> Iterator[int]:
    a, b = value
    if a == b and a <= 1:
        yield a
    scales = ((1, 1), (2, 1), (1, 2), (3, 1), (1, 3), (2, 3), (4, 1))
    for times, parts in scales:
        for x, y, z in sizes:
            if (parts * a, parts * b) == (times * x, times * y) and times * z % parts == 0:
                yield times * z // parts
        if a == b and (times, parts) == (1, 1):
            yield a
    pairs = [(p, q) for i, p in enumerate(sizes) for q in sizes[i:]]
    for p, q in ((p, q) for p in sizes for q in sizes):
        whole = all(x % y == 0 for x, y in zip(p, q, strict=True))
        if whole and (p[0] // q[0], p[1] // q[1]) == (a, b):
            yield p[2] // q[2]
    for p, q in pairs:
        if (p[0] * q[0], p[1] * q[1]) == (a, b):
            yield p[2] * q[2]
    for p, q in ((p, q) for p in sizes for q in sizes):
        if (p[0] + q[0], p[1] + q[1]) == (a, b):
            yield p[2] + q[2]
        if (p[0] - q[0], p[1] - q[1]) == (a, b) and p[2] > q[2]:
            yield p[2] - q[2]
    for p, q in pairs:
        for r in sizes:
            if (p[0] * q[0] + r[0], p[1] * q[1] + r[1]) == (a, b):
                yield p[2] * q[2] + r[2]
            if (p[0] * q[0] - r[0], p[1] * q[1] - r[1]) == (a, b):
                yield p[2] * q[2] - r[2]
            if (r[0] * (p[0] + q[0]), r[1] * (p[1] + q[1])) == (a, b):
                yield r[2] * (p[2] + q[2])
