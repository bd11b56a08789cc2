"""Sums: differences of a series, along a tree, along both axes of a grid."""

from typing import Any

import numpy as np
from array_api_compat import array_namespace

from symbias._core.arrays import Array, constant
from symbias.maps.transforms.base import Transform, apply


class CumulativeSum(Transform):
    """Repeated sums: z holds the differences of w of a given order, after level, slope, ...

    Order 1 (total variation): z = (w_1, w_2 - w_1, w_3 - w_2, ...). Order 2 (trend filtering): z =
    (level, slope, changes of slope). With ``spacing`` the differences are divided differences
    over times t with t_(i+1) - t_i = spacing_i, scaled as in Tibshirani, "Adaptive piecewise
    polynomial estimation via trend filtering", Annals of Statistics 2014. Cost O(order n).

    Parameters
    ----------
    order : int
        At least 1.
    spacing : array of n - 1 positive numbers, optional
        Time between neighbours; 1 by default. Order 1 does not depend on it.
    free : int, optional
        How many leading coordinates are not penalised: ``order`` by default, 0 for all of them.
    """

    noun = "differences"

    def __init__(self, order: int = 1, *, spacing: Any = None, free: int | None = None) -> None:
        if not isinstance(order, int) or order < 1:
            raise ValueError(f"order must be an integer of at least 1, got {order!r}")
        self.order = order
        self.free = order if free is None else free
        if not 0 <= self.free <= order:
            raise ValueError(f"free must lie between 0 and the order {order}, got {free}")
        self.spacing = None if spacing is None else np.asarray(spacing, dtype=float)
        if self.spacing is not None and not (
            self.spacing.ndim == 1 and np.all(self.spacing > 0) and np.all(self.spacing < np.inf)
        ):
            raise ValueError("spacing must be a list of positive finite numbers")

    def __repr__(self) -> str:
        return f"CumulativeSum(order={self.order})"

    def forward(self, z: Array) -> Array:
        return self._sum(z, self.order)

    def inverse(self, w: Array) -> Array:
        return self._difference(w, self.order)

    def _steps(self, count: int, level: int, array: Array) -> Array:
        """What differences are divided by at ``level``: (t_(i+k) - t_i) / k; 1 at the last."""
        if self.spacing is None or level == 1:
            return 1.0
        k = self.order - level + 1
        if len(self.spacing) != count + k - 1:
            raise ValueError(f"spacing has {len(self.spacing)} entries, expected {count + k - 1}")
        times = np.concatenate([[0.0], np.cumsum(self.spacing)])
        steps = (times[k:] - times[:-k]) / k
        return constant(steps.reshape((-1,) + (1,) * (array.ndim - 1)), array)

    def _sum(self, z: Array, level: int) -> Array:
        if level == 0 or z.shape[0] <= 1:
            return z
        xp = array_namespace(z)
        increments = self._sum(z[1:, ...], level - 1)
        increments = increments * self._steps(increments.shape[0], level, z)
        return xp.cumulative_sum(xp.concat([z[:1, ...], increments]), axis=0)

    def _difference(self, w: Array, level: int) -> Array:
        if level == 0 or w.shape[0] <= 1:
            return w
        xp = array_namespace(w)
        increments = w[1:, ...] - w[:-1, ...]
        increments = increments / self._steps(increments.shape[0], level, w)
        return xp.concat([w[:1, ...], self._difference(increments, level - 1)])


class TreeSum(Transform):
    """Sums along a tree: z_i = w_i - w_parent(i), and the level of every root is free.

    Total variation on a tree penalises every edge once, exactly; on a graph with cycles no square
    synthesis does. Coordinates: the roots in order, then the other nodes in order. Cost O(n depth)
    for the matrix that is kept, (n, n).

    Parameters
    ----------
    parents : array of n integers
        Parent of every node, -1 for a root.

    Raises
    ------
    ValueError
        For a parent that does not exist, or a cycle.
    """

    noun = "differences"

    def __init__(self, parents: Any) -> None:
        self.parents = np.asarray(parents)
        size = len(self.parents)
        if self.parents.ndim != 1 or not np.issubdtype(self.parents.dtype, np.integer):
            raise ValueError("parents must be a list of integers, -1 for a root")
        if size and not (self.parents.min() >= -1 and self.parents.max() < size):
            raise ValueError(f"parents must lie between -1 and {size - 1}")
        roots = self.parents < 0
        self.free = int(roots.sum())
        self._order = np.argsort(~roots, kind="stable")
        self._matrix = np.zeros((size, size))
        for node in range(size):
            at, steps = node, 0
            while at >= 0:
                self._matrix[node, at] = 1.0
                at, steps = self.parents[at], steps + 1
                if steps > size:
                    raise ValueError(f"parents has a cycle through node {node}")
        self._matrix = self._matrix[:, self._order]

    def __repr__(self) -> str:
        return f"TreeSum({len(self.parents)})"

    def forward(self, z: Array) -> Array:
        return apply(self._matrix, z)

    def inverse(self, w: Array) -> Array:
        xp = array_namespace(w)
        up = constant(np.maximum(self.parents, 0), w, index=True)
        column = (-1,) + (1,) * (w.ndim - 1)
        inner = constant((self.parents >= 0).astype(float).reshape(column), w)
        z = w - inner * xp.take(w, up, axis=0)
        return xp.take(z, constant(self._order, w, index=True), axis=0)


class GridSum(Transform):
    """Sums along both axes of a grid: z holds mixed differences of an order along each axis.

    Acts on w flattened to rows * cols entries. The sum of |mixed differences| is not total
    variation on the grid (that has no exact square synthesis): surfaces a(i) + b(j) cost nothing.
    The rows + cols - 1 (for order 1) coordinates of such surfaces come first and are free.

    Parameters
    ----------
    rows, cols : int
    order : int
        Of the differences along each axis, at least 1.
    """

    noun = "differences"

    def __init__(self, rows: int, cols: int, order: int = 1) -> None:
        self.grid, self.order = (rows, cols), order
        self._sum = CumulativeSum(order)
        if order > min(rows, cols):
            raise ValueError(f"order {order} needs at least as many rows and columns")
        edge = np.ones((rows, cols), dtype=bool)
        edge[order:, order:] = False
        self.free = int(edge.sum())
        self._order = np.argsort(~edge.ravel(), kind="stable")

    def __repr__(self) -> str:
        return f"GridSum({self.grid[0]}, {self.grid[1]}, order={self.order})"

    def _along_both(self, step: Any, a: Array) -> Array:
        xp = array_namespace(a)
        rows, cols = self.grid
        a = step(xp.reshape(a, (rows, cols, *a.shape[1:])))
        swap = (1, 0, *range(2, a.ndim))
        a = xp.permute_dims(step(xp.permute_dims(a, swap)), swap)
        return xp.reshape(a, (rows * cols, *a.shape[2:]))

    def forward(self, z: Array) -> Array:
        back = constant(np.argsort(self._order), z, index=True)
        return self._along_both(self._sum.forward, array_namespace(z).take(z, back, axis=0))

    def inverse(self, w: Array) -> Array:
        z = self._along_both(self._sum.inverse, w)
        return array_namespace(z).take(z, constant(self._order, z, index=True), axis=0)
