"""What a penalty on sizes acts on: single coordinates, or groups of them."""

from typing import Any

import numpy as np


class Blocks:
    """The groups 0..G-1 of m coordinates, from one label each; None: every coordinate alone.

    Raises
    ------
    ValueError
        Where the labels are not (m,) integers that use all of 0..G-1.
    """

    def __init__(self, m: int, labels: Any = None) -> None:
        self.labels: np.ndarray | None = None
        self.count = m
        if labels is None:
            return
        labels = np.asarray(labels)
        if labels.shape != (m,) or labels.dtype.kind not in "iu":
            raise ValueError(
                f"groups must be {m} integer labels, got {labels.dtype} {labels.shape}"
            )
        lengths = np.bincount(labels) if labels.min(initial=0) >= 0 else np.zeros(1)
        if not lengths.all():
            raise ValueError("groups must use every label from 0 to the largest")
        if len(lengths) < m:  # else |c_g| = |c_j|
            self.labels, self.count, self._lengths = labels, len(lengths), lengths
            self._order = np.argsort(labels, kind="stable")
            self._starts = np.concatenate([[0], np.cumsum(lengths)])

    def totals(self, v: np.ndarray) -> np.ndarray:
        """Sums over the groups, (G,)."""
        return v if self.labels is None else np.bincount(self.labels, v, self.count)

    def sizes(self, v: np.ndarray) -> np.ndarray:
        """|v_g|_2, (G,)."""
        return np.abs(v) if self.labels is None else np.sqrt(self.totals(v * v))

    def coordinates(self, chosen: np.ndarray) -> np.ndarray:
        """The coordinates of the chosen groups, group after group."""
        if self.labels is None:
            return chosen
        parts = [self._order[self._starts[g] : self._starts[g + 1]] for g in chosen.tolist()]
        return np.concatenate(parts) if parts else np.zeros(0, dtype=np.intp)

    def subset(self, chosen: np.ndarray) -> "Blocks":
        """The chosen groups alone, numbered in this order, on `coordinates` of them."""
        if self.labels is None:
            return Blocks(len(chosen))
        lengths = self._lengths[chosen]
        return Blocks(int(lengths.sum()), np.repeat(np.arange(len(chosen)), lengths))

    @property
    def starts(self) -> np.ndarray | None:
        """Where each group begins, for groups that are contiguous; None for single coordinates."""
        return None if self.labels is None else self._starts[:-1]

    @property
    def typical(self) -> float:
        """Coordinates a group, on average."""
        return 1.0 if self.labels is None else len(self.labels) / self.count
