"""A predicted function, and all others that are as good."""

from dataclasses import dataclass
from typing import Any

import numpy as np

from symbias.mechanisms.piecewise import PiecewiseLinear

_CHANGE = 1e-6  # of range(y)/range(x): a change of slope that counts as a knot


@dataclass(frozen=True, eq=False)
class FunctionFit:
    """The function that `FunctionSpace` predicts for data.

    Attributes
    ----------
    function : PiecewiseLinear
        One of the minimisers: of an undecayed bias the one with its knots at data.
    objective : float
        Its loss, 1/(2n) sum (f(x_i) - y_i)^2, plus strength times its norm.
    norm : float
        Its representation cost, `FunctionSpace.norm`.
    gap : float
        Duality gap: no function has an objective that is smaller by more, to rounding.
    x, values : array (m,)
        Distinct inputs in order, and the function there: the same for all minimisers.
    """

    function: PiecewiseLinear
    objective: float
    norm: float
    gap: float
    x: np.ndarray
    values: np.ndarray
    _scale: float
    _extremes: np.ndarray | None

    def __call__(self, x: Any) -> np.ndarray:
        """The function at points x."""
        return self.function(x)

    @property
    def knots(self) -> np.ndarray:
        """Where the slope changes, by more than 1e-6 range(y)/range(x)."""
        return self.function.knots[np.abs(self.function.changes) > _CHANGE * self._scale]

    def band(self, x: Any) -> tuple[np.ndarray, np.ndarray]:
        """The least and the largest value at points x of all functions that are minimisers.

        They agree at data. Between two neighbours where the slope turns twice to one side, any
        convex (concave) piece serves, from the chord to the two lines beyond it; without a skip
        the slopes at both ends may share what they are bent by. With decayed biases the function
        itself: with a skip it is the only one (Boursier and Flammarion 2023), without one two may
        tie where data are symmetric.
        """
        x = np.asarray(x, dtype=float)
        if self._extremes is None:
            return self(x), self(x)
        at, slopes, last = np.searchsorted(self.x, x), self._extremes, len(self.x) - 1
        i = np.clip(at, 1, last)  # the piece between i - 1 and i that x is in, or next to
        chord = self.values[i - 1] + slopes[i] * (x - self.x[i - 1])
        left = self.values[i - 1] + slopes[i - 1] * (x - self.x[i - 1])
        right = self.values[i] + slopes[i + 1] * (x - self.x[i])
        turns = np.sign(np.diff(slopes))
        same = turns[i - 1] * turns[i] > 0
        beyond = np.where(turns[i] > 0, np.maximum(left, right), np.minimum(left, right))
        other = np.where(same, beyond, chord)
        other = np.where(at == 0, left, np.where(at > last, right, other))
        return np.minimum(chord, other), np.maximum(chord, other)


def extremes(x: np.ndarray, values: np.ndarray, skip: bool) -> np.ndarray:
    """Slopes between data, and before and after them the furthest that a minimiser may have."""
    slopes = np.diff(values) / np.diff(x)
    ends = 0.0 if skip else slopes[0] + slopes[-1]
    bent = max(0.0, abs(ends) - float(np.abs(np.diff(slopes)).sum())) / 2 * np.sign(ends)
    return np.concatenate([[slopes[0] - bent], slopes, [slopes[-1] - bent]])
