"""The reduced problem on padded JAX arrays: what the solvers share."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from symbias.training.problem import ReducedProblem


class Quadratic(NamedTuple):
    """1/2 |y - B z|^2, padded to powers of two so that few shapes are ever compiled.

    ``gram`` form (m <= 2 n): ``matrix`` is B^T B and ``vector`` B^T y; ``design`` form: B and y.
    Padded coordinates are zero and belong to a group of their own.
    """

    matrix: Any
    vector: Any
    squared_norm: Any
    labels: Any


def pack(problem: ReducedProblem) -> tuple[Quadratic, str]:
    """Padded arrays of ``problem``, and the form that is cheaper for its shape."""
    n, m = problem.design.shape
    extra = padded(m) - m
    labels = np.concatenate([problem.labels, np.full(extra, m + extra - 1)])
    squared_norm = problem.target @ problem.target
    if m <= 2 * n:
        matrix = np.pad(problem.design.T @ problem.design, (0, extra))
        vector = np.pad(problem.correlation, (0, extra))
        return Quadratic(matrix, vector, squared_norm, labels), "gram"
    rows = padded(n) - n
    matrix = np.pad(problem.design, ((0, rows), (0, extra)))
    return Quadratic(matrix, np.pad(problem.target, (0, rows)), squared_norm, labels), "design"


def padded(size: int) -> int:
    """The next power of two, at least 16."""
    return max(16, 1 << max(size - 1, 0).bit_length())


def strong(tree: Any) -> Any:
    """The same arrays without weak types, so that a state comes out of jit as it went in."""
    return jax.tree.map(lambda a: jnp.asarray(a, dtype=jnp.result_type(a)), tree)


def residual(data: Quadratic, z: Any, form: str) -> tuple[Any, Any, Any]:
    """|r|^2, <r, y> and B^T r of r = y - B z."""
    if form == "gram":
        Gz, explained = data.matrix @ z, data.vector @ z
        rr = data.squared_norm - 2 * explained + z @ Gz
        return rr, data.squared_norm - explained, data.vector - Gz
    r = data.vector - data.matrix @ z
    return r @ r, r @ data.vector, r @ data.matrix


def judge(data: Quadratic, z: Any, strength: Any, power: int, form: str) -> tuple[Any, Any]:
    """Objective and violation of ``z``, as `symbias.training.certificate.certify` defines them."""
    rr, fitted, pull = residual(data, z, form)

    def per_group(values: Any) -> Any:
        return jax.ops.segment_sum(values, data.labels, len(z))

    depth = power + 1
    norms = jnp.sqrt(per_group(z * z))
    objective = 0.5 * rr + strength * depth / 2 * jnp.sum(norms ** (2 / depth))
    floor = jnp.maximum(objective, 0.5e-10 * data.squared_norm)
    if power > 1:
        terms = per_group(z * pull) - strength * norms ** (2 / depth)
        return objective, jnp.sum(jnp.abs(terms)) / floor
    a = jnp.minimum(1.0, strength / jnp.sqrt(per_group(pull * pull).max()))
    return objective, (objective - a * fitted + 0.5 * a**2 * rr) / floor
