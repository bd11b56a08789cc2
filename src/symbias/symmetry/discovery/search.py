"""Finding the symmetries of a predictor that one only has as a function."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from symbias.symmetry.bonds import Bond, Symmetry
from symbias.symmetry.discovery.equations import (
    Draws,
    Numpy,
    Shapes,
    Unknowns,
    confirmed,
    normalised,
    null_space,
)
from symbias.symmetry.discovery.naming import name_linear, span_without
from symbias.symmetry.discovery.shifts import name_shifts


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
        Generators that fit no known group: matrices by array name and axis.
    unnamed_shifts
        Shifts that fit no known pattern, by array name.
    """

    symmetry: Symmetry
    dim: int
    dead: tuple[str, ...]
    affine: tuple[str, ...]
    unnamed: tuple[Mapping[tuple[str, int], Numpy], ...]
    unnamed_shifts: tuple[Mapping[str, Numpy], ...]


def discover(
    predict: Callable[[Any, Any], Any], shapes: Shapes, inputs: Any, seed: int = 0
) -> Discovery:
    """Find all linear symmetries of a prediction function, and name their groups.

    Puts an unknown matrix ``A`` on every axis of every array and asks that the predictor does not
    change, ``df(theta, x)[A theta] = 0``, at more random ``theta`` than the longest axis, and for
    fresh ones again. Shifts ``df(theta, x)[c] = 0`` are found the same way. What is left without
    the trivial part, which scales one axis of an array against another, is split into bonds.

    Parameters
    ----------
    predict
        ``predict(params, inputs)``, traceable by JAX, returns one array. It runs in float64.
    shapes
        Array name to shape.
    inputs
        Handed to ``predict``: several random ones. What holds at these inputs only is found too.
    seed
        Of the random parameters.

    Returns
    -------
    Discovery
        With ``.symmetry``. Of a chain of scales ``u v w`` any pairs that span it may be named.

    Raises
    ------
    ValueError
        If the predictor's derivative is not finite at random parameters.

    Notes
    -----
    For ``U = sum of n^2`` over all axes this costs ``O(U^3)`` time and ``O(U^2)`` memory: meant for
    small copies of an architecture, whose symmetries are those of the large one.
    """
    if not shapes:
        raise ValueError("shapes is empty: there is nothing to move")
    draws = Draws(predict, shapes, inputs, seed)
    shapes = {name: tuple(shape) for name, shape in shapes.items()}
    longest = max((n for shape in shapes.values() for n in shape), default=1)

    shifts = _shifts(draws, shapes, longest)
    shift_bonds, dead, other_shifts = name_shifts(shapes, shifts)
    unknowns = Unknowns({k: v for k, v in shapes.items() if k not in dead})
    if not unknowns.shapes:
        return Discovery(Symmetry(shift_bonds), shifts.shape[1], dead, (), (), other_shifts)

    found = _null(draws, unknowns, longest)
    trivial = confirmed(found, _trivial_equations(unknowns, shapes, shifts, draws.rng, longest))
    bonds = name_linear(unknowns, found, trivial)
    left = span_without(unknowns, found, trivial, bonds)
    affine = tuple(bond.name for bond in shift_bonds if not set(bond.arrays) <= set(dead))
    return Discovery(
        Symmetry(_named_apart([*bonds, *shift_bonds])),
        found.shape[1] - trivial.shape[1] + shifts.shape[1],
        dead,
        affine,
        tuple(_matrices(unknowns, column) for column in left.T),
        other_shifts,
    )


def _named_apart(bonds: list[Bond]) -> list[Bond]:
    seen: dict[str, int] = {}
    result = []
    for bond in bonds:
        seen[bond.name] = seen.get(bond.name, 0) + 1
        again = f"{bond.name} {seen[bond.name]}"
        result.append(bond if seen[bond.name] == 1 else replace(bond, name=again))
    return result


def _null(draws: Draws, unknowns: Unknowns, longest: int) -> Numpy:
    """Null space of the equations, confirmed on held-out parameters."""
    rows = np.zeros((0, unknowns.count))
    count = max(2 * longest + 8, -(-2 * unknowns.count // draws.outputs))
    for gradients, params in draws.take(count):
        rows = np.concatenate([rows, unknowns.rows(gradients, params)])
        if len(rows) > 4 * unknowns.count:
            rows = np.asarray(np.linalg.qr(rows, mode="r"))
    basis = null_space(rows, 1e-9)
    fresh = [unknowns.rows(*pair) for pair in draws.take(longest + 8)]
    return confirmed(basis, np.concatenate(fresh))


def _shifts(draws: Draws, shapes: Shapes, longest: int) -> Numpy:
    """Directions of parameter space along which the predictor never changes, as columns."""
    size = sum(int(np.prod(shape)) for shape in shapes.values())

    def rows(count: int) -> Numpy:
        blocks = []
        for gradients, _ in draws.take(count):
            flat = [gradients[name].reshape(len(gradients[name]), -1) for name in shapes]
            blocks.append(normalised(np.concatenate(flat, axis=1)))
        return np.concatenate(blocks)

    basis = null_space(rows(max(longest, -(-2 * size // draws.outputs))), 1e-9)
    return confirmed(basis, rows(longest + 8))


def _trivial_equations(
    unknowns: Unknowns, shapes: Shapes, shifts: Numpy, rng: np.random.Generator, longest: int
) -> Numpy:
    """The equations for moving nothing at all, or only along shifts."""
    count = max(2 * unknowns.count, 2 * longest)
    size = sum(int(np.prod(shape)) for shape in shapes.values())
    probes = rng.standard_normal((count, size))
    probes -= (probes @ shifts) @ shifts.T
    gradients, start = {}, 0
    for name, shape in shapes.items():
        width = int(np.prod(shape))
        gradients[name] = probes[:, start : start + width].reshape(count, *shape)
        start += width
    params = {k: rng.standard_normal((count, *shape)) for k, shape in unknowns.shapes.items()}
    return unknowns.rows(gradients, params)


def _matrices(unknowns: Unknowns, column: Numpy) -> dict[tuple[str, int], Numpy]:
    """A generator as its matrices, without those that vanish."""
    parts = {
        axis: column[start : start + n * n].reshape(n, n)
        for axis, (n, start) in unknowns.axes.items()
    }
    return {axis: a for axis, a in parts.items() if np.abs(a).max() > 1e-7}
