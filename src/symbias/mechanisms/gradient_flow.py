r"""Gradient flow: the start stays in the solution, through the potential of a mirror descent.

References
----------
Woodworth et al., "Kernel and rich regimes in overparametrized models", COLT 2020; Li, Wang, Lee,
Arora, "Implicit bias of gradient descent on reparametrized models: on equivalence to mirror
descent", NeurIPS 2022.
"""

import itertools
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
from scipy.integrate import solve_ivp

from symbias._core.arrays import Array, check_dict
from symbias._core.extras import needed_by
from symbias._core.numbers import positive
from symbias.mechanisms.base import Mechanism
from symbias.mechanisms.bregman import Potential, in_tables
from symbias.mechanisms.charts import chart_at
from symbias.mechanisms.finite_steps import expected_start, start_of_run
from symbias.mechanisms.linked_mirror import mirror_of
from symbias.mechanisms.potentials import synthesis_matrix
from symbias.parameterizations import (
    Parameterization,
    check_inputs,
    flat_map,
    flatten,
    measurements,
)

RTOL, ATOL, LONGEST = 1e-11, 1e-16, 1e14
FITS = 1e-8  # of the largest label: what equations that follow from others may differ by
EVALUATIONS = 20_000  # of the gradient, a few seconds: a flow takes hundreds to some thousands


@dataclass(frozen=True, eq=False)
class GradientFlow(Mechanism):
    r"""Gradient flow :math:`\dot\theta = -\nabla L`, from a start of a given scale.

    The start has the charge ``init_scale**2`` on every bond: ``p.section(start, charge=
    init_scale**2)``. For w(0) = 0 this is u = init_scale, v = 0 for w = u v; in a product of depth
    L the factors sqrt(L - 1), ..., sqrt(2), 1 and 0 times init_scale; and u = v = init_scale for
    w = u^2 - v^2 as a map of one's own. From small starts larger depths are closer to l1: the
    potential of 1 over that of .1, 10 for l1, is 13.16, 10.135 and 10.004 at depth 2, 3 and 4 from
    init_scale .01. Charges are conserved, so w follows a mirror descent
    whose potential depends on them:

    .. math:: \psi'(w) = \frac12 \operatorname{asinh}\frac{2w}{|c|} \quad\text{(Hadamard, depth 2)}

    and, among all w that fit the data, the flow selects the one with the least Bregman divergence
    :math:`\psi(w) - \psi(w_0) - \psi'(w_0)(w - w_0)`: close to the least l2 norm for a large
    start, to the least l1 norm for a small one. A potential exists where the gradient flows of
    different entries of w commute, as for products of numbers; in other cases that is tested, and
    the potential integrated. Matrix products and groups of more than one entry have none and are
    refused. Behind a synthesis w = A z the potential is one of z, and free coordinates have z^2/2.

    Parameters
    ----------
    init_scale : float
    start : array of the shape of w, or dict of arrays, optional
        w(0), zeros by default; or the factors at the start, without an `init_scale`: what a map of
        one's own needs whose charges do not determine any.
    """

    init_scale: float | None = None
    start: Any = None

    name: ClassVar[str] = "gradient flow"
    status: ClassVar[str] = "exact in the limit of small steps"
    assumptions: ClassVar[tuple[str, ...]] = (
        "the full gradient, without noise, momentum or weight decay",
        "small steps: gradient descent differs from the flow by O(learning_rate)",
        "converged to zero loss on a linear model with fewer samples than parameters",
    )
    exactness: ClassVar[str] = "exact for the flow; O(learning_rate) for gradient descent"

    def __post_init__(self) -> None:
        if not isinstance(self.start, Mapping):
            positive("init_scale", self.init_scale)
        elif self.init_scale is not None:
            raise ValueError("a start of factors has a scale of its own: leave init_scale out")

    @property
    def note(self) -> str:
        if isinstance(self.start, Mapping):
            return "from the factors given, to zero loss"
        return "from charges c = init_scale^2 (w = u v = 0: u = init_scale, v = 0), to zero loss"

    def init(self, p: Parameterization) -> dict[str, np.ndarray]:
        """The factors at the start, in float64.

        Raises
        ------
        Refused
            Where `init_scale` does not determine them: w = u^2 never leaves 0, and a map of one's
            own may have no charges.
        ValueError
            For a `start` that does not fit p.
        """
        if isinstance(self.start, Mapping):
            return _checked(p, self.start)
        w = np.asarray(0.0 if self.start is None else self.start, dtype=float)
        w = np.full(p.shape, w) if w.ndim == 0 else w
        return p.charged_section(w, positive("init_scale", self.init_scale) ** 2)

    def _start(
        self, p: Parameterization, theta0: Mapping[str, Array] | None
    ) -> dict[str, np.ndarray]:
        return self.init(p) if theta0 is None else _checked(p, theta0)

    def induced(
        self,
        p: Parameterization,
        *,
        inputs: Array | None = None,
        loss: Callable[[Array], Array] | None = None,
    ) -> Potential:
        """The potential of the flow from `init`.

        Raises
        ------
        Refused
            Where no potential exists, with the distance at which two paths end.
        """
        found = Potential(p, self._start(p, None))
        if found.products is None:
            _ = found.flow
        return found

    def potential(
        self, p: Parameterization, w: Array, theta0: Mapping[str, Array] | None = None
    ) -> Array:
        """Bregman divergence D(w, w(0)), a scalar: what the flow minimises among interpolators.

        See `Potential`, which also gives its gradient and an error estimate.

        Parameters
        ----------
        p : Parameterization
        w : array, of shape ``p.shape``
        theta0 : dict of arrays, optional
            The factors at the start, of any charges, instead of `init`.

        Raises
        ------
        Refused
            Where no potential exists, with the distance at which two paths end.
        """
        return Potential(p, self._start(p, theta0))(w)

    def check_steps(self, p: Parameterization) -> None:
        """Raise Refused where finite steps are not known to keep the form of the potential."""
        chart_at(p, self.init(p))

    def after(
        self,
        p: Parameterization,
        run: Any,
        inputs: Any,
        theta0: Mapping[str, Array] | None = None,
        *,
        replica: int = 0,
    ) -> Potential:
        r"""The potential that decided where a run of finite steps ended, for u v and lengths |x|^2.

        Its charges are those at the end of the run, and its start is moved by what
        :math:`\eta \sum g_t - \sum \operatorname{atanh}(\eta g_t)` has outside of the row space of
        the inputs, read from the factors at the end. So it says what a run did: its projection
        is w of the run wherever the data are fitted. `expected_after` says what a run will do.

        Parameters
        ----------
        p : Parameterization
            Products of two numbers, with free coordinates or behind a synthesis; lengths |x|^2,
            whose start alone is moved.
        run : Run
            Of `simulate` with `SGD`, from the start of this flow, until its data are fitted.
        inputs : array
            Of the linear model, as for `bregman_projection`.
        theta0 : dict of arrays, optional
            The factors at the start of the run, instead of `init`.
        replica : int

        Raises
        ------
        Refused
            For other products and rules, weight decay, label noise, and frozen signs.
        ValueError
            For a run that diverged, does not fit its data, is of another model, or whose charges
            are lost in rounding.
        """
        inputs = np.asarray(inputs, dtype=float)
        check_inputs(inputs, p.shape)
        rows = measurements(inputs, p.shape)
        return Potential(p, start_of_run(p, self._start(p, theta0), run, rows, replica))

    def expected_after(
        self,
        p: Parameterization,
        inputs: Any,
        y: Any,
        rule: Any,
        theta0: Mapping[str, Array] | None = None,
    ) -> Potential:
        r"""The potential with the charges that steps of a rule will leave, to leading order.

        For the loss 1/(2n) sum (<inputs_i, w> - y_i)^2 along the flow, in t = k eta/(1 - beta),

        .. math:: \frac{d\log c_j}{dt} = -\frac{\eta(1+\beta)}{(1-\beta)^2}\,g_j^2
            - \frac{\eta}{1-\beta}\,\rho\,\Bigl(\frac1n \sum_i x_{ij}^2 r_i^2 - g_j^2\Bigr)

        with the residuals r, the gradient g = X^T r/n, and rho = 1/B for batches of B drawn with
        replacement, (n - B)/((n - 1) B) without, 0 for all data. Of w = |x|^2 the logarithm of the
        first length falls by twice as much.

        Parameters
        ----------
        p, inputs, y, theta0
            As for `bregman_projection` and `after`.
        rule : SGD
            Its learning rate, batches and momentum (heavy ball).

        Raises
        ------
        Refused
            As for `after`, and for momentum on batches drawn without replacement.
        ValueError
            For data that no w fits.
        """
        rows, target, count = _data(p, inputs, y)
        _independent(rows, target)
        return Potential(p, expected_start(p, self._start(p, theta0), rows, target, count, rule))

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

        With ``theta0=flow.after(p, run, inputs).theta0`` it is where a run of finite steps ended.

        Parameters
        ----------
        p : Parameterization
        inputs, y : arrays
            Shapes (n, *p.shape) and (n,), or (n, rows) and (n, ...) for y = x @ W.
        theta0 : dict of arrays, optional
        tolerance : float
            On |<inputs_i, w> - y_i|, relative to the largest |y_i| or 1.

        Raises
        ------
        ValueError
            As for `potential`, and for data that no w fits.
        """
        rows, target, _ = _data(p, inputs, y)
        potential = Potential(p, self._start(p, theta0))
        found = potential.products
        synthesis = np.eye(rows.shape[1]) if found is None else synthesis_matrix(p)
        features = rows @ synthesis
        features, target = _independent(features, target)
        scale = max(1.0, float(np.abs(target).max(initial=0.0)))
        if found is None:
            flow = potential.flow
            z = flow.map.w(flow.lift(features, target).theta)
            if (off := np.abs(features @ z - target).max(initial=0.0)) > tolerance * scale:
                raise ValueError(f"the projection did not converge: {off:.1e} from y")
        else:
            z = mirror_of(found).project(features, target, tolerance * scale)
        return in_tables(p, (synthesis @ z).reshape(p.shape))

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
            If no w fits the data, or the residuals do not get there in 20,000 gradients.
        """
        with needed_by("GradientFlow.interpolator"):
            import jax
            import jax.numpy as jnp

        rows, target, count = _data(p, inputs, y)
        _independent(rows, target)
        start, effective = flatten(p, self._start(p, theta0)), flat_map(p)
        with jax.enable_x64(True):
            a, b = jnp.asarray(rows), jnp.asarray(target)

            def loss(flat: Array) -> Array:
                return jnp.sum((a @ effective.traced(flat) - b) ** 2) / (2 * count)

            slope, curvature = jax.jit(jax.grad(loss)), jax.jit(jax.hessian(loss))

            def left(_: float, flat: np.ndarray) -> float:
                return float(np.abs(rows @ effective.w(flat) - target).max()) - tolerance

            left.terminal = True  # type: ignore[attr-defined]
            asked = itertools.count(1)

            def speed(_: float, flat: np.ndarray) -> np.ndarray:
                if next(asked) > EVALUATIONS:
                    raise ValueError(
                        f"the flow is {left(0.0, flat):.1e} from the data after {EVALUATIONS} "
                        "gradients: its table or its range may end there. bregman_projection "
                        "needs no flow"
                    )
                return -np.asarray(slope(flat))

            flow = solve_ivp(
                speed,
                (0.0, LONGEST),
                start,
                method="LSODA",
                jac=lambda _, flat: -np.asarray(curvature(flat)),
                events=left,
                rtol=RTOL,
                atol=ATOL,
            )
            end = flow.y[:, -1]
            if left(0.0, end) > tolerance:
                raise ValueError(
                    f"the flow ends {left(0.0, end):.1e} from the data, which no w that it "
                    "reaches fits"
                )
            return in_tables(p, effective.w(end).reshape(p.shape))


def _checked(p: Parameterization, theta: Mapping[str, Array]) -> dict[str, np.ndarray]:
    check_dict(theta)
    found = {k: np.asarray(v, dtype=float) for k, v in theta.items()}
    if bad := [k for k, v in found.items() if not np.all(np.isfinite(v))]:
        raise ValueError(f"factor {bad[0]!r} of the start has values that are not finite")
    p(found)  # checks names and shapes
    return found


def _data(p: Parameterization, inputs: Any, y: Any) -> tuple[np.ndarray, np.ndarray, int]:
    inputs, y = np.asarray(inputs, dtype=float), np.asarray(y, dtype=float)
    check_inputs(inputs, p.shape)
    rows = measurements(inputs, p.shape)
    if y.size != len(rows) or len(y) != len(inputs) or not np.all(np.isfinite(y)):
        raise ValueError(f"y must be {len(rows)} finite numbers for {len(inputs)} inputs, got {y}")
    return rows, y.ravel(), len(inputs)


def _independent(rows: np.ndarray, y: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The same equations, without those that follow from others."""
    left, size, right = np.linalg.svd(rows, full_matrices=False)
    rank = int(np.linalg.matrix_rank(rows))
    if rank == len(rows):
        return rows, y
    if rank == 0:
        raise ValueError("inputs are all zero: they say nothing of w")
    seen = left[:, :rank].T @ y
    if (off := np.abs(left[:, :rank] @ seen - y).max()) > FITS * np.abs(y).max():
        raise ValueError(f"no w fits these data: the nearest predictions are {off:.1e} off")
    return size[:rank, None] * right[:rank], seen
