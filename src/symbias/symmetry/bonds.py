"""Bonds: a hidden dimension shared by some arrays, and the group that acts on it.

A group element ``g`` multiplies an axis of some arrays by ``g`` (vector ends) and an axis of
others by ``g^-T`` (covector ends), as on the bond of a tensor network, so contractions over the
bond do not change. Every end unfolds its array to one block of shape ``(heads, r, rest)``.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from math import prod
from typing import Any

import numpy as np

from symbias._arrays import Array, Params, constant, namespace
from symbias.symmetry.groups import Group, Rescaling

EndSpec = tuple[str, int | None] | tuple[str, int | None, Any]


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

    def entries(self, length: int) -> np.ndarray:
        """The entries of an axis of this length that belong to the bond."""
        return np.arange(length) if self.rows is None else np.unique(self.rows[self.rows >= 0])

    def check(self, params: Params, bond: "Bond") -> None:
        """Raise unless the array is there, floating, and its axis fits the group."""
        if self.name not in params:
            raise ValueError(f"bond {bond.name!r}: no array {self.name!r} among {sorted(params)}")
        array = params[self.name]
        xp = namespace({self.name: array})
        where = f"bond {bond.name!r}: array {self.name!r} of shape {tuple(array.shape)}"
        if not xp.isdtype(array.dtype, "real floating"):
            raise TypeError(f"{where} must hold real floating numbers, got {array.dtype}")
        if self.axis is not None and self.axis >= array.ndim:
            raise ValueError(f"{where} has no axis {self.axis}")
        length = prod(array.shape) if self.axis is None else array.shape[self.axis]
        what = "entries" if self.axis is None else f"entries along axis {self.axis}"
        per_head, group = self.heads * self.size, bond.group
        if self.rows is not None:
            if length != self.length:
                raise ValueError(f"{where} has {length} {what} for {self.length} labels")
        elif bond.heads is None and not group.tied and length != per_head:
            raise ValueError(f"{where} has {length} {what}; {group} needs {per_head}")
        elif length == 0 or length % per_head:
            raise ValueError(
                f"{where} has {length} {what}; {group} with {self.heads} heads needs a multiple "
                f"of {per_head}"
            )


@dataclass(frozen=True, eq=False)
class Bond:
    """A group and the arrays it acts on.

    Parameters
    ----------
    group
        ``GeneralLinear(r)``, ``Rescaling(r)``, ``Orthogonal(r)``, ``ComplexScaling(r)``,
        ``UniformScale()`` or ``Translation(r)``.
    vectors, covectors
        The ends, ``(array name, axis)`` each. ``axis=None`` takes the whole array, flattened.
        A third entry gives integer labels of the axis' length: entry ``i`` is component
        ``labels[i]`` of the group (of ``heads * r``), -1 leaves it outside the bond. Components
        may own several entries; for groups other than ``Rescaling`` all the same number.
    heads
        Independent copies of the group along the axis, one after the other. An axis of
        ``heads * c * r`` entries holds ``c`` copies of each head side by side, as query heads
        that share a key head do. None is one copy, and the axis has length ``r``.
    name
        Key of this bond in results; made from the array names if not given.

    Raises
    ------
    ValueError, TypeError
        Where a bond has no ends, or an end is malformed.

    Examples
    --------
    >>> Bond(GeneralLinear(64), vectors=[("q", 0)], covectors=[("k", 0)], heads=8).dim
    32768
    """

    group: Group
    vectors: Sequence[EndSpec] = ()
    covectors: Sequence[EndSpec] = ()
    heads: int | None = None
    name: str = ""
    ends: tuple[End, ...] = field(init=False, repr=False)

    def __post_init__(self) -> None:
        if not isinstance(self.group, Group):
            raise TypeError(f"a bond needs a group such as GeneralLinear(8), got {self.group!r}")
        if self.heads is not None and (not isinstance(self.heads, int) or self.heads < 1):
            raise ValueError(f"heads must be a positive integer or None, got {self.heads!r}")
        if not self.vectors and not self.covectors:
            raise ValueError(f"bond {self.name!r} over {self.group} has no ends")
        ends = tuple(
            self._end(spec, dual)
            for specs, dual in ((self.vectors, False), (self.covectors, True))
            for spec in specs
        )
        object.__setattr__(self, "ends", ends)
        if not self.name:
            sides = ([e.name for e in ends if e.dual is dual] for dual in (False, True))
            object.__setattr__(self, "name", "|".join("+".join(dict.fromkeys(s)) for s in sides))

    def _end(self, spec: EndSpec, dual: bool) -> End:
        if not isinstance(spec, tuple) or len(spec) not in (2, 3) or not isinstance(spec[0], str):
            raise TypeError(f"an end is (array name, axis) or (name, axis, labels), got {spec!r}")
        name, axis = spec[:2]
        if axis is not None and (isinstance(axis, bool) or not isinstance(axis, int) or axis < 0):
            raise ValueError(f"axis of {name!r} must be a non-negative integer or None: {axis!r}")
        heads, size = self.heads or 1, self.group.size
        if len(spec) == 2:
            return End(name, axis, dual, heads, size)
        labels = np.asarray(spec[2])
        rows = _rows_of_labels(name, labels, heads, self.group)
        return End(name, axis, dual, heads, size, rows, labels.size)

    @property
    def dim(self) -> int:
        """Dimension of the Lie algebra, all heads together."""
        return (self.heads or 1) * self.group.dim

    @property
    def element_shape(self) -> tuple[int, ...]:
        """Shape of a group element in :func:`act`."""
        return (self.heads or 1, *self.group.element_shape)

    @property
    def arrays(self) -> tuple[str, ...]:
        """Names of the arrays the bond acts on, each once."""
        return tuple(dict.fromkeys(end.name for end in self.ends))

    @property
    def loops(self) -> bool:
        """Whether the bond acts twice on one array, so that its own ends are coupled."""
        return any(
            _meet(e, f) for i, e in enumerate(self.ends) for f in self.ends[:i] if e.name == f.name
        )

    def blocks(self, xp: Any, params: Params) -> tuple[Array, Array]:
        """The stacked vector ends and the stacked covector ends, ``(heads, r, rest)`` each."""
        stacks: list[Array] = []
        for dual in (False, True):
            parts = [e.unfold(xp, params[e.name]) for e in self.ends if e.dual is dual]
            if not parts:
                like = params[self.ends[0].name]
                empty = np.zeros((self.heads or 1, self.group.size, 0))
                parts = [constant(empty, like)]
            stacks.append(parts[0] if len(parts) == 1 else xp.concat(parts, axis=-1))
        return stacks[0], stacks[1]


def _rows_of_labels(name: str, labels: np.ndarray, heads: int, group: Group) -> np.ndarray:
    if labels.ndim != 1 or not np.issubdtype(labels.dtype, np.integer):
        raise TypeError(f"labels of {name!r} must be a 1-D integer array")
    count = heads * group.size
    if labels.size == 0 or labels.min() < -1 or labels.max() >= count:
        raise ValueError(f"labels of {name!r} must lie in -1 ... {count - 1}")
    sizes = np.bincount(labels[labels >= 0], minlength=count)
    if not isinstance(group, Rescaling) and len(set(sizes.tolist())) > 1:
        raise ValueError(f"labels of {name!r}: {group} needs every component equally often")
    rows = np.full((count, max(sizes.max(), 1)), -1)
    order = np.argsort(labels, kind="stable")[np.sum(labels < 0) :]
    starts = np.cumsum(sizes) - sizes
    rows[labels[order], np.arange(len(order)) - starts[labels[order]]] = order
    return rows.reshape(heads, group.size, -1)


class Symmetry:
    """Several bonds of one parameter dict; bonds that share an array are coupled.

    Parameters
    ----------
    bonds
        The bonds. Their names must differ.
    """

    def __init__(self, bonds: Iterable[Bond]) -> None:
        self.bonds = tuple(bonds)
        names: dict[str, Bond] = {}
        for bond in self.bonds:
            if not isinstance(bond, Bond):
                raise TypeError(f"a Symmetry is made of bonds, got {bond!r}")
            if bond.name in names:
                raise ValueError(f"two bonds are named {bond.name!r}; give them different names")
            names[bond.name] = bond

    def __iter__(self) -> Iterator[Bond]:
        return iter(self.bonds)

    def __repr__(self) -> str:
        rows = [f"  {b.name}: {b.group} x {b.heads or 1}" for b in self.bonds]
        return "\n".join(["Symmetry(", *rows, ")"])

    @property
    def dim(self) -> int:
        """Dimension of the Lie algebra, all bonds together."""
        return sum(bond.dim for bond in self.bonds)

    @property
    def arrays(self) -> tuple[str, ...]:
        """Names of all arrays that some bond acts on, each once."""
        return tuple(dict.fromkeys(name for bond in self.bonds for name in bond.arrays))

    def check(self, params: Params) -> Any:
        """Check names, axes, sizes and dtypes, and return the namespace of the arrays.

        Raises
        ------
        ValueError, TypeError
            With the bond, the array and what was expected.
        """
        for bond in self.bonds:
            for end in bond.ends:
                end.check(params, bond)
        return namespace({name: params[name] for name in self.arrays} or params)

    @cached_property
    def components(self) -> tuple[tuple[Bond, ...], ...]:
        """The bonds, grouped so that bonds of different groups share no array."""
        groups: list[list[Bond]] = []
        for bond in self.bonds:
            joined = [g for g in groups if any(_touch(bond, other) for other in g)]
            groups = [g for g in groups if g not in joined]
            groups.append([b for g in joined for b in g] + [bond])
        order = {bond: i for i, bond in enumerate(self.bonds)}
        groups = [sorted(g, key=order.__getitem__) for g in groups]
        return tuple(tuple(g) for g in sorted(groups, key=lambda g: order[g[0]]))


def _touch(a: Bond, b: Bond) -> bool:
    """Whether two bonds act on common entries of an array, so that they may be coupled."""
    return any(_meet(e, f) for e in a.ends for f in b.ends if e.name == f.name)


def _meet(e: End, f: End) -> bool:
    if e.axis != f.axis or e.rows is None or f.rows is None or e.length != f.length:
        return True
    return bool(np.intersect1d(e.entries(e.length or 0), f.entries(f.length or 0)).size)
