"""Scales alone: one rate for every entry of every axis, for predictors too large for all the rest.

A twin of several layers has thousands of unknown matrix entries, and few hundred rates.
"""

from collections.abc import Mapping, Sequence
from functools import cached_property
from typing import NamedTuple

import numpy as np

from symbias.symmetry.bonds import Bond
from symbias.symmetry.discovery.draws import Draws
from symbias.symmetry.discovery.equations import Numpy, Unknowns, normalised, null_space
from symbias.symmetry.discovery.scales import further_scales, motion_of, name_scales
from symbias.symmetry.discovery.spaces import null_of
from symbias.symmetry.generators import generator_matrix


class Rates(Unknowns):
    """The diagonal unknowns alone: every coordinate is a position."""

    @property
    def count(self) -> int:
        return sum(n for n, _ in self.axes.values())

    @cached_property
    def places(self) -> tuple[Numpy, Numpy]:
        every = np.arange(self.count)
        return every, every

    @cached_property
    def diagonal(self) -> Numpy:
        return np.arange(self.count)

    def rows(self, gradients: Mapping[str, Numpy], params: Mapping[str, Numpy]) -> Numpy:
        """One equation per gradient: how fast the predictor changes with every rate."""
        count, parts = len(next(iter(gradients.values()))), []
        moved = {name: gradients[name] * params[name] for name in self.shapes}
        for name, axis in self.axes:
            whole = moved[name].reshape(count, *(self.shapes[name] or (1,)))
            front = np.moveaxis(whole, axis + 1, 1)
            parts.append(front.reshape(*front.shape[:2], -1).sum(-1))
        return normalised(np.concatenate(parts, axis=1))


class Scales(NamedTuple):
    """Bonds that known ones do not contain; how many independent scales there are with those, and
    how many without a name."""

    bonds: list[Bond]
    dim: int
    unnamed: int


def search_scales(draws: Draws, known: Sequence[Bond]) -> Scales:
    """All scales of a predictor: those within the algebra of ``known`` bonds, and bonds for others.

    For ``U``, the sum of all lengths of axes, ``P`` parameters and ``D`` generators of ``known``:
    ``O(U^3 + P (U + D)^2)`` time, ``O(P (U + D))`` memory.
    """
    unknowns = Rates(dict(draws.shapes))
    found = null_of(draws, unknowns)
    live = _live(draws)
    motion = motion_of(unknowns)[live] @ found
    held = _held(draws, motion, known, live)
    bonds = (further_scales if known else name_scales)(unknowns, found, found @ held)
    spanned = held.shape[1] + sum(columns.shape[1] for _, columns in bonds)
    dim = int(np.linalg.matrix_rank(motion, tol=1e-7))
    return Scales([bond for bond, _ in bonds], dim, found.shape[1] - spanned)


def _live(draws: Draws) -> Numpy:
    """Entries of all arrays that the predictor reads."""
    size = sum(int(np.prod(shape)) for shape in draws.shapes.values())
    most = np.zeros(size)
    for gradients, _ in draws.take(1):
        flat = [np.abs(g).reshape(len(g), -1).max(axis=0) for g in gradients.values()]
        most = np.maximum(most, np.concatenate(flat))
    return np.flatnonzero(most > 1e-12 * most.max(initial=0))


def _held(draws: Draws, motion: Numpy, known: Sequence[Bond], live: Numpy) -> Numpy:
    """Orthonormal combinations of scales, as columns, that move nothing, or as known bonds do.

    A scale lies in the algebra of known bonds if their generators move two random parameters alike.
    """
    dim, own, theirs = motion.shape[1], [], []
    for params in (draws.draw(), draws.draw()):
        here = np.concatenate([params[name].reshape(-1) for name in draws.shapes])[live]
        own.append(here[:, None] * motion)
        theirs.append(_moved(known, params)[live])
    generators = np.concatenate(theirs)
    generators /= np.maximum(np.linalg.norm(generators, axis=0), 1e-300)
    free = null_space(np.concatenate([np.concatenate(own), generators], axis=1), 1e-7)
    u, s, _ = np.linalg.svd(free[:dim], full_matrices=False)
    return u[:, s > 1e-6]


def _moved(known: Sequence[Bond], params: Mapping[str, Numpy]) -> Numpy:
    """How all generators move all arrays, as columns."""
    sizes = [p.size for p in params.values()]
    starts = dict(zip(params, np.cumsum([0, *sizes]).tolist(), strict=False))
    columns = [np.zeros((sum(sizes), 0))]
    for bond in known:
        names = list(dict.fromkeys(bond.arrays))
        found = np.asarray(generator_matrix(np, [bond], {n: params[n] for n in names})).T
        block, at = np.zeros((sum(sizes), found.shape[1])), 0
        for name in names:
            size = params[name].size
            block[starts[name] : starts[name] + size] = found[at : at + size]
            at += size
        columns.append(block)
    return np.concatenate(columns, axis=1)
