"""All linear symmetries of a predictor: one unknown matrix over all of its parameters.

At random parameters a generator moves along the kernel of the Jacobian, of some dimension k. So at
n draws that span the space it is fixed by k numbers each, and n k unknowns are left of n^2. Fresh
draws give their equations, and others confirm.
"""

from collections.abc import Iterator

import numpy as np
import scipy

from symbias.symmetry.discovery import equations
from symbias.symmetry.discovery.blocks import joined
from symbias.symmetry.discovery.draws import Draws
from symbias.symmetry.discovery.equations import (
    Numpy,
    Unknowns,
    confirmed,
    held_out,
    large_null_space,
    normalised,
)

MOST_UNKNOWNS = 3_500
MOST_PARAMETERS = 250


def seen_part(shifts: Numpy) -> Numpy:
    """Orthonormal columns for what shifts leave of the parameters: entries where they can be."""
    moved = np.linalg.norm(shifts, axis=1) > 1e-7
    eye = np.eye(len(shifts))
    rest = scipy.linalg.null_space(shifts[moved].T) if moved.any() else np.zeros((0, 0))
    return np.concatenate([eye[:, ~moved], eye[:, moved] @ rest], axis=1)


def whole_algebra(draws: Draws, seen: Numpy) -> Numpy | str:
    """Orthonormal columns that span all generators, matrices over all entries, flattened.

    ``O((n k)^3)`` time and ``O((n k)^2)`` memory. Beyond the budget the reason, as a sentence.
    """
    size, n = seen.shape
    if n > MOST_PARAMETERS:
        return f"{n} parameters, at most {MOST_PARAMETERS} are searched"
    drawn = [(theta, kernel) for theta, _, kernel in _jacobians(draws, seen, n + draws.BLOCK)]
    points, kernels = zip(*sorted(drawn, key=lambda pair: pair[1].shape[1])[:n], strict=True)
    if (count := sum(kernel.shape[1] for kernel in kernels)) > MOST_UNKNOWNS:
        return f"{count} unknowns, at most {MOST_UNKNOWNS} are searched"
    inverse = np.linalg.inv(np.stack(points, axis=1))
    if not count:
        return np.zeros((size**2, 0))
    ranks = n - kernels[0].shape[1]
    found = []
    for theta, rows, _ in _jacobians(draws, seen, 8 + -(-5 * count // (4 * max(ranks, 1)))):
        shares = inverse @ theta
        shares /= np.linalg.norm(shares)
        parts = [rows @ kernel * share for kernel, share in zip(kernels, shares, strict=True)]
        found.append(np.concatenate(parts, axis=1))
    basis = confirmed(large_null_space(rows := np.concatenate(found)), rows, 1e-8)
    ends = np.cumsum([kernel.shape[1] for kernel in kernels])[:-1]
    maps = []
    for column in basis.T:
        moves = zip(kernels, np.split(column, ends), strict=True)
        maps.append((np.stack([kernel @ c for kernel, c in moves], axis=1) @ inverse).reshape(-1))
    if not maps:
        return np.zeros((size**2, 0))
    algebra = joined(np.stack(maps, axis=1))
    algebra = held_out(algebra, _equations(draws, seen))
    lifted = seen @ np.moveaxis(algebra.reshape(n, n, -1), 2, 0) @ seen.T
    return np.moveaxis(lifted, 0, 2).reshape(size**2, -1)


def _equations(draws: Draws, seen: Numpy) -> Iterator[Numpy]:
    """What a matrix must satisfy, ``df(theta)[A theta] = 0``, a block of draws at a time."""
    while True:
        fresh = _jacobians(draws, seen, draws.BLOCK)
        yield np.concatenate([(r[:, :, None] * t).reshape(len(r), t.size**2) for t, r, _ in fresh])


def _jacobians(draws: Draws, seen: Numpy, count: int) -> Iterator[tuple[Numpy, Numpy, Numpy]]:
    """Random parameters, and the row space (as rows) and the kernel of the Jacobian there."""
    given = 0
    for gradients, params in draws.take(count):
        jacobians, points = (
            np.concatenate([part[k].reshape(len(part[k]), -1) for k in draws.shapes], axis=1) @ seen
            for part in (gradients, params)
        )
        for first in range(0, len(points), draws.outputs):
            if given < count:
                rows = normalised(jacobians[first : first + draws.outputs])
                if len(rows) > rows.shape[1]:
                    rows = np.asarray(np.linalg.qr(rows, mode="r"))
                _, s, vt = np.linalg.svd(rows, full_matrices=True)
                rank = int(np.sum(s > 1e-9))
                given += 1
                yield points[first], vt[:rank], vt[rank:].T


def embedded(unknowns: Unknowns, columns: Numpy, shapes: equations.Shapes, seen: Numpy) -> Numpy:
    """Matrices on axes as matrices over all entries, flattened, without what shifts do."""
    size, count = len(seen), columns.shape[1]
    total = np.zeros((size, size, count))
    starts = dict(zip(shapes, np.cumsum([0, *map(_size, shapes.values())]).tolist(), strict=False))
    position = 0
    for (name, axis), (n, _) in unknowns.axes.items():
        block = columns[position : position + n * n].reshape(n, n, count)
        position += n * n
        shape = shapes[name] or (1,)
        before, after = np.eye(_size(shape[:axis])), np.eye(_size(shape[axis + 1 :]))
        full = np.einsum("ab,ijk,cd->aicbjdk", before, block, after)
        own = slice(starts[name], starts[name] + _size(shape))
        total[own, own] += full.reshape(_size(shape), _size(shape), count)
    project = seen @ seen.T
    kept = project @ np.moveaxis(total, 2, 0) @ project
    return np.moveaxis(kept, 0, 2).reshape(size**2, count)


def _size(shape: tuple[int, ...]) -> int:
    return int(np.prod(shape, dtype=int))
