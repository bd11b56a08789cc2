"""Channels that change together, between knots: min 1/2 c'Gc - b'c + strength sum_j |(Dc)_j|_2.

The norms over channels are second-order cones, (t_j, (Dc)_j) in the primal and (1, -z_j) in the
dual. Interior points with Nesterov and Todd's scaling (1997) and Mehrotra's corrector: every step
is one banded Cholesky factorisation in rows x channels unknowns. Then Newton's method on the
changes that are not zero, where the problem is smooth.
"""

from dataclasses import dataclass

import numpy as np
from scipy.linalg import LinAlgError, cho_solve_banded, cholesky_banded

from symbias.solvers.series.banded import Banded
from symbias.solvers.series.cones import Cones, dot, inside
from symbias.solvers.series.stretches import sizes

_STEPS, _NEWTON_STEPS = 100, 40
_BOUNDARY = 0.99  # of the way to the boundary
_SLOW, _CENTRE = 0.7, 0.3  # shares of the complementarity: left by a slow step, aimed at then
_PATIENCE, _NEAR = 4, 1e-8  # steps without progress, where the gap is as small: rounding
_RIDGE = 1e-3  # of the size of G, on Dc, in the first point


class Joint(Banded):
    """`Banded` with channels: G of shape (order, channels, rows), c (channels, rows)."""

    @property
    def even(self) -> np.ndarray:
        """Blocks for `factor` under which every change costs about as much."""
        return np.eye(len(self.target)) / self.unit[:, None, None] ** 2

    def solve(self, tol: float = 1e-12) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """c, z, and which changes are not zero, by interior points.

        With x = (t, v) and y = (1, -z) in the cone, v = Dc, the conditions are
        Gc - b + strength D'z = 0 and x o y = 0.
        """
        count = len(self.stencil)
        c = self.factor(_RIDGE * float(self.gram[0].mean()) * self.even)(self.target)
        v = self.differences(c)
        if not count:
            return c, v, np.zeros(0, dtype=bool)
        level = (float(np.mean(sizes(v) / self.unit)) + 1e-300) * self.unit
        t = (level + np.sqrt(level**2 + 4 * sizes(v) ** 2)) / 2
        z, before, scale = v / t, np.inf, self.scale(c)
        lowest, waited = np.inf, 0
        for _ in range(_STEPS):
            off = self.target - self.gram_times(c) - self.strength * self.adjoint(z)
            apart = self.differences(c) - v
            each = t - dot(v, z)
            mu = float(each.mean())
            wrong = float(np.vdot(np.abs(off), np.abs(c)))
            wrong += self.strength * float(sizes(apart).sum())
            gap = self.strength * mu * count
            left = gap + wrong
            waited = 0 if left < 0.5 * lowest or gap > _NEAR * scale else waited + 1
            lowest = min(left, lowest)
            if left <= tol * scale or not mu > 0 or waited > _PATIENCE:
                break
            try:
                cones = Cones.at(t, v, z)
                solve = self.factor(self.strength * cones.stiffness)
            except LinAlgError:
                break
            towards = _Direction(self, cones, solve, off, apart)
            lam = cones.middle
            dc, dz, dx, dy = towards(-lam)
            long = cones.longest(dx, dy, 1.0)
            ahead = float(np.sum((lam + long * dx) * (lam + long * dy))) / count
            centre, second = mu * (max(ahead, 0.0) / mu) ** 3, 1.0
            if mu > _SLOW * before:
                centre, second = _CENTRE * mu, 0.0
            before = mu
            dc, dz, dx, dy = towards(-lam + cones.corrector(centre, second, dx, dy))
            long = cones.longest(dx, dy, _BOUNDARY)
            dt, dv = cones.unscaled(dx)
            while long > 0 and not inside(t + long * dt, v + long * dv, z + long * dz):
                long = 0.9 * long if long > 1e-10 else 0.0
            if not long > 0:
                break
            c, t, v, z = c + long * dc, t + long * dt, v + long * dv, z + long * dz
        size = t / self.unit
        return c, z, size > float(size.max()) * (1 - sizes(z))

    def newton(self, c: np.ndarray, z: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """The minimum from a c and z near to it, and which changes are still there.

        Newton's method on Gc - b + strength D'z = 0 and |v| z = v, v = Dc: with z a variable of
        its own also where v is tiny (Chan, Golub, Mulet 1999).

        Raises
        ------
        LinAlgError
            Where the Hessian is singular: channels of which nothing was observed.
        """
        value, eye = self.cost(c), np.eye(len(c))
        first = sizes(self.differences(c))
        for _ in range(_NEWTON_STEPS):
            v = self.differences(c)
            size = sizes(v)
            there = size > 1e-9 * first
            if not np.all(there):
                return c, there
            d = v / size
            slope = self.gram_times(c) - self.target + self.strength * self.adjoint(d)
            outer = d.T[:, :, None] * z.T[:, None, :]
            curved = (eye - (outer + outer.transpose(0, 2, 1)) / 2) / size[:, None, None]
            step = -self.factor(self.strength * curved)(slope)
            decrease, long = -float(np.vdot(slope, step)), 1.0
            rounding = 1e-15 * self.scale(c)
            while long > 1e-6:
                new = self.cost(c + long * step)
                if new <= value - 0.1 * long * decrease + rounding:
                    break
                long /= 2
            else:
                break
            dv = self.differences(step)
            z = z + long * (d - z + (dv - dot(d, dv) * z) / size)
            z = z / np.maximum(1.0, sizes(z))
            c, value = c + long * step, new
            if long == 1 and decrease <= 1e-3 * rounding:
                break
        return c, np.ones(len(first), dtype=bool)

    def factor(self, theta: np.ndarray) -> "_Factor":
        """Solves (G + D' Theta D) x = r, with blocks Theta (rows - order, channels, channels).

        Entries are ordered by rows, then channels: (order + 1) channels - 1 bands.
        """
        order, channels, rows = self.gram.shape
        band = np.zeros(((order + 1) * channels, rows, channels))
        band[0] = self.gram[0].T
        if order == 2:
            band[channels] = self.gram[1].T
        i, j = np.indices((channels, channels))
        for p in range(order + 1):
            for q in range(p + 1):
                pairs = (slice(None),) if q < p else (j <= i,)
                below, at = ((p - q) * channels + (i - j))[pairs].ravel(), j[pairs].ravel()
                weight = (self.stencil[:, p] * self.stencil[:, q])[:, None]
                block = weight * theta[:, i[pairs].ravel(), at]
                knots = np.arange(len(theta))[:, None] + q
                band[below, knots, at] += block
        flat = band.reshape(len(band), rows * channels)
        return _Factor(
            cholesky_banded(flat, lower=True, overwrite_ab=True, check_finite=False), channels
        )


@dataclass(frozen=True, eq=False)
class _Factor:
    band: np.ndarray
    channels: int

    def __call__(self, r: np.ndarray) -> np.ndarray:
        x = cho_solve_banded((self.band, True), r.T.ravel(), check_finite=False)
        return np.ascontiguousarray(x.reshape(-1, self.channels).T)


@dataclass(frozen=True, eq=False)
class _Direction:
    """Newton steps of one point: predictor and corrector share the factorisation."""

    problem: Joint
    cones: Cones
    solve: _Factor
    off: np.ndarray
    apart: np.ndarray

    def __call__(self, d: np.ndarray) -> tuple[np.ndarray, ...]:
        """Changes of c and z, and W^-1 dx and W dy, whose sum is d."""
        problem, cones = self.problem, self.cones
        _, rest = cones.unscaled(d)
        pull = cones.stiff(self.apart - rest)
        dc = self.solve(self.off - problem.strength * problem.adjoint(pull))
        dz = cones.stiff(problem.differences(dc) + self.apart - rest)
        dy = cones.scaled(0.0, -dz)
        return dc, dz, d - dy, dy
