"""The header of a safetensors file, read strictly: nothing in it is believed before it is checked.

A file is eight bytes of header length, a JSON header, and raw arrays one after the other.
"""

import json
import os
import re
import stat
from collections import Counter
from dataclasses import dataclass
from io import FileIO
from math import prod
from pathlib import Path
from typing import Any, TypeGuard

import numpy as np

Numpy = np.ndarray[Any, Any]
MAX_HEADER = 100_000_000
MAX_NAME = 1_000
# bits per value
BITS = {
    "F64": 64, "F32": 32, "F16": 16, "BF16": 16, "F8_E4M3": 8, "F8_E5M2": 8, "F8_E8M0": 8,
    "F4": 4, "F6_E2M3": 6, "F6_E3M2": 6, "I64": 64, "I32": 32, "I16": 16, "I8": 8, "U64": 64,
    "U32": 32, "U16": 16, "U8": 8, "BOOL": 8, "C64": 64,
}  # fmt: skip
FLOATS = ("F64", "F32", "F16", "BF16")


class CheckpointError(ValueError):
    """A checkpoint that cannot be read, or that says something impossible; one line."""


@dataclass(frozen=True)
class Entry:
    """Where one array lies: its file, and its bytes ``start ... stop`` there.

    With ``scale`` these are codes of numbers that another array scales.
    """

    name: str
    file: Path
    dtype: str
    shape: tuple[int, ...]
    start: int
    stop: int
    scale: "Scale | None" = None

    @property
    def size(self) -> int:
        """Number of values."""
        return prod(self.shape)

    @property
    def floating(self) -> bool:
        """Whether the values can be measured."""
        return self.dtype in FLOATS or self.scale is not None


@dataclass(frozen=True)
class Scale:
    """The scales of an array: where they lie, their shape, and the block of each axis."""

    entry: Entry
    shape: tuple[int, ...]
    blocks: tuple[int, ...]


def read_header(path: Path) -> tuple[dict[str, Entry], dict[str, str]]:
    """Entries by name, in the order of the header, and the metadata.

    Raises
    ------
    CheckpointError
        If the file is not a whole and consistent safetensors file.
    """
    try:
        with open_regular(path) as stream:
            total = os.fstat(stream.fileno()).st_size
            length = int.from_bytes(stream.read(8), "little")
            if total < 8 or length > total - 8:
                raise CheckpointError(f"{shown(path)}: truncated, or not a safetensors file")
            if length > MAX_HEADER:
                raise CheckpointError(f"{shown(path)}: a header of {length} bytes is too long")
            text = stream.read(length)
    except OSError as error:
        raise CheckpointError(f"{shown(path)}: {error.strerror}") from None
    header = parse_json(text, path)
    metadata = header.pop("__metadata__", {})
    if not isinstance(metadata, dict) or not all(isinstance(v, str) for v in metadata.values()):
        raise CheckpointError(f"{shown(path)}: its metadata is not a map of strings")
    base = 8 + length
    entries = {name: _entry(path, name, value, base) for name, value in header.items()}
    _check_layout(path, entries, base, total)
    return entries, metadata


def open_regular(path: Path) -> FileIO:
    """Open for reading, refusing what is not a regular file (a pipe would wait for ever)."""
    if not stat.S_ISREG(os.stat(path).st_mode):
        raise CheckpointError(f"{shown(path)}: not a regular file")
    return path.open("rb", buffering=0)


def read_small(path: Path, most: int) -> bytes:
    """All of a file of at most ``most`` bytes."""
    try:
        with open_regular(path) as stream:
            text = stream.read(most + 1)
    except OSError as error:
        raise CheckpointError(f"{shown(path)}: {error.strerror}") from None
    if len(text) > most:
        raise CheckpointError(f"{shown(path)}: more than {most} bytes")
    return text


def parse_json(text: bytes, path: Path) -> dict[str, object]:
    """A JSON object without repeated keys."""
    try:
        value = json.loads(text.decode(), object_pairs_hook=_unique)
    except (ValueError, RecursionError) as error:
        reason = error if isinstance(error, _RepeatedError) else "not valid JSON"
        raise CheckpointError(f"{shown(path)}: {reason}") from None
    if not isinstance(value, dict):
        raise CheckpointError(f"{shown(path)}: its JSON is not an object")
    return value


class _RepeatedError(ValueError):
    pass


def _unique(pairs: list[tuple[str, object]]) -> dict[str, object]:
    found = dict(pairs)
    if len(found) < len(pairs):
        counts = Counter(name for name, _ in pairs)
        twice = counts.most_common(1)[0][0]
        raise _RepeatedError(f"the name {shown(twice)!r} occurs twice")
    return found


def _entry(path: Path, name: str, value: object, base: int) -> Entry:
    where = f"{shown(path)}: array {shown(name)!r}"
    if not name or len(name) > MAX_NAME or not name.isprintable():
        raise CheckpointError(f"{where}: not a name")
    if not isinstance(value, dict) or set(value) != {"dtype", "shape", "data_offsets"}:
        raise CheckpointError(f"{where}: needs dtype, shape and data_offsets, and nothing else")
    dtype, shape, offsets = value["dtype"], value["shape"], value["data_offsets"]
    if not isinstance(dtype, str) or dtype not in BITS:
        raise CheckpointError(f"{where}: unknown dtype {shown(dtype)!r}")
    if not _sizes(shape) or len(shape) > 32:
        raise CheckpointError(f"{where}: its shape is not a list of sizes")
    if not _sizes(offsets) or len(offsets) != 2 or offsets[0] > offsets[1]:
        raise CheckpointError(f"{where}: its data_offsets are not a pair of places")
    bits = prod(shape) * BITS[dtype]
    if bits % 8 or bits // 8 != offsets[1] - offsets[0]:
        raise CheckpointError(f"{where}: {dtype} of shape {shown(shape)} does not fill its bytes")
    return Entry(name, path, dtype, tuple(shape), base + offsets[0], base + offsets[1])


def _sizes(value: object) -> TypeGuard[list[int]]:
    return isinstance(value, list) and all(
        isinstance(n, int) and not isinstance(n, bool) and 0 <= n < 2**62 for n in value
    )


def _check_layout(path: Path, entries: dict[str, Entry], base: int, total: int) -> None:
    end = base
    for entry in sorted(entries.values(), key=lambda e: (e.start, e.stop)):
        if entry.start != end:
            what = "overlaps another" if entry.start < end else "leaves a gap before it"
            raise CheckpointError(f"{shown(path)}: array {shown(entry.name)!r} {what}")
        end = entry.stop
    if end != total:
        what = "truncated" if end > total else f"{total - end} bytes belong to no array"
        raise CheckpointError(f"{shown(path)}: {what}")


def shown(value: object, width: int = 200) -> str:
    """Text fit for one line of a terminal: no control characters, not too long."""
    text = re.sub(r"[^ -~]+", "?", str(value))
    return text if len(text) <= width else text[: width - 3] + "..."
