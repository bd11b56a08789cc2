"""Functions R(t) of one size t >= 0, with what solvers and certificates ask of them."""

import math
from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from array_api_compat import array_namespace

from symbias._core.arrays import Array
from symbias._core.refusal import Refused
from symbias.maps import ElasticLink, ExponentialLink, Link, PowerLink
from symbias.penalties.numeric import is_convex, scalar_prox, second_derivative, supremum

_PROX_STEPS = 50


class Scalar(ABC):
    """An increasing function R(t) on t >= 0 with R(0) = 0.

    Call it with sizes for R; the other methods take NumPy arrays. All but the value have numerical
    defaults, which a closed form overrides.
    """

    @abstractmethod
    def __call__(self, t: Array) -> Array:
        """R(t), elementwise."""

    @abstractmethod
    def formula(self, t: str) -> str:
        """R of a size called ``t``, to be read."""

    @abstractmethod
    def slope(self, t: np.ndarray) -> np.ndarray:
        """R'(t) for t > 0."""

    @property
    @abstractmethod
    def slope_at_zero(self) -> float:
        """R'(0+): the pull that keeps a size at zero; 0 where R is smooth there, or infinite."""

    @abstractmethod
    def link(self) -> Link:
        """h = R^-1, continued as an odd function."""

    @property
    def exponent(self) -> float:
        """p with R ~ t^p at 0: 1 for a corner, 2 where smooth, below 1 infinitely steep."""
        return 1.0

    @property
    def high(self) -> float:
        """The largest t at which R is known: a table ends."""
        return math.inf

    @property
    def range(self) -> float:
        """The largest t at which R is smooth to rounding: where a table was asked to end."""
        return self.high

    @property
    def convex(self) -> bool:
        """Whether R is convex; by default as its differences on a grid show."""
        return is_convex(self, self.high)

    @property
    def corner(self) -> tuple[float, float] | None:
        """(l1, l2) where R(t) = l1 t + l2 t^2 / 2 with l1 > 0, else None."""
        return None

    def curvature(self, t: np.ndarray) -> np.ndarray:
        """R''(t) for t > 0; by central differences of the slope."""
        step = 1e-4 * t
        return (self.slope(t + step) - self.slope(t - step)) / (2 * step)

    def smooth_curvature(self, low: float, high: float) -> Callable[[np.ndarray], np.ndarray]:
        """R'' between two sizes: `curvature` in closed form, or a spline of wide differences of R.

        To about ten digits where R is smooth; the narrow differences of `curvature` see kinks.
        """
        if type(self).curvature is not Scalar.curvature:
            return self.curvature
        return second_derivative(self, low, high)

    def prox(self, x: np.ndarray, tau: float | np.ndarray) -> np.ndarray:
        """argmin over t >= 0 of (t - x)^2 / 2 + tau R(t), for x >= 0; numerical by default.

        ``tau`` is a number, or one for each x.
        """
        return scalar_prox(self, x, tau)

    def conjugate(self, slope: np.ndarray, budget: float) -> np.ndarray:
        """sup of slope t - R(t) over t >= 0 with R(t) <= ``budget``, R convex; numerical."""
        return supremum(self, slope, budget, self.high)

    def concave_below(self, curvature: np.ndarray) -> np.ndarray:
        """A size below which R'' < -curvature: no minimum of R plus such a loss lies there."""
        return np.zeros_like(curvature)

    def largest_gain(self, pull: float, curvature: float) -> float:
        """max over t > 0 of (pull t - curvature t^2 / 2) / R(t), by default on a grid.

        The strength above which no such size improves on zero.
        """
        t = np.geomspace(1e-6, 2, 400) * pull / curvature
        return float(np.max((pull * t - curvature * t**2 / 2) / np.asarray(self(t))))


@dataclass(frozen=True)
class Power(Scalar):
    """R(t) = coefficient t^exponent: a norm for exponent 1, ridge for 2, concave below 1."""

    exponent: float = 1.0
    coefficient: float = 1.0

    def __call__(self, t: Array) -> Array:
        power = t if self.exponent == 1 else t**self.exponent
        return power if self.coefficient == 1 else self.coefficient * power

    def link(self) -> Link:
        return PowerLink(1 / self.exponent, self.coefficient)

    def formula(self, t: str) -> str:
        factor = "" if self.coefficient == 1 else f"{self.coefficient:.6g} "
        return f"{factor}{t}" + ("" if self.exponent == 1 else f"^{self.exponent:.6g}")

    def slope(self, t: np.ndarray) -> np.ndarray:
        q = self.exponent
        return self.coefficient * q * t ** (q - 1)

    def curvature(self, t: np.ndarray) -> np.ndarray:
        q = self.exponent
        return self.coefficient * q * (q - 1) * t ** (q - 2)

    @property
    def slope_at_zero(self) -> float:
        if self.exponent == 1:
            return self.coefficient
        return 0.0 if self.exponent > 1 else math.inf

    @property
    def convex(self) -> bool:
        return self.exponent >= 1

    @property
    def corner(self) -> tuple[float, float] | None:
        return (self.coefficient, 0.0) if self.exponent == 1 else None

    def prox(self, x: np.ndarray, tau: float | np.ndarray) -> np.ndarray:
        if self.exponent == 1:
            return np.maximum(x - tau * self.coefficient, 0.0)
        if self.exponent == 2:
            return x / (1 + 2 * tau * self.coefficient)
        return self._steep(x, tau) if self.exponent < 1 else super().prox(x, tau)

    def _steep(self, x: np.ndarray, tau: float | np.ndarray) -> np.ndarray:
        """Below exponent 1: 0 up to a jump, from there the larger root of t + tau R'(t) = x.

        The jump is where the root costs what 0 does: t^(2 - q) = 2 tau a (1 - q). From above,
        Newton's steps come down to the root.
        """
        q, a = self.exponent, tau * self.coefficient
        least = (2 * a * (1 - q)) ** (1 / (2 - q))
        alive = x >= least + a * q * least ** (q - 1)
        safe = np.where(alive, x, 1.0)
        t = np.maximum(safe, least)
        for _ in range(_PROX_STEPS):
            miss = t + a * q * t ** (q - 1) - safe
            step = miss / (1 + a * q * (q - 1) * t ** (q - 2))
            t = np.maximum(t - step, least)
            if np.all(np.abs(step) <= 1e-15 * t):
                break
        return np.where(alive, t, 0.0)

    def conjugate(self, slope: np.ndarray, budget: float) -> np.ndarray:
        q = self.exponent
        if q <= 1:
            return super().conjugate(slope, budget)
        t = (slope / (q * self.coefficient)) ** (1 / (q - 1))
        return (q - 1) * self.coefficient * t**q

    def concave_below(self, curvature: np.ndarray) -> np.ndarray:
        q = self.exponent
        if q >= 1:
            return super().concave_below(curvature)
        safe = np.where(curvature > 0, curvature, 1.0)
        below = (self.coefficient * q * (1 - q) / safe) ** (1 / (2 - q))
        return np.where(curvature > 0, below, np.inf)

    def largest_gain(self, pull: float, curvature: float) -> float:
        q = self.exponent
        if q >= 1:
            return super().largest_gain(pull, curvature)
        t = 2 * (1 - q) / (2 - q) * pull / curvature
        return (pull * t ** (1 - q) - curvature * t ** (2 - q) / 2) / self.coefficient


@dataclass(frozen=True)
class Elastic(Scalar):
    """R(t) = l1 t + l2 t^2 / 2, with l1 and l2 positive."""

    l1: float
    l2: float

    def __call__(self, t: Array) -> Array:
        return self.l1 * t + self.l2 / 2 * t * t

    def link(self) -> Link:
        return ElasticLink(self.l1, self.l2)

    def formula(self, t: str) -> str:
        return f"{self.l1:.6g} {t} + {self.l2:.6g} {t}^2 / 2"

    def slope(self, t: np.ndarray) -> np.ndarray:
        return self.l1 + self.l2 * t

    def curvature(self, t: np.ndarray) -> np.ndarray:
        return np.full_like(t, self.l2)

    @property
    def slope_at_zero(self) -> float:
        return self.l1

    @property
    def convex(self) -> bool:
        return True

    @property
    def corner(self) -> tuple[float, float] | None:
        return self.l1, self.l2

    def prox(self, x: np.ndarray, tau: float | np.ndarray) -> np.ndarray:
        return np.maximum(x - tau * self.l1, 0.0) / (1 + tau * self.l2)

    def conjugate(self, slope: np.ndarray, budget: float) -> np.ndarray:
        return np.maximum(slope - self.l1, 0.0) ** 2 / (2 * self.l2)


@dataclass(frozen=True)
class Logarithm(Scalar):
    """R(t) = log(1 + t / eps): concave, close to counting for a small eps."""

    eps: float

    def __call__(self, t: Array) -> Array:
        return array_namespace(t).log1p(t / self.eps)

    def link(self) -> Link:
        return ExponentialLink(self.eps)

    def formula(self, t: str) -> str:
        return f"log(1 + {t} / {self.eps:.6g})"

    def slope(self, t: np.ndarray) -> np.ndarray:
        return 1 / (self.eps + t)

    def curvature(self, t: np.ndarray) -> np.ndarray:
        return -1 / (self.eps + t) ** 2

    @property
    def slope_at_zero(self) -> float:
        return 1 / self.eps

    @property
    def convex(self) -> bool:
        return False

    def prox(self, x: np.ndarray, tau: float | np.ndarray) -> np.ndarray:
        """The larger root of (t - x)(eps + t) + tau = 0, or 0, whichever costs less."""
        half = (x - self.eps) / 2
        root = half**2 + x * self.eps - tau
        t = np.maximum(half + np.sqrt(np.maximum(root, 0.0)), 0.0)
        better = (root > 0) & (t * (t / 2 - x) + tau * np.log1p(t / self.eps) < 0)
        return np.where(better, t, 0.0)


@dataclass(frozen=True)
class Through(Scalar):
    """R(t) = inner(|h^-1(t)|): a function of what stands behind the link w = h(z)."""

    inner: Scalar
    through: Link

    def __call__(self, t: Array) -> Array:
        return self.inner(array_namespace(t).abs(self.through.inverse(t)))

    def link(self) -> Link:
        if self.inner != Power():
            raise Refused(f"the inverse of {self.formula('|w|')} is not known")
        return self.through

    @property
    def high(self) -> float:
        return self.through.high

    @cached_property
    def exponent(self) -> float:
        """From the growth of R near 0."""
        t = np.array([1e-9, 1e-8])
        value = np.asarray(self(t))
        return round(math.log(value[1] / value[0]) / math.log(10), 6)

    def formula(self, t: str) -> str:
        return self.inner.formula(f"|h^-1({t})|")

    def slope(self, t: np.ndarray) -> np.ndarray:
        z = np.asarray(self.through.inverse(t))
        with np.errstate(divide="ignore", invalid="ignore"):
            return self.inner.slope(np.abs(z)) / np.asarray(self.through.slope(z))

    @property
    def slope_at_zero(self) -> float:
        inside = self.inner.slope_at_zero
        rate = float(np.asarray(self.through.slope(np.zeros(1)))[0])
        if rate == 0:
            return math.inf
        return inside / rate if math.isfinite(rate) and inside > 0 else self._near_zero

    @cached_property
    def _near_zero(self) -> float:
        """The limit of R(t) / t, where the factors of R'(0+) have none of their own."""
        if abs(self.exponent - 1) < 1e-3:
            return float(np.asarray(self(np.array([1e-9])))[0]) / 1e-9
        return 0.0 if self.exponent > 1 else math.inf


@dataclass(frozen=True)
class Scale(Scalar):
    """factor R(t)."""

    inner: Scalar
    factor: float

    def __call__(self, t: Array) -> Array:
        return self.factor * self.inner(t)

    def formula(self, t: str) -> str:
        return f"{self.factor:g} ({self.inner.formula(t)})"

    def link(self) -> Link:
        raise Refused(f"the inverse of {self.formula('|w|')} is not known")

    @property
    def high(self) -> float:
        return self.inner.high

    @property
    def range(self) -> float:
        return self.inner.range

    @property
    def exponent(self) -> float:
        return self.inner.exponent

    def slope(self, t: np.ndarray) -> np.ndarray:
        return self.factor * self.inner.slope(t)

    def curvature(self, t: np.ndarray) -> np.ndarray:
        return self.factor * self.inner.curvature(t)

    def smooth_curvature(self, low: float, high: float) -> Callable[[np.ndarray], np.ndarray]:
        inside = self.inner.smooth_curvature(low, high)
        return lambda t: self.factor * inside(t)

    @property
    def slope_at_zero(self) -> float:
        return self.factor * self.inner.slope_at_zero

    @property
    def convex(self) -> bool:
        return self.inner.convex

    @property
    def corner(self) -> tuple[float, float] | None:
        inside = self.inner.corner
        return None if inside is None else (self.factor * inside[0], self.factor * inside[1])

    def prox(self, x: np.ndarray, tau: float | np.ndarray) -> np.ndarray:
        return self.inner.prox(x, self.factor * tau)

    def conjugate(self, slope: np.ndarray, budget: float) -> np.ndarray:
        return self.factor * self.inner.conjugate(slope / self.factor, budget / self.factor)


def scaled(scalar: Scalar, factor: float) -> Scalar:
    """factor * R, a power where R is one."""
    if factor == 1:
        return scalar
    if isinstance(scalar, Power):
        return Power(scalar.exponent, scalar.coefficient * factor)
    return Scale(scalar, factor)
