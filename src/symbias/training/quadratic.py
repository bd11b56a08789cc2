"""A reduced problem on padded JAX arrays: what variable projection and descent share."""

from typing import TYPE_CHECKING, Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

if TYPE_CHECKING:
    from symbias.training.products import Reduced


class Quadratic(NamedTuple):
    """1/2 |y - B z|^2, padded to powers of two so that few shapes are ever compiled.

    ``gram`` form (m <= 2 n): ``matrix`` is B^T B and ``vector`` B^T y; ``design`` form: B and y.
    Padded coordinates are zero and belong to a group of their own.
    """

    matrix: Any
    vector: Any
    squared_norm: Any
    labels: Any


def pack(problem: "Reduced") -> tuple[Quadratic, str]:
    """Padded arrays of ``problem``, and the form that is cheaper for its shape."""
    n, m = problem.B.shape
    extra = padded(m) - m
    labels = np.concatenate([problem.labels, np.full(extra, m + extra - 1)])
    squared_norm = problem.y @ problem.y
    if m <= 2 * n:
        matrix = np.pad(problem.B.T @ problem.B, (0, extra))
        vector = np.pad(problem.B.T @ problem.y, (0, extra))
        return Quadratic(matrix, vector, squared_norm, labels), "gram"
    rows = padded(n) - n
    matrix = np.pad(problem.B, ((0, rows), (0, extra)))
    return Quadratic(matrix, np.pad(problem.y, (0, rows)), squared_norm, labels), "design"


def padded(size: int) -> int:
    """The next power of two, at least 16."""
    return max(16, 1 << max(size - 1, 0).bit_length())


def filled(a: np.ndarray, size: int) -> Any:
    """``a`` with zeros appended."""
    return jnp.asarray(np.pad(a, (0, size - len(a))))


def strong(tree: Any) -> Any:
    """The same arrays without weak types, so that a state comes out of jit as it went in."""
    return jax.tree.map(lambda a: jnp.asarray(a, dtype=jnp.result_type(a)), tree)


def loss(data: Quadratic, z: Any, form: str) -> Any:
    """1/2 |y - B z|^2."""
    if form == "gram":
        return 0.5 * data.squared_norm - data.vector @ z + 0.5 * (z @ (data.matrix @ z))
    r = data.vector - data.matrix @ z
    return 0.5 * (r @ r)
