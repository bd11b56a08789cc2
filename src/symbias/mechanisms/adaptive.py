r"""Adam and AdamW: steps along signs, nearly, whose size does not know the gradient's.

References
----------
Xie, Li, "Implicit bias of AdamW: l_inf norm constrained optimization", ICML 2024; Zhang, Zou, Cao,
"The implicit bias of Adam on separable data", NeurIPS 2024; Wang, Meng, Chen, Liu, "The implicit
bias for adaptive optimization algorithms on homogeneous neural networks", ICML 2021, for an eps
that is not negligible.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
from scipy.optimize import lsq_linear

from symbias._core.arrays import Array
from symbias._core.numbers import number, positive
from symbias._core.refusal import Refused
from symbias.mechanisms.base import Induced, Mechanism
from symbias.mechanisms.box import Box, BoxPoint, box_point, implied_box
from symbias.mechanisms.max_margin import Margin
from symbias.mechanisms.potentials import synthesis_matrix
from symbias.mechanisms.steepest import norm_margin, norm_of_w
from symbias.parameterizations import Parameterization, check_inputs, measurements


@dataclass(frozen=True)
class AdamW(Mechanism):
    r"""AdamW, full batch: where it converges, a KKT point of the loss in a box.

    .. math:: \min_\theta L(w(\theta)) \text{ subject to } \max_i |\theta_i| \le 1/\lambda

    for every loss and every map w, whatever the learning rates eta: steps are at most eta, in the
    mean, and decay takes eta lambda |theta| back. On w itself that is the box |w_i| <= 1/lambda, on
    products of L factors |w_i| <= lambda^-L. It is no penalty inside: nothing is sparse, and where
    the box does not bind the minimum of the loss is found.

    Parameters
    ----------
    weight_decay : float
        lambda > 0, decoupled, as PyTorch and optax have it: theta <- theta - eta (step + lambda
        theta). It acts on all factors.
    betas : (float, float)
        0 <= beta_1 <= beta_2 < 1.

    Raises
    ------
    ValueError
        For another decay or other betas.

    Examples
    --------
    >>> import symbias as sb
    >>> sb.AdamW(weight_decay=0.5).induced(sb.Hadamard(3)).bound
    4.0
    """

    weight_decay: float
    betas: tuple[float, float] = (0.9, 0.999)

    name: ClassVar[str] = "AdamW"
    status: ClassVar[str] = "limit"
    assumptions: ClassVar[tuple[str, ...]] = (
        "full batches, and the run converges: rates that fall to 0, with a sum that does not end",
        "beta_1 <= beta_2, and eps = 0 or far below the gradients",
        "decay acts on all factors, free coordinates included",
        "a KKT point of the factors: the least loss in the box where that has no others",
    )
    exactness: ClassVar[str] = "exact where it converges"

    def __post_init__(self) -> None:
        if number("weight_decay", self.weight_decay) == 0:
            raise ValueError(
                "weight_decay must be positive, got 0: without decay there is no box. Take "
                "sb.Adam(), for what is known of that"
            )
        positive("weight_decay", self.weight_decay)
        _check_betas(self.betas)

    @property
    def note(self) -> str:
        return (
            "full batch, where it converges: a KKT point of the loss with |theta| <= 1/lam for all "
            "factors. No penalty inside the box, no exact zeros: for those take coupled decay "
            "(SGD, or L2 in the loss)"
        )

    @property
    def wall(self) -> float:
        """1 / weight_decay, the largest |theta_i|."""
        return 1.0 / float(self.weight_decay)

    def induced(
        self,
        p: Parameterization,
        *,
        inputs: Array | None = None,
        loss: Callable[[Array], Array] | None = None,
    ) -> Box:
        """The box of w, or of z where w = A z, that |theta_i| <= 1/lambda implies.

        Raises
        ------
        Refused
            Where the image of the box is not known; `kkt` holds there all the same.
        """
        return implied_box(p, self.wall)

    def kkt(self, p: Parameterization, theta: Mapping[str, np.ndarray], gradient: Any) -> BoxPoint:
        """How far factors are from a KKT point of the loss in the box.

        Parameters
        ----------
        p : Parameterization
            Any, differentiable.
        theta : dict of arrays
        gradient : array of shape p.shape
            dL/dw at w = p(theta).

        Raises
        ------
        ValueError
            For factors or a gradient of other shapes.
        """
        return box_point(p, theta, gradient, self.wall)

    def least_squares(self, p: Parameterization, X: Any, y: Any) -> np.ndarray:
        """The w of least squares in the box: where a run on 1/2 mean (<x_i, w> - y_i)^2 ends.

        By bounded-variable least squares (scipy); one of several minima where X has dependent
        columns.

        Parameters
        ----------
        p : Parameterization
        X : array (n, *p.shape)
        y : array (n,)

        Raises
        ------
        Refused
            As `induced`, or where w only is contained in the box.
        ValueError
            For arrays of other shapes or with entries that are not finite.
        """
        box = self.induced(p)
        if not box.whole:
            raise Refused(
                f"the w of {p!r} with factors in their box are only contained in another, of "
                f"{np.max(box.bound):.4g}: the least loss there is not known. Take AdamW.kkt to "
                "judge a run, or sb.Plain, sb.Hadamard or sb.GroupProduct, which fill the box"
            )
        X, y = np.asarray(X, dtype=float), np.asarray(y, dtype=float)
        check_inputs(X, p.shape)
        rows = measurements(X, p.shape)
        if y.shape != (len(rows),) or not np.all(np.isfinite(y)):
            raise ValueError(f"y must be finite and of shape ({len(rows)},), got {y.shape}")
        A = synthesis_matrix(p)
        found = lsq_linear(rows @ A, y, (box.low, box.bound), method="bvls", tol=1e-14)
        return (A @ np.asarray(found.x)).reshape(p.shape)


@dataclass(frozen=True)
class Adam(Mechanism):
    r"""Adam without decay, full batch, on a classification loss of separable data.

    The direction of w goes to that of

    .. math:: \min_w \max_j |w_j| \text{ subject to } y_i \langle x_i, w \rangle \ge 1.

    Products of two numbers go to the same of their coordinates, as for `SignDescent`. In
    regression, and on other factors, no preference is known.

    Parameters
    ----------
    betas : (float, float)
        0 <= beta_1 <= beta_2 < 1.

    Raises
    ------
    ValueError
        For other betas.
    """

    betas: tuple[float, float] = (0.9, 0.999)

    name: ClassVar[str] = "Adam"
    status: ClassVar[str] = "limit"
    assumptions: ClassVar[tuple[str, ...]] = (
        "an exponential-tailed loss (logistic, softmax) on data that are separable",
        "w itself is trained, or products of two numbers with no entry left at u = v = 0",
        "full batches, beta_1 <= beta_2, rates that fall, such as t^-1/2",
        "eps = 0 or far below the gradients: those of the loss itself fall below any eps in the "
        "end, and the direction then turns to l2; those of its logarithm do not",
    )
    exactness: ClassVar[str] = "the limit of the direction"

    def __post_init__(self) -> None:
        _check_betas(self.betas)

    @property
    def note(self) -> str:
        return (
            "direction of w in classification: least max |w_i| with all margins at least 1; in "
            "regression no preference is known"
        )

    def induced(
        self,
        p: Parameterization,
        *,
        inputs: Array | None = None,
        loss: Callable[[Array], Array] | None = None,
    ) -> Induced:
        """max |w_i|, or max |z_i| of products z, to be least at given margins.

        Raises
        ------
        Refused
            For other factors of w.
        """
        return norm_of_w(p, "linf", self.name)

    def direction(self, p: Parameterization, X: Any, y: Any) -> Margin:
        """The w of least max |w_i| with margins of at least 1; see `SteepestDescent.direction`."""
        return norm_margin(p, X, y, "linf", self.name)


def _check_betas(betas: Any) -> None:
    try:
        first, second = (number("betas", beta) for beta in betas)
    except (TypeError, ValueError):
        raise TypeError(f"betas must be two numbers, such as (0.9, 0.999), got {betas!r}") from None
    if not (0 <= first < 1 and 0 <= second < 1):
        raise ValueError(f"betas must be in [0, 1), got {betas}")
    if first > second:
        raise ValueError(
            f"betas {betas}: with beta_1 above beta_2 a step may be far larger than the rate, "
            "AdamW leaves its box, and no theorem says where Adam goes (Xie and Li 2024 and Zhang, "
            "Zou and Cao 2024 need beta_1 <= beta_2). Give a beta_2 of beta_1 or more"
        )
