"""Bonds: a hidden dimension shared by some arrays, and the group that acts on it.

A group element ``g`` multiplies an axis of some arrays by ``g`` (vector ends) and an axis of
others by ``g^-T`` (covector ends), as on the bond of a tensor network, so contractions over the
bond do not change. Every end unfolds its array to one block of shape ``(heads, r, rest)``.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np

from symbias._core.arrays import Array, Params, check_dict, constant, namespace
from symbias._core.numbers import is_whole
from symbias.symmetry.ends import End, EndSpec, Leg, read_leg
from symbias.symmetry.groups import Group


@dataclass(frozen=True, eq=False)
class Bond:
    """A group and the arrays it acts on.

    Parameters
    ----------
    group
        ``GeneralLinear(r)``, ``Rescaling(r)``, ``WeightedRescaling(r, weights)``,
        ``Orthogonal(r)``, ``IndefiniteOrthogonal(p, q)``, ``ComplexScaling(r)``,
        ``UniformScale()`` or ``Translation(r)``.
    vectors, covectors
        The ends, ``(array name, axis)`` each. ``axis=None`` takes the whole array, flattened.
        A third entry gives integer labels of the axis' length: entry ``i`` is component
        ``labels[i]`` of the group (of ``heads * r``), -1 leaves it outside the bond. Components
        may own several entries; for groups other than ``Rescaling`` all the same number. Memory
        grows with the size of the group times the most entries of one component. A tuple of
        names, with labels for each, is one end whose components lie in several arrays.
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
    legs: tuple[Leg, ...] = field(init=False, repr=False)
    ends: tuple[End, ...] = field(init=False, repr=False)

    def __post_init__(self) -> None:
        if not isinstance(self.group, Group):
            raise TypeError(f"a bond needs a group such as GeneralLinear(8), got {self.group!r}")
        if self.heads is not None and (not is_whole(self.heads) or self.heads < 1):
            raise ValueError(f"heads must be a positive integer or None, got {self.heads!r}")
        if not self.vectors and not self.covectors:
            raise ValueError(f"bond {self.name!r} over {self.group} has no ends")
        sides = [(spec, False) for spec in self.vectors] + [(spec, True) for spec in self.covectors]
        legs = tuple(
            read_leg(spec, dual, self.group, self.heads or 1, power)
            for (spec, dual), power in zip(sides, self.group.powers(len(sides)), strict=True)
        )
        ends = tuple(end for leg in legs for end in leg.ends)
        for i, end in enumerate(ends):
            if any(end.meets(e) for e in ends[:i] if (e.name, e.axis) == (end.name, end.axis)):
                place = "the whole array" if end.axis is None else f"axis {end.axis}"
                raise ValueError(f"bond {self.name!r} acts twice on {place} of {end.name!r}")
        object.__setattr__(self, "legs", legs)
        object.__setattr__(self, "ends", ends)
        if not self.name:
            named = ([e.name for e in ends if e.dual is dual] for dual in (False, True))
            object.__setattr__(self, "name", "|".join("+".join(dict.fromkeys(n)) for n in named))

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
            end.name == other.name and end.meets(other)
            for i, end in enumerate(self.ends)
            for other in self.ends[:i]
        )

    def blocks(self, xp: Any, params: Params) -> tuple[Array, Array]:
        """The stacked vector ends and the stacked covector ends, ``(heads, r, rest)`` each."""
        stacks: list[Array] = []
        for dual in (False, True):
            parts = [leg.read(xp, params) for leg in self.legs if leg.dual is dual]
            empty = np.zeros((self.heads or 1, self.group.size, 0))
            none = constant(empty, params[self.ends[0].name])
            stacks.append(self.group.stack(xp, parts) if parts else none)
        return stacks[0], stacks[1]

    def renamed(self, rename: Callable[[str], str]) -> "Bond":
        """The same bond on arrays of other names; its own name changes alike."""

        def spec(end: EndSpec) -> Any:
            names = end[0]
            new = rename(names) if isinstance(names, str) else tuple(map(rename, names))
            return (new, *end[1:])

        left, right = ([spec(end) for end in side] for side in (self.vectors, self.covectors))
        return Bond(self.group, left, right, heads=self.heads, name=rename(self.name))

    def moved(self, xp: Any, pair: Sequence[Array], params: Params) -> dict[str, Array]:
        """All parameters after an element: vector legs by ``pair[0]``, covector by ``pair[1]``."""
        result = dict(params)
        for leg in self.legs:
            result.update(leg.moved(xp, self.group, pair, result))
        return result


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
        check_dict(params)
        for bond in self.bonds:
            for leg in bond.legs:
                leg.check(params, bond.name, bond.group, bond.heads)
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
    return any(e.name == f.name and e.meets(f) for e in a.ends for f in b.ends)
