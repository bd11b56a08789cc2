r"""Label noise under SGD: the gradients' size on the orbit becomes a penalty on the parameter.

References
----------
Blanc, Gupta, Valiant, Valiant, "Implicit regularization for deep neural networks driven by an
Ornstein-Uhlenbeck like process", COLT 2020; Damian, Ma, Lee, "Label noise SGD provably prefers
flat global minimizers", NeurIPS 2021.
"""

import math
from dataclasses import dataclass
from functools import partial
from typing import Any, ClassVar

import jax
import numpy as np
from array_api_compat import array_namespace, is_jax_array

from symbias._core.arrays import Array, concrete, constant
from symbias._core.numbers import positive
from symbias.dynamics import SGD
from symbias.mechanisms.inputs import behind, check_inputs, compressed, coordinates, measurements
from symbias.mechanisms.sgd import settle
from symbias.parameterizations import (
    GroupProduct,
    Hadamard,
    Link,
    Linked,
    MatrixProduct,
    Parameterization,
    Parts,
    Plain,
    Radial,
    Synthesis,
)

RANK_TOLERANCE = 1e-10


@dataclass(frozen=True)
class LabelNoise:
    r"""SGD on a linear model with fresh noise of std ``sigma`` on the labels at every step.

    For the loss :math:`\frac1{2n}\sum_i (f_i - y_i)^2` with :math:`f_i = \langle x_i, w(\theta)
    \rangle` and batches of B samples, the mean of w settles at the minimum of loss + penalty,

    .. math:: R(w) = \frac{\eta\sigma^2}{4B}\;\min_{p(\theta) = w}\;
        \frac1n \sum_i \Bigl|\frac{\partial f_i}{\partial\theta}\Bigr|^2.

    ====================  ====================================================================
    parameterization      the minimum over the orbit; S is the mean of x x^T
    ====================  ====================================================================
    Hadamard, depth L     sum_j S_jj L abs(w_j)^(2 - 2/L)
    GroupProduct          sum_g 2 sqrt(tr S_g) sqrt(w_g^T S_g w_g)
    MatrixProduct, L = 2  x @ W with m columns: 2 sqrt(m tr S) nuclear(S^(1/2) W);
                          <A_i, W>: 2 nuclear(B^(1/2) W A^(1/2)), A the mean of A_i^T A_i, B
                          that of A_i A_i^T
    Synthesis             that of the inner one, for the inputs A^T x
    Linked                that of the inner one, for the inputs h'(z) x
    Parts                 the sum over the parts
    others                by sweeps over the bonds (no derivative)
    ====================  ====================================================================

    Free coordinates are plain parameters: their own gradients do not depend on theta, and that
    constant is left out.

    Parameters
    ----------
    sigma : float
        Standard deviation of the noise on every output.
    learning_rate : float
    batch_size : int, optional
        Samples in a step; all of the inputs by default.
    """

    sigma: float
    learning_rate: float
    batch_size: int | None = None

    assumptions: ClassVar[tuple[str, ...]] = (
        "plain SGD (no momentum) on half the mean squared error of a linear model",
        "no other gradient noise: full batches, or residuals small beside sigma",
        "small steps: learning_rate times the largest curvature well below 1",
        "stationary: the gauge has settled, in about B / (learning_rate^2 sigma^2 tr S) steps",
    )
    exactness: ClassVar[str] = (
        "first order in the learning rate, for the mean of w; the next order is smaller by "
        "learning_rate times curvature and by sigma^2 learning_rate / (B |w|)"
    )

    def __post_init__(self) -> None:
        for name, value in (("sigma", self.sigma), ("learning_rate", self.learning_rate)):
            positive(name, value)
        if self.batch_size is not None and not (
            isinstance(self.batch_size, int | np.integer) and self.batch_size >= 1
        ):
            raise ValueError(
                f"batch_size must be a positive integer or None, got {self.batch_size!r}"
            )

    def penalty(self, p: Parameterization, w: Array, inputs: Array) -> Array:
        """R(w), a scalar; in any array library and differentiable where there is a closed form.

        Parameters
        ----------
        p : Parameterization
        w : array, of shape ``p.shape``
        inputs : array of the same library
            Shape (n, *p.shape), or (n, rows) for predictions x @ w of several outputs.

        Raises
        ------
        ValueError
            For inputs that do not fit w, and where neither a closed form nor a minimum by sweeps
            is known, with the reason.
        """
        if tuple(w.shape) != p.shape:
            raise ValueError(f"w has shape {tuple(w.shape)}, expected {p.shape}")
        check_inputs(inputs, p.shape)
        count = inputs.shape[0]
        scale = self.learning_rate * self.sigma**2 / (4 * (self.batch_size or count))
        return scale * _least(p, w, inputs / math.sqrt(count))


def _least(p: Parameterization, w: Array, inputs: Array) -> Array:
    """Minimum over the orbit of sum_i |d f_i / d theta|^2."""
    xp = array_namespace(w, inputs)
    if isinstance(p, Synthesis):
        return _least(p.inner, coordinates(p, w)[1], behind(p, inputs))
    if isinstance(p, Linked | Parts):
        full = xp.reshape(measurements(inputs, p.shape), (-1, *p.shape))
        return _linked(p, w, full) if isinstance(p, Linked) else _parts(p, w, full)
    if isinstance(p, Radial):  # |d w / d x| = h'(|x|) everywhere on the sphere
        slope = _slope(p.link, p.link.inverse(w))
        return xp.sum(_moments(w, inputs) * slope**2)
    if isinstance(p, Plain):
        return xp.sum(_moments(w, inputs) * xp.ones_like(w))
    if isinstance(p, Hadamard):
        return p.depth * xp.sum(_moments(w, inputs) * xp.abs(w) ** (2 - 2 / p.depth))
    if isinstance(p, GroupProduct):
        return _groups(p, w, inputs)
    if not p.balanced_section:
        raise ValueError(f"{p!r}: w has many splits: a minimum over all of them, not known")
    seen, data = concrete(w), concrete(inputs)
    if isinstance(p, MatrixProduct) and seen is not None and p.rank < min(p.shape):
        p.section(seen)  # refuses a w of higher rank
    if isinstance(p, MatrixProduct) and p.depth == 2:
        return _nuclear(w, inputs)
    if seen is None or data is None:
        raise ValueError(f"no closed form is known for {p!r}: its penalty cannot be traced")
    return constant(least_gradients(p, seen, data)[1], w)


def _moments(w: Array, inputs: Array) -> Array:
    """Sums of squares of the inputs of every entry of w, or of its row."""
    xp = array_namespace(w, inputs)
    moments = xp.sum(inputs**2, axis=0)
    return moments if moments.ndim == w.ndim else moments[(...,) + (None,) * (w.ndim - 1)]


def _linked(p: Linked, w: Array, inputs: Array) -> Array:
    """The chain rule: inputs a h'(z) of the inner parameter; h' is constant outside of JAX."""
    z = p.link.inverse(w)
    return _least(p.inner, z, inputs * _slope(p.link, z)[None, ...])


def _slope(link: Link, z: Array) -> Array:
    """h'(z)."""
    if is_jax_array(z):
        return jax.jvp(link.forward, (z,), (jax.numpy.ones_like(z),))[1]
    with jax.enable_x64(True):
        at = jax.numpy.asarray(concrete(z))
        one = jax.numpy.ones_like(at)
        return constant(np.array(jax.jvp(link.forward, (at,), (one,))[1]), z)


def _parts(p: Parts, w: Array, inputs: Array) -> Array:
    xp = array_namespace(w, inputs)
    flat, rows, total = xp.reshape(w, (-1,)), xp.reshape(inputs, (inputs.shape[0], -1)), 0.0
    for index, design in zip(p.parts, p.designs, strict=True):
        where = constant(index, w, index=True)
        part = xp.reshape(xp.take(rows, where, axis=1), (-1, *design.shape))
        total = total + _least(design, xp.reshape(xp.take(flat, where, axis=0), design.shape), part)
    return total


def _groups(p: GroupProduct, w: Array, inputs: Array) -> Array:
    xp = array_namespace(w, inputs)
    rows = measurements(inputs if inputs.ndim > w.ndim else compressed(inputs), p.shape)
    member = constant(np.eye(len(p.group_names))[p.labels], w)
    parts = (rows * xp.reshape(w, (1, -1))) @ member  # what each group adds to each prediction
    squares = xp.sum(parts**2, axis=0)
    safe = xp.where(squares > 0, squares, xp.ones_like(squares))
    norms = xp.where(squares > 0, xp.sqrt(safe), xp.zeros_like(squares))
    return 2 * xp.sum(xp.sqrt(xp.sum(rows**2, axis=0) @ member) * norms)


def _nuclear(w: Array, inputs: Array) -> Array:
    xp = array_namespace(w, inputs)
    if inputs.ndim == 2:
        seen = compressed(inputs) @ w
        return 2 * xp.sqrt(w.shape[1] * xp.sum(inputs**2)) * xp.sum(xp.linalg.svdvals(seen))
    rows, cols = w.shape
    right = compressed(xp.reshape(inputs, (-1, cols)))
    left = compressed(xp.reshape(xp.permute_dims(inputs, (0, 2, 1)), (-1, rows)))
    return 2 * xp.sum(xp.linalg.svdvals(left @ w @ right.T))


def least_gradients(
    p: Parameterization, w: np.ndarray, inputs: np.ndarray
) -> tuple[dict[str, np.ndarray], float]:
    """The factors of w with the least sum of squared gradients of <a_i, w>, and that sum.

    The function is geodesically convex along the group; bonds are settled one after the other, as
    for the equilibrium of SGD.
    """
    rows = compressed(measurements(compressed(inputs), p.shape))
    w = np.asarray(w, dtype=float)
    p = _live(p, w)
    with jax.enable_x64(True):
        theta = {k: np.asarray(v) for k, v in p.section(w).items()}
        grads = _pulled(p, theta, rows)
        stack = {k: v[None] for k, v in theta.items()}
        stack, grads = settle(p.symmetry, SGD(1.0), stack, grads)
        total = sum(float(np.sum(np.asarray(g) ** 2)) for k, g in grads.items() if k not in p.free)
        return {k: np.asarray(v[0]) for k, v in stack.items()}, total


@partial(jax.jit, static_argnums=0)
def _pulled(p: Parameterization, theta: Any, rows: Array) -> Any:
    """Gradients of <a, p(theta)>, for every row a."""
    pull = jax.vjp(p, theta)[1]
    return jax.vmap(lambda a: pull(a.reshape(p.shape))[0])(rows)


def _live(p: Parameterization, w: np.ndarray) -> Any:
    """Without the inner directions that a matrix of low rank leaves empty: they cost nothing."""
    if isinstance(p, Synthesis):
        inner = _live(p.inner, coordinates(p, w)[1])
        return p if inner is p.inner else Synthesis(p.transform, inner)
    if not isinstance(p, MatrixProduct):
        return p
    s = np.linalg.svdvals(w)
    rank = max(1, int(np.sum(s > RANK_TOLERANCE * s[0])))
    return p if rank >= p.rank else MatrixProduct(p.shape[0], p.shape[1], rank, p.depth)
