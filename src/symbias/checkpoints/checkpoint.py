"""A checkpoint on disk: one safetensors file, or a folder with shards, their index and a config."""

import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from io import FileIO
from pathlib import Path
from typing import TypeGuard

import numpy as np
from numpy.typing import DTypeLike

from symbias.checkpoints.dtypes import bytes_of, check_stored, check_values, convert
from symbias.checkpoints.formats import advice_on, what_is_there
from symbias.checkpoints.headers import (
    BITS,
    CheckpointError,
    Entry,
    Numpy,
    Scale,
    open_regular,
    parse_json,
    read_header,
    read_small,
    shown,
)
from symbias.checkpoints.scaled import logical, powers, scaled

BLOCK = 1 << 22  # values of a block of rows
CHUNK = 1 << 17  # values converted at a time: they stay in the cache
MAX_JSON = 50_000_000
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
    parts
        Arrays that are a part of another: name to that of the weight whose scales they are.
    """

    path: Path
    entries: dict[str, Entry]
    files: tuple[Path, ...]
    config: dict[str, object] = field(default_factory=dict)
    metadata: dict[str, str] = field(default_factory=dict)
    notes: tuple[str, ...] = ()
    partial: str = ""
    parts: dict[str, str] = field(default_factory=dict)

    @property
    def shapes(self) -> dict[str, tuple[int, ...]]:
        """Shapes of the arrays whose values can be measured."""
        return {name: e.shape for name, e in self.entries.items() if e.floating}

    def read(self, name: str, dtype: DTypeLike = np.float64) -> Numpy:
        """One array, in ``dtype``. Reads that part of the file and nothing else."""
        entry = self.entries[name]
        out = np.empty(entry.shape, dtype)
        if entry.scale is None:
            with _reading(entry) as stream:
                fill(stream, entry, out.reshape(-1))
            return out
        first = 0
        for rows in self.rows(name, np.float32):
            out[first : first + len(rows)] = rows.reshape(-1, *entry.shape[1:])
            first += len(rows)
        return out

    def rows(self, name: str, dtype: DTypeLike = np.float32, size: int = BLOCK) -> Iterator[Numpy]:
        """Blocks of whole rows of one array, ``(rows, rest)``, of ``size`` values or so."""
        entry = self.entries[name]
        scales = None if entry.scale is None else _scales(entry.scale)
        rest = entry.size // entry.shape[0] if entry.size else 0
        step = max(1, size // max(rest, 1))
        with _reading(entry) as stream:
            for first in range(0, entry.shape[0] if rest else 0, step):
                count = min(step, entry.shape[0] - first)
                if scales is None:
                    out = np.empty((count, rest), dtype)
                    fill(stream, entry, out.reshape(-1))
                else:
                    codes = np.empty((count, rest * BITS[entry.dtype] // 8), np.uint8)
                    fill(stream, entry, codes.reshape(-1))
                    out = scaled(entry, codes, scales, first)
                    check_values(name, out)
                yield out.astype(dtype, copy=False)


def _scales(scale: Scale) -> Numpy:
    """The scales of an array, in float32."""
    held = bytes_of(scale.entry.dtype) == "<u1"
    out = np.empty(scale.entry.size, np.uint8 if held else np.float32)
    with _reading(scale.entry) as stream:
        fill(stream, scale.entry, out)
    out = powers(out) if held else out
    check_values(scale.entry.name, out)
    return out.reshape(scale.shape)


@contextmanager
def _reading(entry: Entry) -> Iterator[FileIO]:
    """The file of an array, at its first value."""
    try:
        with open_regular(entry.file) as stream:
            stream.seek(entry.start)
            yield stream
    except OSError as error:
        raise CheckpointError(f"{shown(entry.file)}: {error.strerror}") from None


def fill(stream: FileIO, entry: Entry, out: Numpy) -> None:
    """The next values of an array, finite, converted piece by piece while they are in the cache."""
    part = np.empty(min(CHUNK, out.size), bytes_of(entry.dtype))
    for begin in range(0, out.size, CHUNK):
        values = part[: out.size - begin]
        if read_into(stream, values.data.cast("B")) != values.nbytes:
            raise CheckpointError(f"{shown(entry.file)}: truncated while it was read")
        check_stored(entry.name, values, entry.dtype)
        convert(values, entry.dtype, out[begin : begin + CHUNK])


def read_into(stream: FileIO, view: memoryview) -> int:
    """Fill ``view`` as far as the file goes."""
    done = 0
    while done < len(view):
        got = stream.readinto(view[done:])
        if not got:
            break
        done += got
    return done


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
    entries, parts = logical(entries, config)
    return Checkpoint(path, entries, tuple(files), config, metadata, notes, partial, parts)


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
