r"""Classification: which of the directions that separate the classes training goes to.

References
----------
Soudry, Hoffer, Nacson, Gunasekar, Srebro, "The implicit bias of gradient descent on separable
data", JMLR 2018; Gunasekar, Lee, Soudry, Srebro, "Implicit bias of gradient descent on linear
convolutional networks", NeurIPS 2018; Lyu, Li, "Gradient descent maximizes the margin of
homogeneous neural networks", ICLR 2020; Ji, Telgarsky, "Directional convergence and alignment in
deep learning", NeurIPS 2020; Rosset, Zhu, Hastie, "Margin maximizing loss functions", NIPS 2003;
Moroshko et al., "Implicit bias in deep linear classification: initialization scale vs training
accuracy", NeurIPS 2020.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from symbias._core.arrays import Array, Shape
from symbias._core.refusal import Refused
from symbias.mechanisms.base import Induced, Mechanism
from symbias.mechanisms.classes import Labelled, labelled, not_separable
from symbias.parameterizations import Parameterization
from symbias.solvers.margins import (
    SUPPORT,
    MarginSolution,
    NotSeparable,
    least_margin,
    least_nonnegative,
)

_SAME_DEGREE = 1e-6
_ZERO = 1e-6  # of the largest singular value


@dataclass(frozen=True, eq=False)
class Margin:
    """A direction that separates the classes, at a least margin of 1.

    Attributes
    ----------
    w : array of the shape of the effective parameter
    margins : array (n,)
        y_i <x_i, w>, or the score of the own class less the largest other one.
    R : float
        The balanced norm of w, of a sum of designs at its best split; or the norm that descent is
        steepest in.
    multipliers : array (n,) or (n, classes)
        alpha >= 0 of the constraints, of a feasible dual point: samples with none support nothing.
    gap : float
        Where `least`, the duality gap as a share of R: no other w with these margins has an R that
        is smaller by more. Otherwise that of the reweighted problem, zero at stationary points.
    least : bool
        Whether w is the least of all (R is convex), or a stationary point (it is not).
    n_iter : int
    reason : str
        Why the solver stopped.
    """

    w: np.ndarray
    margins: np.ndarray
    R: float
    multipliers: np.ndarray
    gap: float
    least: bool
    n_iter: int
    reason: str

    @classmethod
    def of(
        cls, shape: Shape, data: Labelled, w: np.ndarray, found: MarginSolution, *, least: bool
    ) -> "Margin":
        """What a solver found in the coordinates of w, flat."""
        return cls(
            w.reshape(shape),
            data.margins(w),
            found.value,
            data.per_sample(found.multipliers),
            found.gap,
            least,
            found.n_iter,
            found.reason,
        )

    @property
    def support(self) -> np.ndarray:
        """The samples that hold the margin."""
        alpha = self.multipliers.reshape(len(self.margins), -1).max(axis=1)
        return np.flatnonzero(alpha > SUPPORT * alpha.max(initial=0.0))


@dataclass(frozen=True)
class MaxMargin(Mechanism):
    r"""Gradient descent on an exponential-tailed loss (logistic, softmax) of separable data.

    The loss has no minimum: factors grow without bound. For w(theta) homogeneous, w(s theta) =
    s^L w(theta), their direction goes to a stationary point of

    .. math:: \min_w R(w) \text{ subject to } y_i \langle x_i, w \rangle \ge 1,
        \qquad R(w) = \min_{p(\theta) = w} \tfrac12 |\theta|^2,

    with R the balanced norm, the penalty of weight decay: l2 for w itself, l1 for u v, l_(2/L) at
    depth L, group and nuclear norms; for lengths |x|^2 half the sum of w, among w >= 0. The path
    of weight decay goes to the same as its strength goes to 0. There is nothing to choose: no
    strength, no scale.

    Examples
    --------
    >>> import numpy as np, symbias as sb
    >>> X = np.array([[2.0, 1.0], [1.0, 1.0], [-2.0, 0.0], [-1.0, -1.0]])
    >>> found = sb.MaxMargin().direction(sb.Hadamard(2), X, [1, 1, 0, 0])
    >>> round(found.R, 6), found.least
    (1.0, True)
    """

    name: ClassVar[str] = "max margin"
    status: ClassVar[str] = "limit"
    assumptions: ClassVar[tuple[str, ...]] = (
        "an exponential-tailed loss (logistic, softmax) on data that are separable",
        "w homogeneous in its factors: all of one degree, no coordinate of another",
        "gradient descent or flow without decay, to extremely small losses: plain descent is off "
        "by 1/log t, products from small starts stay with the potential of gradient flow before",
        "where R is not convex, and from starts with signs frozen, a stationary point, not the "
        "least R",
    )
    exactness: ClassVar[str] = "the limit of the direction; depth 3 and more: a stationary point"

    @property
    def note(self) -> str:
        return "direction of w in classification: least R with all margins at least 1"

    def induced(
        self,
        p: Parameterization,
        *,
        inputs: Array | None = None,
        loss: Callable[[Array], Array] | None = None,
    ) -> Induced:
        """The balanced norm 1/2 |balanced theta|^2, to be least at given margins.

        Raises
        ------
        Refused
            Where the factors are not of one degree, or the balanced norm is not known.
        """
        degree(p)
        return Induced(p.balanced_norm, p.shape, p.norm_formula, p.balanced_form)

    def direction(
        self, p: Parameterization, X: Any, y: Any, *, start: np.ndarray | None = None
    ) -> Margin:
        """The w of least R with margins of at least 1: where training goes, up to its length.

        With a convex R (degrees 1 and 2) the global minimum, certified by its dual: QP, LP, SOCP
        or SDP by interior points, larger matrices by primal-dual proximal steps. Otherwise a
        stationary point on the support of `start`, by reweighted l1 (singular values: reweighted
        squares).

        Parameters
        ----------
        p : Parameterization
        X : array (n, *p.shape), or (n, features) for p of shape (features, classes)
            In the first case two classes, told by the sign of <x, w>; in the second several, by
            the largest score of x @ w.
        y : array (n,)
            Labels of any kind. The second of two in sorted order is +1; of several, column k
            belongs to the k-th.
        start : array of shape p.shape, optional
            For degrees above 2: a w that separates the data, such as a trained one. By default the
            minimum of the convex norm.

        Raises
        ------
        Refused
            For data that are not separable, with Gordan's certificate (by no w >= 0 for lengths,
            with Farkas's); as `induced`; where the inner dimension of a matrix product cuts off the
            minimum; or for lengths behind other powers than 1 and 2.
        ValueError
            For inputs or labels of other shapes, kinds or counts, and a start that does not
            separate.
        """
        exponent = 2 / degree(p)
        if not p.signed:
            return _of_half(p, labelled(p.shape, X, y), exponent, start)
        form, data = p.balanced_form(), labelled(p.shape, X, y)
        columns = form.linear.columns
        matrix = np.asarray(data.rows @ columns)
        first = None if start is None else _coordinates(p, columns, start, data, exponent)
        try:
            found = least_margin(matrix, form, exponent, first)
        except NotSeparable as error:
            raise not_separable(data, error.alpha) from None
        for piece, part in zip(form.pieces, form.split(found.c), strict=True):
            _check_rank(p, piece.sizes.of(part), getattr(piece.sizes, "rank", None))
        w = np.asarray(columns @ found.c)
        return Margin.of(p.shape, data, w, found, least=exponent >= 1)


def degree(p: Parameterization) -> float:
    """L with p(s theta) = s^L p(theta), as random factors show it.

    Raises
    ------
    Refused
        Where there is none: free coordinates, links that are no powers, depths that differ.
    """
    if p.free:
        raise Refused(
            f"{p!r} has free coordinates {sorted(p.free)}: gradient descent on a classification "
            "loss spares nothing, and the theorem of Lyu and Li (2020) needs all factors to be of "
            "one degree. Take a transform that leaves none free, such as sb.CumulativeSum(free=0)"
        )
    theta = p.init(0)
    with np.errstate(all="ignore"):
        sizes = [
            np.abs(np.asarray(p({k: s * a for k, a in theta.items()}))) for s in (0.25, 0.5, 1.0)
        ]
        degrees = np.log2([sizes[1] / sizes[0], sizes[2] / sizes[1]])
    low, high = float(degrees.min()), float(degrees.max())
    if not high - low <= _SAME_DEGREE:
        raise Refused(
            f"{p!r} is not homogeneous: where its factors double, w grows by 2^L with L from "
            f"{low:.4g} to {high:.4g}, and the theorem of Lyu and Li (2020) needs one L. Take "
            "parts of one depth, and powers for links (sb.PowerLink)"
        )
    return round(low, 6)


def _of_half(p: Parameterization, data: Labelled, exponent: float, start: Any) -> Margin:
    """The least R among w >= 0, where it is a sum over entries."""
    entries = np.eye(int(np.prod(p.shape)))
    costs = np.array([float(p.balanced_norm(e.reshape(p.shape))) for e in entries])
    whole = float(p.balanced_norm(np.ones(p.shape)))
    if exponent not in (1.0, 2.0) or not np.isclose(whole, costs.sum(), rtol=_SAME_DEGREE):
        raise Refused(
            f"{p!r} reaches no negative w, and its margin over w >= 0 is solved for sums of w or "
            "of w^2: take lengths |x| (sb.PowerLink(1.0)) or |x|^2 (sb.PowerLink(2.0))"
        )
    if start is not None:
        raise ValueError(f"R of {p!r} is convex: its minimum needs no start")
    try:
        found = least_nonnegative(data.rows, costs, exponent)
    except NotSeparable as error:
        raise not_separable(data, error.alpha, signed=False) from None
    return Margin.of(p.shape, data, found.c, found, least=True)


def _coordinates(
    p: Parameterization, columns: Any, start: Any, data: Labelled, exponent: float
) -> np.ndarray:
    """The coordinates c of a start that separates."""
    if exponent >= 1:
        raise ValueError(f"R of {p!r} is convex: its minimum needs no start")
    start = np.asarray(start, dtype=float)
    if start.shape != p.shape or not np.all(np.isfinite(start)):
        raise ValueError(f"start must be finite and of shape {p.shape}, got shape {start.shape}")
    if columns.shape[0] != columns.shape[1]:
        raise Refused(f"{p!r}: a start w has many splits, and which of them to keep is not known")
    wrong = int(np.count_nonzero(data.margins(start.ravel()) <= 0))
    if wrong:
        raise ValueError(
            f"start leaves {wrong} of {len(data.y)} samples on the wrong side: train it until "
            "it separates the classes"
        )
    dense = columns if isinstance(columns, np.ndarray) else columns.toarray()
    return np.linalg.solve(dense, start.ravel())


def _check_rank(p: Parameterization, sizes: np.ndarray, rank: int | None) -> None:
    found = int(np.sum(sizes > _ZERO * np.max(sizes, initial=0.0)))
    if rank is not None and found > rank:
        raise Refused(
            f"the least R has rank {found}, above the inner dimension {rank} of {p!r}: among "
            f"matrices of rank {rank} the problem is not convex. Take a rank of {found} or more"
        )
