"""Entropies: what gradient flow prefers of parameters that are exponentials or squares."""

from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
from array_api_compat import array_namespace

from symbias._core.arrays import Array, Shape, constant
from symbias._core.numbers import positive
from symbias._core.refusal import Refused
from symbias.maps import Link, TabulatedLink
from symbias.penalties.base import Penalty
from symbias.penalties.elementwise import Elementwise
from symbias.penalties.form import Form
from symbias.penalties.scalars import Scalar

_STEPS = 60
_LARGE = 30.0  # slopes from which b cosh(slope) is left to a search within the budget


@dataclass(frozen=True)
class HyperbolicEntropy(Scalar):
    """R(t) = t asinh(t / b) - sqrt(t^2 + b^2) + b, written without cancellation at small t."""

    b: float

    def __call__(self, t: Array) -> Array:
        xp = array_namespace(t)
        return t * (xp.asinh(t / self.b) - t / (xp.hypot(t, xp.full_like(t, self.b)) + self.b))

    def formula(self, t: str) -> str:
        return f"{t} asinh({t}/{self.b:.6g}) - sqrt({t}^2 + {self.b:.6g}^2) + {self.b:.6g}"

    def slope(self, t: np.ndarray) -> np.ndarray:
        return np.arcsinh(t / self.b)

    def curvature(self, t: np.ndarray) -> np.ndarray:
        return 1 / np.hypot(t, self.b)

    @property
    def slope_at_zero(self) -> float:
        return 0.0

    @property
    def exponent(self) -> float:
        return 2.0

    @property
    def convex(self) -> bool:
        return True

    def link(self) -> Link:
        return TabulatedLink(self, 1e-9 * self.b, 1e6 * self.b)

    def prox(self, x: np.ndarray, tau: float | np.ndarray) -> np.ndarray:
        """The root of t + tau asinh(t / b) = x: Newton from 0, from where it never overshoots."""
        t = np.zeros_like(x)
        for _ in range(_STEPS):
            miss = x - t - tau * np.arcsinh(t / self.b)
            step = miss / (1 + tau / np.hypot(t, self.b))
            t = t + step
            if np.all(np.abs(step) <= 1e-15 * np.abs(t)):
                break
        return t

    def conjugate(self, slope: np.ndarray, budget: float) -> np.ndarray:
        """b (cosh(slope) - 1)."""
        if np.any(slope > _LARGE):
            return super().conjugate(slope, budget)
        return 2 * self.b * np.sinh(slope / 2) ** 2


@dataclass(frozen=True, eq=False)
class Hypentropy(Elementwise):
    r"""sum_i w_i asinh(w_i / b) - sqrt(w_i^2 + b^2) + b: between ridge and l1.

    :math:`w^2/2b` where :math:`|w| \ll b`, :math:`|w| \log(2|w|/b)` where it is larger. With
    b = c/2 it is twice the potential of gradient flow on w = u v from charges c.

    Raises
    ------
    ValueError
        For a `b` that is not positive.

    References
    ----------
    Ghai, Hazan, Singer, "Exponentiated gradient meets gradient descent", ALT 2020.
    """

    formula: ClassVar[str] = "sum_i w_i asinh(w_i / b) - sqrt(w_i^2 + b^2) + b"
    belief: ClassVar[str] = "few coefficients matter, small ones are small"

    b: float = 1.0

    def __post_init__(self) -> None:
        positive("b", self.b)

    @property
    def scalar(self) -> Scalar:
        return HyperbolicEntropy(self.b)


@dataclass(frozen=True, eq=False)
class Entropy(Penalty):
    r"""Entropy of positive coefficients relative to a reference, or of positive increments.

    .. math:: \sum_i z_i \log\frac{z_i}{r_i} - z_i + r_i,

    z = w and r = `reference` for nonnegative coefficients; for a nondecreasing w (`monotone`) the
    z_i are its differences and r_i those of the reference, and :math:`(w_0 - r_0)^2/2` is added for
    the level. Infinite where a z_i is negative. A preference under gradient flow, where the
    reference is the start; no penalty for a fit.

    Parameters
    ----------
    reference : float or array
        Positive; of the shape of w, and increasing, where `monotone`.
    monotone : bool

    Raises
    ------
    ValueError
        For a reference that is not positive, or does not increase.
    """

    formula: ClassVar[str] = "sum_i w_i log(w_i / r_i) - w_i + r_i"
    belief: ClassVar[str] = "coefficients are positive, or increase, and stay near a reference"

    reference: Any = 1.0
    monotone: bool = False

    def __post_init__(self) -> None:
        r = np.asarray(self.reference, dtype=float)
        if self.monotone and (r.ndim != 1 or len(r) < 2):
            raise ValueError("a monotone entropy needs a reference: an array of increasing numbers")
        z = np.diff(r) if self.monotone else r
        if not (np.all(np.isfinite(r)) and np.all(z > 0)):
            what = "increase" if self.monotone else "be positive"
            raise ValueError(f"the reference of an entropy must {what}, got {self.reference!r}")

    def __call__(self, w: Array) -> Array:
        xp = array_namespace(w)
        r = constant(np.broadcast_to(np.asarray(self.reference, dtype=float), w.shape), w)
        if not self.monotone:
            return _relative(xp, w, r)
        return _relative(xp, w[1:] - w[:-1], r[1:] - r[:-1]) + (w[0] - r[0]) ** 2 / 2

    def form(self, shape: Shape) -> Form:
        raise Refused(
            "an entropy keeps coefficients positive: it is no function of their sizes, and a "
            "preference under gradient flow only"
        )


def _relative(xp: Any, z: Array, r: Array) -> Array:
    """sum z log(z/r) - z + r, r at z = 0 and infinite below."""
    live = z > 0
    safe = xp.where(live, z, xp.ones_like(z))
    ends = xp.where(z == 0, r, xp.full_like(z, xp.inf))
    return xp.sum(xp.where(live, safe * xp.log(safe / r) - safe + r, ends))
