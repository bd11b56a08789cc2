"""A refusal is a value too: a prediction or design that does not exist, with the reason."""

from typing import Any


class Refused(ValueError):
    """What was asked for does not hold here; the message is the reason and, if any, the remedy.

    A theorem or a counterexample, never a missing feature dressed up as one.

    ``near`` holds preferences that are near to the one refused, and ``advice`` pairs of a
    preference and a mechanism that are not refused where this was.
    """

    def __init__(self, reason: str, *, near: tuple[Any, ...] = (), advice: Any = ()) -> None:
        super().__init__(reason)
        self.near, self.advice = near, advice
