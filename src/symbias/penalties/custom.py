"""A penalty from any scalar function, checked for what a design needs of it."""

import math
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import Any, ClassVar

import numpy as np

from symbias._core.arrays import Array
from symbias.maps import TabulatedLink
from symbias.penalties.elementwise import Elementwise
from symbias.penalties.scalars import Power, Scalar, Through

_POINTS = 20_001
_BISECTIONS = 60
_LEVEL = 1e-6  # this close to its last value a function has levelled off


class Custom(Elementwise):
    """sum_i fn(|w_i|) for a function of your own.

    Parameters
    ----------
    fn : callable
        R, for NumPy arrays of non-negative numbers: continuous, strictly increasing, R(0) = 0.
    name : str, optional
    low, high : float
        The range of |w| on which it is checked (on 20,001 points: what is narrower than 0.1% may
        pass), and its design is accurate to 1e-10. Larger |w| are refused.

    Attributes
    ----------
    exponent : float
        p with R ~ w^p at 0.
    bounded : bool
        Whether R levels off towards `high`: such a design holds locally only.
    convex : bool
        Whether R is convex, as far as its slopes on the range show.

    Raises
    ------
    ValueError
        If fn is not finite, not zero at 0, negative, discontinuous or not strictly increasing;
        the message says what was found and where.
    """

    formula: ClassVar[str] = "sum_i fn(|w_i|)"
    belief: ClassVar[str] = "as you say"

    def __init__(
        self,
        fn: Callable[[np.ndarray], Any],
        name: str | None = None,
        *,
        low: float = 1e-9,
        high: float = 1e3,
    ) -> None:
        if not 0 < low < high < float("inf"):
            raise ValueError(f"the range needs 0 < low < high, got {low} and {high}")
        self.fn, self.low, self.high = fn, low, high
        self.name = name or getattr(fn, "__name__", "fn").replace("<lambda>", "fn")
        w = np.geomspace(low, high, _POINTS)
        values = self.values(w)
        level = np.flatnonzero(values >= (1 - _LEVEL) * values[-1])[0]
        if level < 0.9 * _POINTS and np.all(np.abs(values[level:] / values[-1] - 1) <= _LEVEL):
            w, values = w[:level], values[:level]  # flat from here on
        if not len(w):
            raise ValueError(
                f"{self.name} jumps at 0 and is constant from there: counting is no continuous "
                "penalty. log(1 + |w|/eps) (sb.LogSum) is the nearest"
            )
        self.high = float(w[-1])
        _check_increasing(w, values)
        _check_continuous(self.values, w)
        slopes = np.diff(np.log(values)) / np.diff(np.log(w))
        self._exponent = float(slopes[0])
        self.bounded = bool(self.high < high or slopes[-1] < 0.05)
        steep = np.diff(values) / np.diff(w)
        self._convex = bool(np.all(np.diff(steep) >= -1e-6 * np.abs(steep[1:])))
        if self._exponent < 0.05:
            raise ValueError(
                f"{self.name} jumps at 0: it is {values[0]:.3g} at {low:g} already. A penalty must "
                "be continuous; log(1 + |w|/eps) (sb.LogSum) is the nearest that counts"
            )

    def __repr__(self) -> str:
        return f"Custom({self.name})"

    @property
    def exponent(self) -> float:
        return self._exponent

    @property
    def convex(self) -> bool:
        return self._convex

    @cached_property
    def scalar(self) -> Scalar:
        return Tabulated(Power(), TabulatedLink(self.values, self.low, self.high), self._exponent)

    def warn_if_bounded(self) -> None:
        """A UserWarning where the design holds only locally."""
        if self.bounded:
            warnings.warn(
                f"{self.name} levels off: the link of its design ends where it does, so the design "
                f"holds locally, for |w| well below {self.high:g}",
                UserWarning,
                stacklevel=3,
            )

    def values(self, w: np.ndarray) -> np.ndarray:
        """fn(w), checked."""
        try:
            zero = np.asarray(self.fn(np.zeros(1)))
        except Exception as error:
            raise ValueError(
                f"{self.name} must act elementwise on a NumPy array (np.log for math.log; "
                "np.vectorize makes one of any function), it raises "
                f"{type(error).__name__}: {error}"
            ) from error
        if zero.shape != (1,):
            raise ValueError(f"{self.name} must act elementwise on an array, got {zero.shape}")
        if not zero[0] == 0:
            raise ValueError(f"{self.name} must be zero at zero, got {zero[0]:g}")
        values = np.asarray(self.fn(w))
        if np.iscomplexobj(values):
            raise ValueError(f"{self.name} must be real, it gives complex numbers")
        values = values.astype(float)
        bad = ~np.isfinite(values)
        if bad.any():
            raise ValueError(f"{self.name} is {values[bad][0]} at |w| = {w[bad][0]:.4g}")
        return values


@dataclass(frozen=True)
class Tabulated(Through):
    """R as the inverse of a tabulated link, with the exponent that was found at 0."""

    power: float = 1.0

    def __call__(self, t: Array) -> Array:
        link = self.through
        if isinstance(t, np.ndarray) and isinstance(link, TabulatedLink):
            return link.function(t)
        return super().__call__(t)

    def slope(self, t: np.ndarray) -> np.ndarray:
        """By the table, and beyond it by differences of the function that it was made of."""
        link, end = self.through, self.through.high
        inside = super().slope(np.minimum(t, end))
        if not isinstance(link, TabulatedLink) or np.all(t <= end):
            return inside
        far = np.maximum(t, end)
        step = 1e-6 * far
        rate = (link.function(far + step) - link.function(far - step)) / (2 * step)
        return np.where(t <= end, inside, rate)

    @property
    def high(self) -> float:
        return math.inf if isinstance(self.through, TabulatedLink) else self.through.high

    @property
    def range(self) -> float:
        return self.through.high

    @property
    def exponent(self) -> float:
        return self.power

    @property
    def slope_at_zero(self) -> float:
        if abs(self.power - 1) < 1e-3:
            return super().slope_at_zero
        return 0.0 if self.power > 1 else math.inf


def _check_increasing(w: np.ndarray, values: np.ndarray) -> None:
    if values[0] <= 0:
        raise ValueError(f"the penalty is {values[0]:.3g} at |w| = {w[0]:.4g}, wanted positive")
    steps = np.diff(values)
    if np.any(steps <= 0):
        at = int(np.argmax(steps <= 0))
        kind = "decreasing" if steps[at] < 0 else "constant"
        raise ValueError(
            f"the penalty is {kind} near |w| = {w[at]:.4g}: no link is monotone there. Add a small "
            "slope, or take a penalty that grows, such as sb.LogSum"
        )


def _check_continuous(function: Callable[[np.ndarray], np.ndarray], w: np.ndarray) -> None:
    """Follow the larger half of every interval down: what is left of a step is a jump."""
    low, high = w[:-1], w[1:]
    for _ in range(_BISECTIONS):
        middle = (low + high) / 2
        value = function(middle)
        left = value - function(low) > function(high) - value
        low, high = np.where(left, low, middle), np.where(left, middle, high)
    jump = (function(high) - function(low)) / function(high)
    if np.any(jump > 1e-6):
        at = int(np.argmax(jump))
        raise ValueError(
            f"the penalty jumps at |w| = {low[at]:.6g}, by {100 * jump[at]:.2g}%: it must be "
            "continuous"
        )
