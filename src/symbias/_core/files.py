"""The one way in which symbias writes a file: whole, or not at all."""

import os
from collections.abc import Mapping
from pathlib import Path


def replace_file(path: Path, content: bytes | str) -> None:
    """Write a file so that a crash at any moment leaves the old content or the new."""
    replace_files({path: content})


def replace_files(contents: Mapping[Path, bytes | str]) -> None:
    """Write several files under temporary names, then rename them all.

    Folders are made as needed; text is written as UTF-8, line ends as they are.

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
