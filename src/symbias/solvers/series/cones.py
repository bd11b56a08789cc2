"""Second-order cones of pairs (t, v) and (1, -z), with Nesterov and Todd's scaling."""

from dataclasses import dataclass
from typing import Self

import numpy as np

from symbias.solvers.series.stretches import sizes


@dataclass(frozen=True, eq=False)
class Cones:
    """Pairs x = (t, v), y = (1, -z) inside their cones, and the scaling W with W y = W^-1 x.

    W^2 = square (2 w w' - J), J = diag(1, -1, ..., -1) and w'Jw = 1; (lead, rest) is w, ``middle``
    is lambda = W y, and ``norm`` is lambda'J lambda.
    """

    square: np.ndarray
    lead: np.ndarray
    rest: np.ndarray
    middle: np.ndarray
    norm: np.ndarray

    @classmethod
    def at(cls, t: np.ndarray, v: np.ndarray, z: np.ndarray) -> Self:
        size, less = sizes(v), sizes(z)
        x, y = np.sqrt((t - size) * (t + size)), np.sqrt((1 - less) * (1 + less))
        half = np.sqrt((1 + (t - dot(v, z)) / (x * y)) / 2)
        lead, rest = (t / x + 1 / y) / (2 * half), (v / x + z / y) / (2 * half)
        along = ((half + 1 / y) * v / x - (half + t / x) * z / y) / (t / x + 1 / y + 2 * half)
        middle = np.sqrt(x * y) * np.concatenate([half[None], along])
        return cls(x / y, lead, rest, middle, x * y)

    @property
    def stiffness(self) -> np.ndarray:
        """The inverse of the part of W^2 that acts on v, (m, channels, channels)."""
        w = self.rest.T
        outer = w[:, :, None] * w[:, None, :] * (2 / (2 * self.lead**2 - 1))[:, None, None]
        return (np.eye(w.shape[1]) - outer) / self.square[:, None, None]

    def stiff(self, v: np.ndarray) -> np.ndarray:
        """`stiffness` times v."""
        along = 2 * dot(self.rest, v) / (2 * self.lead**2 - 1)
        return (v - along * self.rest) / self.square

    def scaled(self, a: np.ndarray | float, b: np.ndarray) -> np.ndarray:
        """W (a, b), (1 + channels, m)."""
        out = np.empty((1 + len(b), len(self.lead)))
        along = dot(self.rest, b)
        out[0] = self.lead * a + along
        out[1:] = (a + along / (1 + self.lead)) * self.rest
        out[1:] += b
        out *= np.sqrt(self.square)
        return out

    def unscaled(self, x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """W x, in two parts."""
        whole = self.scaled(x[0], x[1:])
        return whole[0], whole[1:]

    def corrector(self, centre: float, second: float, dx: np.ndarray, dy: np.ndarray) -> np.ndarray:
        """d with lambda o d = centre e - second dx o dy."""
        lam = self.middle
        r0 = centre - second * dot(dx, dy)
        r1 = -second * (dx[0] * dy[1:] + dy[0] * dx[1:])
        d0 = (lam[0] * r0 - dot(lam[1:], r1)) / self.norm
        return np.concatenate([d0[None], (r1 - d0 * lam[1:]) / lam[0]])

    def longest(self, dx: np.ndarray, dy: np.ndarray, part: float) -> float:
        """``part`` of the longest step up to 1 that stays inside."""
        return min(1.0, part * min(_root(self.middle, d, self.norm) for d in (dx, dy)))


def dot(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Products over the channels, (m,)."""
    return np.einsum("km,km->m", a, b)


def _root(x: np.ndarray, d: np.ndarray, norm: np.ndarray) -> float:
    """The longest step from x, x'Jx = norm, in the direction d that stays in all cones."""
    a = d[0] ** 2 - dot(d[1:], d[1:])
    b = x[0] * d[0] - dot(x[1:], d[1:])
    inner = b**2 - a * norm
    below = -b + np.sqrt(np.maximum(inner, 0.0))
    ends = (inner >= 0) & (below > 0)
    return float(np.min(norm[ends] / below[ends], initial=np.inf))


def inside(t: np.ndarray, v: np.ndarray, z: np.ndarray) -> bool:
    """Whether all pairs are inside their cones."""
    return bool(np.all(t > sizes(v)) and np.all(sizes(z) < 1))
