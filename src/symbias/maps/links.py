"""Links: odd, increasing scalar functions w = h(z), each with its inverse.

Near z = 0 every branch is written so that derivatives there are right: ``sign(z) f(|z|)`` alone
would have the derivative 0 in automatic differentiation, and training would freeze.
"""

from abc import ABC, abstractmethod
from dataclasses import dataclass
from math import inf, sqrt
from typing import Any

from array_api_compat import array_namespace

from symbias._core.arrays import Array


class Link(ABC):
    """An odd, increasing function h with h(0) = 0, applied elementwise.

    `high` is the largest |w| that it knows: that of a table ends.
    """

    high: float = inf

    @abstractmethod
    def forward(self, z: Array) -> Array:
        """w = h(z)."""

    @abstractmethod
    def inverse(self, w: Array) -> Array:
        """z with h(z) = w."""

    def slope(self, z: Array) -> Array:
        """h'(z), elementwise; by central differences of fourth order unless overridden."""
        xp = array_namespace(z)
        step = 1e-3 * xp.where(z == 0, xp.ones_like(z), xp.abs(z))
        near = self.forward(z + step) - self.forward(z - step)
        far = self.forward(z + 2 * step) - self.forward(z - 2 * step)
        return (8 * near - far) / (12 * step)


@dataclass(frozen=True)
class PowerLink(Link):
    """w = sgn(z) |z / scale|^exponent."""

    exponent: float
    scale: float = 1.0

    def __post_init__(self) -> None:
        if not (0 < self.exponent < float("inf") and 0 < self.scale < float("inf")):
            raise ValueError(
                f"exponent and scale must be positive, got {self.exponent}, {self.scale}"
            )

    def forward(self, z: Array) -> Array:
        return signed_power(z / self.scale, self.exponent)

    def inverse(self, w: Array) -> Array:
        return signed_power(w, 1 / self.exponent) * self.scale

    def slope(self, z: Array) -> Array:
        xp, e = array_namespace(z), self.exponent
        if e == 1:
            return xp.ones_like(z) / self.scale
        size = xp.where(z == 0, xp.ones_like(z), xp.abs(z)) / self.scale
        at_zero = xp.zeros_like(z) if e > 1 else xp.full_like(z, float("inf"))
        return xp.where(z == 0, at_zero, e / self.scale * size ** (e - 1))


@dataclass(frozen=True)
class ElasticLink(Link):
    """The inverse of z = l1 |w| + l2 w^2 / 2, for l1 > 0: w = 2z / (l1 + sqrt(l1^2 + 2 l2 |z|))."""

    l1: float
    l2: float

    def forward(self, z: Array) -> Array:
        xp = array_namespace(z)
        return 2 * z / (self.l1 + xp.sqrt(self.l1**2 + 2 * self.l2 * xp.abs(z)))

    def inverse(self, w: Array) -> Array:
        xp = array_namespace(w)
        return self.l1 * w + self.l2 / 2 * w * xp.abs(w)

    def slope(self, z: Array) -> Array:
        xp = array_namespace(z)
        return 1 / xp.sqrt(self.l1**2 + 2 * self.l2 * xp.abs(z))


@dataclass(frozen=True)
class ExponentialLink(Link):
    """w = eps sgn(z) (exp(|z|) - 1), the inverse of z = log(1 + |w| / eps)."""

    eps: float

    def forward(self, z: Array) -> Array:
        xp = array_namespace(z)
        # odd and analytic on each side: z (e^|z| - 1)/|z|, with the derivative 1 at 0
        size = xp.where(z == 0, xp.ones_like(z), xp.abs(z))
        return self.eps * xp.where(z == 0, z, xp.sign(z) * xp.expm1(size))

    def inverse(self, w: Array) -> Array:
        xp = array_namespace(w)
        return xp.sign(w) * xp.log1p(xp.abs(w) / self.eps)

    def slope(self, z: Array) -> Array:
        xp = array_namespace(z)
        return self.eps * xp.exp(xp.abs(z))


@dataclass(frozen=True)
class GaugeLink(Link):
    """w = h((n - 1) T log(r / sqrt 2)), h the inverse of a penalty R: T log volume = R(w).

    r is the length of a vector of n numbers; sqrt 2 is the length of a unit rotation's generator.
    ``r >= sqrt 2`` gives w >= 0; below, R goes on as an odd function, since the volume is monotone
    along r: there it rewards what R would punish.
    """

    inner: Link
    temperature: float
    n: int = 2

    def forward(self, z: Array) -> Array:
        xp = array_namespace(z)
        return self.inner.forward((self.n - 1) * self.temperature * xp.log(z / sqrt(2)))

    def inverse(self, w: Array) -> Array:
        xp = array_namespace(w)
        return sqrt(2) * xp.exp(self.inner.inverse(w) / ((self.n - 1) * self.temperature))

    def slope(self, z: Array) -> Array:
        xp, scale = array_namespace(z), (self.n - 1) * self.temperature
        return self.inner.slope(scale * xp.log(z / sqrt(2))) * scale / z


def signed_power(z: Array, exponent: float) -> Array:
    """sgn(z) |z|^exponent, with the derivative at 0 that it has: 1, 0 or infinite (set to 0)."""
    if exponent == 1:
        return z
    xp = array_namespace(z)
    size = xp.where(z == 0, xp.ones_like(z), xp.abs(z))
    return xp.where(z == 0, xp.zeros_like(z), xp.sign(z) * size**exponent)


def check_link(link: Any) -> Link:
    """``link`` if it is one.

    Raises
    ------
    TypeError
        Otherwise.
    """
    if not isinstance(link, Link):
        raise TypeError(f"expected a link such as sb.PowerLink(2), got {type(link).__name__}")
    return link
