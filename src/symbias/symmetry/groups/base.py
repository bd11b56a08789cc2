"""What a group must know to sit on a bond."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from symbias._core.arrays import Array

Numpy = np.ndarray[Any, Any]
Gauge = tuple[Numpy, Numpy]


@dataclass(frozen=True)
class Group:
    """A group of size ``r``, acting on blocks ``x`` of shape ``(heads, r, k)``.

    It acts by ``g`` on the stacked vector ends ``x`` of a bond and by ``g^-T`` on its stacked
    covector ends ``y``. Lie-algebra elements are given by coefficients ``(heads, dim)`` in a
    Frobenius-orthonormal basis. Methods with ``xp`` take arrays of any library; ``balancing``,
    ``imbalance``, ``residual`` and ``dead`` are eager and take float64 NumPy.
    """

    size: int
    compact: ClassVar[bool] = False  # norms are constant on orbits: balanced everywhere
    linear: ClassVar[bool] = True  # fixes the origin
    two_sided: ClassVar[bool] = True  # with ends of one side only there is no least norm

    def __post_init__(self) -> None:
        if isinstance(self.size, bool) or not isinstance(self.size, int | np.integer):
            raise TypeError(f"{type(self).__name__} takes an integer size, got {self.size!r}")
        if self.size < 1:
            raise ValueError(f"{type(self).__name__} needs a size of at least 1, got {self.size}")

    @property
    def dim(self) -> int:
        """Dimension of the Lie algebra."""
        return self.size

    def powers(self, count: int) -> tuple[float, ...]:
        """The power of the element that each of ``count`` ends is moved by; scales only."""
        return (1.0,) * count

    def stack(self, xp: Any, parts: Sequence[Array]) -> Array:
        """The blocks ``(heads, r, k)`` of the ends of one side as one."""
        return parts[0] if len(parts) == 1 else xp.concat(list(parts), axis=-1)

    @property
    def tied(self) -> bool:
        """Whether one component may own an axis of any length."""
        return False

    @property
    def element_shape(self) -> tuple[int, ...]:
        """Shape of a group element, without the heads."""
        return (self.size,)

    def matrix_basis(self) -> list[Numpy]:
        """The basis of the Lie algebra as matrices ``(r, r)``."""
        return [np.diag(row) for row in np.eye(self.size)]

    def random(self, rng: np.random.Generator, heads: int, scale: float) -> Numpy:
        """A random element, the identity at ``scale = 0``; beyond 0.1 of any component."""
        raise NotImplementedError

    def apply(self, xp: Any, g: Array, x: Array) -> Array:
        """``g x``."""
        raise NotImplementedError

    def dual(self, xp: Any, g: Array) -> Array:
        """``g^-T``, which moves the covector ends."""
        raise NotImplementedError

    def vary(self, xp: Any, c: Array, x: Array, dual: bool) -> Array:
        """The generator with coefficients ``c`` at ``x``: ``A x``, or ``-A^T x`` when dual."""
        raise NotImplementedError

    def adjoint(self, xp: Any, t: Array, x: Array, dual: bool) -> Array:
        """The transpose of :meth:`vary` in ``c``: tangents ``(heads, r, k)`` to coefficients."""
        raise NotImplementedError

    def charge(self, xp: Any, x: Array, y: Array) -> Array:
        """What gradient flow conserves: ``M - N`` on the symmetric generators."""
        raise NotImplementedError

    def spectrum(self, xp: Any, x: Array, y: Array) -> tuple[Array, float]:
        """Eigenvalues ``(heads, dim)`` of the orbit Gram of one bond, coupled to no other.

        The second value is the relative rounding error of their square roots, below which an
        eigenvalue counts as zero.
        """
        raise NotImplementedError

    def whiten(self, xp: Any, x: Array, y: Array) -> Callable[[Array], Array]:
        """The map ``c -> Gram^(-1/2) c`` of one bond, zero on its stabilizer.

        This one is for groups whose Gram is diagonal in the basis.
        """
        factors = inverse_roots(xp, *self.spectrum(xp, x, y))
        return lambda c: c * factors

    def least(self, xp: Any, x: Array, y: Array) -> Array:
        """Half the least squared norm on the orbit of one bond, ``(heads,)``."""
        raise NotImplementedError

    def balancing(self, x: Numpy, y: Numpy) -> tuple[Numpy, Numpy]:
        """``g`` for the vector and ``h`` for the covector ends that make the norm least.

        ``h = g^-T`` where both ends are alive; dead parts are sent to zero.
        """
        raise NotImplementedError

    def compose(self, step: Gauge, done: Gauge) -> Gauge:
        """One pair from :meth:`balancing` after another."""
        raise NotImplementedError

    def imbalance(self, x: Numpy, y: Numpy) -> Numpy:
        """``|M - N| / |M + N|`` on the symmetric generators, in the Frobenius norm, ``(heads,)``.

        0 at the point of least norm, 1 where one side is zero; 0 without symmetric generators.
        """
        nothing = x[..., :0]
        m, n = self.charge(np, x, nothing), self.charge(np, y, nothing)
        axes = tuple(range(1, m.ndim))
        top = np.max(np.abs(m) + np.abs(n), axis=axes, keepdims=True, initial=0.0)
        m, n = (side / np.where(top > 0, top, 1) for side in (m, n))  # their squares stay finite
        size = np.sqrt(np.sum((m + n) ** 2, axis=axes))
        return np.sqrt(np.sum((m - n) ** 2, axis=axes)) / np.where(size > 0, size, 1)

    def residual(self, x: Numpy, y: Numpy) -> Numpy:
        """What balancing stops at, ``(heads,)``: the worst imbalance of a part that moves alone."""
        return self.imbalance(x, y)

    def dead(self, x: Numpy, y: Numpy, grain: float = 0.0) -> Numpy:
        """Dimensions of the bond that carry nothing, ``(heads,)``: at least one side is zero.

        ``grain`` is the relative rounding of the entries as they were stored, which looks like
        full rank: what cannot be told from it carries nothing.
        """
        raise NotImplementedError


def live_part(xp: Any, values: Array, tolerance: float) -> tuple[Array, Array]:
    """Which eigenvalues are not zero, and the eigenvalues with the others set to one.

    Differentiable in both branches: nothing downstream sees a zero.
    """
    cut = tolerance**2 * xp.max(values, axis=-1, keepdims=True) if values.shape[-1] else 0.0
    live = xp.logical_not(values <= cut)  # what is not a number stays, and shows
    return live, xp.where(live, values, xp.ones_like(values))


def inverse_roots(xp: Any, values: Array, tolerance: float) -> Array:
    """``values ** -0.5``, zero where they are zero."""
    live, safe = live_part(xp, values, tolerance)
    return xp.where(live, 1 / xp.sqrt(safe), xp.zeros_like(safe))


def sqrt0(xp: Any, values: Array) -> Array:
    """Square root with derivative zero at zero."""
    live, safe = live_part(xp, values[..., None], 0.0)
    return xp.where(live, xp.sqrt(safe), xp.zeros_like(safe))[..., 0]


def square_norm(xp: Any, x: Array) -> Array:
    """Sum of squares of the rows of a block, ``(heads, r)``."""
    return xp.sum(x * x, axis=-1)
