"""Progress of long work: a bar on a terminal, a line now and then elsewhere."""

import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Protocol

FIRST_LINE, MORE_LINES = 2.0, 10.0  # seconds


class Report(Protocol):
    """Called with what is done so far, a short note such as the objective, and the total if it
    was not known before."""

    def __call__(self, done: int, note: str = "", total: int | None = None) -> None: ...


@contextmanager
def progress(title: str, total: int | None, *, show: bool = True) -> Iterator[Report]:
    """Yield a function that reports on standard error how much of ``total`` is done."""
    if not show:
        yield lambda done, note="", total=None: None
    elif sys.stderr.isatty():
        from rich.console import Console
        from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn
        from rich.progress import TimeRemainingColumn as Remaining

        columns = (
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn("{task.fields[note]}"),
            Remaining(),
        )
        with Progress(*columns, console=Console(stderr=True), transient=True) as bar:
            task = bar.add_task(title, total=total, note="")
            yield lambda done, note="", total=total: bar.update(
                task, completed=done, note=note, total=total
            )
    else:
        yield _Lines(title, total)


class _Lines:
    def __init__(self, title: str, total: int | None) -> None:
        self.title, self.total = title, total
        self.begun = time.monotonic()
        self.due = self.begun + FIRST_LINE

    def __call__(self, done: int, note: str = "", total: int | None = None) -> None:
        self.total = total or self.total
        now = time.monotonic()
        if now < self.due:
            return
        self.due = now + MORE_LINES
        parts = [f"{self.title}: {done}" + (f" of {self.total}" if self.total else "")]
        if note:
            parts.append(note)
        if self.total and done:
            parts.append(f"{(now - self.begun) * (self.total - done) / done:.0f} s left")
        print(", ".join(parts), file=sys.stderr, flush=True)
