r"""Steepest descent in a norm, on separable data: the margin of that norm.

References
----------
Gunasekar, Lee, Soudry, Srebro, "Characterizing implicit bias in terms of optimization geometry",
ICML 2018, for two classes; Fan, Schmidt, Thrampoulidis, "Implicit bias of spectral descent and Muon
on multiclass separable data", 2025, for several; Tsilivis, Vardi, Kempe, "Flavors of margin:
implicit bias of steepest descent in homogeneous neural networks", ICLR 2025, for what is known of
factors.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, ClassVar

import numpy as np

from symbias._core.arrays import Array, constant
from symbias._core.norms import VALUES, as_norm
from symbias._core.refusal import Refused
from symbias.mechanisms.base import Induced, Mechanism
from symbias.mechanisms.box import Box, implied_box
from symbias.mechanisms.classes import labelled, not_separable
from symbias.mechanisms.max_margin import Margin, degree
from symbias.mechanisms.potentials import synthesis_matrix
from symbias.parameterizations import Parameterization
from symbias.solvers.margins import LARGEST_SIDE, NotSeparable, least_norm


@dataclass(frozen=True)
class SteepestDescent(Mechanism):
    r"""Steps of steepest descent in a norm, on a classification loss of separable data.

    A step goes along the d of norm 1 that falls steepest, :math:`\langle \nabla \ell, d \rangle =
    -\|\nabla \ell\|_*`: for "linf" the signs of the gradient, for "spectral" U V^T of its singular
    vectors (as Muon orthogonalises), for "l1" its largest entry alone, for "l2" the gradient. The
    direction of w goes to that of

    .. math:: \min_w \|w\| \text{ subject to } y_i \langle x_i, w \rangle \ge 1.

    Of factors it is known that they go to a stationary point of the same with their own norm. For
    "linf" and products of two numbers, u v, groups, lengths |x|^2 and syntheses A z of them, that
    names w: where a factor is below the largest, the other one or the pull on their product is 0,
    so that but for entries with both factors at 0 it is the least max |theta|^2 of all, and that is
    max |z_j| (over n for lengths).

    Parameters
    ----------
    norm : "l1", "l2", "linf" or "spectral"

    Raises
    ------
    ValueError
        For another norm.

    Examples
    --------
    >>> import numpy as np, symbias as sb
    >>> X = np.array([[3.0, 1.0], [-3.0, -1.0]])
    >>> sb.SteepestDescent("linf").direction(sb.Plain(2), X, [1, 0]).w.round(6).tolist()
    [0.25, 0.25]
    """

    norm: str

    name: ClassVar[str] = "steepest descent"
    status: ClassVar[str] = "limit"
    assumptions: ClassVar[tuple[str, ...]] = (
        "an exponential-tailed loss (logistic, softmax) on data that are separable",
        "w itself is trained, or by signs of gradients products of two numbers",
        "full batches, steps that fall, such as t^-1/2, and enough of them",
    )
    exactness: ClassVar[str] = "the limit of the direction"

    def __post_init__(self) -> None:
        as_norm(self.norm)

    @property
    def label(self) -> str:
        return f"{self.name}, {self.norm}"

    @property
    def note(self) -> str:
        return "direction of w in classification: least norm with all margins at least 1"

    def induced(
        self,
        p: Parameterization,
        *,
        inputs: Array | None = None,
        loss: Callable[[Array], Array] | None = None,
    ) -> Induced:
        """The norm of w, to be least at given margins.

        Raises
        ------
        Refused
            For other factors of w.
        """
        return norm_of_w(p, self.norm, self.label)

    def direction(self, p: Parameterization, X: Any, y: Any) -> Margin:
        """The w of least norm with margins of at least 1, certified by the dual norm.

        Parameters
        ----------
        p, X, y
            As for `MaxMargin.direction`.

        Raises
        ------
        Refused
            For data that are not separable, with Gordan's certificate; for other
            factors of w; for a spectral norm of more than 60 rows and columns together.
        ValueError
            For inputs or labels of other shapes, kinds or counts.
        """
        return norm_margin(p, X, y, self.norm, self.label)


@dataclass(frozen=True)
class SignDescent(SteepestDescent):
    """Steps along the signs of the gradient: steepest descent in the largest entry."""

    norm: str = field(default="linf", init=False)

    name: ClassVar[str] = "sign descent"

    @property
    def label(self) -> str:
        return self.name


def norm_of_w(p: Parameterization, norm: str, who: str) -> Induced:
    """A norm as a preference among w; refused as `norm_margin` is."""
    if norm == "linf" and not p.is_identity:
        box = _box(p, who)
        at_one = np.broadcast_to(box.bound, (math.prod(p.shape),))

        def largest(w: Array) -> Array:
            z = p.flat_coordinates(w)
            return VALUES["linf"](z / constant(at_one, z))

        return Induced(largest, p.shape, "least max |theta_i|^2")
    _check_plain(p, norm, who)
    return Induced(VALUES[norm], p.shape, _FORMULAS[norm])


def norm_margin(p: Parameterization, X: Any, y: Any, norm: str, who: str) -> Margin:
    """The certified margin of a norm of w, for the training that ``who`` names."""
    if norm == "linf" and not p.is_identity:
        return _margin_in_the_box(p, X, y, who)
    _check_plain(p, norm, who)
    if norm == "spectral" and sum(p.shape) > LARGEST_SIDE:
        raise Refused(
            f"w has {sum(p.shape)} rows and columns together, and the semidefinite program of the "
            f"spectral norm is solved for {LARGEST_SIDE} at most"
        )
    data = labelled(p.shape, X, y)
    try:
        found = least_norm(data.rows, norm, p.shape)
    except NotSeparable as error:
        raise not_separable(data, error.alpha) from None
    return Margin.of(p.shape, data, found.c, found, least=True)


def _margin_in_the_box(p: Parameterization, X: Any, y: Any, who: str) -> Margin:
    """The least max |theta|^2 at margins of 1: the largest of z over what a box of 1 reaches."""
    box, data = _box(p, who), labelled(p.shape, X, y)
    columns = synthesis_matrix(p) * box.bound
    signed = bool(np.all(box.low < 0))
    try:
        found = least_norm(data.rows @ columns, "linf", (columns.shape[1],), signed=signed)
    except NotSeparable as error:
        raise not_separable(data, error.alpha, signed=signed) from None
    return Margin.of(p.shape, data, columns @ found.c, found, least=True)


def _box(p: Parameterization, who: str) -> Box:
    """The w of factors of at most 1; refused where products of two do not fill it."""
    if degree(p) != 2:
        _check_plain(p, "linf", who)
    box = implied_box(p, 1.0)
    if not box.whole:
        _check_plain(p, "linf", who)
    return box


def _check_plain(p: Parameterization, norm: str, who: str) -> None:
    if not p.is_identity:
        raise Refused(
            f"where {who} takes w through the factors of {p!r} is not known: the theorem is for w "
            "itself, and of factors that they go to a stationary point of their own norm "
            "(Tsilivis, Vardi, Kempe 2025), which names w for signs of gradients and products of "
            "two numbers alone. Take sb.Plain, or for gradient descent on factors sb.MaxMargin()"
        )
    if norm == "spectral" and len(p.shape) != 2:
        raise ValueError(
            f"the spectral norm is one of matrices, and w has shape {p.shape}: take l2, its like "
            "for vectors, or sb.Plain((rows, columns))"
        )


_FORMULAS = {
    "l1": "sum |w_i|",
    "l2": "|w|_2",
    "linf": "max |w_i|",
    "spectral": "sigma_1(w)",
}
