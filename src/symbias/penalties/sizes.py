"""How an array is a set of sizes t >= 0, each with a direction: entries, groups, singular values.

A penalty sum R(t) over the sizes is invariant under what turns the directions, so its proximal map
changes sizes only, and its subdifferential is R'(t) along the direction (a ball of radius R'(0+)
where a size is zero).
"""

import math
from abc import ABC, abstractmethod
from collections.abc import Callable
from functools import cached_property

import numpy as np
from array_api_compat import array_namespace

from symbias._core.arrays import Array, Shape, constant

Change = Callable[[np.ndarray], np.ndarray]


class Sizes(ABC):
    """The sizes of arrays of one shape."""

    shape: Shape
    symbol: str  # of one size, in formulas
    noun: str  # for several of them
    elementwise: bool = False

    @property
    @abstractmethod
    def labels(self) -> np.ndarray | None:
        """The size that each entry of the flattened array belongs to; None where they mix."""

    @abstractmethod
    def of(self, w: Array) -> Array:
        """The sizes, in a row; in any array library."""

    @abstractmethod
    def resize(self, w: np.ndarray, change: Change) -> np.ndarray:
        """``w`` with its sizes t replaced by ``change(t)``, directions kept."""

    def distance(
        self, w: np.ndarray, gradient: np.ndarray, slope: Change, slope_at_zero: float
    ) -> tuple[np.ndarray, np.ndarray]:
        """Distance of -gradient to the subdifferential, size by size, and the sizes.

        |g + R'(t) w / t| where a size t is positive, max(|g| - R'(0+), 0) where it is zero.
        """
        t = np.asarray(self.of(w))
        live = t > 0
        safe = np.where(live, t, 1.0)
        along = self.spread(np.where(live, slope(safe) / safe, 0.0))
        off = np.asarray(self.of(gradient + along.reshape(w.shape) * w))
        return np.where(live, off, np.maximum(off - slope_at_zero, 0.0)), t

    def spread(self, per_size: np.ndarray) -> np.ndarray:
        """A number of every size, at each of its entries; flat."""
        assert self.labels is not None
        return per_size[self.labels]


class Entries(Sizes):
    """|w_i|, one by one."""

    symbol, noun, elementwise = "|w_i|", "entries", True

    def __init__(self, shape: Shape) -> None:
        self.shape = shape

    @cached_property
    def labels(self) -> np.ndarray:
        return np.arange(math.prod(self.shape))

    def of(self, w: Array) -> Array:
        xp = array_namespace(w)
        return xp.reshape(xp.abs(w), (-1,))

    def resize(self, w: np.ndarray, change: Change) -> np.ndarray:
        return np.sign(w) * change(np.abs(w).reshape(-1)).reshape(w.shape)

    def spread(self, per_size: np.ndarray) -> np.ndarray:
        return per_size


class Groups(Sizes):
    """|w_g|_2 of groups of entries.

    Parameters
    ----------
    labels : array of any values
        One label per entry, of the shape of w.

    Attributes
    ----------
    names : array
        The distinct labels, sorted: the order of the sizes.

    Raises
    ------
    ValueError
        If labels cannot be sorted, such as None among strings.
    """

    symbol, noun = "|w_g|_2", "groups"

    def __init__(self, labels: np.ndarray) -> None:
        self.shape = labels.shape
        try:
            self.names, index = np.unique(labels, return_inverse=True)
        except TypeError:
            kinds = ", ".join(sorted({type(label).__name__ for label in labels.flat}))
            raise ValueError(f"groups hold labels that are not of one kind: {kinds}") from None
        self._labels = index.reshape(-1)

    @property
    def labels(self) -> np.ndarray:
        return self._labels

    @cached_property
    def _members(self) -> np.ndarray:
        """Row g lists the entries of group g, filled up with the index one past the end."""
        labels, count = self._labels, len(self.names)
        sizes = np.bincount(labels, minlength=count)
        members = np.full((count, sizes.max(initial=0)), len(labels))
        order = np.argsort(labels, kind="stable")
        start = np.repeat(np.cumsum(sizes) - sizes, sizes)
        members[labels[order], np.arange(len(labels)) - start] = order
        return members

    def of(self, w: Array) -> Array:
        """|w_g|_2, without overflow in the squares."""
        xp = array_namespace(w)
        flat = xp.reshape(w, (-1,))
        if math.prod(self.shape) == 0:
            return xp.zeros_like(flat)
        padded = xp.concat([xp.abs(flat), xp.zeros_like(flat[:1])])
        members = xp.take(padded, constant(self._members.reshape(-1), w, index=True), axis=0)
        members = xp.reshape(members, self._members.shape)
        largest = xp.max(members, axis=1)
        unit = xp.where(largest > 0, largest, xp.ones_like(largest))
        return unit * xp.sqrt(xp.sum((members / unit[:, None]) ** 2, axis=1))

    def resize(self, w: np.ndarray, change: Change) -> np.ndarray:
        t = np.asarray(self.of(w))
        factor = change(t) / np.where(t > 0, t, 1.0)
        return w * factor[self._labels].reshape(w.shape)


class SingularValues(Sizes):
    """The singular values of a matrix, of at most ``rank`` of them if one is given."""

    symbol, noun = "sigma_i", "singular values"

    def __init__(self, shape: Shape, rank: int | None = None) -> None:
        self.shape = shape
        self.rank = min(shape) if rank is None else rank

    @property
    def labels(self) -> None:
        return None

    def of(self, w: Array) -> Array:
        """The singular values; zero where rounding hides whether they are."""
        xp = array_namespace(w)
        s = xp.linalg.svdvals(w)
        rounding = float(xp.finfo(s.dtype).eps) * max(self.shape)
        return xp.where(s > rounding * xp.max(s, axis=-1, keepdims=True), s, xp.zeros_like(s))

    def resize(self, w: np.ndarray, change: Change) -> np.ndarray:
        u, s, vt = np.linalg.svd(w, full_matrices=False)
        return (u * change(s)[..., None, :]) @ vt

    def distance(
        self, w: np.ndarray, gradient: np.ndarray, slope: Change, slope_at_zero: float
    ) -> tuple[np.ndarray, np.ndarray]:
        """Norms of the rows of U^T (g + U R'(S) V^T) V, and of the rest less its ball."""
        u, s, vt = np.linalg.svd(w, full_matrices=True)
        rank = int(np.sum(s > 1e-12 * s.max(initial=0.0)))
        turned = u.T @ gradient @ vt.T
        turned[range(rank), range(rank)] += slope(s[:rank])
        rest = turned[rank:, rank:]
        beyond = np.linalg.svd(rest, compute_uv=False) if rest.size else np.zeros(0)
        inside = np.sqrt(np.sum(turned[:rank] ** 2, axis=1))
        inside += np.sqrt(np.sum(turned[rank:, :rank] ** 2, axis=0))
        off = np.concatenate([inside, np.maximum(beyond - slope_at_zero, 0.0)])
        return off, np.concatenate([s[:rank], np.zeros(len(beyond))])
