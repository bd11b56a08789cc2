r"""Function space: the functions that weight decay of a two-layer ReLU network prefers.

References
----------
Savarese, Evron, Soudry, Srebro, "How do infinite width bounded norm networks look in function
space?", COLT 2019; Parhi, Nowak, "Banach space representer theorems for neural networks and ridge
splines", JMLR 2021; Boursier, Flammarion, "Penalising the biases in norm regularisation enforces
sparsity", NeurIPS 2023; Debarre, Denoyelle, Unser, Fageot, "Sparsest piecewise-linear regression
of one-dimensional data", J. Comput. Appl. Math. 2022.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
from array_api_compat import array_namespace

from symbias._core.arrays import Array, concrete
from symbias._core.numbers import positive
from symbias._core.refusal import Refused
from symbias.mechanisms.base import Induced, Mechanism
from symbias.mechanisms.function_fit import FunctionFit, extremes
from symbias.mechanisms.piecewise import PiecewiseLinear, network
from symbias.mechanisms.slope_program import certified, cost, dual_point, least_cost
from symbias.parameterizations import Parameterization
from symbias.solvers import Series

_SAME = 1e-8  # relative difference of a parameterization to the network that it should be


@dataclass(frozen=True)
class FunctionSpace(Mechanism):
    r"""Weight decay of a two-layer ReLU network of one input, as a penalty on its function.

    A minimum of :math:`\frac1{2n} \sum_i (f(x_i) - y_i)^2 + \frac\lambda2 (|u|^2 + |v|^2)` over
    networks :math:`f(x) = \sum_k v_k (u_k x + b_k)_+ + c + a x` is one of the same loss plus
    :math:`\lambda R(f)` over functions. A change of slope is a neuron, which costs
    :math:`\frac12(u^2 + v^2) \ge |u v|`:

    .. math:: R(f) = \int w\,|f''| + \max\Bigl(0,\ |f'(-\infty) + f'(\infty)|
        - \int |f''|\Bigr), \qquad w(t) = 1

    where the second term is there without the skip a x only: with it this is trend filtering of
    the function. With :math:`\frac\lambda2 |b|^2` decayed too, :math:`w(t) = \sqrt{1 + t^2}`.

    Some minimiser has its knots at data, without a skip at the first and the last one too: to
    replace f' by its means between data raises none of the terms. There are others, see
    `FunctionFit.band`, and training may end at each. With decayed biases knots lie between data,
    at most one between two neighbours for each side that it may turn to: w is strictly convex.

    `induced_norm`, the least norm on an *orbit*, is another number and never smaller: one function
    has many networks that no symmetry of the weights connects, as x is both (x)_+ - (-x)_+ and a
    skip. ``WeightDecay.induced(p)`` decays every array of p.

    Parameters
    ----------
    strength : float
        lambda > 0, coupled: of SGD or of squares in the loss, not AdamW's.
    skip : bool
        Whether there is a skip a x, not decayed.
    decayed_biases : bool
        Whether the hidden biases b are decayed. The output bias c is not.

    Raises
    ------
    TypeError, ValueError
        For a strength that is not a positive number.

    Examples
    --------
    >>> import numpy as np, symbias as sb
    >>> x = np.array([-1.0, 0.0, 1.0])
    >>> fit = sb.FunctionSpace(0.05).fit(x, np.abs(x))
    >>> fit.knots, round(fit.norm, 6), fit.gap < 1e-9
    (array([0.]), 1.1, True)
    """

    strength: float
    skip: bool = True
    decayed_biases: bool = False

    name: ClassVar[str] = "function space"
    status: ClassVar[str] = "exact"
    assumptions: ClassVar[tuple[str, ...]] = (
        "one input, one hidden layer of ReLU, one output",
        "output bias and skip do not decay; hidden biases all do, or none (decayed_biases)",
        "a neuron for each knot: n - 2 serve for n points, n - 1 without a skip",
        "a global minimum: wide networks (100) reach it, narrow ones (20) can stick",
        "coupled decay: in the gradient or in the loss; AdamW has another objective",
    )
    exactness: ClassVar[str] = "exact at the global minimum, at every strength"

    def __post_init__(self) -> None:
        positive("strength", self.strength)

    @property
    def note(self) -> str:
        return "two-layer ReLU network of one input: a penalty on the changes of slope"

    @property
    def scale(self) -> float:
        return float(self.strength)

    @property
    def formula(self) -> str:
        """R(f)."""
        bend = "int sqrt(1 + t^2) |f''|" if self.decayed_biases else "int |f''|"
        if self.skip:
            return bend
        return f"{bend} + max(0, |f'(-inf) + f'(inf)| - int |f''|)"

    def norm(self, f: PiecewiseLinear | Mapping[str, Any]) -> float:
        """R(f): the least 1/2 (|u|^2 + |v|^2) of all networks of any width with this function.

        Parameters
        ----------
        f : PiecewiseLinear, or dict of arrays
            The function, or a network with it as `PiecewiseLinear.of_network` takes it.
        """
        function = f if isinstance(f, PiecewiseLinear) else PiecewiseLinear.of_network(f)
        return cost(function, self.skip, self.decayed_biases)

    def fit(self, x: Any, y: Any) -> FunctionFit:
        """The function that training goes to, certified.

        Cost O(n) a round with a skip (`fit_series` with a trend), a sparse program by interior
        points without; with decayed biases one for each of about ten sets of knots.

        Parameters
        ----------
        x : array (n,)
            In any order; may repeat.
        y : array (n,)

        Raises
        ------
        ValueError
            For other shapes, numbers that are not finite, or fewer than two distinct x.
        """
        points, labels = _checked(x, y)
        at, inverse, counts = np.unique(points, return_inverse=True, return_counts=True)
        if len(at) < 2:
            raise ValueError("x needs two distinct points at least: no slope is seen at one")
        share, means = counts / len(points), np.bincount(inverse, labels) / counts
        options = {"skip": self.skip, "decayed": self.decayed_biases}
        if self.skip and not self.decayed_biases:
            signal = Series(means, order=2, times=at, weights=share).solve(self.strength).signal
            f = PiecewiseLinear.through(at, signal)
            rho = dual_point(f, at, means, share, self.strength, self.skip)
            found = certified(f, at, means, share, rho, self.strength, **options)
        else:
            found = least_cost(at, means, share, self.strength, **options)
        spread = float(np.mean((labels - means[inverse]) ** 2) / 2)  # at repeated x
        f, values = found.function, found.function(at)
        furthest = None if self.decayed_biases else extremes(at, values, self.skip)
        scale = float(np.ptp(labels) / np.ptp(at))
        objective = found.objective + spread
        return FunctionFit(f, objective, self.norm(f), found.gap, at, values, scale, furthest)

    def induced(
        self,
        p: Parameterization,
        *,
        inputs: Array | None = None,
        loss: Callable[[Array], Array] | None = None,
    ) -> Induced:
        """strength R of the best function through w, the values at the points ``inputs``.

        Parameters
        ----------
        p : Parameterization
            w = network(theta, inputs), as of ``Parameterization.of(lambda theta:
            sb.FunctionSpace.network(theta, x), shapes)``.
        inputs : array (n,)
            Distinct points, in any order.

        Raises
        ------
        Refused
            For any other p, and for one with fewer neurons than functions through n values need.
        ValueError
            Without inputs, or for such that repeat or do not fit w.
        """
        if inputs is None:
            raise ValueError("functions are seen at points: give inputs, an array of them")
        x = np.asarray(inputs, dtype=float)
        if p.shape != x.shape or x.ndim != 1 or len(x) < 2 or len(np.unique(x)) < len(x):
            raise ValueError(f"inputs must be distinct points, one for each of w {p.shape}")
        _check_network(p, x, self.skip)
        formula = f"lam min of {self.formula} over f with f(x_i) = w_i"
        return Induced(lambda w: self.strength * self._through(x, w), p.shape, formula)

    network = staticmethod(network)

    def _through(self, x: np.ndarray, w: Array) -> Array:
        """The least R of a function with values w at x."""
        order = np.argsort(x)
        if self.decayed_biases:
            values = concrete(w)
            if values is None:
                raise TypeError("with decayed biases the norm of values is a program, not traced")
            share = np.full(len(x), 1 / len(x))
            options = {"skip": self.skip, "decayed": True}
            return np.asarray(least_cost(x[order], values[order], share, None, **options).objective)
        xp = array_namespace(w)
        sorted_values = xp.stack([w[int(i)] for i in order])
        slopes = (sorted_values[1:] - sorted_values[:-1]) / xp.asarray(np.diff(x[order]))
        bend = xp.sum(xp.abs(slopes[1:] - slopes[:-1]))
        if self.skip:
            return bend
        ends = xp.abs(slopes[0] + slopes[-1])
        return (bend + xp.where(bend > ends, bend, ends)) / 2


def _checked(x: Any, y: Any) -> tuple[np.ndarray, np.ndarray]:
    points, labels = np.asarray(x, dtype=float), np.asarray(y, dtype=float)
    if points.ndim != 1 or points.shape != labels.shape:
        raise ValueError(f"x and y must be of one shape (n,), got {points.shape}, {labels.shape}")
    if not (np.all(np.isfinite(points)) and np.all(np.isfinite(labels))):
        raise ValueError("x and y must be finite")
    return points, labels


def _check_network(p: Parameterization, x: np.ndarray, skip: bool) -> None:
    """Raise Refused unless p is the network at x, wide enough."""
    names, shapes = {"u", "v", "b", "c", *(["a"] if skip else [])}, p.shapes
    width = int(np.prod(shapes.get("u", ())))
    sizes = {**dict.fromkeys("uvb", (width,)), "a": (), "c": ()}
    same = set(shapes) == names and all(shapes[k] == sizes[k] for k in names)
    if same:
        rng = np.random.default_rng(0)
        theta = {k: rng.normal(size=shape) for k, shape in shapes.items()}
        seen, wanted = np.asarray(p(theta)), network(theta, x)
        same = bool(np.allclose(seen, wanted, rtol=0, atol=_SAME * np.abs(wanted).max()))
    if not same:
        raise Refused(
            f"{p!r} is not the network of {sorted(names)} at the inputs, whose functions this is "
            "about. Weight decay of any p prefers the least norm on its orbit: take "
            "sb.WeightDecay(strength)"
        )
    needed = len(x) - (2 if skip else 1)
    if width < needed:
        raise Refused(
            f"{width} neurons do not reach every function of least norm through {len(x)} points: "
            f"take a width of {needed} or more"
        )
