"""Progress of long work: a bar on a terminal, a line now and then elsewhere."""

import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Protocol

FIRST_LINE, MORE_LINES, BEAT = 2.0, 10.0, 1.0  # seconds


class Report(Protocol):
    """Called with what is done so far, a short note such as the objective, and the total if it
    was not known before."""

    def __call__(self, done: int, note: str = "", total: int | None = None) -> None: ...


@contextmanager
def progress(title: str, total: int | None, *, show: bool = True) -> Iterator[Report]:
    """Yield a function that reports on standard error how much of ``total`` is done.

    Work that reports nothing for long is seen to go on as well.
    """
    if not show:
        yield lambda done, note="", total=None: None
    elif sys.stderr.isatty():
        from rich.console import Console
        from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn
        from rich.progress import TimeElapsedColumn as Elapsed
        from rich.progress import TimeRemainingColumn as Remaining

        columns = (
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn("{task.fields[note]}"),
            Elapsed(),
            Remaining(),
        )
        with Progress(*columns, console=Console(stderr=True), transient=True) as bar:
            task = bar.add_task(title, total=total, note="")
            yield lambda done, note="", total=total: bar.update(
                task, completed=done, note=note, total=total
            )
    else:
        lines = _Lines(title, total)
        watch = threading.Thread(target=lines.beat, daemon=True)
        watch.start()
        try:
            yield lines
        finally:
            lines.over.set()
            watch.join()


class _Lines:
    def __init__(self, title: str, total: int | None) -> None:
        self.title, self.total, self.done, self.note = title, total, 0, ""
        self.begun = time.monotonic()
        self.due = self.begun + FIRST_LINE
        self.over, self.lock = threading.Event(), threading.Lock()

    def __call__(self, done: int, note: str = "", total: int | None = None) -> None:
        self.done, self.note, self.total = done, note, total or self.total
        self.show()

    def beat(self) -> None:
        """Show what was said last, until it is over: that of one long step as well."""
        while not self.over.wait(BEAT):
            self.show()

    def show(self) -> None:
        with self.lock:
            now = time.monotonic()
            if now < self.due:
                return
            self.due = now + MORE_LINES
        parts = [f"{self.title}: {self.done}" + (f" of {self.total}" if self.total else "")]
        if not self.done:
            parts = [f"{self.title}: working for {now - self.begun:.0f} s"]
        if self.note:
            parts.append(self.note)
        if self.total and self.done:
            left = (now - self.begun) * (self.total - self.done) / self.done
            parts.append(f"{left:.0f} s left")
        print(", ".join(parts), file=sys.stderr, flush=True)
