"""The groups a bond can carry, one small class each.

A group of size ``r`` acts on blocks ``x`` of shape ``(heads, r, k)``: by ``g`` on the vector ends
of a bond and by ``g^-T`` on its covector ends, so that contractions over the bond do not change.
Lie-algebra elements are given by their coefficients ``(heads, dim)`` in a Frobenius-orthonormal
basis (``UniformScale`` and ``Translation`` have one generator per component, not normalised).

Elements and Lie algebras follow Hall, *Lie Groups, Lie Algebras, and Representations* (2015).
"""

from dataclasses import dataclass
from functools import cached_property
from typing import Any, ClassVar

import numpy as np
from scipy.linalg import expm

from symbias._arrays import Array, constant

Numpy = np.ndarray[Any, Any]


@dataclass(frozen=True)
class Group:
    """What every group provides. ``size`` is the length ``r`` of the axis it acts on."""

    size: int
    compact: ClassVar[bool] = False
    tied: ClassVar[bool] = False  # one component may own a whole axis, however long

    def __post_init__(self) -> None:
        if isinstance(self.size, bool) or not isinstance(self.size, int | np.integer):
            raise TypeError(f"{type(self).__name__} takes an integer size, got {self.size!r}")
        if self.size < 1:
            raise ValueError(f"{type(self).__name__} needs a size of at least 1, got {self.size}")

    @property
    def dim(self) -> int:
        """Dimension of the Lie algebra."""
        raise NotImplementedError

    @property
    def element_shape(self) -> tuple[int, ...]:
        """Shape of a group element, without the heads."""
        return (self.size,)

    def random(self, rng: np.random.Generator, heads: int, scale: float) -> Numpy:
        """A random element, the identity at ``scale = 0``."""
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
        """Eigenvalues ``(heads, dim)`` of the orbit Gram of one bond that is coupled to no other.

        The second value is the relative rounding error of their square roots, below which an
        eigenvalue counts as zero.
        """
        raise NotImplementedError

    def balancing(self, x: Numpy, y: Numpy) -> tuple[Numpy, Numpy]:
        """``g`` for the vector and ``h`` for the covector ends that make the norm least.

        ``h = g^-T`` where both ends are alive; dead parts are sent to zero.
        """
        raise NotImplementedError

    def imbalance(self, x: Numpy, y: Numpy) -> Numpy:
        """Charge over squared norm, ``(heads,)``: zero at the point of least norm."""
        raise NotImplementedError

    def dead(self, x: Numpy, y: Numpy) -> Numpy:
        """Dimensions of a balanced bond that carry nothing, ``(heads,)``."""
        return np.zeros(len(x), dtype=int)


# ---------------------------------------------------------------- groups of diagonal matrices


@dataclass(frozen=True)
class Rescaling(Group):
    """Positive diagonal matrices: one scale per component.

    ``signed=True`` lets the scales have any sign (SwiGLU, linear units); the algebra is the same.
    Orbit Gram: ``diag(M + N)``. Charge: ``diag(M - N)``.
    """

    signed: bool = False

    @property
    def dim(self) -> int:
        return self.size

    def random(self, rng: np.random.Generator, heads: int, scale: float) -> Numpy:
        g = np.exp(scale * rng.standard_normal((heads, self.size)))
        if self.signed and scale > 0.1:
            g *= rng.choice([-1.0, 1.0], g.shape)
        return g

    def apply(self, xp: Any, g: Array, x: Array) -> Array:
        return x * g[..., None]

    def dual(self, xp: Any, g: Array) -> Array:
        return 1 / g

    def vary(self, xp: Any, c: Array, x: Array, dual: bool) -> Array:
        return -c[..., None] * x if dual else c[..., None] * x

    def adjoint(self, xp: Any, t: Array, x: Array, dual: bool) -> Array:
        inner = xp.sum(t * x, axis=-1)
        return -inner if dual else inner

    def charge(self, xp: Any, x: Array, y: Array) -> Array:
        return xp.sum(x * x, axis=-1) - xp.sum(y * y, axis=-1)

    def spectrum(self, xp: Any, x: Array, y: Array) -> tuple[Array, float]:
        return xp.sum(x * x, axis=-1) + xp.sum(y * y, axis=-1), 0.0

    def balancing(self, x: Numpy, y: Numpy) -> tuple[Numpy, Numpy]:
        m, n = np.sum(x * x, axis=-1), np.sum(y * y, axis=-1)
        live = (m > 0) & (n > 0)
        g = np.where(live, (n / np.where(live, m, 1)) ** 0.25, 0)
        return g, np.where(live, 1 / np.where(live, g, 1), 0)

    def imbalance(self, x: Numpy, y: Numpy) -> Numpy:
        m, n = np.sum(x * x, axis=-1), np.sum(y * y, axis=-1)
        return np.max(np.abs(m - n) / np.where(m + n > 0, m + n, 1), axis=-1)

    def dead(self, x: Numpy, y: Numpy) -> Numpy:
        return np.sum(~(x.any(axis=-1) & y.any(axis=-1)), axis=-1)


@dataclass(frozen=True)
class UniformScale(Rescaling):
    """One positive scale for the whole block: weights before a normalisation.

    The generator is the parameter itself, so the orbit Gram is ``|theta|^2``. With ``heads=h`` the
    axis is cut into ``h`` pieces with a scale each.
    """

    size: int = 1
    signed: bool = False
    tied: ClassVar[bool] = True

    def __post_init__(self) -> None:
        if self.size != 1:
            raise ValueError("UniformScale has size 1; use Rescaling(r) for one scale per row")


@dataclass(frozen=True)
class Translation(Group):
    """Shifts: ``x + t`` on vector ends, ``x - t`` on covector ends, the same ``t`` in all columns.

    Dead parameters, such as the key bias that cancels in a softmax, and directions that a mean
    subtraction removes. Orbit Gram: the number of columns. Charge: the sum over them.
    """

    @property
    def dim(self) -> int:
        return self.size

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
        ones = xp.ones_like(x), xp.ones_like(y)
        return xp.sum(ones[0], axis=-1) + xp.sum(ones[1], axis=-1), 0.0

    def balancing(self, x: Numpy, y: Numpy) -> tuple[Numpy, Numpy]:
        shift = -self.charge(np, x, y) / (x.shape[-1] + y.shape[-1])
        return shift, -shift

    def imbalance(self, x: Numpy, y: Numpy) -> Numpy:
        size = np.sum(np.abs(x), axis=-1) + np.sum(np.abs(y), axis=-1)
        return np.max(np.abs(self.charge(np, x, y)) / np.where(size > 0, size, 1), axis=-1)


# ------------------------------------------------------------------- groups of full matrices


@dataclass(frozen=True)
class MatrixGroup(Group):
    """A matrix group whose basis elements are sums of ``+-E_ij`` with disjoint supports.

    A subclass gives ``_terms()``: the flat entries ``i r + j`` of each basis element and their
    signs, both of shape ``(dim, m)``. Everything else follows.
    """

    def _terms(self) -> tuple[Numpy, Numpy]:
        raise NotImplementedError

    @cached_property
    def _tables(self) -> tuple[Numpy, Numpy, Numpy, Numpy]:
        entries, signs = self._terms()
        dim, m = entries.shape
        owner = np.full(self.size**2, dim)
        weight = np.zeros(self.size**2)
        owner[entries] = np.arange(dim)[:, None]
        weight[entries] = signs / np.sqrt(m)
        return entries, signs / np.sqrt(m), owner, weight

    @property
    def dim(self) -> int:
        return len(self._tables[0])

    @property
    def element_shape(self) -> tuple[int, ...]:
        return (self.size, self.size)

    def matrix(self, xp: Any, c: Array) -> Array:
        """The algebra element ``(..., r, r)`` with coefficients ``c``, shape ``(..., dim)``."""
        _, _, owner, weight = self._tables
        padded = xp.concat([c, xp.zeros_like(c[..., :1])], axis=-1)
        flat = xp.take(padded, constant(owner, c, index=True), axis=-1) * constant(weight, c)
        return xp.reshape(flat, (*c.shape[:-1], self.size, self.size))

    def coefficients(self, xp: Any, a: Array) -> Array:
        """The transpose of :meth:`matrix`: project ``a``, shape ``(..., r, r)``, on the basis."""
        entries, signs, _, _ = self._tables
        flat = xp.reshape(a, (*a.shape[:-2], self.size**2))
        picked = xp.take(flat, constant(entries.reshape(-1), a, index=True), axis=-1)
        picked = xp.reshape(picked, (*a.shape[:-2], *entries.shape))
        return xp.sum(picked * constant(signs, a), axis=-1)

    def random(self, rng: np.random.Generator, heads: int, scale: float) -> Numpy:
        a = self.matrix(np, rng.standard_normal((heads, self.dim)))
        return expm(scale * a / np.sqrt(self.size))

    def apply(self, xp: Any, g: Array, x: Array) -> Array:
        return g @ x

    def dual(self, xp: Any, g: Array) -> Array:
        return xp.matrix_transpose(xp.linalg.inv(g))

    def vary(self, xp: Any, c: Array, x: Array, dual: bool) -> Array:
        a = self.matrix(xp, c)
        return -xp.matrix_transpose(a) @ x if dual else a @ x

    def adjoint(self, xp: Any, t: Array, x: Array, dual: bool) -> Array:
        a = -x @ xp.matrix_transpose(t) if dual else t @ xp.matrix_transpose(x)
        return self.coefficients(xp, a)


@dataclass(frozen=True)
class GeneralLinear(MatrixGroup):
    """All invertible matrices: products ``P Q``, attention heads, deep linear nets.

    Orbit Gram: eigenvalues ``n_i + m_j`` with ``m, n`` the squared singular values of the stacked
    vector and covector ends. Charge: ``M - N``.
    """

    def _terms(self) -> tuple[Numpy, Numpy]:
        entries = np.arange(self.size**2)[:, None]
        return entries, np.ones(entries.shape)

    def charge(self, xp: Any, x: Array, y: Array) -> Array:
        return x @ xp.matrix_transpose(x) - y @ xp.matrix_transpose(y)

    def spectrum(self, xp: Any, x: Array, y: Array) -> tuple[Array, float]:
        m, n = squared_singular_values(xp, x), squared_singular_values(xp, y)
        sums = n[..., :, None] + m[..., None, :]
        return xp.reshape(sums, (x.shape[0], self.dim)), rounding(xp, x, y)

    def balancing(self, x: Numpy, y: Numpy) -> tuple[Numpy, Numpy]:
        # With X^T Y = U s V^T the balanced ends are s^1/2 U^T and s^1/2 V^T. In terms of the core
        # X^T Y = Qx (Rx Ry^T) Qy^T they are s^-1/2 V^T Ry X and s^-1/2 U^T Rx Y on the live part.
        rx = np.linalg.qr(np.swapaxes(x, -1, -2), mode="r")
        ry = np.linalg.qr(np.swapaxes(y, -1, -2), mode="r")
        u, s, vt = np.linalg.svd(rx @ np.swapaxes(ry, -1, -2), full_matrices=False)
        live = s > 10 * self.size * np.finfo(float).eps * s[..., :1]
        root = np.where(live, 1 / np.sqrt(np.where(live, s, 1)), 0)[..., None]
        pad = ((0, 0), (0, self.size - s.shape[-1]), (0, 0))
        g = np.pad(root * (vt @ ry), pad)
        h = np.pad(root * (np.swapaxes(u, -1, -2) @ rx), pad)
        # Of all balanced points, equal up to O(r), take the one nearest to where we are.
        near = x @ np.swapaxes(g @ x, -1, -2) + y @ np.swapaxes(h @ y, -1, -2)
        a, _, bt = np.linalg.svd(near)
        return a @ bt @ g, a @ bt @ h

    def imbalance(self, x: Numpy, y: Numpy) -> Numpy:
        size = np.sum(x * x, axis=(-1, -2)) + np.sum(y * y, axis=(-1, -2))
        charge = np.sqrt(np.sum(self.charge(np, x, y) ** 2, axis=(-1, -2)))
        return charge / np.where(size > 0, size, 1)

    def dead(self, x: Numpy, y: Numpy) -> Numpy:
        return self.size - np.linalg.matrix_rank(x)


def squared_singular_values(xp: Any, x: Array) -> Array:
    """Squared singular values of ``x``, shape ``(heads, r, k)``, filled up with zeros to ``r``."""
    r, k = x.shape[1:]
    if k == 0:
        return xp.sum(x, axis=-1)
    s = xp.linalg.svdvals(x)
    if k < r:
        s = xp.concat([s, xp.zeros_like(x[..., : r - k, 0])], axis=-1)
    return s * s


def rounding(xp: Any, *blocks: Array) -> float:
    """Relative rounding error of the singular values of ``blocks``."""
    return 10 * float(xp.finfo(blocks[0].dtype).eps) * max(max(b.shape[1:]) for b in blocks)
