"""Inputs of a linear model f_i = <a_i, w>, in the shapes they come in and behind a synthesis."""

import math
from typing import Any

import numpy as np
from array_api_compat import array_namespace

from symbias._core.arrays import Array, Shape, concrete, constant
from symbias.parameterizations import Diagonal, Synthesis


def check_inputs(inputs: Array, shape: Shape) -> None:
    """Raise ValueError unless ``inputs`` fit an effective parameter of this shape.

    They do as (n, *shape), one array a_i for each f_i = <a_i, w>, or as (n, shape[0]), rows of a
    product x @ w, whose outputs are the other axes of w.
    """
    found = tuple(inputs.shape)
    if not found or found[0] == 0 or found[1:] not in (tuple(shape), tuple(shape[:1])):
        raise ValueError(
            f"inputs have shape {found}, expected (n, {', '.join(map(str, shape))})"
            + (f" or (n, {shape[0]}) for w of shape {tuple(shape)}" if len(shape) > 1 else "")
        )
    seen = concrete(inputs)
    if seen is not None and not np.all(np.isfinite(seen)):
        raise ValueError("inputs have entries that are not finite")


def measurements(inputs: Array, shape: Shape) -> Array:
    """Every output of every sample as one row a with f = <a, w>: shape (outputs, size of w)."""
    xp = array_namespace(inputs)
    size = math.prod(shape)
    if tuple(inputs.shape[1:]) == tuple(shape):
        return xp.reshape(inputs, (-1, size))
    columns = math.prod(shape[1:])
    spread = inputs[:, None, :, None] * constant(np.eye(columns), inputs)[None, :, None, :]
    return xp.reshape(spread, (-1, size))


def compressed(inputs: Array) -> Array:
    """At most as many rows as columns, with the same sum of a a^T: the R of a QR factorisation."""
    xp = array_namespace(inputs)
    if inputs.ndim != 2 or inputs.shape[0] <= inputs.shape[1]:
        return inputs
    return xp.linalg.qr(inputs)[1]


def behind(p: Synthesis, inputs: Array) -> Array:
    """Inputs of the same model in the penalised coordinates z of w = A z: A^T a_i."""
    xp = array_namespace(inputs)
    count, transform = p.transform.free, p.transform
    if isinstance(transform, Diagonal) and transform.weights.ndim > 1:
        full = xp.reshape(measurements(inputs, p.shape), (-1, *p.shape))
        last = xp.permute_dims(full, (*range(1, full.ndim), 0))
        return xp.permute_dims(transform.forward(last), (full.ndim - 1, *range(full.ndim - 1)))
    matrix = constant(transform.forward(np.eye(p.shape[0])), inputs)
    if inputs.ndim == 2:
        return (inputs @ matrix)[:, count:]
    flat = xp.reshape(inputs, (*inputs.shape[:2], -1))
    moved = xp.matmul(matrix.T, flat)[:, count:, :]
    return xp.reshape(moved, (inputs.shape[0], *p.inner.shape))


def check_square(p: Synthesis) -> None:
    """Raise ValueError where several z give one w: a minimum over an orbit is not all there is."""
    if p.shape[0] != p.inner.shape[0] + p.transform.free:
        raise ValueError(f"{p!r}: w has many coordinates: a minimum over all splits, not known")


def coordinates(p: Synthesis, w: Array) -> tuple[Array, Array]:
    """z = A^-1 w as its free part and the penalised one; refuses an A that is not invertible."""
    check_square(p)
    z: Any = p.transform.inverse(w)
    count = p.transform.free
    return z[:count, ...], z[count:, ...]
