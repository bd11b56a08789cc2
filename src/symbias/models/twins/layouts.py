"""Labels of an axis as a rule of few numbers: where a component lies, digit by digit.

Component ``k``, written in digits ``k = d_0 + n_0 (d_1 + n_1 (...))``, lies at
``offset + sum_i stride_i d_i``, and its copies at multiples of further strides from there. So lie
heads side by side, packed queries, keys and values, the two halves of rotary planes, and halves
that interleave.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from math import prod

import numpy as np

from symbias.checkpoints import Numpy

Digits = tuple[tuple[int, int], ...]  # count and stride, the fastest first


@dataclass(frozen=True)
class Layout:
    """``length`` entries of which components and their copies own some."""

    length: int
    offset: int
    digits: Digits
    copies: Digits

    @property
    def numbers(self) -> tuple[int, ...]:
        """All numbers but the length, in order."""
        flat = [n for pair in (*self.digits, *self.copies) for n in pair]
        return (self.offset, *flat)

    @property
    def form(self) -> tuple[int, int]:
        """How many digits: layouts of one form differ in sizes alone."""
        return len(self.digits), len(self.copies)

    def with_numbers(self, length: int, numbers: Sequence[int]) -> "Layout":
        """The same form at other sizes."""
        pairs = list(zip(numbers[1::2], numbers[2::2], strict=True))
        cut = len(self.digits)
        return Layout(length, numbers[0], tuple(pairs[:cut]), tuple(pairs[cut:]))

    @property
    def size(self) -> int:
        """Number of components."""
        return int(np.prod([count for count, _ in self.digits], dtype=int))

    @property
    def tail(self) -> int:
        """Entries behind the last that is owned."""
        reach = sum((count - 1) * stride for count, stride in (*self.digits, *self.copies))
        return self.length - 1 - self.offset - reach

    @property
    def covers(self) -> bool:
        """Whether every entry is owned."""
        return self.length == prod(count for count, _ in (*self.digits, *self.copies))

    @property
    def fits(self) -> bool:
        """Whether components lie within the axis, one beside the other."""
        if self.tail < 0 or min(self.numbers) < 0:
            return False
        reach = 1
        for count, stride in sorted((*self.digits, *self.copies), key=lambda pair: pair[1]):
            if count > 1 and stride < reach:
                return False
            reach += (count - 1) * stride
        return True

    def labels(self) -> Numpy:
        """Component of every entry, -1 outside."""
        at = self.offset + _spread(self.digits)[:, None] + _spread(self.copies)[None, :]
        labels = np.full(self.length, -1)
        labels[at] = np.arange(len(at))[:, None]
        return labels


def _spread(digits: Digits) -> Numpy:
    """Offsets of all numbers written in these digits, in order."""
    at = np.zeros(1, dtype=int)
    for count, stride in digits:
        at = (np.arange(count)[:, None] * stride + at[None, :]).reshape(-1)
    return at


def layout_of(labels: Numpy) -> Layout | None:
    """The rule behind labels; None if there is none of this kind."""
    labels = np.asarray(labels)
    count = int(labels.max()) + 1
    owned = [np.flatnonzero(labels == k) for k in range(count)]
    if len({len(o) for o in owned}) != 1 or not len(owned[0]):
        return None
    at = np.stack(owned)
    digits, copies = _digits(at[:, 0]), _digits(at[0])
    if digits is None or copies is None:
        return None
    found = Layout(len(labels), int(at[0, 0]), digits, copies)
    return found if found.fits and np.array_equal(found.labels(), labels) else None


def _digits(at: Numpy) -> Digits | None:
    found: list[tuple[int, int]] = []
    while len(at) > 1:
        steps = np.diff(at)
        breaks = np.flatnonzero(steps != steps[0])
        run = int(breaks[0]) + 1 if len(breaks) else len(at)
        if len(at) % run or run == 1:
            return None
        blocks = at.reshape(-1, run)
        if np.any(blocks - blocks[:, :1] != blocks[0] - blocks[0, 0]):
            return None
        found.append((run, int(steps[0])))
        at = blocks[:, 0]
    return tuple(found)
