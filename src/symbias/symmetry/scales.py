"""Coupled bonds of diagonal groups as one weighted network of scales.

Every array entry ``w`` is multiplied by ``exp(sum of +-s)`` over the scales ``s`` that touch it,
so the orbit Gram is ``sum over entries of w^2 b b^T`` with ``b`` the signs: a weighted graph
Laplacian, grounded where an entry is touched by one scale. Entries touched alike are summed first.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from symbias._core.arrays import Array, Params, constant
from symbias.symmetry.bonds import Bond
from symbias.symmetry.ends import End
from symbias.symmetry.groups import Rescaling

Blocks = dict[tuple[int, int], Array]


@dataclass(frozen=True)
class Term:
    """Squared weights over components, and the scales on their axes: (bond, sign, axis)."""

    weights: Array
    scales: tuple[tuple[int, int, int], ...]


def terms(xp: Any, bonds: Sequence[Bond], params: Params) -> list[Term] | None:
    """The network of these bonds, or None where it has no such form."""
    if not all(isinstance(bond.group, Rescaling) for bond in bonds):
        return None
    result = []
    for name in dict.fromkeys(name for bond in bonds for name in bond.arrays):
        ends = [(i, end) for i, bond in enumerate(bonds) for end in bond.ends if end.name == name]
        found = _of_array(xp, ends, params[name])
        if found is None:
            return None
        result += found
    return result


def _of_array(xp: Any, ends: list[tuple[int, End]], array: Array) -> list[Term] | None:
    axes = list(dict.fromkeys(end.axis for _, end in ends))
    weights = array * array
    if axes == [None]:
        weights = xp.reshape(weights, (-1,))
    elif None in axes:
        return None
    else:
        others = tuple(i for i in range(array.ndim) if i not in axes)
        axes = [a for a in range(array.ndim) if a in axes]
        weights = xp.sum(weights, axis=others)
    return _pooled(xp, weights, [[(i, end) for i, end in ends if end.axis == a] for a in axes], 0)


def _pooled(
    xp: Any, weights: Array, axes: list[list[tuple[int, End]]], first: int
) -> list[Term] | None:
    """Terms of weights with these ends on each axis, of which those before ``first`` are pooled.

    Entries that the end of an axis leaves out are terms of the ends of all other axes.
    """
    result: list[Term] = []
    for position in range(first, len(axes)):
        here = axes[position]
        size = here[0][1].heads * here[0][1].size
        plain = here[0][1].rows is None and weights.shape[position] == size
        if len(here) == 1 and not plain:
            end = replace(here[0][1], axis=position)
            outside = end.outside(weights.shape[position])
            rest = axes[:position] + axes[position + 1 :]
            if outside.size and rest:
                left = xp.take(weights, constant(outside, weights, index=True), axis=position)
                found = _pooled(xp, xp.sum(left, axis=position), rest, position)
                if found is None:
                    return None
                result += found
            weights = _pool(xp, end, weights)
        elif not plain or any(e.rows is not None or e.heads * e.size != size for _, e in here):
            return None
    scales = [
        (i, -1 if end.dual else 1, position)
        for position, here in enumerate(axes)
        for i, end in here
    ]
    return [Term(weights, tuple(scales)), *result]


def _pool(xp: Any, end: End, weights: Array) -> Array:
    """Sum the weights over the entries of each component along the axis of an end."""
    count = end.heads * end.size
    assert end.axis is not None
    shape = (*weights.shape[: end.axis], count, *weights.shape[end.axis + 1 :])
    rest = 1
    for i, n in enumerate(weights.shape):
        rest *= n if i != end.axis else 1
    block = xp.reshape(end.unfold(xp, weights), (count, -1, rest))
    return end.from_front(xp, xp.sum(block, axis=1), shape)


def marginal(xp: Any, term: Term, *positions: int) -> Array:
    """Weights of a term summed over all axes but these, in this order."""
    others = tuple(i for i in range(term.weights.ndim) if i not in positions)
    result = xp.sum(term.weights, axis=others) if others else term.weights
    if len(positions) == 2 and positions[0] > positions[1]:
        result = xp.permute_dims(result, (1, 0))
    return result


def laplacian(xp: Any, network: Sequence[Term]) -> tuple[dict[int, Array], Blocks]:
    """The orbit Gram: its diagonal per bond, and what lies off it, by pairs ``a <= b`` of bonds."""
    diagonal: dict[int, Array] = {}
    blocks: Blocks = {}
    for term in network:
        for k, (a, sign, p) in enumerate(term.scales):
            diagonal[a] = diagonal.get(a, 0) + marginal(xp, term, p)
            for b, other, q in term.scales[:k]:
                value = marginal(xp, term, *((p, q) if p != q else (p,))) * (sign * other)
                if p == q:
                    value = constant(np.eye(value.shape[0]), value) * value
                if a == b:
                    value = value + xp.matrix_transpose(value)
                elif a > b:
                    value = xp.matrix_transpose(value)
                key = (min(a, b), max(a, b))
                blocks[key] = blocks.get(key, 0) + value
    return diagonal, blocks
