"""Penalties sum_i R(|w_i|), each with its link h = R^-1."""

from abc import abstractmethod
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
from array_api_compat import array_namespace

from symbias._core.arrays import Array, Shape, constant
from symbias._core.numbers import number, positive
from symbias._core.refusal import Refused
from symbias.maps import Diagonal
from symbias.penalties.base import Penalty
from symbias.penalties.form import Behind, Form, Piece
from symbias.penalties.scalars import Elastic, Logarithm, Power, Scalar
from symbias.penalties.sizes import Entries


class Elementwise(Penalty):
    """sum_i R(|w_i|) for one increasing function R with R(0) = 0."""

    @property
    @abstractmethod
    def scalar(self) -> Scalar:
        """R as a function of one size."""

    @property
    def convex(self) -> bool:
        return self.scalar.convex

    def __call__(self, w: Array) -> Array:
        xp = array_namespace(w)
        return xp.sum(self.scalar(xp.abs(w)))

    def form(self, shape: Shape) -> Form:
        return Piece(Entries(shape), self.scalar)


@dataclass(frozen=True, eq=False)
class L1(Elementwise):
    """sum_i weights_i |w_i|: few nonzero coefficients. A weight of 0 leaves a coefficient free.

    Raises ValueError for weights that are negative or not finite.
    """

    formula: ClassVar[str] = "sum_i weight_i |w_i|"
    belief: ClassVar[str] = "few coefficients matter"

    weights: Any = None

    def __post_init__(self) -> None:
        if self.weights is not None:
            Diagonal(self.weights)

    def __call__(self, w: Array) -> Array:
        xp = array_namespace(w)
        weights = 1.0 if self.weights is None else constant(np.asarray(self.weights, float), w)
        return xp.sum(xp.abs(w) * weights)

    @property
    def couples(self) -> bool:
        return self.weights is not None and np.ndim(self.weights) == 2

    @property
    def scalar(self) -> Scalar:
        return Power()

    def scales(self, shape: Shape) -> Diagonal:
        """The map from weights times w to w."""
        weights = np.asarray(self.weights, dtype=float)
        if weights.shape != shape:
            raise ValueError(
                f"weights has shape {weights.shape}, expected one per coefficient: {shape}"
            )
        return Diagonal(weights)

    def form(self, shape: Shape) -> Form:
        if self.weights is None:
            return super().form(shape)
        scales = self.scales(shape)
        inner = (shape[0] - scales.free, *shape[1:])
        return Behind(scales, Piece(Entries(inner), Power()))


@dataclass(frozen=True, eq=False)
class Lq(Elementwise):
    """sum_i |w_i|^q: for q < 1 sparser than l1 and less shrunk, but not convex.

    Raises
    ------
    ValueError
        For a ``q`` that is not positive: sum_i |w_i|^q is then infinite, or a constant, at 0.
    """

    formula: ClassVar[str] = "sum_i |w_i|^q"
    belief: ClassVar[str] = "very few coefficients matter"

    q: float = 2 / 3

    def __post_init__(self) -> None:
        number("q", self.q)
        if not self.q > 0:
            raise ValueError(f"Lq needs q > 0, got q = {self.q}")

    @property
    def scalar(self) -> Scalar:
        return Power(self.q)


@dataclass(frozen=True, eq=False)
class Ridge(Elementwise):
    """sum_i w_i^2 / 2: all coefficients small, none zero."""

    formula: ClassVar[str] = "sum_i w_i^2 / 2"
    belief: ClassVar[str] = "all coefficients are small"

    @property
    def scalar(self) -> Scalar:
        return Power(2.0, 0.5)


@dataclass(frozen=True, eq=False)
class ElasticNet(Elementwise):
    """sum_i l1_ratio |w_i| + (1 - l1_ratio) w_i^2 / 2: sparse, and correlated features share.

    Raises
    ------
    ValueError
        For an `l1_ratio` outside (0, 1].
    """

    formula: ClassVar[str] = "sum_i l1_ratio |w_i| + (1 - l1_ratio) w_i^2 / 2"
    belief: ClassVar[str] = "few coefficients matter, together with what they correlate with"

    l1_ratio: float = 0.5

    def __post_init__(self) -> None:
        if not 0 < number("l1_ratio", self.l1_ratio) <= 1:
            raise ValueError(f"l1_ratio must lie in (0, 1], got {self.l1_ratio}; 0 is sb.Ridge()")

    @property
    def scalar(self) -> Scalar:
        return Elastic(self.l1_ratio, 1 - self.l1_ratio) if self.l1_ratio < 1 else Power()


@dataclass(frozen=True, eq=False)
class LogSum(Elementwise):
    """sum_i log(1 + |w_i| / eps): close to counting nonzero coefficients as eps falls; concave.

    Raises
    ------
    ValueError
        For an `eps` that is not positive.

    References
    ----------
    Candes, Wakin, Boyd, "Enhancing sparsity by reweighted l1 minimization", 2008.
    """

    formula: ClassVar[str] = "sum_i log(1 + |w_i| / eps)"
    belief: ClassVar[str] = "very few coefficients matter, and large ones keep their size"

    eps: float = 0.1

    def __post_init__(self) -> None:
        positive("eps", self.eps)

    @property
    def scalar(self) -> Scalar:
        return Logarithm(self.eps)


@dataclass(frozen=True, eq=False)
class LogPenalty(Penalty):
    """weight * sum_i log w_i for w > 0: the one family that Langevin noise prefers against dw.

    Unbounded below: a preference for small w which only the data hold off.
    """

    formula: ClassVar[str] = "weight sum_i log w_i"
    belief: ClassVar[str] = "positive numbers over many orders of magnitude"

    weight: float = 0.5

    @property
    def convex(self) -> bool:
        return False

    def __call__(self, w: Array) -> Array:
        xp = array_namespace(w)
        return self.weight * xp.sum(xp.log(w))

    def form(self, shape: Shape) -> Form:
        raise Refused(
            "sb.LogPenalty is unbounded below at w = 0: a fit would end there. It is a preference "
            "under noise, against dw"
        )
