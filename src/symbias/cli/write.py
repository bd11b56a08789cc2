"""Outputs of a command: all of them, whole, or none."""

import os
from collections.abc import Mapping
from pathlib import Path

from symbias._core.ending import held_off, note
from symbias._core.files import replace_files
from symbias.cli.errors import InputError


def writable(out: str) -> Path:
    """The folder; an InputError if files could not be written there, before any work is done."""
    if not out.strip():
        raise InputError("--out is empty: it needs the name of a folder (. is this one)")
    folder = Path(out)
    try:
        taken = folder.exists() and not folder.is_dir()
    except OSError as error:  # such as a name that is too long
        raise InputError(f"{error.strerror}: {folder}") from None
    if taken:
        raise InputError(f"{folder}: not a folder")
    existing = folder.absolute()
    while not existing.exists():
        existing = existing.parent
    if not existing.is_dir():
        raise InputError(f"{folder}: {existing} is not a folder")
    if not os.access(existing, os.W_OK | os.X_OK):
        raise InputError(f"{folder}: no permission to write into {existing}")
    return folder


def write_all(folder: Path, files: Mapping[str, str]) -> None:
    """Write every file, or none.

    Raises
    ------
    InputError
        If the folder or a file cannot be written; no new file is left behind.
    """
    try:
        with held_off():
            replace_files({folder / name: text for name, text in files.items()})
            note(f"the results are in {folder}")
    except OSError as error:
        raise InputError(f"{error.filename or folder}: {error.strerror}") from None
