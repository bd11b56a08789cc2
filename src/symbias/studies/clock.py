"""The time since a study began, and lines that say it."""

import time


class Clock:
    """`say` prints on standard output, if there is to be ``progress``."""

    def __init__(self, progress: bool) -> None:
        self._progress, self._begun = progress, time.monotonic()

    @property
    def seconds(self) -> float:
        """Since it began."""
        return time.monotonic() - self._begun

    def say(self, line: str) -> None:
        """Print a line, after the seconds that have passed."""
        if self._progress:
            print(f"[{self.seconds:5.0f} s] {line}", flush=True)
