"""A convex program in conic form, put together variable by variable, for Clarabel.

min 1/2 x^T P x + q^T x   subject to   b - A x in a product of cones
"""

from typing import Any, NamedTuple

import clarabel
import numpy as np
import scipy.sparse as sp

_TOLERANCES = ("tol_gap_abs", "tol_gap_rel", "tol_feas")


class Term(NamedTuple):
    """matrix @ (the variables that begin at ``start``)."""

    start: int
    matrix: Any


def triangle(side: int) -> tuple[np.ndarray, np.ndarray]:
    """Rows and columns of the upper triangle of a matrix, column by column: as cones have it."""
    i, j = np.triu_indices(side)
    order = np.lexsort((i, j))
    return i[order], j[order]


class Program:
    """Variables, costs and constraints, as they are added."""

    def __init__(self) -> None:
        self.size = 0
        self._squares: list[np.ndarray] = []
        self._costs: list[np.ndarray] = []
        self._rows: list[tuple[list[Term], np.ndarray]] = []
        self._cones: list[Any] = []

    def variables(self, count: int, *, cost: Any = 0.0, square: Any = 0.0) -> int:
        """New variables with cost^T x + 1/2 sum square x^2; where they start."""
        self._costs.append(np.broadcast_to(np.asarray(cost, dtype=float), (count,)))
        self._squares.append(np.broadcast_to(np.asarray(square, dtype=float), (count,)))
        self.size += count
        return self.size - count

    def equal(self, terms: list[Term], constant: np.ndarray) -> None:
        """sum of the terms = constant."""
        self._add(terms, constant, clarabel.ZeroConeT(len(constant)))

    def at_most(self, terms: list[Term], constant: np.ndarray) -> None:
        """sum of the terms <= constant."""
        self._add(terms, constant, clarabel.NonnegativeConeT(len(constant)))

    def absolute(self, terms: list[Term], bounds: int) -> None:
        """|sum of the terms| <= the variables from ``bounds`` on."""
        count = terms[0].matrix.shape[0]
        below = Term(bounds, -sp.eye_array(count, format="csc"))
        negative = [Term(start, -matrix) for start, matrix in terms]
        self.at_most([*terms, below], np.zeros(count))
        self.at_most([*negative, below], np.zeros(count))

    def norm(self, terms: list[Term], bound: int) -> None:
        """|sum of the terms|_2 <= the variable ``bound``."""
        self.norms(terms, bound, terms[0].matrix.shape[0])

    def norms(self, terms: list[Term], bounds: int, width: int) -> None:
        """|so many rows of the sum of the terms|_2 <= the variables from ``bounds`` on."""
        count = terms[0].matrix.shape[0] // width
        each = sp.eye_array(count, format="csc")
        top = Term(bounds, sp.kron(each, -np.eye(1 + width, 1), format="csc"))
        below = sp.kron(each, -np.eye(1 + width, width, -1), format="csc")
        rows = [Term(start, sp.csc_array(below @ matrix)) for start, matrix in terms]
        cones = [clarabel.SecondOrderConeT(1 + width)] * count
        self._add([top, *rows], np.zeros(count * (1 + width)), *cones)

    def positive(self, terms: list[Term], side: int) -> None:
        """The symmetric matrix whose scaled upper triangle, by columns, the terms are, is >= 0."""
        negative = [Term(start, -matrix) for start, matrix in terms]
        count = side * (side + 1) // 2
        self._add(negative, np.zeros(count), clarabel.PSDTriangleConeT(side))

    def nuclear(self, w: int, shape: tuple[int, ...], cost: float) -> None:
        """cost times the nuclear norm of the matrix w: (tr U + tr V)/2, [[U, W], [W^T, V]] >= 0.

        Fazel, *Matrix rank minimization with applications*, 2002.
        """
        rows, cols = shape
        side = rows + cols
        i, j = triangle(side)
        z = self.variables(len(i), cost=np.where(i == j, cost / 2, 0.0))
        at = np.flatnonzero((i < rows) & (j >= rows))
        pick = sp.csc_array((np.ones(len(at)), (np.arange(len(at)), at)), shape=(len(at), len(i)))
        entry = i[at] * cols + (j[at] - rows)
        same = sp.csc_array(
            (-np.ones(len(at)), (np.arange(len(at)), entry)), shape=(len(at), rows * cols)
        )
        self.equal([Term(z, pick), Term(w, same)], np.zeros(len(at)))
        self.positive([Term(z, sp.diags_array(np.where(i == j, 1.0, np.sqrt(2))))], side)

    def _add(self, terms: list[Term], constant: np.ndarray, *cones: Any) -> None:
        self._rows.append((terms, np.asarray(constant, dtype=float)))
        self._cones.extend(cones)

    def solve(self) -> np.ndarray:
        """The minimiser, to a relative gap of 1e-12 or as near as rounding lets it.

        Raises ValueError as `solve_both` does.
        """
        return self.solve_both()[0]

    def solve_both(self) -> tuple[np.ndarray, np.ndarray]:
        """The minimiser, and the multipliers of all rows in the order of the constraints.

        Raises
        ------
        ValueError
            If the solver fails.
        """
        squares, costs = np.concatenate(self._squares), np.concatenate(self._costs)
        blocks, constants = [], []
        for terms, constant in self._rows:
            row = sp.csc_array((len(constant), self.size))
            for start, matrix in terms:
                left = sp.csc_array((len(constant), start))
                right = sp.csc_array((len(constant), self.size - start - matrix.shape[1]))
                row = row + sp.hstack([left, sp.csc_array(matrix), right], format="csc")
            blocks.append(row)
            constants.append(constant)
        A = sp.csc_matrix(sp.vstack(blocks, format="csc"))
        P = sp.csc_matrix(sp.diags_array(squares, format="csc"))
        for tolerance in (1e-12, 1e-9):
            settings = clarabel.DefaultSettings()
            settings.verbose = False
            for name in _TOLERANCES:
                setattr(settings, name, tolerance)
                # interior points end where rounding begins; accept what they then have
                setattr(settings, f"reduced_{name}", max(tolerance, 1e-8))
            arguments = (P, costs.copy(), A, np.concatenate(constants), self._cones, settings)
            found = clarabel.DefaultSolver(*arguments).solve()
            if str(found.status) in ("Solved", "AlmostSolved"):
                return np.array(found.x), np.array(found.z)
        raise ValueError(f"the convex solver (Clarabel) ended as {found.status}")
