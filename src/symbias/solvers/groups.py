"""Group lasso on a Gram matrix: block sweeps, and Newton steps on the active groups.

min over c of 1/2 c^T G c - q^T c + strength sum_g |c_g|_2,   groups contiguous
"""

from math import sqrt

import numpy as np
from scipy.linalg.lapack import dpotrs

from symbias.solvers.entries import factorise

_SWEEPS, _NEWTON_STEPS, _HALVINGS = 6, 15, 6


def steepness(gram: np.ndarray, starts: np.ndarray) -> np.ndarray:
    """|G_gg|_2 of all groups, (n_groups,)."""
    lengths = np.diff(np.append(starts, len(gram)))
    result = np.empty(len(starts))
    for p in np.unique(lengths).tolist():
        chosen = lengths == p
        index = starts[chosen][:, None] + np.arange(p)
        blocks = gram[index[:, :, None], index[:, None, :]]
        result[chosen] = np.linalg.eigvalsh(blocks)[:, -1]
    return result


def sweep(
    gram: np.ndarray,
    q: np.ndarray,
    starts: np.ndarray,
    steep: np.ndarray,
    strength: float,
    c: np.ndarray,
) -> np.ndarray:
    """A few sweeps of proximal steps, group after group.

    A step of group g is 1 / |G_gg|_2 long; groups that are zero and feel less than the strength
    are passed over.
    """
    c, pull = c.copy(), q - gram @ c
    bounds = [slice(a, b) for a, b in zip(starts, [*starts[1:], len(q)], strict=True)]
    slopes = steep.tolist()
    for _ in range(_SWEEPS):
        norms = np.sqrt(np.add.reduceat(pull**2, starts))
        alive = (norms > strength) | (np.add.reduceat(np.abs(c), starts) > 0)
        for g in np.flatnonzero(alive).tolist():
            part, slope = bounds[g], slopes[g]
            old = c[part]
            moved = slope * old + pull[part]
            size = sqrt(moved.dot(moved))
            shrunk = (1 - strength / size) / slope if size > strength and slope > 0 else 0.0
            change = shrunk * moved - old
            if change.any():
                c[part] += change
                pull -= change @ gram[part]
                if not shrunk:
                    c[part] = 0.0
    return c


def newton(
    gram: np.ndarray,
    q: np.ndarray,
    starts: np.ndarray,
    steep: np.ndarray,
    strength: float,
    c: np.ndarray,
    gap: float,
) -> np.ndarray:
    """Newton steps on the groups that are not zero; one that would turn back becomes zero.

    The curvature of |c_g| is (I - u u^T) / |c_g| with u = c_g / |c_g|. Steps are halved until
    the objective falls. Cost O(k^3) a step in k active coordinates.
    """
    lengths = np.diff(np.append(starts, len(q)))
    label = np.repeat(np.arange(len(starts)), lengths)
    result, first, unsettled = c.copy(), 0.0, False
    support = np.zeros(0, dtype=np.intp)
    for _ in range(_NEWTON_STEPS):
        active = np.add.reduceat(np.abs(result), starts) > 0
        before, support = support, np.flatnonzero(active[label])
        if not len(support):
            break
        if not np.array_equal(before, support):
            part = gram[support][:, support]
            face = _Face(part, q[support], lengths[active], strength)
        now = result[support]
        slope, hessian = face.slopes(now)
        step = -dpotrs(factorise(hessian), slope, lower=1)[0]
        start, size = face.value(now), 1.0
        for _ in range(_HALVINGS):
            moved = now + size * step
            moved[(np.add.reduceat(moved * now, face.starts) <= 0)[face.of]] = 0.0
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


class _Face:
    """The objective where no group is zero: smooth."""

    def __init__(
        self, gram: np.ndarray, q: np.ndarray, lengths: np.ndarray, strength: float
    ) -> None:
        self.gram, self.q, self.strength = gram, q, strength
        self.starts = np.cumsum(lengths) - lengths
        self.of = np.repeat(np.arange(len(lengths)), lengths)
        wide = lengths[self.of]  # row and column of all entries of the diagonal blocks
        self.rows = np.repeat(np.arange(len(q)), wide)
        within = np.arange(len(self.rows)) - np.repeat(np.cumsum(wide) - wide, wide)
        self.cols = self.starts[self.of][self.rows] + within

    def value(self, x: np.ndarray) -> float:
        sizes = np.sqrt(np.add.reduceat(x * x, self.starts))
        return float(x @ (0.5 * (self.gram @ x) - self.q)) + self.strength * float(sizes.sum())

    def slopes(self, x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Gradient and Hessian; the latter overwrites nothing."""
        sizes = np.sqrt(np.add.reduceat(x * x, self.starts))[self.of]
        unit, rate = x / sizes, self.strength / sizes
        hessian = self.gram.copy()
        hessian[self.rows, self.cols] -= (rate * unit)[self.rows] * unit[self.cols]
        hessian[np.diag_indices_from(hessian)] += rate
        return self.gram @ x - self.q + self.strength * unit, hessian
