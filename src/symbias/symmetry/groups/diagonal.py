"""Groups that act component by component: scales and shifts."""

from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from symbias._core.arrays import Array
from symbias.symmetry.groups.base import Gauge, Group, Numpy, sqrt0, square_norm


class Scales(Group):
    """How one positive scale a component acts: on vectors as it is, on covectors inverted."""

    def random(self, rng: np.random.Generator, heads: int, scale: float) -> Numpy:
        return np.exp(scale * rng.standard_normal((heads, self.size)))

    def apply(self, xp: Any, g: Array, x: Array) -> Array:
        return x * g[..., None]

    def dual(self, xp: Any, g: Array) -> Array:
        return 1 / g

    def vary(self, xp: Any, c: Array, x: Array, dual: bool) -> Array:
        return -c[..., None] * x if dual else c[..., None] * x

    def adjoint(self, xp: Any, t: Array, x: Array, dual: bool) -> Array:
        inner = xp.sum(t * x, axis=-1)
        return -inner if dual else inner


@dataclass(frozen=True)
class Rescaling(Scales):
    """Positive diagonal matrices: one scale per component.

    ``signed=True`` lets the scales have any sign (SwiGLU, linear units); the algebra is the same.
    Orbit Gram ``diag(M + N)``, charge ``diag(M - N)``.
    """

    signed: bool = False

    def random(self, rng: np.random.Generator, heads: int, scale: float) -> Numpy:
        g = super().random(rng, heads, scale)
        if self.signed and scale > 0.1:
            g *= rng.choice([-1.0, 1.0], g.shape)
        return g

    def charge(self, xp: Any, x: Array, y: Array) -> Array:
        return square_norm(xp, x) - square_norm(xp, y)

    def spectrum(self, xp: Any, x: Array, y: Array) -> tuple[Array, float]:
        return square_norm(xp, x) + square_norm(xp, y), 0.0

    def least(self, xp: Any, x: Array, y: Array) -> Array:
        roots = sqrt0(xp, square_norm(xp, x)) * sqrt0(xp, square_norm(xp, y))
        return xp.sum(roots, axis=-1)

    def balancing(self, x: Numpy, y: Numpy) -> tuple[Numpy, Numpy]:
        return balancing_scales(square_norm(np, x), square_norm(np, y))

    def compose(self, step: Gauge, done: Gauge) -> Gauge:
        return step[0] * done[0], step[1] * done[1]

    def residual(self, x: Numpy, y: Numpy) -> Numpy:
        return worst_scale(square_norm(np, x), square_norm(np, y))

    def dead(self, x: Numpy, y: Numpy, grain: float = 0.0) -> Numpy:
        return np.sum(~(x.any(axis=-1) & y.any(axis=-1)), axis=-1)


@dataclass(frozen=True)
class UniformScale(Rescaling):
    """One positive scale for everything: weights before a normalisation.

    The generator is the parameter itself, so the orbit Gram is ``|theta|^2``. With ``heads=h`` the
    axis is cut into ``h`` pieces with a scale each.
    """

    size: int = 1

    def __post_init__(self) -> None:
        if self.size != 1:
            raise ValueError("UniformScale has size 1; use Rescaling(r) for one scale per row")

    @property
    def tied(self) -> bool:
        return True


@dataclass(frozen=True)
class Translation(Group):
    """Shifts: ``x + t`` on vector ends, ``x - t`` on covector ends, the same ``t`` in all columns.

    Dead parameters, such as the key bias that cancels in a softmax, and directions that a mean
    subtraction removes. The orbit Gram is the number of columns, the charge the sum over them.
    """

    linear: ClassVar[bool] = False
    two_sided: ClassVar[bool] = False

    def random(self, rng: np.random.Generator, heads: int, scale: float) -> Numpy:
        return scale * rng.standard_normal((heads, self.size))

    def apply(self, xp: Any, g: Array, x: Array) -> Array:
        return x + g[..., None]

    def dual(self, xp: Any, g: Array) -> Array:
        return -g

    def vary(self, xp: Any, c: Array, x: Array, dual: bool) -> Array:
        return (-c if dual else c)[..., None] * xp.ones_like(x)

    def adjoint(self, xp: Any, t: Array, x: Array, dual: bool) -> Array:
        return -xp.sum(t, axis=-1) if dual else xp.sum(t, axis=-1)

    def charge(self, xp: Any, x: Array, y: Array) -> Array:
        return xp.sum(x, axis=-1) - xp.sum(y, axis=-1)

    def spectrum(self, xp: Any, x: Array, y: Array) -> tuple[Array, float]:
        return square_norm(xp, xp.ones_like(x)) + square_norm(xp, xp.ones_like(y)), 0.0

    def least(self, xp: Any, x: Array, y: Array) -> Array:
        shift = self.charge(xp, x, y) / (x.shape[-1] + y.shape[-1])
        rows = square_norm(xp, x - shift[..., None]) + square_norm(xp, y + shift[..., None])
        return xp.sum(rows, axis=-1) / 2

    def balancing(self, x: Numpy, y: Numpy) -> tuple[Numpy, Numpy]:
        shift = -self.charge(np, x, y) / (x.shape[-1] + y.shape[-1])
        return shift, -shift

    def compose(self, step: Gauge, done: Gauge) -> Gauge:
        return step[0] + done[0], step[1] + done[1]

    def imbalance(self, x: Numpy, y: Numpy) -> Numpy:
        """The largest charge over the sum of magnitudes."""
        size = np.sum(np.abs(x), axis=-1) + np.sum(np.abs(y), axis=-1)
        charge = np.abs(self.charge(np, x, y))
        # A shift that cancels leaves rounding in entries that belong to larger neighbours.
        return np.max(charge / np.maximum(size, np.max(size, initial=1e-300)), axis=-1)

    def dead(self, x: Numpy, y: Numpy, grain: float = 0.0) -> Numpy:
        return np.full(len(x), self.size)


def balancing_scales(m: Numpy, n: Numpy) -> tuple[Numpy, Numpy]:
    """Scales ``(n / m)^1/4`` and their inverses, zero where either side is zero."""
    live = (m > 0) & (n > 0)
    ratio = np.sqrt(np.where(live, n, 1)) / np.sqrt(np.where(live, m, 1))
    g = np.sqrt(ratio)
    return np.where(live, g, 0), np.where(live, 1 / g, 0)


def worst_scale(m: Numpy, n: Numpy) -> Numpy:
    """The largest ``|m - n| / (m + n)``, per head."""
    return np.max(np.abs(m - n) / np.where(m + n > 0, m + n, 1), axis=-1)
