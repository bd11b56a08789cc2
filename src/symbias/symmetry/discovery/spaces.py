"""Spaces of motions that a predictor does not notice, from its equations at random draws."""

from collections.abc import Callable, Mapping

import numpy as np

from symbias.symmetry.discovery.draws import Draws
from symbias.symmetry.discovery.equations import (
    Numpy,
    Shapes,
    Unknowns,
    confirmed,
    held_out,
    large_null_space,
    normalised,
)

Rows = Callable[[Mapping[str, Numpy], Mapping[str, Numpy]], Numpy]


def longest_axis(shapes: Shapes) -> int:
    return max((n for shape in shapes.values() for n in shape), default=1)


def null_of(draws: Draws, unknowns: Unknowns) -> Numpy:
    """Null space of the equations, confirmed on held-out parameters."""
    longest = longest_axis(draws.shapes)
    count = max(2 * longest + 8, -(-5 * unknowns.count // (4 * draws.outputs)))
    return _null_space(draws, unknowns.rows, count)


def _null_space(draws: Draws, rows: Rows, count: int) -> Numpy:
    """What all equations of ``count`` draws, and then of fresh ones, send to zero."""
    stacked, done = np.zeros((0, 0)), 0
    for pair in draws.take(count):
        block = rows(*pair)
        if not done:
            stacked = np.empty((-(-count // draws.BLOCK) * len(block), block.shape[1]))
        stacked[done : done + len(block)] = block
        done += len(block)
    basis = large_null_space(stacked)
    del stacked
    return held_out(basis, (rows(*pair) for pair in draws.batches()))


def shifts_of(draws: Draws) -> Numpy:
    """Directions of parameter space along which the predictor never changes, as columns."""
    shapes = draws.shapes
    size = sum(int(np.prod(shape)) for shape in shapes.values())

    def rows(gradients: Mapping[str, Numpy], _: Mapping[str, Numpy]) -> Numpy:
        flat = [gradients[name].reshape(len(gradients[name]), -1) for name in shapes]
        return normalised(np.concatenate(flat, axis=1))

    return _null_space(draws, rows, max(longest_axis(shapes), -(-2 * size // draws.outputs)))


def trivial_part(
    unknowns: Unknowns, found: Numpy, shapes: Shapes, shifts: Numpy, rng: np.random.Generator
) -> Numpy:
    """The part of a space that moves nothing at all, or only along shifts."""
    count = 2 * max(found.shape[1], longest_axis(shapes)) + 8
    return confirmed(found, _trivial_equations(unknowns, shapes, shifts, rng, count))


def _trivial_equations(
    unknowns: Unknowns, shapes: Shapes, shifts: Numpy, rng: np.random.Generator, count: int
) -> Numpy:
    """``count`` equations for moving nothing at all, or only along shifts."""
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
