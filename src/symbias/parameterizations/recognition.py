"""Closed forms of a homogeneous penalty, recognised by a numerical test."""

import math
from collections.abc import Callable

import numpy as np

from symbias._core.arrays import Shape
from symbias.penalties import Entries, Groups, Piece, Power, SingularValues, Sizes

TESTS = 4
AGREEMENT = 1e-6


def recognise(
    shape: Shape, value: Callable[[np.ndarray], float], degree: float | None
) -> Piece | None:
    """A sum of powers of sizes that agrees with ``value`` at random w, or None.

    Where w is homogeneous of a degree L in theta the least norm is homogeneous of degree 2 / L in
    w. Entries, groups (all of w, rows, columns) and singular values are tried; the coefficient is
    that of one w, and four others, with zeros and of other sizes, must agree to 1e-6.
    """
    if degree is None or not math.prod(shape):
        return None
    rng = np.random.default_rng(3)
    first, *rest = _points(rng, shape)
    try:
        known = value(first)
        values = [value(w) for w in rest]
    except ValueError:  # not every w is reached
        return None
    exponent = _rounded(2 / degree)
    for sizes in _candidates(shape):
        unit = Piece(sizes, Power(exponent))
        coefficient = _rounded(known / unit.cost(first))
        piece = Piece(sizes, Power(exponent, coefficient))
        found = [piece.cost(w) for w in (first, *rest)]
        if np.allclose(found, [known, *values], rtol=AGREEMENT, atol=AGREEMENT):
            return piece
    return None


def _points(rng: np.random.Generator, shape: Shape) -> list[np.ndarray]:
    points = [rng.normal(size=shape) for _ in range(TESTS + 1)]
    points[1] = points[1] * (rng.random(shape) < 0.5)
    points[2] = 3 * points[2]
    return points


def _candidates(shape: Shape) -> list[Sizes]:
    size = math.prod(shape)
    found: list[Sizes] = [Entries(shape), Groups(np.zeros(shape, dtype=int))]
    if len(shape) == 2:
        index = np.arange(size).reshape(shape)
        found += [Groups(index // shape[1]), Groups(index % shape[1]), SingularValues(shape)]
    return found


def _rounded(value: float) -> float:
    """The nearest fraction with a small denominator, where it is that close."""
    for denominator in range(1, 13):
        near = round(value * denominator) / denominator
        if near and abs(near - value) <= 0.1 * AGREEMENT * abs(value):
            return near
    return value
