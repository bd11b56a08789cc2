"""Finding the symmetries of a predictor that one only has as a function."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from symbias._core.arrays import as_shape
from symbias._core.refusal import Refused
from symbias.symmetry.bonds import Bond, Symmetry
from symbias.symmetry.discovery.blocks import joined, within
from symbias.symmetry.discovery.draws import Draws, TracedDraws
from symbias.symmetry.discovery.equations import (
    Entries,
    Numpy,
    Shapes,
    Unknowns,
)
from symbias.symmetry.discovery.naming import (
    Named,
    left_of,
    name_linear,
    named_apart,
    without_false_reflections,
)
from symbias.symmetry.discovery.shifts import name_shifts
from symbias.symmetry.discovery.spaces import null_of, shifts_of, trivial_part
from symbias.symmetry.discovery.whole import embedded, seen_part, whole_algebra

MOST_UNKNOWNS = 3_000  # on axes; the cost is their cube
NEVER = ("maps that are not linear in the parameters", "discrete maps: permutations, signs")


@dataclass(frozen=True)
class Discovery:
    """What :func:`discover` found.

    Attributes
    ----------
    symmetry
        The named bonds: groups of matrices and scales, and translations.
    dim
        Independent directions found, without what merely scales one axis of an array against
        another. Smaller than ``symmetry.dim`` where bonds overlap, as in a ring.
    dead
        Arrays the predictor does not depend on.
    affine
        Names of bonds that shift other arrays, such as what a mean subtraction removes.
    unnamed
        Generators that fit no known group: matrices by the array that is moved and the one that
        moves it; by array and axis where only axes were searched.
    unnamed_shifts
        Shifts that fit no known pattern, by array name.
    not_searched
        Where symmetries were not looked for, in words.
    """

    symmetry: Symmetry
    dim: int
    dead: tuple[str, ...]
    affine: tuple[str, ...]
    unnamed: tuple[Mapping[tuple[str, Any], Numpy], ...]
    unnamed_shifts: tuple[Mapping[str, Numpy], ...]
    not_searched: tuple[str, ...] = NEVER

    def __repr__(self) -> str:
        lines = [f"Discovery of {self.dim} directions: {self.symmetry!r}"]
        if self.dead:
            lines.append(f"dead: {', '.join(self.dead)}")
        if self.unnamed or self.unnamed_shifts:
            lines.append(f"without a name: {len(self.unnamed) + len(self.unnamed_shifts)}")
        return "\n".join([*lines, f"not searched: {'; '.join(self.not_searched)}"])


def discover(
    predict: Callable[[Any, Any], Any],
    shapes: Mapping[str, int | tuple[int, ...]],
    inputs: Any,
    seed: int = 0,
) -> Discovery:
    """Find all linear symmetries of a prediction function, and name their groups.

    Puts an unknown matrix ``A`` on every axis of every array and asks that the predictor does not
    change, ``df(theta, x)[A theta] = 0``, at more random ``theta`` than the longest axis, and for
    fresh ones again. Shifts ``df(theta, x)[c] = 0`` are found the same way. What is left without
    the trivial part, which scales one axis of an array against another, is split into bonds. Then
    one unknown matrix over all parameters finds what acts between arrays, or entry by entry.

    Parameters
    ----------
    predict
        ``predict(params, inputs)``, traceable by JAX, returns one array. It runs in float64.
    shapes
        Array name to shape, or to the length of a vector.
    inputs
        Handed to ``predict``: several random ones. What holds at these inputs only is found too.
    seed
        Of the random parameters.

    Returns
    -------
    Discovery
        With ``.symmetry``, and what was ``.not_searched``. Of a chain of scales ``u v w`` any
        pairs that span it may be named.

    Raises
    ------
    Refused
        If axes alone have more than 3,000 unknowns: take a smaller copy.
    ValueError
        If the predictor is random, asks for an array that is not in ``shapes``, or has a derivative
        that is not finite at random parameters.

    Notes
    -----
    For ``U = sum of n^2`` over all axes the search on axes costs ``O(U^3)`` time and ``O(U^2)``
    memory, that between arrays the same with ``U = P k``, for ``P`` parameters and orbits of
    dimension ``k``, up to 3,500 (ten seconds) and 250 parameters; beyond, the result says so.
    Meant for small copies of an architecture, whose symmetries are those of the large one.
    """
    if not isinstance(shapes, Mapping):
        raise TypeError(f"shapes takes a dict of array names to shapes, got {shapes!r}")
    if not shapes:
        raise ValueError("shapes is empty: there is nothing to move")
    whole = {name: as_shape(shape, f"the shape of {name!r}") for name, shape in shapes.items()}
    if (count := Unknowns(whole).count) > MOST_UNKNOWNS:
        raise Refused(
            f"discovery would have {count} unknowns, at most {MOST_UNKNOWNS} are searched; take "
            "the same function with smaller arrays"
        )
    return search(TracedDraws(predict, whole, inputs, seed))


def search(draws: Draws, *, between: bool = True) -> Discovery:
    """All linear symmetries of the predictor behind ``draws``; see `discover`.

    Without ``between``, on axes alone: maps from one array to another are not looked for.
    """
    shapes = draws.shapes
    shifts = shifts_of(draws)
    shift_bonds, dead, other_shifts = name_shifts(shapes, shifts)
    unknowns = Unknowns({k: v for k, v in shapes.items() if k not in dead})
    if not unknowns.shapes:
        return Discovery(Symmetry(shift_bonds), shifts.shape[1], dead, (), (), other_shifts)

    found = null_of(draws, unknowns)
    trivial = trivial_part(unknowns, found, shapes, shifts, draws.rng)
    named = name_linear(unknowns, found, trivial)
    dim = found.shape[1] - trivial.shape[1]
    missed: tuple[str, ...] = NEVER
    seen = seen_part(shifts)
    algebra = whole_algebra(draws, seen) if between else "not asked for"
    if isinstance(algebra, str):
        missed = (f"maps between arrays, and entry by entry: {algebra}", *NEVER)
        left = left_of(found, trivial, *(columns for _, columns in named))
        unnamed = [_matrices(unknowns, column) for column in left.T]
    else:
        dim = algebra.shape[1]
        known = [(bond, embedded(unknowns, c, shapes, seen)) for bond, c in named]
        named = _with_entries(Entries(shapes), algebra, known)
        left = left_of(algebra, *(columns for _, columns in named))
        unnamed = [_maps(shapes, column) for column in left.T]
    affine = tuple(bond.name for bond in shift_bonds if not set(bond.arrays) <= set(dead))
    bonds = [without_false_reflections(bond, draws) for bond, _ in named]
    return Discovery(
        Symmetry(named_apart([*bonds, *shift_bonds])),
        dim + shifts.shape[1],
        dead,
        affine,
        tuple(unnamed),
        other_shifts,
        missed,
    )


def search_shifts(draws: Draws) -> tuple[list[Bond], int, int]:
    """Bonds for the shifts alone; how many independent ones there are, and how many unnamed."""
    shifts = shifts_of(draws)
    bonds, _, unnamed = name_shifts(draws.shapes, shifts)
    return bonds, shifts.shape[1], len(unnamed)


def _with_entries(entries: Entries, algebra: Numpy, known: list[Named]) -> list[Named]:
    """The bonds on axes and those that reach further, which take the place of what they contain."""
    span = joined(np.zeros((entries.count, 0)), *(columns for _, columns in known))
    if within(span, algebra):
        return known
    found = name_linear(entries, algebra, np.zeros((entries.count, 0)))
    further = [pair for pair in found if not within(span, pair[1])]
    reach = joined(np.zeros((entries.count, 0)), *(columns for _, columns in further))
    return [*(pair for pair in known if not within(reach, pair[1])), *further]


def _matrices(unknowns: Unknowns, column: Numpy) -> dict[tuple[str, Any], Numpy]:
    """A generator as its matrices, without those that vanish."""
    sizes = [n * n for n, _ in unknowns.axes.values()]
    pieces = np.split(column, np.cumsum(sizes)[:-1])
    parts = zip(unknowns.axes.items(), pieces, strict=True)
    return {axis: p.reshape(n, n) for (axis, (n, _)), p in parts if np.abs(p).max() > 1e-7}


def _maps(shapes: Shapes, column: Numpy) -> dict[tuple[str, Any], Numpy]:
    """A generator as its maps between arrays, without those that vanish."""
    sizes = [int(np.prod(shape)) for shape in shapes.values()]
    ends = np.cumsum(sizes)[:-1]
    rows = np.split(column.reshape(sum(sizes), -1), ends)
    parts = {
        (name, other): block
        for name, row in zip(shapes, rows, strict=True)
        for other, block in zip(shapes, np.split(row, ends, axis=1), strict=True)
    }
    return {key: block for key, block in parts.items() if np.abs(block).max(initial=0) > 1e-7}
