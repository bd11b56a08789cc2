"""Group lasso on more columns than rows: sweeps on the residual, Newton in the space of samples.

G = A A^T + ridge is never formed, with A (s, n) the columns of the working set as rows.
"""

from dataclasses import dataclass

import numpy as np
from scipy.linalg.blas import dsyrk
from scipy.linalg.lapack import dpotrs, dtrtrs

from symbias.solvers.entries import factorise
from symbias.solvers.groups import (
    SWEEPS,
    Face,
    GramFace,
    Groups,
    largest_eigenvalues,
    proximal,
)


@dataclass(frozen=True, eq=False)
class WideGroups(Groups):
    """O(s n) a sweep, O(k n^2) a Newton step on a support of k > n."""

    rows: np.ndarray
    ridge: float = 0.0

    def times(self, c: np.ndarray) -> np.ndarray:
        return self.rows @ (c @ self.rows) + self.ridge * c

    def steepness(self) -> np.ndarray:
        def blocks(index: np.ndarray) -> np.ndarray:
            part = self.rows[index]
            return part @ part.transpose(0, 2, 1)

        return largest_eigenvalues(self.starts, self.lengths, blocks) + self.ridge

    def sweep(self, strength: float, c: np.ndarray) -> np.ndarray:
        c, fitted = c.copy(), c @ self.rows
        for _ in range(SWEEPS):
            pull = self.q - self.rows @ fitted - self.ridge * c
            for g, was in self.alive(strength, c, pull):
                part, slope = self.bounds[g]
                rows, old = self.rows[part], c[part]
                moved = (slope - self.ridge) * old + self.q[part] - rows @ fitted
                new = proximal(moved, slope, strength)
                if new is not None or was:
                    fitted += (-old if new is None else new - old) @ rows
                    c[part] = 0.0 if new is None else new
        return c

    def face(self, support: np.ndarray, lengths: np.ndarray, strength: float) -> Face:
        rows, q = self.rows[support], self.q[support]
        if len(rows) > rows.shape[1]:
            return WideFace(rows, self.ridge, q, lengths, strength)
        gram = rows @ rows.T
        gram[np.diag_indices_from(gram)] += self.ridge
        return GramFace(gram, q, lengths, strength)


class WideFace(Face):
    """Newton's equations by Woodbury's identity.

    With L = rate + ridge, B = L^{-1/2} A and unit vectors u_g as the columns of U, the Hessian is
    L^{1/2} (1 + B B^T - V V^T) L^{1/2}, V = (rate / L)^{1/2} U. So with P = 1 + B^T B, C = B^T V
    and e = 1 - V^T V (diagonal), the inverse in the middle is

        1 - B x - V z,   P x + C z = B^T,   C^T x - e z = V^T,

    where z comes from the Schur complement C^T P^{-1} C + e, of one row a group.
    """

    def __init__(
        self, rows: np.ndarray, ridge: float, q: np.ndarray, lengths: np.ndarray, strength: float
    ) -> None:
        super().__init__(q, lengths, strength)
        self.rows, self.ridge = rows, ridge

    def times(self, x: np.ndarray) -> np.ndarray:
        return self.rows @ (x @ self.rows) + self.ridge * x

    def solve(self, unit: np.ndarray, rate: np.ndarray, slope: np.ndarray) -> np.ndarray:
        root = np.sqrt(rate + self.ridge)
        B, v = self.rows / root[:, None], unit * np.sqrt(rate) / root
        P = dsyrk(1.0, B.T, lower=1)  # in Fortran's order: no copy
        P[np.diag_indices_from(P)] += 1.0
        factor = factorise(P)
        C = np.add.reduceat(B * v[:, None], self.starts, axis=0).T
        half = dtrtrs(factor, C, lower=1)[0]
        schur = half.T @ half
        schur[np.diag_indices_from(schur)] += (self.ridge / root**2)[self.starts]
        h = slope / root
        b, d = h @ B, self.totals(v * h)
        z = dpotrs(factorise(schur), C.T @ dpotrs(factor, b, lower=1)[0] - d, lower=1)[0]
        x = dpotrs(factor, b - C @ z, lower=1)[0]
        return (h - B @ x - v * z[self.of]) / root
