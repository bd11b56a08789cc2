"""Progress of a run: a bar on a terminal, a line now and then elsewhere."""

import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Protocol

FIRST_LINE, MORE_LINES = 5.0, 30.0  # seconds


class Report(Protocol):
    """Called with the number of steps done."""

    def __call__(self, done: int) -> None: ...


@contextmanager
def progress(show: bool, title: str, steps: int) -> Iterator[Report]:
    """Yield a function that reports the number of steps done, on standard error."""
    if not show:
        yield lambda done: None
    elif sys.stderr.isatty():
        from rich.console import Console
        from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn
        from rich.progress import TimeRemainingColumn as Remaining

        columns = (TextColumn(title), BarColumn(), MofNCompleteColumn(), Remaining())
        with Progress(*columns, console=Console(stderr=True), transient=True) as bar:
            task = bar.add_task(title, total=steps)
            yield lambda done: bar.update(task, completed=done)
    else:
        yield _Lines(title, steps)


class _Lines:
    def __init__(self, title: str, steps: int) -> None:
        self.title, self.steps = title, steps
        self.begun = time.monotonic()
        self.due = self.begun + FIRST_LINE

    def __call__(self, done: int) -> None:
        now = time.monotonic()
        if now >= self.due:
            self.due = now + MORE_LINES
            share, spent = done / self.steps, now - self.begun
            print(
                f"{self.title}: step {done} of {self.steps} ({share:.0%}, {spent:.0f} s)",
                file=sys.stderr,
                flush=True,
            )
