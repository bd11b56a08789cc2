r"""Sparse cosine spectra of a series with gaps, by fast transforms: O(n log n) a step.

.. math:: \min_c \sum_i a_i\, l((Ec)_i, y_i) + s \sum_{k \ge 1} |c_k|

E is the orthonormal inverse cosine transform and a is 0 where nothing was observed. Proximal steps
bring coefficients in and take them out; without gaps one of them is the answer. Between them
conjugate gradients solve for those that are not zero. Nothing is kept but vectors.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np
from scipy.fft import dct, idct

from symbias.solvers.losses import Loss, SquaredError
from symbias.solvers.series.found import Found, check_strength, slack
from symbias.solvers.series.observations import shifted

_ROUNDS = 500
_PROXIMAL = 3  # steps a round
_CONJUGATE, _RESIDUAL = 100, 1e-2  # steps of conjugate gradients at most, and what they leave
_DAMPING = 1e-7  # of the largest curvature
_PATIENCE = 20


@dataclass(frozen=True, eq=False, kw_only=True, repr=False)
class SpectrumSolution(Found):
    """Coefficients (n,), the signal (n,) that they make, and how far they are from optimal."""

    coefficients: np.ndarray
    signal: np.ndarray


@dataclass(frozen=True, eq=False)
class Spectrum:
    """An even series, with what was observed of it.

    Parameters
    ----------
    y : array (n,)
        Where the weight is 0 it does not count.
    weights : array (n,), optional
        Not negative, of sum 1; 1/n each by default.
    loss : Loss

    Raises
    ------
    ValueError
        Where shapes do not match, or weights are negative or all 0.
    """

    y: np.ndarray
    weights: np.ndarray | None = None
    loss: Loss = field(default_factory=SquaredError)

    def __post_init__(self) -> None:
        if self.y.ndim != 1 or not self.y.size:
            raise ValueError(f"y must be one list of numbers, not empty, got {self.y.shape}")
        if self.weights is not None:
            if np.shape(self.weights) != self.y.shape:
                raise ValueError(
                    f"weights must have shape {self.y.shape}, got {np.shape(self.weights)}"
                )
            if not np.all(self.weights >= 0) or not np.any(self.weights):
                raise ValueError("weights must not be negative, nor all 0")
        self.loss.check(self.y)

    @cached_property
    def a(self) -> np.ndarray:
        n = len(self.y)
        return np.full(n, 1 / n) if self.weights is None else self.weights

    @property
    def quadratic(self) -> bool:
        return isinstance(self.loss, SquaredError)

    @cached_property
    def null(self) -> np.ndarray:
        """The coefficients of the best level."""
        return self._at(np.zeros_like(self.y)).c

    @cached_property
    def strength_max(self) -> float:
        """The smallest strength whose fit is a level."""
        return float(np.abs(self._at(self.null).slope[1:]).max(initial=0.0))

    def solve(
        self,
        strength: float,
        start: np.ndarray | None = None,
        *,
        tol: float = 1e-10,
        max_iter: int = _ROUNDS,
        callback: Callable[[int, float], None] | None = None,
    ) -> SpectrumSolution:
        """Fit at one strength, from the level or from coefficients nearby.

        Cost a few fast transforms a step, and the more steps the longer the gaps are in units of
        the periods that are there.

        Raises
        ------
        ValueError
            For a strength that is not positive, or too small for double precision.
        """
        check_strength(strength)
        here = self._at(self.null if start is None or strength >= self.strength_max else start)
        floor = 1e-10 * self._at(self.null).loss
        steep, rounds, waited, reason = self._steepest(here), 0, 0, "max_iter"
        best = lowest = np.inf
        while True:
            objective, gap = self._certify(here, strength)
            lower = objective < lowest - 1e-10 * max(objective, floor)
            waited = 0 if lower or gap < 0.9 * best else waited + 1
            best, lowest = min(best, gap), min(objective, lowest)
            violation = gap / (max(objective, floor) or 1.0)
            if violation <= tol or gap <= 1e-5 * floor:  # a gap is only known up to rounding
                reason = "converged"
            elif waited > _PATIENCE:
                reason = "stalled: rounding hides what is left of the gap"
            if reason != "max_iter" or rounds == max_iter:
                break
            rounds += 1
            if np.any(here.c[1:]):
                here = self._newton(here, strength)
            for _ in range(_PROXIMAL):
                here, steep = self._proximal(here, strength, steep)
            if callback:
                callback(rounds, objective)
        return SpectrumSolution(
            coefficients=here.c,
            signal=here.eta,
            objective=objective,
            gap=gap,
            violation=violation,
            n_iter=rounds,
            reason=reason,
        )

    def _at(self, c: np.ndarray) -> "_Point":
        """The point with these coefficients, the level made the best."""
        n, loss, y, a = len(self.y), self.loss, self.y, self.a
        eta = idct(c, norm="ortho")
        if self.quadratic:
            level = float(a @ (y - eta)) / float(a.sum())
        else:
            with np.errstate(over="ignore", invalid="ignore"):
                if not np.isfinite(a @ loss.value(eta, y)):
                    return _Point(c, eta, np.zeros(n), np.inf)
            ones = np.full((n, 1), 1 / np.sqrt(a.sum()))
            level = float((shifted(loss, ones, a, y, eta) - eta)[0])
        c = c.copy()
        c[0] += level * np.sqrt(n)
        eta = eta + level
        slope = dct(a * loss.gradient(eta, y), norm="ortho")
        return _Point(c, eta, slope, float(a @ loss.value(eta, y)))

    def _certify(self, at: "_Point", strength: float) -> tuple[float, float]:
        """Objective and Fenchel gap, with the gradient scaled into the box as the dual point."""
        costs = strength * np.abs(at.c[1:])
        largest = float(np.abs(at.slope[1:]).max(initial=0.0))
        t = min(1.0, strength / largest) if largest > 0 else 1.0
        gap = slack(self.loss, self.a, self.y, at.eta, at.loss, t)
        gap += float(np.sum(costs + t * at.c[1:] * at.slope[1:]))
        return at.loss + float(costs.sum()), max(gap, 0.0)

    def _steepest(self, at: "_Point") -> float:
        """A bound on the curvature of the loss in c; where it has none, the curvature there."""
        bound = self.loss.bound
        if np.isfinite(bound):
            return bound * float(self.a.max())
        return float(np.max(self.a * self.loss.curvature(at.eta, self.y)))

    def _proximal(self, here: "_Point", strength: float, steep: float) -> tuple["_Point", float]:
        """One proximal gradient step, and the curvature that it took."""
        while True:
            c = here.c - here.slope / steep
            c[1:] = np.sign(c[1:]) * np.maximum(np.abs(c[1:]) - strength / steep, 0.0)
            new, move = self._at(c), c - here.c
            model = here.loss + here.slope @ move + 0.5 * steep * float(move @ move)
            if np.isfinite(self.loss.bound) or new.loss <= model + 1e-14 * here.loss:
                return new, steep
            steep *= 2

    def _newton(self, here: "_Point", strength: float) -> "_Point":
        """Newton's step on the coefficients that are not zero; those that turn their sign go."""
        sign = np.sign(here.c)
        sign[0] = 0.0
        free = here.c != 0
        free[0] = True
        h = self.a * self.loss.bend(here.eta, self.y, self.a)
        step = _conjugate(h, free, -np.where(free, here.slope + strength * sign, 0.0))
        before = here.loss + strength * float(np.abs(here.c[1:]).sum())
        turning = step * sign < 0
        ends = np.min(-here.c[turning] / step[turning], initial=np.inf)
        for size in (1.0, 0.25, min(ends, 1.0)):
            c = here.c + size * step
            gone = c[1:] * sign[1:] <= 1e-12 * np.abs(here.c[1:])
            c[1:][gone] = 0.0
            new = self._at(c)
            if new.loss + strength * float(np.abs(new.c[1:]).sum()) <= before:
                return new
        return here


@dataclass(frozen=True, eq=False)
class _Point:
    """Coefficients c, the signal eta, and the loss there with its gradient in c."""

    c: np.ndarray
    eta: np.ndarray
    slope: np.ndarray
    loss: float


def _conjugate(h: np.ndarray, free: np.ndarray, r: np.ndarray) -> np.ndarray:
    """x, zero where it is not free, with (E^T diag(h) E) x = r there, to `_RESIDUAL`.

    What the observed points hardly see is damped.
    """
    x, p, damping = np.zeros_like(r), r, _DAMPING * float(h.max())
    square = first = float(r @ r)
    for _ in range(_CONJUGATE):
        if not square > _RESIDUAL**2 * first:
            break
        curved = np.where(free, dct(h * idct(p, norm="ortho"), norm="ortho"), 0.0)
        curved += damping * p
        size = square / float(p @ curved)
        x, r = x + size * p, r - size * curved
        before, square = square, float(r @ r)
        p = r + (square / before) * p
    return x
