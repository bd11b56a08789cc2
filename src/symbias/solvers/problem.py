"""The problem that is left once intercept and free coordinates are projected out.

Every design for weight decay is w = A_free f + A z with z = u * t^power, one t per group: a
bilinear inner parameterization behind a linear map. For a quadratic loss the free part is
eliminated exactly, and what remains is

    min over z of  1/2 |y - B z|^2 + strength * (power + 1)/2 * sum_g |z_g|^(2 / (power + 1)).
"""

from dataclasses import dataclass
from functools import cached_property, singledispatch
from typing import NamedTuple

import numpy as np
import scipy.sparse

from symbias._arrays import Array
from symbias.parameterizations import GroupProduct, Hadamard, Parameterization, Synthesis


class Factors(NamedTuple):
    """u of shape (m,), and ``power`` equal-role scales t of shape (power, groups)."""

    u: Array
    t: Array

    def product(self, labels: np.ndarray) -> np.ndarray:
        """z = u * prod(t) spread over the groups."""
        return self.u * np.prod(self.t, axis=0)[labels]


@dataclass(frozen=True)
class ReducedProblem:
    """min_z 1/2 |target - design z|^2 + strength * penalty(z); see the module's docstring."""

    design: np.ndarray
    target: np.ndarray
    labels: np.ndarray
    power: int

    @property
    def groups(self) -> int:
        return int(self.labels.max(initial=-1)) + 1

    @cached_property
    def correlation(self) -> np.ndarray:
        """B^T y."""
        return self.design.T @ self.target

    @cached_property
    def squared_norms(self) -> np.ndarray:
        """|B_g|_F^2 of every group."""
        return self.per_group(np.sum(self.design**2, axis=0))

    def per_group(self, values: np.ndarray) -> np.ndarray:
        """Sums of ``values`` over the coordinates of each group."""
        return np.bincount(self.labels, weights=values, minlength=self.groups)

    def group_norms(self, z: np.ndarray) -> np.ndarray:
        return np.sqrt(self.per_group(z * z))

    def normalized(self) -> tuple["ReducedProblem", float, float]:
        """The problem with |y| = 1 and a longest column of 1; the units of z and the objective.

        The same for all scales of the data: z = unit z' where the strength is
        strength' = strength unit^(2 / (power + 1)) / cost and the objective cost objective'.
        """
        cost = float(self.target @ self.target)
        longest = float(np.sqrt(np.sum(self.design**2, axis=0).max()))
        unit = np.sqrt(cost) / longest
        design, target = self.design / longest, self.target / np.sqrt(cost)
        return ReducedProblem(design, target, self.labels, self.power), unit, cost

    def restrict(self, groups: np.ndarray) -> tuple["ReducedProblem", np.ndarray]:
        """The problem on some groups (sorted) alone, and which coordinates it keeps."""
        columns = np.flatnonzero(np.isin(self.labels, groups))
        labels = np.searchsorted(groups, self.labels[columns])
        return ReducedProblem(self.design[:, columns], self.target, labels, self.power), columns


class Reduction:
    """The linear algebra of (design, X, weights, intercept), shared by all targets.

    Rows carry sqrt(sample_weight / sum), so that 1/2 |.|^2 is the weighted mean squared error
    over two. Cost O(n p^2).

    Parameters
    ----------
    p : Parameterization
        As `symbias.designs` makes them for weight decay, of shape (n_features,).
    X : array (n_samples, n_features)
    sample_weight : array (n_samples,)
    fit_intercept : bool
    """

    def __init__(
        self, p: Parameterization, X: np.ndarray, sample_weight: np.ndarray, fit_intercept: bool
    ) -> None:
        self.parameterization = p
        self.weights = sample_weight / np.sum(sample_weight)
        self.fit_intercept = fit_intercept
        self.X_mean = self.weights @ X if fit_intercept else np.zeros(X.shape[1])
        self._root = np.sqrt(self.weights)[:, None]
        self._X = self._root * (X - self.X_mean)
        self.free_columns, self.columns, self.inner = linear_parts(p)
        F = self._X @ self.free_columns
        # the tolerance is set by X before centring: a centred constant column is zero
        floor = float(np.linalg.norm(self._root * X) * np.linalg.norm(self.free_columns))
        self._basis, self._solve_free = _range_and_pinv(F, 1e-12 * floor)
        columns = self._project(self._X @ self.columns)
        # what is left of a column that the free part explains is rounding
        before = np.linalg.norm(self._root * (X @ self.columns), axis=0)
        self.design = np.where(np.linalg.norm(columns, axis=0) > 1e-12 * before, columns, 0.0)
        self.labels, self.power = scales_of(self.inner)

    def _project(self, a: np.ndarray) -> np.ndarray:
        return a - self._basis @ (self._basis.T @ a)

    def problem(self, y: np.ndarray) -> ReducedProblem:
        """The reduced problem of the target ``y``, shape (n_samples,)."""
        target = self._project(self._root[:, 0] * (y - self._y_mean(y)))
        return ReducedProblem(self.design, target, self.labels, self.power)

    def _y_mean(self, y: np.ndarray) -> float:
        return float(self.weights @ y) if self.fit_intercept else 0.0

    def recover(self, y: np.ndarray, z: np.ndarray) -> tuple[np.ndarray, np.ndarray, float]:
        """Effective parameter w, free coordinates and intercept that go with ``z``."""
        residual = self._root[:, 0] * (y - self._y_mean(y)) - self._X @ (self.columns @ z)
        free = self._solve_free @ residual
        w = self.columns @ z + self.free_columns @ free
        return w, free, self._y_mean(y) - float(self.X_mean @ w)

    def name_factors(self, factors: Factors, free: np.ndarray) -> dict[str, np.ndarray]:
        """The factors under the names of the parameterization, plain coordinates included."""
        named, start = {}, 0
        for name in (n for n in self.parameterization.shapes if n in self.parameterization.free):
            size = self.parameterization.shapes[name][0]
            named[name] = free[start : start + size]
            start += size
        return named | named_factors(self.inner, factors)


def linear_parts(p: Parameterization) -> tuple[np.ndarray, Array, Parameterization]:
    """A_free (p, k), A (p, m) and the innermost parameterization: w = A_free f + A inner.

    Without a synthesis A is a sparse identity, so that p may be large.
    """
    size = p.shape[0]
    if not isinstance(p, Synthesis):
        return np.zeros((size, 0)), scipy.sparse.eye_array(size, format="csr"), p
    A, k = p.transform.forward(np.eye(size)), p.transform.free
    free, columns, inner = linear_parts(p.inner)
    return np.hstack([A[:, :k], A[:, k:] @ free]), A[:, k:] @ columns, inner


def _range_and_pinv(F: np.ndarray, floor: float) -> tuple[np.ndarray, np.ndarray]:
    """An orthonormal basis of the range of F, and F^+, singular values below ``floor`` dropped."""
    U, s, Vt = np.linalg.svd(F, full_matrices=False)
    keep = s > max(floor, 1e-12 * s.max(initial=0.0))
    return U[:, keep], (Vt[keep].T / s[keep]) @ U[:, keep].T


@singledispatch
def scales_of(inner: Parameterization) -> tuple[np.ndarray, int]:
    """The group of every coordinate, and the power with which a group's scale enters."""
    raise TypeError(f"no least-squares solver for {inner!r}")


@scales_of.register
def _(inner: Hadamard) -> tuple[np.ndarray, int]:
    return np.arange(inner.shape[0]), inner.depth - 1


@scales_of.register
def _(inner: GroupProduct) -> tuple[np.ndarray, int]:
    return inner.labels, 1


@singledispatch
def named_factors(inner: Parameterization, factors: Factors) -> dict[str, np.ndarray]:
    """The solver's factors under the names of ``inner``."""
    raise TypeError(f"no least-squares solver for {inner!r}")


@named_factors.register
def _(inner: Hadamard, factors: Factors) -> dict[str, np.ndarray]:
    return dict(zip(inner.names, [*factors.t, factors.u], strict=True))


@named_factors.register
def _(inner: GroupProduct, factors: Factors) -> dict[str, np.ndarray]:
    return {"s": factors.t[0], "v": factors.u}
