"""Whether any parameter has positive margins, and the certificate that none has."""

from typing import NamedTuple

import numpy as np
from scipy.optimize import linprog

from symbias._core.refusal import Refused

_ZERO = 1e-7  # HiGHS's own tolerance, for rows of length 1


class Separation(NamedTuple):
    """Gordan's alternative: some c has B c > 0, or some alpha >= 0 of sum 1 has B^T alpha = 0."""

    separable: bool
    c: np.ndarray
    alpha: np.ndarray


class NotSeparable(Refused):
    """No c has positive margins: ``alpha`` >= 0 of sum 1 has B^T alpha = 0."""

    def __init__(self, alpha: np.ndarray) -> None:
        super().__init__(
            "no direction has all margins positive: a mean of rows of B, in weights alpha >= 0, is "
            "zero (Gordan)"
        )
        self.alpha = alpha


def refuse_unless_separable(matrix: np.ndarray, low: float = -1.0) -> None:
    """Raise NotSeparable where no c has B c > 0; with ``low`` = 0, no c >= 0."""
    found = gordan(matrix, low)
    if not found.separable:
        raise NotSeparable(found.alpha)


def gordan(matrix: np.ndarray, low: float = -1.0) -> Separation:
    """The largest least margin over the box ``low`` <= c_i <= 1, by linear programming.

    Its dual is the least |B^T alpha|_1 over the simplex, for ``low`` = 0 that of the positive part:
    they are zero together. Rows are scaled to length 1 first; alpha is that of the rows as they
    were given.
    """
    lengths = np.linalg.norm(matrix, axis=1)
    if not np.all(lengths > 0):
        alpha = (lengths == 0) / np.count_nonzero(lengths == 0)
        return Separation(False, np.zeros(matrix.shape[1]), alpha)
    rows = matrix / lengths[:, None]
    count, size = rows.shape
    cost = np.append(np.zeros(size), -1.0)
    found = linprog(
        cost,
        A_ub=np.hstack([-rows, np.ones((count, 1))]),
        b_ub=np.zeros(count),
        bounds=[(low, 1)] * size + [(None, None)],
        method="highs",
    )
    if found.status != 0:
        raise ValueError(f"the test of separability (HiGHS) failed: {found.message}")
    alpha = np.maximum(-found.ineqlin.marginals, 0.0) / lengths
    total = alpha.sum()
    alpha = alpha / total if total > 0 else alpha
    return Separation(-found.fun > _ZERO, found.x[:size], alpha)
