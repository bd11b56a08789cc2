"""Which positions along the axes of tensors are one and the same unit, through a whole network.

Every position of every axis of a parameter starts as an atom of its own. What a network computes
ties them: the outputs of one layer are the inputs of the next, both sides of an addition are the
same channels, the rows of a head go together. Atoms that are tied can only be removed together.
"""

from collections.abc import Sequence
from math import prod

import numpy as np

Labels = np.ndarray | None  # an atom for every position of an axis; None: positions are no units


class Atoms:
    """A union-find of atoms; a fixed one cannot be removed, for the reason given."""

    def __init__(self) -> None:
        self._parent: list[int] = []
        self.reasons: dict[int, str] = {}

    def new(self, count: int) -> np.ndarray:
        begin = len(self._parent)
        self._parent.extend(range(begin, begin + count))
        return np.arange(begin, begin + count)

    def find(self, atom: int) -> int:
        root = atom
        while self._parent[root] != root:
            root = self._parent[root]
        while self._parent[atom] != root:
            self._parent[atom], atom = root, self._parent[atom]
        return root

    def roots(self, labels: np.ndarray) -> np.ndarray:
        """The representative of each."""
        names, index = np.unique(labels, return_inverse=True)
        found = np.array([self.find(int(a)) for a in names], dtype=int)
        return found[index].reshape(labels.shape)

    def tie(self, a: np.ndarray, b: np.ndarray) -> None:
        """Position by position."""
        for x, y in zip(a.flat, b.flat, strict=True):
            x, y = self.find(int(x)), self.find(int(y))
            if x != y:
                self._parent[y] = x
                if y in self.reasons:
                    self.reasons.setdefault(x, self.reasons.pop(y))

    def fix(self, labels: Labels, reason: str) -> None:
        """None of these can be removed."""
        for atom in () if labels is None else np.unique(self.roots(labels)):
            self.reasons.setdefault(int(atom), reason)

    def meet(self, a: Labels, b: Labels, reason: str) -> Labels:
        """Two axes that are the same one: tied, or fixed where one of them has no units."""
        if a is not None and b is not None:
            self.tie(a, b)
            return a
        self.fix(a if b is None else b, reason)
        return None


def merged(atoms: Atoms, axes: Sequence[Labels], sizes: Sequence[int]) -> Labels:
    """The labels of several neighbouring axes that become one."""
    known = [k for k, axis in enumerate(axes) if axis is not None and sizes[k] > 1]
    known = known or [k for k, axis in enumerate(axes) if axis is not None]
    if not known:
        return None
    if len(known) > 1:
        for k in known:
            atoms.fix(axes[k], "two axes of units become one")
        return None
    (k,) = known
    labels = axes[k]
    assert labels is not None
    ends = [1] * len(sizes)
    ends[k] = sizes[k]
    return np.broadcast_to(labels.reshape(ends), tuple(sizes)).reshape(-1)


def split(atoms: Atoms, labels: Labels, sizes: Sequence[int]) -> list[Labels]:
    """The labels of the axes that one axis becomes: units are rows, or repeat in every row.

    A row that mixes units ties them: the head that they are.
    """
    if labels is None or len(sizes) == 1:
        return [labels] * len(sizes)
    first, rest = sizes[0], prod(sizes[1:])
    rows = labels.reshape(first, rest)
    alike = np.all(rows == rows[:1])
    if alike and not np.all(rows == rows[:, :1]):
        return [None, *split(atoms, rows[0], sizes[1:])]
    if rest > 1:
        atoms.tie(np.repeat(rows[:, :1], rest - 1, axis=1), rows[:, 1:])
    return [rows[:, 0], *[None] * (len(sizes) - 1)]


def segments(before: Sequence[int], after: Sequence[int]) -> list[tuple[range, range]]:
    """Which axes become which in a reshape, in the smallest pieces of equal size."""
    found, i, j = [], 0, 0
    while i < len(before) or j < len(after):
        a, b = i, j
        left = before[i] if i < len(before) else 1
        right = after[j] if j < len(after) else 1
        i, j = min(i + 1, len(before)), min(j + 1, len(after))
        while left != right:
            if left < right:
                left, i = left * before[i], i + 1
            else:
                right, j = right * after[j], j + 1
        found.append((range(a, i), range(b, j)))
    return found
