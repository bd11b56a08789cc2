"""The problem between knots: min 1/2 c'Gc - b'c + strength |Dc|_1, by interior points.

c has one entry per stretch (order 1) or node (order 2). G is diagonal (order 1) or tridiagonal
(order 2) and D has order + 1 entries a row, so that every step is one banded Cholesky
factorisation of G + strength D' Theta D: O(knots).
"""

from dataclasses import dataclass

import numpy as np
from scipy.linalg import LinAlgError, cho_solve_banded, cholesky_banded

from symbias.solvers.series.banded import Banded

_STEPS = 100
_BOUNDARY = 0.995  # of the way to the boundary
_SLOW, _CENTRE = 0.7, 0.3  # shares of the complementarity: left by a slow step, aimed at then


class Restricted(Banded):
    """min 1/2 c'Gc - b'c + strength |Dc|_1."""

    def solve(self, tol: float = 1e-13) -> tuple[np.ndarray, np.ndarray]:
        """c, and which entries of Dc are not zero, by Mehrotra's predictor and corrector.

        With z in [-1, 1] the dual variable and Dc = p - m, p and m positive, the conditions are
        Gc - b + strength D'z = 0, p (1 - z) = 0 and m (1 + z) = 0.
        """
        c = self.factor(None)(self.target)
        jumps = self.differences(c)
        if not len(jumps):
            return c, np.zeros(0, dtype=bool)
        # in units in which every change costs about as much
        unit = self.unit
        level = float(np.mean(np.abs(jumps) / unit)) + 1e-300
        p, m = (np.maximum(side, 0.0) + level * unit for side in (jumps, -jumps))
        over, under = 2 * m / (p + m), 2 * p / (p + m)  # 1 - z and 1 + z, with all their digits
        scale, before = self.scale(c), np.inf
        for _ in range(_STEPS):
            z = (under - over) / 2
            off = self.target - self.gram_times(c) - self.strength * self.adjoint(z)
            apart = self.differences(c) - p + m
            mu = float(p @ over + m @ under) / (2 * len(p))
            wrong = float(np.abs(off) @ np.abs(c)) + self.strength * float(np.abs(apart).sum())
            if self.strength * mu * len(p) + wrong <= tol * scale:
                break
            with np.errstate(divide="ignore"):
                stiffness = p / over + m / under
            try:
                step = _Step(self, stiffness)
            except LinAlgError:
                break
            dc, dz, dp, dm = step.towards(off, apart, -p * over, -m * under, p, m, over, under)
            long = _longest((p, m, over, under), (dp, dm, -dz, dz), 1.0)
            ahead = float(
                (p + long * dp) @ (over - long * dz) + (m + long * dm) @ (under + long * dz)
            )
            centre, second = mu * (ahead / (2 * len(p) * mu)) ** 3, 1.0
            if mu > _SLOW * before:  # the corrector may cycle: a step towards the centre instead
                centre, second = _CENTRE * mu, 0.0
            before = mu
            dc, dz, dp, dm = step.towards(
                off,
                apart,
                centre - p * over + second * dp * dz,
                centre - m * under - second * dm * dz,
                p, m, over, under,
            )  # fmt: skip
            long = _longest((p, m, over, under), (dp, dm, -dz, dz), _BOUNDARY)
            if not long > 0:
                break
            c, p, m = c + long * dc, p + long * dp, m + long * dm
            over, under = over - long * dz, under + long * dz
        size = np.maximum(p, m) / unit
        return c, size > float(size.max()) * np.minimum(over, under)

    def on_face(self, sign: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """The minimum with <sign, Dc> for |Dc|_1, and which changes keep their sign."""
        found = self.factor(None)(self.target - self.strength * self.adjoint(sign))
        return found, np.sign(self.differences(found)) == sign

    def factor(self, theta: np.ndarray | None) -> "_Factor":
        """Solves (G + strength D' Theta D) x = r; without theta G x = r."""
        order, rows = self.gram.shape
        band = np.zeros((order + (theta is not None), rows))
        band[:order] = self.gram
        if theta is not None:
            weight = self.strength * theta
            for k in range(order + 1):
                for j in range(k + 1):
                    band[k - j, j : j + len(theta)] += (
                        weight * self.stencil[:, k] * self.stencil[:, j]
                    )
        return _Factor(cholesky_banded(band, lower=True, overwrite_ab=True, check_finite=False))


@dataclass(frozen=True, eq=False)
class _Factor:
    band: np.ndarray

    def __call__(self, r: np.ndarray) -> np.ndarray:
        return cho_solve_banded((self.band, True), r, check_finite=False)


class _Step:
    """Newton steps of one point: predictor and corrector share the factorisation."""

    def __init__(self, problem: Restricted, stiffness: np.ndarray) -> None:
        self.problem, self.theta = problem, 1 / stiffness
        self.solve = problem.factor(self.theta)

    def towards(
        self,
        off: np.ndarray,
        apart: np.ndarray,
        first: np.ndarray,
        second: np.ndarray,
        p: np.ndarray,
        m: np.ndarray,
        over: np.ndarray,
        under: np.ndarray,
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
        """Changes of c, z, p and m, given how far each condition is off."""
        problem = self.problem
        pull = self.theta * (apart - first / over + second / under)
        dc = self.solve(off - problem.strength * problem.adjoint(pull))
        dz = self.theta * problem.differences(dc) + pull
        return dc, dz, (first + p * dz) / over, (second - m * dz) / under


def _longest(values: tuple[np.ndarray, ...], changes: tuple[np.ndarray, ...], part: float) -> float:
    """``part`` of the longest step up to 1 that keeps all values positive."""
    step = np.inf
    for value, change in zip(values, changes, strict=True):
        falling = change < 0
        if falling.any():
            step = min(step, float(np.min(value[falling] / -change[falling])))
    return min(1.0, part * step)
