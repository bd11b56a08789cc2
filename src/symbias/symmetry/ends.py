"""The ends of a bond: which entries of its arrays it acts on, and how they form a block."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from math import prod
from typing import Any

import numpy as np

from symbias._core.arrays import Array, Params, constant, namespace
from symbias._core.numbers import is_whole
from symbias.symmetry.groups import Group, Rescaling, WeightedRescaling

NONE = np.zeros(0, dtype=int)
Names = str | tuple[str, ...]
EndSpec = tuple[Names, int | None] | tuple[Names, int | None, Any]


@dataclass(frozen=True, eq=False)
class End:
    """One axis of one array that a bond acts on; ``axis=None`` is the whole array, flattened.

    ``rows`` of shape ``(heads, r, copies)`` says which entries of the axis a component owns (-1:
    padding); None is the plain layout ``entry = (head * copies + copy) * r + component``.
    """

    name: str
    axis: int | None
    dual: bool
    heads: int
    size: int
    rows: np.ndarray | None = None
    length: int | None = None

    def to_front(self, xp: Any, a: Array, batch: int = 0) -> Array:
        """``a`` as a matrix (axis, everything else); its last ``batch`` axes never are the axis."""
        if self.axis is None:
            return xp.reshape(a, (prod(a.shape[: a.ndim - batch]), -1))
        others = [i for i in range(a.ndim) if i != self.axis]
        return xp.reshape(xp.permute_dims(a, (self.axis, *others)), (a.shape[self.axis], -1))

    def from_front(self, xp: Any, x: Array, shape: Sequence[int]) -> Array:
        """The inverse of :meth:`to_front`."""
        if self.axis is None:
            return xp.reshape(x, tuple(shape))
        others = [i for i in range(len(shape)) if i != self.axis]
        x = xp.reshape(x, (shape[self.axis], *(shape[i] for i in others)))
        return xp.permute_dims(x, tuple(int(i) for i in np.argsort([self.axis, *others])))

    def unfold(self, xp: Any, a: Array, batch: int = 0) -> Array:
        """The block ``(heads, r, rest)`` of ``a`` that the bond acts on."""
        x = self.to_front(xp, a, batch)
        n, rest = x.shape
        if self.rows is not None:
            x = xp.concat([x, xp.zeros_like(x[:1, :])], axis=0)
            x = xp.take(x, constant(self.rows.reshape(-1) % (n + 1), x, index=True), axis=0)
            return xp.reshape(x, (self.heads, self.size, -1))
        copies = n // (self.heads * self.size)
        x = xp.reshape(x, (self.heads, copies, self.size, rest))
        x = xp.permute_dims(x, (0, 2, 1, 3))
        return xp.reshape(x, (self.heads, self.size, copies * rest))

    def fold(self, xp: Any, block: Array, a: Array, batch: int = 0) -> Array:
        """``a`` with its block replaced; entries outside the bond stay."""
        x = self.to_front(xp, a, batch)
        n, rest = x.shape
        if self.rows is not None:
            x = xp.concat([xp.reshape(block, (-1, rest)), x], axis=0)
            x = xp.take(x, constant(self._slots, x, index=True), axis=0)
        else:
            x = xp.reshape(block, (self.heads, self.size, n // (self.heads * self.size), rest))
            x = xp.reshape(xp.permute_dims(x, (0, 2, 1, 3)), (n, rest))
        return self.from_front(xp, x, a.shape)

    @cached_property
    def _slots(self) -> np.ndarray:
        """Where each entry of the axis lies in (block, axis) laid end to end."""
        assert self.rows is not None
        rows = self.rows.reshape(-1)
        slots = len(rows) + np.arange(self.length or 0)
        slots[rows[rows >= 0]] = np.flatnonzero(rows >= 0)
        return slots

    @property
    def _entries(self) -> np.ndarray:
        assert self.rows is not None
        return self.rows[self.rows >= 0]

    def outside(self, length: int) -> np.ndarray:
        """Entries along the axis that the bond leaves alone."""
        return np.setdiff1d(np.arange(length), self._entries) if self.rows is not None else NONE

    def entries(self, shape: Sequence[int]) -> int:
        """How many numbers of an array of this shape the bond acts on."""
        length = prod(shape) if self.axis is None else shape[self.axis]
        owned = length if self.rows is None else len(self._entries)
        return owned * (prod(shape) // length) if length else 0

    def meets(self, other: "End") -> bool:
        """Whether two ends of one array may act on a common entry."""
        if self.axis != other.axis or self.rows is None or other.rows is None:
            return True
        return bool(np.intersect1d(self._entries, other._entries).size)

    def check(self, params: Params, bond: str, group: Group, heads: int | None) -> None:
        """Raise unless the array is there, floating, and its axis fits the group."""
        if self.name not in params:
            raise ValueError(f"bond {bond!r}: no array {self.name!r} among {sorted(params)}")
        array = params[self.name]
        xp = namespace({self.name: array})
        where = f"bond {bond!r}: array {self.name!r} of shape {tuple(array.shape)}"
        if not xp.isdtype(array.dtype, "real floating"):
            raise TypeError(f"{where} must hold real floating numbers, got {array.dtype}")
        if self.axis is not None and self.axis >= array.ndim:
            raise ValueError(f"{where} has no axis {self.axis}")
        length = prod(array.shape) if self.axis is None else array.shape[self.axis]
        what = "entries" if self.axis is None else f"entries along axis {self.axis}"
        per_head = self.heads * self.size
        if self.rows is not None:
            if length != self.length:
                raise ValueError(f"{where} has {length} {what} for {self.length} labels")
        elif heads is None and not group.tied and length != per_head:
            raise ValueError(f"{where} has {length} {what}; {group} needs {per_head}")
        elif length == 0 or length % per_head:
            raise ValueError(
                f"{where} has {length} {what}; {group} with {self.heads} heads needs a multiple "
                f"of {per_head}"
            )


@dataclass(frozen=True, eq=False)
class Leg:
    """Where a group element enters a bond's arrays: one end, or one block spread over several.

    A vector leg is multiplied by ``g``, a covector leg by ``g^-T``; scales take a power of it.
    """

    ends: tuple[End, ...]
    dual: bool
    power: float = 1.0

    def read(self, xp: Any, params: Params) -> Array:
        """The block ``(heads, r, rest)``; what other arrays hold of it is added."""
        parts = [end.unfold(xp, params[end.name]) for end in self.ends]
        return sum(parts[1:], parts[0])

    def write(self, xp: Any, block: Array, params: Params, batch: int = 0) -> dict[str, Array]:
        """The arrays of the leg with their share of the block replaced."""
        changed: dict[str, Array] = {}
        for end in self.ends:
            array = changed.get(end.name, params[end.name])
            changed[end.name] = end.fold(xp, block, array, batch)
        return changed

    def moved(self, xp: Any, group: Group, pair: Sequence[Array], params: Params) -> Params:
        """The arrays after the element ``pair[0]``, of which ``pair[1]`` moves covector legs."""
        g = pair[self.dual]
        g = g if self.power == 1 else g**self.power
        return self.write(xp, group.apply(xp, g, self.read(xp, params)), params)

    def vary(self, xp: Any, group: Group, c: Array, params: Params) -> Array:
        """The block of the generator with coefficients ``c``."""
        c = c if self.power == 1 else c * self.power
        return group.vary(xp, c, self.read(xp, params), self.dual)

    def adjoint(self, xp: Any, group: Group, tangent: Params, params: Params) -> Array:
        """The transpose of :meth:`vary` in ``c``."""
        t, x = self.read(xp, tangent), self.read(xp, params)
        c = group.adjoint(xp, t, x, self.dual)
        return c if self.power == 1 else c * self.power

    def check(self, params: Params, bond: str, group: Group, heads: int | None) -> None:
        """Raise unless its arrays are there and fit the group and one another."""
        for end in self.ends:
            end.check(params, bond, group, heads)
        rests = {
            prod(shape) // (prod(shape) if end.axis is None else shape[end.axis])
            for end in self.ends
            for shape in (tuple(params[end.name].shape),)
        }
        if len(rests) > 1:
            names = [end.name for end in self.ends]
            raise ValueError(f"bond {bond!r}: {names} have no common shape beside the axis")


def read_leg(spec: EndSpec, dual: bool, group: Group, heads: int, power: float) -> Leg:
    """A leg from ``(array name, axis)`` or ``(array name, axis, labels)``, or of several arrays.

    Raises
    ------
    ValueError, TypeError
        If it is malformed.
    """
    if not isinstance(spec, tuple) or len(spec) not in (2, 3):
        raise TypeError(f"an end is (array name, axis) or (name, axis, labels), got {spec!r}")
    names = (spec[0],) if isinstance(spec[0], str) else spec[0]
    if not isinstance(names, tuple) or not names or not all(isinstance(n, str) for n in names):
        raise TypeError(f"an end is (array name, axis) or (name, axis, labels), got {spec!r}")
    axis = spec[1]
    if axis is not None and (not is_whole(axis) or axis < 0):
        raise ValueError(f"axis of {spec[0]!r} must be a non-negative integer or None: {axis!r}")
    if len(spec) == 2 and len(names) == 1:
        return Leg((End(names[0], axis, dual, heads, group.size),), dual, power)
    given: Any = spec[2] if len(spec) == 3 else ()
    given = [given] if isinstance(spec[0], str) else given
    if len(given) != len(names):
        raise ValueError(f"an end over {names!r} needs labels for each of these arrays")
    labels = [np.asarray(part) for part in given]
    rows = _rows_of_labels(", ".join(names), np.concatenate(labels), heads, group)
    ends, start = [], 0
    for name, part in zip(names, labels, strict=True):
        inside = (rows >= start) & (rows < start + part.size)
        own = np.where(inside, rows - start, -1)
        ends.append(End(name, axis, dual, heads, group.size, own, part.size))
        start += part.size
    return Leg(tuple(ends), dual, power)


def _rows_of_labels(name: str, labels: np.ndarray, heads: int, group: Group) -> np.ndarray:
    if labels.ndim != 1 or not np.issubdtype(labels.dtype, np.integer):
        raise TypeError(f"labels of {name!r} must be a 1-D integer array")
    count = heads * group.size
    if labels.size == 0 or labels.min() < -1 or labels.max() >= count:
        raise ValueError(f"labels of {name!r} must lie in -1 ... {count - 1}")
    sizes = np.bincount(labels[labels >= 0], minlength=count)
    scales = isinstance(group, Rescaling | WeightedRescaling)
    if not scales and len(set(sizes.tolist())) > 1:
        raise ValueError(f"labels of {name!r}: {group} needs every component equally often")
    rows = np.full((count, max(sizes.max(), 1)), -1)
    order = np.argsort(labels, kind="stable")[np.sum(labels < 0) :]
    starts = np.cumsum(sizes) - sizes
    rows[labels[order], np.arange(len(order)) - starts[labels[order]]] = order
    return rows.reshape(heads, group.size, -1)
