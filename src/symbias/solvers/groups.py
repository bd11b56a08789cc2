"""Group lasso: block sweeps, and Newton steps on the active groups.

min over c of 1/2 c^T G c - q^T c + strength sum_g |c_g|_2,   groups contiguous
"""

from abc import abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from math import sqrt

import numpy as np
from scipy.linalg.lapack import dpotrs

from symbias.solvers.entries import factorise
from symbias.solvers.quadratic import Quadratic

SWEEPS, _NEWTON_STEPS, _HALVINGS = 6, 15, 30


@dataclass(frozen=True, eq=False)
class Groups(Quadratic):
    """A model whose groups begin at ``starts``; how G is held is for its kinds to say."""

    starts: np.ndarray

    @abstractmethod
    def steepness(self) -> np.ndarray:
        """|G_gg|_2 of all groups, (n_groups,)."""

    @abstractmethod
    def face(self, support: np.ndarray, lengths: np.ndarray, strength: float) -> "Face":
        """The objective on the coordinates of the support, whose groups have these lengths."""

    @cached_property
    def lengths(self) -> np.ndarray:
        return np.diff(np.append(self.starts, len(self.q)))

    @cached_property
    def bounds(self) -> list[tuple[slice, float]]:
        """The coordinates of each group, and how steep it is."""
        ends = [*self.starts[1:], len(self.q)]
        parts = [slice(a, b) for a, b in zip(self.starts, ends, strict=True)]
        return list(zip(parts, self.steepness().tolist(), strict=True))

    def totals(self, v: np.ndarray) -> np.ndarray:
        return np.asarray(np.add.reduceat(v, self.starts))

    def alive(self, strength: float, c: np.ndarray, pull: np.ndarray) -> list[tuple[int, bool]]:
        """Groups that a sweep must look at, pulled by more than the strength or not zero (True)."""
        held = self.totals(np.abs(c)) > 0
        chosen = np.flatnonzero((self.sizes(pull) > strength) | held)
        return list(zip(chosen.tolist(), held[chosen].tolist(), strict=True))

    def newton(self, strength: float, c: np.ndarray, gap: float) -> np.ndarray:
        """Newton steps on the groups that are not zero; one that would turn back becomes zero.

        Steps are halved until the objective falls.
        """
        label = np.repeat(np.arange(len(self.starts)), self.lengths)
        result, first, unsettled = c.copy(), 0.0, False
        support = np.zeros(0, dtype=np.intp)
        for _ in range(_NEWTON_STEPS):
            active = self.totals(np.abs(result)) > 0
            before, support = support, np.flatnonzero(active[label])
            if not len(support):
                break
            if not np.array_equal(before, support):
                face = self.face(support, self.lengths[active], strength)
            now = result[support]
            slope, step = face.step(now)
            start, size = face.value(now), 1.0
            for _ in range(_HALVINGS):
                moved = now + size * step
                moved[(face.totals(moved * now) <= 0)[face.of]] = 0.0
                if face.value(moved) < start:
                    break
                size /= 2
            else:
                break
            result[support] = moved
            decrease = -float(slope @ step)
            first = max(first, decrease)
            unsettled = unsettled or not moved.all()
            if decrease <= max(0.1 * gap, 1e-2 * first if unsettled else 0.0, 1e-15 * abs(start)):
                break
        return result


@dataclass(frozen=True, eq=False)
class GramGroups(Groups):
    """G held as a matrix (s, s): O(s^2) a sweep, O(k^3) a Newton step on a support of k."""

    gram: np.ndarray

    def times(self, c: np.ndarray) -> np.ndarray:
        return self.gram @ c

    def steepness(self) -> np.ndarray:
        gram = self.gram
        return largest_eigenvalues(
            self.starts, self.lengths, lambda index: gram[index[:, :, None], index[:, None, :]]
        )

    def sweep(self, strength: float, c: np.ndarray) -> np.ndarray:
        c, pull = c.copy(), self.q - self.gram @ c
        for _ in range(SWEEPS):
            for g, was in self.alive(strength, c, pull):
                part, slope = self.bounds[g]
                old = c[part]
                new = proximal(slope * old + pull[part], slope, strength)
                if new is not None or was:
                    pull -= (-old if new is None else new - old) @ self.gram[part]
                    c[part] = 0.0 if new is None else new
        return c

    def face(self, support: np.ndarray, lengths: np.ndarray, strength: float) -> "Face":
        return GramFace(self.gram[support][:, support], self.q[support], lengths, strength)


def proximal(moved: np.ndarray, slope: float, strength: float) -> np.ndarray | None:
    """Where a proximal step of one group ends, 1 / slope long; None for zero."""
    size = sqrt(moved.dot(moved))
    return (1 - strength / size) / slope * moved if size > strength and slope > 0 else None


def largest_eigenvalues(
    starts: np.ndarray, lengths: np.ndarray, blocks: Callable[[np.ndarray], np.ndarray]
) -> np.ndarray:
    """Of all diagonal blocks, given as ``blocks`` of indices (groups, p)."""
    result = np.empty(len(starts))
    for p in np.unique(lengths).tolist():
        chosen = lengths == p
        index = starts[chosen][:, None] + np.arange(p)
        result[chosen] = np.linalg.eigvalsh(blocks(index))[:, -1]
    return result


class Face:
    """The objective where no group is zero: smooth.

    The curvature of |c_g| is (1 - u u^T) / |c_g| with u = c_g / |c_g|.
    """

    def __init__(self, q: np.ndarray, lengths: np.ndarray, strength: float) -> None:
        self.q, self.strength = q, strength
        self.starts = np.cumsum(lengths) - lengths
        self.of = np.repeat(np.arange(len(lengths)), lengths)

    def totals(self, v: np.ndarray) -> np.ndarray:
        return np.asarray(np.add.reduceat(v, self.starts))

    def value(self, x: np.ndarray) -> float:
        sizes = np.sqrt(self.totals(x * x))
        return float(x @ (0.5 * self.times(x) - self.q)) + self.strength * float(sizes.sum())

    def step(self, x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Gradient, and Newton's step."""
        sizes = np.sqrt(self.totals(x * x))[self.of]
        unit = x / sizes
        slope = self.times(x) - self.q + self.strength * unit
        return slope, -self.solve(unit, self.strength / sizes, slope)

    @abstractmethod
    def times(self, x: np.ndarray) -> np.ndarray:
        """G x."""

    @abstractmethod
    def solve(self, unit: np.ndarray, rate: np.ndarray, slope: np.ndarray) -> np.ndarray:
        """(G + D)^{-1} slope with blocks D_g = rate_g (1 - u_g u_g^T)."""


class GramFace(Face):
    def __init__(
        self, gram: np.ndarray, q: np.ndarray, lengths: np.ndarray, strength: float
    ) -> None:
        super().__init__(q, lengths, strength)
        self.gram = gram
        wide = lengths[self.of]  # row and column of all entries of the diagonal blocks
        self.rows = np.repeat(np.arange(len(q)), wide)
        within = np.arange(len(self.rows)) - np.repeat(np.cumsum(wide) - wide, wide)
        self.cols = self.starts[self.of][self.rows] + within

    def times(self, x: np.ndarray) -> np.ndarray:
        return self.gram @ x

    def solve(self, unit: np.ndarray, rate: np.ndarray, slope: np.ndarray) -> np.ndarray:
        hessian = self.gram.copy()
        hessian[self.rows, self.cols] -= (rate * unit)[self.rows] * unit[self.cols]
        hessian[np.diag_indices_from(hessian)] += rate
        return dpotrs(factorise(hessian), slope, lower=1)[0]
