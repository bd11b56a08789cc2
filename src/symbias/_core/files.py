"""The one way in which symbias writes a file: whole, or not at all; and one writer to a folder."""

import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from symbias._core.ending import held_off

LOCK = ".lock"


class FolderInUseError(RuntimeError):
    """Another run writes to the same folder."""


def replace_file(path: Path, content: bytes | str) -> None:
    """Write a file so that a crash at any moment leaves the old content or the new."""
    replace_files({path: content})


@held_off()
def replace_files(contents: Mapping[Path, bytes | str]) -> None:
    """Write several files under temporary names, then rename them all.

    Folders are made as needed; text is written as UTF-8, line ends as they are. A signal that ends
    a command waits until all is done.

    Raises
    ------
    OSError
        If one cannot be written; then no file has changed and no temporary one is left.
    """
    partial: dict[Path, Path] = {}
    try:
        for path, content in contents.items():
            path.parent.mkdir(parents=True, exist_ok=True)
            partial[path] = temporary = partial_name(path)
            with temporary.open("wb") as stream:
                stream.write(content.encode() if isinstance(content, str) else content)
                stream.flush()
                os.fsync(stream.fileno())
        for path, temporary in partial.items():
            temporary.replace(path)
    finally:
        for temporary in partial.values():
            temporary.unlink(missing_ok=True)
    for folder in {path.parent for path in contents}:
        sync(folder)


def partial_name(path: Path) -> Path:
    """The name under which ``path`` is written before it is there; this process's own."""
    return path.with_name(f".{path.name}.{os.getpid()}.partial")


def sync(path: Path) -> None:
    """Wait until a file, or the names in a folder, are on the disk."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


@contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Hold a folder against other runs; the lock of a process that is gone is taken over.

    Raises
    ------
    FolderInUseError
        With the process that holds it.
    """
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / LOCK).open("a+") as stream:
        if not _hold(stream):
            stream.seek(0)
            holder = stream.read().strip() or "unknown"
            raise FolderInUseError(f"{folder}: in use by another run (process {holder})")
        stream.truncate(0)
        stream.write(str(os.getpid()))
        stream.flush()
        try:
            yield
        finally:
            stream.truncate(0)  # the file stays: to remove it would let two runs hold one name


def _hold(stream: Any) -> bool:
    """Whether this process got the lock, which ends with the process however it ends."""
    try:
        import fcntl
    except ImportError:  # no such locks on this system
        return True
    try:
        fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return False
    return True
