"""A copy of a checkpoint in which some arrays are replaced: whole and checked, or not there."""

import errno
import os
import shutil
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import numpy as np

from symbias._core import ending
from symbias._core.files import sync
from symbias.checkpoints.checkpoint import Checkpoint, read_into
from symbias.checkpoints.dtypes import to_stored
from symbias.checkpoints.headers import CheckpointError, Numpy, shown

_FULL = (errno.ENOSPC, errno.EFBIG, errno.EDQUOT)  # these name the source
_WEIGHTS = (".bin", ".safetensors", ".h5", ".onnx", ".msgpack", ".pt", ".pth", ".gguf")


class Draft:
    """A copy under a temporary name: ``checkpoint`` reads it, ``put`` replaces one array, all else
    is equal byte by byte."""

    def __init__(self, source: Checkpoint, root: Path) -> None:
        self.source, self.root = source, root
        folder = source.path.is_dir()
        entries = {
            name: replace(e, file=root / e.file.name if folder else root)
            for name, e in source.entries.items()
        }
        files = tuple(dict.fromkeys(e.file for e in entries.values()))
        self.checkpoint = replace(source, path=root, entries=entries, files=files)
        self.skipped: list[str] = []
        self.unchanged: list[str] = []
        self.changed: list[str] = []

    def put(self, name: str, values: Numpy) -> None:
        """Round to the array's dtype and write it in place, where it is not that already."""
        entry = self.checkpoint.entries[name]
        stored = to_stored(values.reshape(-1), entry.dtype)
        data = stored.data.cast("B")
        with entry.file.open("r+b", buffering=0) as stream:
            stream.seek(entry.start)
            there = np.empty_like(stored)
            read_into(stream, there.data.cast("B"))
            if np.array_equal(stored, there):
                return
            self.changed.append(name)
            stream.seek(entry.start)
            done = 0
            while done < len(data):
                done += stream.write(data[done : done + (1 << 26)]) or 0


@contextmanager
def draft(source: Checkpoint, out: Path, *, overwrite: bool = False) -> Iterator[Draft]:
    """Copy the source next to ``out``, yield the copy, and rename it if nothing was raised.

    Raises
    ------
    CheckpointError
        If ``out`` is there already, lies inside the source, or cannot be written; then nothing is
        left behind.
    """
    if ".." in out.parts:  # makes no folder to leave it again
        out = out.resolve()
    check_out(source, out, overwrite=overwrite)
    temporary = out.with_name(f"{_draft_of(out)}{os.getpid()}.partial")
    try:
        with ending.draft(temporary):
            out.parent.mkdir(parents=True, exist_ok=True)
            copy = Draft(source, temporary)
            if source.path.is_dir():
                _copy_folder(copy)
            else:
                shutil.copyfile(source.path, temporary)
            yield copy
            for file in [p for p in temporary.rglob("*") if p.is_file()] or [temporary]:
                sync(file)
            with ending.held_off():
                if not source.path.is_dir():
                    temporary.replace(out)
                elif os.path.lexists(out):
                    raise CheckpointError(f"{shown(out)}: appeared meanwhile")
                else:
                    temporary.rename(out)
                ending.note(f"{shown(out)} is written")
            sync(out.parent)
    except OSError as error:
        where = out if error.errno in _FULL else error.filename or out
        raise CheckpointError(f"{shown(where)}: {error.strerror}") from None


def leftovers(out: Path) -> list[Path]:
    """Drafts of ``out`` that a killed process left behind."""
    try:
        names = sorted(os.listdir(out.parent))
    except OSError:
        return []
    start = _draft_of(out)
    return [out.parent / n for n in names if n.startswith(start) and n.endswith(".partial")]


def _draft_of(out: Path) -> str:
    """How the names of drafts begin; short, since a name of full length is allowed for ``out``."""
    return f".{out.name[:64]}."


def check_out(source: Checkpoint, out: Path, *, overwrite: bool) -> None:
    """Raise CheckpointError unless a copy may be written to ``out``."""
    folder = source.path.is_dir()
    if not out.name:
        raise CheckpointError(f"{shown(out)}: not a name for a checkpoint")
    if os.path.lexists(out):
        if not overwrite:
            raise CheckpointError(f"{shown(out)}: exists already")
        if folder or not out.is_file() or out.is_symlink():
            raise CheckpointError(f"{shown(out)}: only a file can be overwritten; remove it first")
        if any(out.samefile(file) for file in source.files):
            raise CheckpointError(f"{shown(out)}: is the checkpoint itself")
    inside = source.path.resolve() if folder else None
    if inside is not None and inside in (out.resolve(), *out.resolve().parents):
        raise CheckpointError(f"{shown(out)}: lies inside the checkpoint's own folder")


def _copy_folder(copy: Draft) -> None:
    """All regular files, and those that links point to; links to folders are not followed."""
    weights = {file.name for file in copy.source.files}
    copy.root.mkdir()
    for base, folders, files in os.walk(copy.source.path):
        there = copy.root / Path(base).relative_to(copy.source.path)
        for name in sorted(folders):
            if (Path(base) / name).is_symlink():
                copy.skipped.append(name)
            else:
                (there / name).mkdir()
        for name in sorted(files):
            file = Path(base) / name
            if not file.exists() or not stat.S_ISREG(file.stat().st_mode):
                copy.skipped.append(name)
                continue
            shutil.copyfile(file, there / name)
            if name not in weights and file.suffix in _WEIGHTS:
                copy.unchanged.append(name)
