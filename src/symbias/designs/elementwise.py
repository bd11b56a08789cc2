"""Penalties sum_i R(|w_i|), each with its link h = R^-1."""

from abc import abstractmethod
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
from array_api_compat import array_namespace

from symbias._core.arrays import Array, constant
from symbias._core.numbers import number, positive
from symbias.designs.penalty import Penalty
from symbias.parameterizations import ElasticLink, ExponentialLink, Link, PowerLink


class Elementwise(Penalty):
    """sum_i R(|w_i|) for one increasing function R with R(0) = 0."""

    @property
    def exponent(self) -> float:
        """p with R(w) ~ w^p at 0: a corner for 1, smooth for 2, infinitely steep below 1."""
        return 1.0

    @abstractmethod
    def link(self) -> Link:
        """h = R^-1, continued as an odd function."""

    def __call__(self, w: Array) -> Array:
        xp = array_namespace(w)
        return xp.sum(self.link().inverse(xp.abs(w)))


@dataclass(frozen=True, eq=False)
class L1(Elementwise):
    """sum_i weights_i |w_i|: few nonzero coefficients. A weight of 0 leaves a coefficient free."""

    formula: ClassVar[str] = "sum_i weight_i |w_i|"
    belief: ClassVar[str] = "few coefficients matter"

    weights: Any = None

    def __call__(self, w: Array) -> Array:
        xp = array_namespace(w)
        weights = 1.0 if self.weights is None else constant(np.asarray(self.weights, float), w)
        return xp.sum(xp.abs(w) * weights)

    def link(self) -> Link:
        if self.weights is not None:
            raise ValueError("L1 with weights is not one function of |w_i|")
        return PowerLink(1.0)


@dataclass(frozen=True, eq=False)
class Lq(Elementwise):
    """sum_i |w_i|^q: for q < 1 sparser than l1 and less shrunk, but not convex."""

    formula: ClassVar[str] = "sum_i |w_i|^q"
    belief: ClassVar[str] = "very few coefficients matter"

    q: float = 2 / 3

    def __post_init__(self) -> None:
        number("q", self.q)

    @property
    def convex(self) -> bool:
        return self.q >= 1

    @property
    def exponent(self) -> float:
        return self.q

    def link(self) -> Link:
        return PowerLink(1 / self.q)

    def __call__(self, w: Array) -> Array:
        xp = array_namespace(w)
        return xp.sum(xp.abs(w) ** self.q)


@dataclass(frozen=True, eq=False)
class Ridge(Elementwise):
    """sum_i w_i^2 / 2: all coefficients small, none zero."""

    formula: ClassVar[str] = "sum_i w_i^2 / 2"
    belief: ClassVar[str] = "all coefficients are small"

    @property
    def exponent(self) -> float:
        return 2.0

    def link(self) -> Link:
        return PowerLink(0.5, 0.5)

    def __call__(self, w: Array) -> Array:
        return array_namespace(w).sum(w * w) / 2


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

    def link(self) -> Link:
        return ElasticLink(self.l1_ratio, 1 - self.l1_ratio)


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
    def convex(self) -> bool:
        return False

    def link(self) -> Link:
        return ExponentialLink(self.eps)
