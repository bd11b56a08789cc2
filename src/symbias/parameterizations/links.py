"""Links: odd, increasing scalar functions w = h(z), each with its inverse.

Near z = 0 every branch is written so that derivatives there are right: ``sign(z) f(|z|)`` alone
would have the derivative 0 in automatic differentiation, and training would freeze.
"""

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Any

from array_api_compat import array_namespace

from symbias._core.arrays import Array


class Link(ABC):
    """An odd, increasing function h with h(0) = 0, applied elementwise."""

    @abstractmethod
    def forward(self, z: Array) -> Array:
        """w = h(z)."""

    @abstractmethod
    def inverse(self, w: Array) -> Array:
        """z with h(z) = w."""


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
