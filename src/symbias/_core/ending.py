"""The end of a command by a signal: at once, with one line, and nothing half-written.

An exception from a signal handler is lost in callbacks, and imports turn it into other errors; so
the handler itself removes what is half-written and ends the process. Only the command line waits
for signals; without it, what stands here does nothing but keep books.
"""

import os
import shutil
import signal
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any


@dataclass
class _State:
    note: str = "nothing was written"
    drafts: set[Path] = field(default_factory=set)
    held: int = 0
    asked: int = 0  # the number of a signal that waits


_state = _State()


def end_on_signals() -> None:
    """From now on an interrupt or a request to end (SIGINT, SIGTERM) ends the process."""
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, _asked)


def over() -> None:
    """The work is done: an interrupt has nothing left to stop."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)


def note(text: str) -> None:
    """What an interrupt from now on says of the results."""
    _state.note = text


@contextmanager
def held_off() -> Iterator[None]:
    """What stands inside is done whole before a signal ends the process."""
    _state.held += 1
    try:
        yield
    finally:
        _state.held -= 1
        if _state.asked and not _state.held:
            _end(_state.asked)


@contextmanager
def draft(path: Path) -> Iterator[None]:
    """A file or folder that is not whole yet: removed at the end, whatever the end is."""
    _state.drafts.add(path)
    try:
        yield
    finally:
        _remove(path)
        _state.drafts.discard(path)


def _asked(number: int, frame: Any) -> None:
    _state.asked = number
    if not _state.held:
        _end(number)


def _end(number: int) -> None:
    for path in list(_state.drafts):
        _remove(path)
    shown = "\r\x1b[2K\x1b[?25h" if os.isatty(2) else ""  # no bar, and the cursor again
    with suppress(OSError):
        os.write(2, f"{shown}symbias: interrupted; {_state.note}\n".encode())
    os._exit(128 + number)  # as shells count: 130 for SIGINT, 143 for SIGTERM


def _remove(path: Path) -> None:
    with suppress(OSError):
        if path.is_dir():
            shutil.rmtree(path, ignore_errors=True)
        else:
            path.unlink(missing_ok=True)
