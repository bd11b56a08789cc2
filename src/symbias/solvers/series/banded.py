"""The problem between knots as it is posed: a banded G, and differences D of neighbours."""

from dataclasses import dataclass

import numpy as np

from symbias.solvers.series.stretches import sizes


@dataclass(frozen=True, eq=False)
class Banded:
    """min 1/2 c'Gc - b'c + strength sum_j |(Dc)_j|.

    c has one entry per stretch (order 1) or node (order 2); of a joint series a row of them per
    channel, and |(Dc)_j| is the norm over the channels.

    Attributes
    ----------
    gram : array (order, ..., rows)
        Diagonal of G and, for order 2, the entries (i, i + 1) at [1, ..., i].
    target : array (..., rows)
        b.
    stencil : array (rows - order, order + 1)
        Row i of D, over the entries i to i + order of c.
    strength : float
    """

    gram: np.ndarray
    target: np.ndarray
    stencil: np.ndarray
    strength: float = 0.0

    @property
    def unit(self) -> np.ndarray:
        """Changes in units in which every one costs about as much, (rows - order,)."""
        return np.asarray(np.abs(self.stencil).max(axis=1))

    def cost(self, c: np.ndarray) -> float:
        """The objective at c."""
        changes = float(sizes(self.differences(c)).sum())
        return float(np.vdot(c, 0.5 * self.gram_times(c) - self.target)) + self.strength * changes

    def scale(self, c: np.ndarray) -> float:
        """The size of its terms, that rounding is relative to."""
        changes = float(sizes(self.differences(c)).sum())
        return abs(float(np.vdot(self.target, c))) + self.strength * changes + 1e-300

    def differences(self, c: np.ndarray) -> np.ndarray:
        """Dc."""
        count = len(self.stencil)
        total = np.zeros((*c.shape[:-1], count))
        for k in range(len(self.gram) + 1):
            total += self.stencil[:, k] * c[..., k : k + count]
        return total

    def adjoint(self, z: np.ndarray) -> np.ndarray:
        """D'z."""
        out = np.zeros_like(self.target)
        for k in range(len(self.gram) + 1):
            out[..., k : k + z.shape[-1]] += self.stencil[:, k] * z
        return out

    def gram_times(self, c: np.ndarray) -> np.ndarray:
        """Gc."""
        out = self.gram[0] * c
        for off in self.gram[1:]:
            out[..., :-1] += off[..., :-1] * c[..., 1:]
            out[..., 1:] += off[..., :-1] * c[..., :-1]
        return out
