"""A checkpoint on disk: one safetensors file, or a folder with shards, their index and a config."""

import os
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from io import FileIO
from pathlib import Path
from typing import Any, TypeGuard

import numpy as np
from numpy.typing import DTypeLike

from symbias.checkpoints.formats import advice_on, what_is_there
from symbias.checkpoints.headers import (
    CheckpointError,
    Entry,
    open_regular,
    parse_json,
    read_header,
    read_small,
    shown,
)

Numpy = np.ndarray[Any, Any]
BLOCK = 1 << 24  # bytes converted at a time
MAX_JSON = 50_000_000
LARGEST = 1e120  # whose squares, summed over any array, stay finite
_STORED = {"F64": "<f8", "F32": "<f4", "F16": "<f2", "BF16": "<u2"}
_WHOLE, _INDEX = "model.safetensors", "model.safetensors.index.json"
_ADAPTER = "adapter_model.safetensors"
_CONFIGS = ("config.json", "adapter_config.json")
_SHARD = re.compile(r".*-\d{5}-of-(\d{5})\.safetensors")


@dataclass(frozen=True)
class Checkpoint:
    """Arrays by name, none of them read yet.

    Attributes
    ----------
    path
        What was opened: a file or a folder.
    entries
        Array name to where it lies.
    files
        The safetensors files, in order.
    config
        What config.json (or adapter_config.json) says; empty without one.
    metadata
        Of the first file.
    notes
        What a reader should know of how it was opened.
    partial
        Why the arrays of a model are not all here, empty if nothing says so.
    """

    path: Path
    entries: dict[str, Entry]
    files: tuple[Path, ...]
    config: dict[str, object] = field(default_factory=dict)
    metadata: dict[str, str] = field(default_factory=dict)
    notes: tuple[str, ...] = ()
    partial: str = ""

    @property
    def shapes(self) -> dict[str, tuple[int, ...]]:
        """Shapes of the arrays whose values can be measured."""
        return {name: e.shape for name, e in self.entries.items() if e.floating}

    def read(self, name: str, dtype: DTypeLike = np.float64) -> Numpy:
        """One array, in ``dtype``. Reads that part of the file and nothing else."""
        entry = self.entries[name]
        out = np.empty(entry.size, dtype=dtype)
        done = 0
        for block in self._blocks(entry, 0, entry.size):
            out[done : done + len(block)] = block
            done += len(block)
        return out.reshape(entry.shape)

    def rows(self, name: str, dtype: DTypeLike = np.float32) -> Iterator[Numpy]:
        """Blocks of whole rows of one array, ``(rows, rest)``, ``BLOCK`` bytes or so at a time."""
        entry = self.entries[name]
        rest = entry.size // entry.shape[0] if entry.size else 0
        step = max(1, BLOCK // (4 * max(rest, 1)))
        for first in range(0, entry.shape[0] if rest else 0, step):
            count = min(step, entry.shape[0] - first)
            out = np.empty(count * rest, dtype=dtype)
            done = 0
            for block in self._blocks(entry, first * rest, count * rest):
                out[done : done + len(block)] = block
                done += len(block)
            yield out.reshape(count, rest)

    def _blocks(self, entry: Entry, first: int, count: int) -> Iterator[Numpy]:
        """Values ``first ... first + count`` of an array, finite, as they come."""
        stored = np.dtype(_STORED[entry.dtype])
        step = BLOCK // 4
        try:
            with open_regular(entry.file) as stream:
                stream.seek(entry.start + first * stored.itemsize)
                for begin in range(0, count, step):
                    part = np.empty(min(step, count - begin), stored)
                    if read_into(stream, part.data.cast("B")) != part.nbytes:
                        raise CheckpointError(f"{shown(entry.file)}: truncated while it was read")
                    values = from_stored(part, entry.dtype)
                    check_values(entry.name, values)
                    yield values
        except OSError as error:
            raise CheckpointError(f"{shown(entry.file)}: {error.strerror}") from None


def check_values(name: str, values: Numpy) -> None:
    """Raise CheckpointError unless values are finite, and so are sums of their squares."""
    if not np.isfinite(values).all():
        raise CheckpointError(f"array {shown(name)!r} holds values that are not finite")
    if values.dtype == np.float64 and np.abs(values).max(initial=0.0) > LARGEST:
        raise CheckpointError(
            f"array {shown(name)!r} holds values above {LARGEST:.0e}: their squares overflow"
        )


def read_into(stream: FileIO, view: memoryview) -> int:
    """Fill ``view`` as far as the file goes."""
    done = 0
    while done < len(view):
        got = stream.readinto(view[done:])
        if not got:
            break
        done += got
    return done


def from_stored(part: Numpy, dtype: str) -> Numpy:
    """Stored values as numbers NumPy computes with: bfloat16 is the upper half of a float32."""
    if dtype == "BF16":
        return (part.astype("<u4") << np.uint32(16)).view("<f4")
    return part


def to_stored(values: Numpy, dtype: str) -> Numpy:
    """Float64 rounded to a stored dtype, to nearest even."""
    if dtype != "BF16":
        with np.errstate(over="ignore"):
            return values.astype(_STORED[dtype])
    import ml_dtypes

    with np.errstate(over="ignore"):
        return values.astype(ml_dtypes.bfloat16).view("<u2")


def precision(dtype: str) -> float:
    """Distance from 1 to the next number of a stored dtype, or of one of NumPy's."""
    return 2.0**-7 if dtype == "BF16" else float(np.finfo(_STORED.get(dtype, dtype)).eps)


def open_checkpoint(path: Path | str) -> Checkpoint:
    """Open a ``.safetensors`` file, or a folder that holds one or shards with their index.

    Reads headers only. Of several files in a folder, those that transformers would load: a whole
    ``model.safetensors`` before the shards of an index, any model before an adapter. A config.json
    beside the arrays (adapter_config.json for an adapter) is read too. Never runs or unpickles
    anything, and opens no file outside the folder that an index might name.

    Raises
    ------
    CheckpointError
        With the file and what is wrong with it, in one line.
    """
    path = Path(path)
    try:
        folder = path if path.is_dir() else path.parent
        exists = path.exists()
    except (OSError, ValueError):
        exists = False
    if not exists:
        raise CheckpointError(f"{shown(path)}: no such file or folder")
    if not os.access(path, os.R_OK):
        raise CheckpointError(f"{shown(path)}: permission denied")
    if path.suffix == ".json" and path.is_file():
        raise CheckpointError(f"{shown(path)}: no weights; give the folder that it is in")
    if path.suffix != ".safetensors" and path.is_file() and (advice := advice_on(path)):
        raise CheckpointError(f"{shown(path)}: {advice}")
    files, wanted, notes = _files(folder) if path.is_dir() else ([path], None, ())
    entries: dict[str, Entry] = {}
    metadata: dict[str, str] = {}
    for file in files:
        found, said = read_header(file)
        metadata = metadata or said
        for name, entry in found.items():
            if name in entries:
                other = entries[name].file.name
                raise CheckpointError(
                    f"{shown(file)}: array {shown(name)!r} is in {shown(other)} as well"
                )
            entries[name] = entry
    if wanted is not None:
        _check_index(folder, entries, wanted)
    if not entries:
        raise CheckpointError(f"{shown(path)}: holds no arrays")
    shard = _SHARD.fullmatch(path.name) if wanted is None else None
    alone = f"{shown(path)}: one of {int(shard[1])} shards: give their folder" if shard else ""
    partial = alone if shard and int(shard[1]) > 1 else ""
    config = _config(folder, files[0])
    return Checkpoint(path, entries, tuple(files), config, metadata, notes, partial)


Files = tuple[list[Path], dict[str, str] | None, tuple[str, ...]]


def _files(folder: Path) -> Files:
    """The safetensors files of a folder, what its index says lies where, and what is left out."""
    indices = sorted(p.name for p in folder.glob("*.safetensors.index.json"))
    if (folder / _WHOLE).exists():
        left = f"{_WHOLE} is read, as transformers does; {shown(', '.join(indices))} is not"
        return [folder / _WHOLE], None, (left,) if indices else ()
    if _INDEX in indices:
        indices = [_INDEX]
    if len(indices) > 1:
        raise CheckpointError(f"{shown(folder)}: two indices, {indices[0]}, {indices[1]}")
    if indices:
        return *_indexed(folder, folder / indices[0]), ()
    if (folder / _ADAPTER).exists():
        more = sorted(p.parent.name for p in folder.glob(f"*/{_ADAPTER}"))
        left = f"the adapter of this folder is read; those in {shown(', '.join(more))} are not"
        return [folder / _ADAPTER], None, (left,) if more else ()
    found = sorted(folder.glob("*.safetensors"))
    if len(found) != 1:
        several = f"{len(found)} safetensors files, no index: give one of them"
        what = several if found else what_is_there(folder)
        raise CheckpointError(f"{shown(folder)}: {what}")
    return found, None, ()


def _indexed(folder: Path, index: Path) -> tuple[list[Path], dict[str, str]]:
    """The files that an index names, and which array it says is in which."""
    weight_map = _load_json(index).get("weight_map")
    if not isinstance(weight_map, dict) or not weight_map:
        raise CheckpointError(f"{shown(index)}: no weight_map")
    for file in weight_map.values():
        if not _plain_name(file):
            raise CheckpointError(
                f"{shown(index)}: {shown(file)!r} is not the name of a safetensors file in the "
                "same folder"
            )
    return [folder / name for name in dict.fromkeys(weight_map.values())], weight_map


def _plain_name(file: object) -> TypeGuard[str]:
    return (
        isinstance(file, str)
        and file.endswith(".safetensors")
        and file.isprintable()
        and not file.startswith(".")
        and not set(file) & set('/\\:*?"<>|')
        and len(file) < 256
    )


def _check_index(folder: Path, entries: dict[str, Entry], wanted: dict[str, str]) -> None:
    for name, file in wanted.items():
        if name not in entries or entries[name].file.name != file:
            raise CheckpointError(
                f"{shown(folder)}: its index says {shown(name)!r} is in {shown(file)}; it is not"
            )
    for name in entries:
        if name not in wanted:
            raise CheckpointError(f"{shown(folder)}: its index does not name {shown(name)!r}")


def _load_json(path: Path) -> dict[str, object]:
    return parse_json(read_small(path, MAX_JSON), path)


def _config(folder: Path, file: Path) -> dict[str, object]:
    """What the config beside a file says: an adapter's for an adapter, a model's for a model."""
    for name in reversed(_CONFIGS) if file.name.startswith("adapter_") else _CONFIGS:
        if os.path.lexists(folder / name):
            return _load_json(folder / name)
    return {}
