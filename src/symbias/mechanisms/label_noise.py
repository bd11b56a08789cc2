r"""Label noise under SGD: the gradients' size on the orbit becomes a penalty on the parameter.

References
----------
Blanc, Gupta, Valiant, Valiant, "Implicit regularization for deep neural networks driven by an
Ornstein-Uhlenbeck like process", COLT 2020; Damian, Ma, Lee, "Label noise SGD provably prefers
flat global minimizers", NeurIPS 2021.
"""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

import numpy as np

from symbias._core.arrays import Array, constant
from symbias._core.numbers import number, positive
from symbias.mechanisms.base import Induced, Mechanism
from symbias.mechanisms.orbit_gradients import least_over_orbit
from symbias.parameterizations import Parameterization, check_inputs

if TYPE_CHECKING:
    from symbias.mechanisms.label_noise_drift import Drift


@dataclass(frozen=True)
class LabelNoise(Mechanism):
    r"""SGD on a linear model with fresh noise of std ``sigma`` on the labels at every step.

    For the loss :math:`\frac1{2n}\sum_i (f_i - y_i)^2` with :math:`f_i = \langle x_i, w(\theta)
    \rangle` and batches of B samples, the mean of w settles at the minimum of loss + penalty,

    .. math:: R(w) = \frac{\eta\sigma^2}{4B(1 - \beta)}\;\min_{p(\theta) = w}\;
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

    The noise of minibatches adds the same with the mean of r_i^2 x_i x_i^T for sigma^2 S, r the
    residuals: all that SGD noise alone does to the mean of w where labels cannot be fitted.

    Free coordinates are plain parameters: their own gradients do not depend on theta, and that
    constant is left out. `drift`, `penalty_at` and `least_penalty` hold at all orders in eta.

    Parameters
    ----------
    sigma : float
        Standard deviation of the noise on every output.
    learning_rate : float
    batch_size : int, optional
        Samples in a step; all of the inputs by default.
    momentum : float
        beta in [0, 1), heavy ball or Nesterov.
    """

    sigma: float
    learning_rate: float
    batch_size: int | None = None
    momentum: float = 0.0

    name: ClassVar[str] = "label noise"
    status: ClassVar[str] = "first order"
    assumptions: ClassVar[tuple[str, ...]] = (
        "SGD, with or without momentum, on half the mean squared error of a linear model",
        "no other gradient noise: full batches, or residuals small beside sigma",
        "small steps: learning_rate / (1 - momentum) times the largest curvature well below 1",
        "stationary: the gauge has settled, entry j in about B (1 - momentum)^2 / "
        "(learning_rate^2 sigma^2 S_jj) steps: the smallest S_jj takes longest",
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

        if not 0 <= number("momentum", self.momentum) < 1:
            raise ValueError(f"momentum must be in [0, 1), got {self.momentum}")

    @property
    def rate(self) -> float:
        """eta / (1 - beta): the learning rate of plain SGD that does the same to first order."""
        return self.learning_rate / (1 - self.momentum)

    @property
    def note(self) -> str:
        return "first order in the learning rate; inputs enter through their moments S"

    @property
    def scale(self) -> float:
        """eta sigma^2 / (4 B (1 - beta)): what a design for whitened inputs leaves to the noise."""
        if self.batch_size is None:
            raise ValueError("the scale of label noise depends on the batch: give a batch_size")
        return self.rate * self.sigma**2 / (4 * self.batch_size)

    def induced(
        self,
        p: Parameterization,
        *,
        inputs: Array | None = None,
        loss: Callable[[Array], Array] | None = None,
    ) -> Induced:
        """R(w) for these inputs, or for whitened ones (mean of x x^T = 1, one per row of w).

        In any array library, and differentiable where there is a closed form.

        Raises
        ------
        ValueError
            For inputs that do not fit w.
        Refused
            Where neither a closed form nor a minimum by sweeps is known: raised when it is called,
            or, for several splits of one w, at once.
        """
        if inputs is None:
            inputs = math.sqrt(p.shape[0]) * np.eye(p.shape[0]) if p.shape else np.ones((1,))
        check_inputs(inputs, p.shape)
        count = inputs.shape[0]
        scale = self.rate * self.sigma**2 / (4 * (self.batch_size or count))

        def value(w: Array) -> Array:
            return scale * least_over_orbit(p, w, constant(inputs, w) / math.sqrt(count))

        factor = "eta sigma^2 / 4B(1 - beta)" if self.momentum else "eta sigma^2 / 4B"
        return Induced(value, p.shape, f"({factor}) {p.gradients_formula}")

    def relaxation_time(self, inputs: Array) -> np.ndarray:
        r"""Steps in which the gauge of each entry of w = u v falls to equilibrium by a factor e.

        :math:`B(1 - \beta)^2/(\eta^2\sigma^2 S_{jj})` for entry j, which sees only its own input:
        its charge :math:`u_j^2 - v_j^2` falls at this rate wherever w is. For other
        parameterizations ask `relaxation_time` of the problem.

        Parameters
        ----------
        inputs : array (n, p)
            Of a linear model of p coefficients.
        """
        x = np.asarray(inputs, dtype=float)
        if x.ndim != 2 or len(x) == 0:
            raise ValueError(f"inputs have shape {x.shape}, expected (n, p)")
        batch = self.batch_size or len(x)
        with np.errstate(divide="ignore"):  # an input that is always 0 settles never
            return batch / (self.rate**2 * self.sigma**2 * np.mean(x**2, axis=0))

    def penalty(self, p: Parameterization, w: Array, inputs: Array) -> Array:
        """``induced(p, inputs=inputs)(w)``, a scalar.

        Parameters
        ----------
        p : Parameterization
        w : array, of shape ``p.shape``
        inputs : array
            Shape (n, *p.shape), or (n, rows) for predictions x @ w of several outputs.
        """
        return self.induced(p, inputs=inputs)(w)

    def drift(self, p: Parameterization, theta: Mapping[str, Array], inputs: Array) -> "Drift":
        r"""Expected step along the manifold of zero loss, at all orders in the learning rate.

        .. math:: E[\Delta\theta] = -\frac\eta{1-\beta} P\,\frac1n\sum_i K_i S g_i

        for labels that theta fits, to first order in sigma^2: g_i and K_i are the gradient and the
        Hessian of f_i, P projects on the tangents, and S is the stationary covariance about theta,
        :math:`\frac{\eta\sigma^2}{2n(1-\beta)}(1 - \frac{\eta H}{2(1+\beta)})^{-1}` on the range
        of the Hessian H for full batches; for batches drawn with replacement, which are noise too,
        it solves a Lyapunov equation.

        Parameters
        ----------
        p : Parameterization
        theta : dict of arrays
            Factors; labels are what they predict.
        inputs : array
            Shape (n, *p.shape), or (n, rows) for predictions x @ w of several outputs.

        Returns
        -------
        Drift
            Per step, in units of theta and w, for heavy ball.

        Raises
        ------
        Refused
            Where steps leave theta: at a curvature of 2 (1 + momentum) / learning_rate or more, or,
            with batches, where fluctuations grow in mean square.
        ValueError
            For factors or inputs that do not fit.

        Notes
        -----
        Not covered: batches of one epoch (``replace=False``), which depend on the ones before.
        Cost: O(N d min(N, d)) for N outputs and d parameters, with batches O(N r^2) for each of
        some ten iterations, r the rank of H.
        """
        from symbias.mechanisms.label_noise_drift import drift

        return drift(self, p, theta, inputs)

    def penalty_at(self, p: Parameterization, theta: Mapping[str, Array], inputs: Array) -> float:
        r"""The penalty at factors that fit their labels, full batches, at all orders in eta.

        .. math:: \frac{\eta\sigma^2}{n(1-\beta)}\Bigl(-\frac{1+\beta}{2\eta}\Bigr)
            \operatorname{tr}\log\Bigl(1 - \frac{\eta H}{2(1+\beta)}\Bigr)

        (Damian, Ma, Lee 2021); the first term is that of `penalty` before the minimum. `drift` is
        -eta/(1 - beta) times its gradient along the manifold. Arguments and errors are those of
        `drift`; with a batch_size it is refused, as the drift is no gradient then.
        """
        from symbias.mechanisms.label_noise_drift import penalty_at

        return penalty_at(self, p, theta, inputs)

    def least_penalty(self, p: Parameterization, w: Array, inputs: Array) -> float:
        r"""The least of `penalty_at` over all factors of w, for products of numbers.

        :math:`JJ^T` is diagonal, its least entries :math:`L|w_j|^{2-2/L}` (1 for free coordinates)
        are all at the balanced factors, and the penalty grows with each. The mean of w settles at
        the minimum of loss + this, once the gauge has. Refused for other parameterizations, with
        a batch_size, and from the edge on.
        """
        from symbias.mechanisms.label_noise_drift import least_penalty

        return least_penalty(self, p, w, inputs)
