"""The problem that is left once intercept and free coordinates are projected out.

Every design for weight decay is w = A_free f + A z with z = u * t^power, one t per group: a
bilinear inner parameterization behind a linear map. For a quadratic loss the free part is
eliminated exactly, and what remains is

    min over z of  1/2 |y - B z|^2 + strength * (power + 1)/2 * sum_g |z_g|^(2 / (power + 1)).
"""

from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

import numpy as np

from symbias._core.arrays import Array
from symbias.parameterizations import NormalForm, Parameterization
from symbias.training.linear import as_products, name_products


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
    p : Parameterization or Linear
        As `symbias.designs` makes them for weight decay, of n_features entries: products behind a
        linear map.
    X : array (n_samples, n_features)
    sample_weight : array (n_samples,)
    fit_intercept : bool
    blocks : array (n_samples,) of int, optional
        Samples of one block share an intercept; all of them by default.

    Raises
    ------
    TypeError
        For a design of another kind.
    """

    def __init__(
        self,
        p: Parameterization | NormalForm,
        X: np.ndarray,
        sample_weight: np.ndarray,
        fit_intercept: bool,
        blocks: np.ndarray | None = None,
    ) -> None:
        self.normal = p if isinstance(p, NormalForm) else p.normal_form()
        products = as_products(self.normal.cores)
        if products is None:
            raise TypeError(f"no least-squares solver for {p!r}")
        self.labels, self.power = products
        self.weights = sample_weight / np.sum(sample_weight)
        self.fit_intercept = fit_intercept
        self._blocks = np.zeros(len(X), dtype=int) if blocks is None else blocks
        self.X_mean = self._means(X)
        self._root = np.sqrt(self.weights)[:, None]
        self._X = self._root * (X - self.X_mean[self._blocks])
        free, columns = self.normal.linear.free, self.normal.linear.columns
        F = self._X @ free
        # the tolerance is set by X before centring: a centred constant column is zero
        floor = float(np.linalg.norm(self._root * X) * np.linalg.norm(free))
        self._basis, self._solve_free = range_and_pinv(F, 1e-12 * floor)
        projected = self._project(self._X @ columns)
        # what is left of a column that the free part explains is rounding
        before = np.linalg.norm(self._root * (X @ columns), axis=0)
        kept = np.linalg.norm(projected, axis=0) > 1e-12 * before
        self.design = np.where(kept, projected, 0.0)

    def _means(self, a: np.ndarray) -> np.ndarray:
        """Weighted means over every block: what the intercepts take."""
        count = int(self._blocks.max(initial=0)) + 1
        if not self.fit_intercept:
            return np.zeros((count, *a.shape[1:]))
        return np.array([self._mean(a, self._blocks == k) for k in range(count)])

    def _mean(self, a: np.ndarray, rows: np.ndarray) -> np.ndarray:
        if np.all(rows):
            return self.weights @ a
        return (self.weights[rows] / self.weights[rows].sum()) @ a[rows]

    def _project(self, a: np.ndarray) -> np.ndarray:
        return a - self._basis @ (self._basis.T @ a)

    def _centred(self, y: np.ndarray) -> np.ndarray:
        return self._root[:, 0] * (y - self._means(y)[self._blocks])

    def problem(self, y: np.ndarray) -> ReducedProblem:
        """The reduced problem of the target ``y``, shape (n_samples,)."""
        return ReducedProblem(self.design, self._project(self._centred(y)), self.labels, self.power)

    def recover(self, y: np.ndarray, z: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Effective parameter w, free coordinates and intercepts (blocks,) that go with ``z``."""
        inner = np.asarray(self.normal.linear.columns @ z)
        free = self._solve_free @ (self._centred(y) - self._X @ inner)
        w = inner + self.normal.linear.free @ free
        return w, free, self._means(y) - self.X_mean @ w

    def name_factors(self, factors: Factors, free: np.ndarray) -> dict[str, np.ndarray]:
        """The factors under the names of the parameterization, plain coordinates included."""
        named = name_products(self.normal.cores, factors.u, factors.t)
        return self.normal.name_free(free) | named


def range_and_pinv(F: np.ndarray, floor: float) -> tuple[np.ndarray, np.ndarray]:
    """An orthonormal basis of the range of F, and F^+, singular values below ``floor`` dropped."""
    U, s, Vt = np.linalg.svd(F, full_matrices=False)
    keep = s > max(floor, 1e-12 * s.max(initial=0.0))
    return U[:, keep], (Vt[keep].T / s[keep]) @ U[:, keep].T
