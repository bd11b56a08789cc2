r"""The law of small starts: how high the integral of the gradient is when an entry switches on.

On a plateau, where the gradients of the entries S that are on are zero, those of the others are
constant, and :math:`\nu = \int (b - Hz)\,dt` is linear in time, with :math:`\nu_S = \psi'(z_S)`
whatever the way there.
"""

import math
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from scipy.optimize import nnls

from symbias._core.refusal import Refused
from symbias.mechanisms.linked_mirror import mirror_of
from symbias.mechanisms.mirror import Mirror
from symbias.parameterizations import Products

NODES, WEIGHTS = np.polynomial.legendre.leggauss(8)
FLAT = 1e-10  # of the largest gradient at the start: nothing moves any more


@dataclass(frozen=True, eq=False)
class Heights:
    """The linear laws of nu between switches.

    Attributes
    ----------
    x, y : arrays (n, size) and (n,)
        Features of the coordinates z, and labels.
    mirror : Mirror
        Of z, from the start.
    free : bool array (size,)
        Coordinates that do not wait: plain parameters.
    signed : bool
        Whether z can be negative.
    limit : bool
        All sizes in the heights are 1.
    """

    x: np.ndarray
    y: np.ndarray
    mirror: Mirror
    free: np.ndarray
    signed: bool
    limit: bool

    @classmethod
    def of(
        cls, start: Products, x: np.ndarray, y: np.ndarray, *, signed: bool, limit: bool
    ) -> "Heights":
        """From these coordinates; refused where one never moves."""
        if start.link is not None and start.factors.size:
            slopes = np.asarray(start.link.slope(np.prod(start.factors, axis=0)))
            if not np.all(slopes > 0):
                raise Refused(
                    f"behind {start.link!r} an entry never moves from 0, where its slope is 0: "
                    "give another start"
                )
        mirror = mirror_of(start)
        free = mirror.plain if start.link is None else np.zeros_like(mirror.plain)
        return cls(x, y, mirror, free, signed, limit)

    @cached_property
    def H(self) -> np.ndarray:
        return np.asarray(self.x.T @ self.x / len(self.x))

    @cached_property
    def b(self) -> np.ndarray:
        return np.asarray(self.x.T @ self.y / len(self.x))

    def dual(self, z: np.ndarray) -> np.ndarray:
        """nu of entries at z; of entries at 0 it is not asked."""
        sizes = np.sign(z) if self.limit else z
        return self.mirror.dual(np.where(self.free, z, np.where(z == 0, 1.0, sizes)))

    def height(self, z: np.ndarray) -> np.ndarray:
        """|nu|, on the line it has had so far, when entries on their way to z pass half of that."""
        half = np.abs(self.dual(z / 2))
        if self.limit:
            return half
        radii, weights = (1 + NODES) / 2, WEIGHTS / 2
        left = np.array([half - np.abs(self.dual(z / 2 * r**3)) for r in radii])
        return half + (weights * 1.5 * radii**2 / (1 - radii**3 / 2) ** 2) @ left

    def plateau(self, on: dict[int, float]) -> np.ndarray:
        """The least-squares point of the entries that are on, with their signs."""
        S, signs = list(on), np.array(list(on.values()))
        z = np.zeros(self.x.shape[1])
        free = np.flatnonzero(signs == 0)
        columns = self.x[:, S] * np.where(signs == 0, 1.0, signs)
        if S:
            sizes = nnls(np.hstack([columns, -columns[:, free]]), self.y)[0]
            sizes[free] -= sizes[len(S) :]
            z[S] = np.where(signs == 0, 1.0, signs) * sizes[: len(S)]
        return z

    def lines(
        self, on: dict[int, float], spent: dict[int, float], z: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray]:
        """nu = at + slope t for every entry, on the plateau z."""
        S, off = list(on), list(spent)
        past = self.H[:, off] @ np.array([spent[i] for i in off])
        if not S:
            return np.zeros_like(self.b), self.b
        nu = self.dual(z)[S]
        inverse = np.linalg.inv(self.H[np.ix_(S, S)])
        at = self.H[:, S] @ inverse @ (nu + past[S]) - past
        return at, self.b - self.H[:, S] @ inverse @ self.b[S]

    def integrals(
        self, on: dict[int, float], spent: dict[int, float], z: np.ndarray, time: float
    ) -> np.ndarray:
        """The integral of z up to a time on the plateau z."""
        total = np.zeros(len(self.b))
        S, off = list(on), list(spent)
        total[off] = list(spent.values())
        if S:
            rest = time * self.b[S] - self.dual(z)[S] - self.H[np.ix_(S, off)] @ total[off]
            total[S] = np.linalg.solve(self.H[np.ix_(S, S)], rest)
        return total

    def following(
        self, on: dict[int, float], spent: dict[int, float], z: np.ndarray, time: float
    ) -> list[tuple[float, int, float]]:
        """Time, entry and sign of all that would switch if the plateau lasted, the next first."""
        at, slope = self.lines(on, spent, z)
        moving = np.abs(slope) > FLAT * np.abs(self.b).max()
        if not self.signed:
            moving &= slope > 0
        goals = np.zeros_like(z)
        for j in (int(j) for j in np.flatnonzero(moving) if j not in on):
            goals[j] = self.plateau({**on, j: math.copysign(1.0, slope[j])})[j]
        rising = np.flatnonzero(goals)
        heights = self.height(np.where(goals == 0, 1.0, goals))[rising]
        signs = np.sign(goals[rising])
        times = (signs * heights - at[rising]) / slope[rising]
        found = zip(np.maximum(times, time), rising, signs, strict=True)  # at once if it is there
        return sorted((float(t), int(j), float(sign)) for t, j, sign in found)

    def wait(self) -> tuple[float, float]:
        """The largest weight, and the integral that takes an entry there over its last 90%."""
        whole = np.linalg.lstsq(self.x, self.y, rcond=None)[0]
        largest = float(np.abs(whole[~self.free]).max())
        z = np.where(self.free, whole, largest)
        end, tenth = self.mirror.dual(z), self.mirror.dual(z / 10)
        return largest, float((end / (end - tenth))[~self.free].min())
