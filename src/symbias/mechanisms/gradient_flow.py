r"""Gradient flow: the start stays in the solution, through the potential of a mirror descent.

References
----------
Woodworth et al., "Kernel and rich regimes in overparametrized models", COLT 2020; Li, Wang, Lee,
Arora, "Implicit bias of gradient descent on reparametrized models: on equivalence to mirror
descent", NeurIPS 2022.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import jax
import jax.numpy as jnp
import numpy as np
from array_api_compat import array_namespace
from scipy.integrate import solve_ivp

from symbias._core.arrays import Array, concrete, constant
from symbias._core.numbers import positive
from symbias.mechanisms.inputs import check_inputs, coordinates, measurements
from symbias.mechanisms.linked_mirror import mirror_of
from symbias.mechanisms.potentials import flat_coordinates, product_factors, synthesis_matrix
from symbias.parameterizations import Linked, Parameterization, Radial, Synthesis

RTOL, ATOL, LONGEST = 1e-11, 1e-16, 1e14


@dataclass(frozen=True, eq=False)
class GradientFlow:
    r"""Gradient flow :math:`\dot\theta = -\nabla L`, from a start of a given scale.

    The start is ``p.section(start, charge=init_scale**2)``; for w = u v and w(0) = 0 this is u =
    init_scale, v = 0. Charges are conserved, so w follows a mirror descent whose potential depends
    on them:

    .. math:: \psi'(w) = \frac12 \operatorname{asinh}\frac{2w}{|c|} \quad\text{(Hadamard, depth 2)}

    and, among all w that fit the data, the flow selects the one with the least Bregman divergence
    :math:`\psi(w) - \psi(w_0) - \psi'(w_0)(w - w_0)`: close to the least l2 norm for a large
    start, to the least l1 norm for a small one. A potential exists where the gradient flows of
    different entries of w commute: products of numbers. Matrix products and groups of more than
    one entry have none and are refused. Behind a synthesis w = A z the potential is one of z, and
    free coordinates have z^2/2.

    Parameters
    ----------
    init_scale : float
    start : array of the shape of w, optional
        w(0); zeros by default.
    """

    init_scale: float
    start: Any = None

    assumptions: ClassVar[tuple[str, ...]] = (
        "the full gradient, without noise, momentum or weight decay",
        "small steps: gradient descent differs from the flow by O(learning_rate)",
        "converged to zero loss on a linear model with fewer samples than parameters",
    )
    exactness: ClassVar[str] = "exact for the flow; O(learning_rate) for gradient descent"

    def __post_init__(self) -> None:
        positive("init_scale", self.init_scale)

    def init(self, p: Parameterization) -> dict[str, np.ndarray]:
        """The factors at the start, in float64."""
        w = np.zeros(p.shape) if self.start is None else np.asarray(self.start, dtype=float)
        return p.section(w, charge=self.init_scale**2)

    def _start(
        self, p: Parameterization, theta0: Mapping[str, Array] | None
    ) -> dict[str, np.ndarray]:
        theta0 = self.init(p) if theta0 is None else theta0
        theta0 = {k: np.asarray(v, dtype=float) for k, v in theta0.items()}
        p(theta0)  # checks names and shapes
        return theta0

    def potential(
        self, p: Parameterization, w: Array, theta0: Mapping[str, Array] | None = None
    ) -> Array:
        """Bregman divergence D(w, w(0)), a scalar: what the flow minimises among interpolators.

        In any array library and differentiable for Hadamard products of depth 2 (and syntheses of
        them); NumPy inside for other depths and starts with u = v. Infinite where the sign of an
        entry is frozen and another.

        Parameters
        ----------
        p : Parameterization
        w : array, of shape ``p.shape``
        theta0 : dict of arrays, optional
            The factors at the start, of any charges, instead of `init`.

        Raises
        ------
        ValueError
            Where no potential exists, with the measured brackets, or none is known.
        """
        if tuple(w.shape) != p.shape:
            raise ValueError(f"w has shape {tuple(w.shape)}, expected {p.shape}")
        start = self._start(p, theta0)
        if not isinstance(p, Linked | Radial):
            factors, free = product_factors(p, start)
            charge = factors[0] ** 2 - factors[1] ** 2
            if len(factors) == 2 and len(factors[0]) and np.all(charge != 0):
                return _depth_two(p, w, factors, free)
        seen = concrete(w)
        if seen is None:
            raise ValueError(f"no closed form is known for {p!r}: its potential cannot be traced")
        return constant(np.sum(mirror_of(p, start).bregman(flat_coordinates(p, seen))), w)

    def bregman_projection(
        self,
        p: Parameterization,
        inputs: Any,
        y: Any,
        theta0: Mapping[str, Array] | None = None,
        *,
        tolerance: float = 1e-12,
    ) -> np.ndarray:
        """The w of least potential with <inputs_i, w> = y_i, in float64, without any flow.

        Parameters
        ----------
        p : Parameterization
        inputs, y : arrays
            Shapes (n, *p.shape) and (n,), or (n, rows) and (n, ...) for y = x @ W; with linearly
            independent predictions.
        theta0 : dict of arrays, optional
        tolerance : float
            On |<inputs_i, w> - y_i|, relative to the largest |y_i| or 1.

        Raises
        ------
        ValueError
            As for `potential`, and for data that no w fits.
        """
        rows, target, _ = _data(p, inputs, y)
        mirror = mirror_of(p, self._start(p, theta0))
        synthesis = synthesis_matrix(p)
        features = rows @ synthesis
        if np.linalg.matrix_rank(features) < len(features):
            raise ValueError(f"the {len(features)} predictions are not linearly independent")
        scale = max(1.0, float(np.abs(target).max(initial=0.0)))
        z = mirror.project(features, target, tolerance * scale)
        return (synthesis @ z).reshape(p.shape)

    def interpolator(
        self,
        p: Parameterization,
        inputs: Any,
        y: Any,
        theta0: Mapping[str, Array] | None = None,
        *,
        tolerance: float = 1e-10,
    ) -> np.ndarray:
        """Where the flow of 1/(2n) sum (<inputs_i, w> - y_i)^2 ends, by a stiff solver (LSODA).

        For any parameterization, with a potential or without. Parameters as for
        `bregman_projection`; `tolerance` is the largest residual at the end.

        Raises
        ------
        ValueError
            If the residuals do not get there.
        """
        rows, target, count = _data(p, inputs, y)
        theta0 = self._start(p, theta0)
        names = list(p.shapes)
        sizes = np.cumsum([math.prod(p.shapes[k]) for k in names])[:-1]
        with jax.enable_x64(True):
            a, b = jnp.asarray(rows), jnp.asarray(target)

            def effective(flat: Array) -> Array:
                parts = zip(names, jnp.split(flat, sizes), strict=True)
                return jnp.ravel(p({k: v.reshape(p.shapes[k]) for k, v in parts}))

            def loss(flat: Array) -> Array:
                return jnp.sum((a @ effective(flat) - b) ** 2) / (2 * count)

            slope, curvature = jax.jit(jax.grad(loss)), jax.jit(jax.hessian(loss))
            predict = jax.jit(effective)

            def left(_: float, flat: np.ndarray) -> float:
                return float(np.abs(rows @ np.asarray(predict(flat)) - target).max()) - tolerance

            left.terminal = True  # type: ignore[attr-defined]
            flow = solve_ivp(
                lambda _, flat: -np.asarray(slope(flat)),
                (0.0, LONGEST),
                np.concatenate([theta0[k].ravel() for k in names]),
                method="LSODA",
                jac=lambda _, flat: -np.asarray(curvature(flat)),
                events=left,
                rtol=RTOL,
                atol=ATOL,
            )
            end = flow.y[:, -1]
            if left(0.0, end) > tolerance:
                raise ValueError(
                    f"the flow ends {left(0.0, end):.1e} from the data: {flow.message}"
                )
            return np.asarray(predict(end)).reshape(p.shape)


def _depth_two(p: Parameterization, w: Array, factors: np.ndarray, free: np.ndarray) -> Array:
    xp = array_namespace(w)
    parts = []
    while isinstance(p, Synthesis):
        plain, w = coordinates(p, w)
        parts.append(xp.reshape(plain, (-1,)))
        p = p.inner
    w, first = xp.reshape(w, (-1,)), constant(np.prod(factors, axis=0), w)
    charge = constant(np.abs(factors[0] ** 2 - factors[1] ** 2), w)
    rise = xp.asinh(2 * w / charge) - xp.asinh(2 * first / charge)
    bend = xp.hypot(charge, 2 * w) - xp.hypot(charge, 2 * first)
    total = xp.sum(w * rise / 2 - bend / 4)
    if parts:
        total = total + xp.sum((xp.concat(parts) - constant(free, w)) ** 2) / 2
    return total


def _data(p: Parameterization, inputs: Any, y: Any) -> tuple[np.ndarray, np.ndarray, int]:
    inputs, y = np.asarray(inputs, dtype=float), np.asarray(y, dtype=float)
    check_inputs(inputs, p.shape)
    rows = measurements(inputs, p.shape)
    if y.size != len(rows) or len(y) != len(inputs) or not np.all(np.isfinite(y)):
        raise ValueError(f"y must be {len(rows)} finite numbers for {len(inputs)} inputs, got {y}")
    return rows, y.ravel(), len(inputs)
