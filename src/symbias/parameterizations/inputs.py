"""Inputs of a linear model f_i = <a_i, w>, in the shapes they come in."""

import math

import numpy as np
from array_api_compat import array_namespace

from symbias._core.arrays import Array, Shape, concrete, constant


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


def second_moments(inputs: Array, w: Array) -> Array:
    """Sums of squares of the inputs of every entry of w, or of its row; broadcasts to w."""
    xp = array_namespace(w, inputs)
    moments = xp.sum(inputs**2, axis=0)
    return moments if moments.ndim == w.ndim else moments[(...,) + (None,) * (w.ndim - 1)]


def whole(inputs: Array, shape: Shape) -> Array:
    """Inputs as (outputs, *shape): one array a for every prediction <a, w>."""
    return array_namespace(inputs).reshape(measurements(inputs, shape), (-1, *shape))
