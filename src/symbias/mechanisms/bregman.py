"""Bregman divergences: what gradient flow minimises among interpolators."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

import numpy as np
from array_api_compat import array_namespace

from symbias._core.arrays import Array, check_dict, concrete, constant, effective
from symbias._core.refusal import Refused
from symbias.mechanisms.dual_flow import DualFlow
from symbias.mechanisms.linked_mirror import mirror_of
from symbias.mechanisms.potentials import synthesis_matrix
from symbias.parameterizations import Parameterization, Products


class Divergence(NamedTuple):
    """What a `Potential` says of one w.

    Attributes
    ----------
    value : float
        D(w, w(0)).
    dual : array, of the shape of w
        grad psi(w) - grad psi(w(0)): the integral of -dL/dw along any flow that ends at w.
    error : float
        Estimate of the error of the value; 0 in closed form, where it is rounding.
    """

    value: float
    dual: np.ndarray
    error: float


@dataclass(frozen=True, eq=False)
class Potential:
    r"""Bregman divergence D(w, w(0)): what gradient flow minimises among interpolators.

    Call it with w, of `shape`: in any array library and differentiable for products of depth 2
    (and syntheses of them); NumPy inside for other depths, links, and starts with u = v. Infinite
    where the sign of an entry is frozen and another.

    Without a closed form it is computed by flows of the dual variable (`evaluate` gives an error
    estimate), after a test that their order does not matter; what they do not reach is refused.

    Attributes
    ----------
    parameterization : Parameterization
    theta0 : dict of arrays
        The factors at the start.
    """

    parameterization: Parameterization
    theta0: Mapping[str, np.ndarray]

    def __post_init__(self) -> None:
        check_dict(self.theta0)

    @property
    def shape(self) -> tuple[int, ...]:
        """Of w."""
        return self.parameterization.shape

    @cached_property
    def products(self) -> Products | None:
        """The coordinates of w as products of numbers, where they are."""
        return self.parameterization.products(self.theta0)

    @cached_property
    def flow(self) -> DualFlow:
        """Flows of the dual variable; raises Refused where the limit depends on the path."""
        return DualFlow.of(self.parameterization, self.theta0)

    @property
    def charges(self) -> np.ndarray:
        """u^2 - v^2 of every product of two numbers, flat.

        Raises Refused where the coordinates are not such products.
        """
        if self.products is None or len(self.products.factors) != 2:
            raise Refused(f"{self.parameterization!r} has no products of two numbers")
        u, v = self.products.factors
        return np.asarray((u - v) * (u + v))

    @property
    def formula(self) -> str:
        """Read on the coordinates of w."""
        found = self.products
        if found is not None and found.link is None and len(found.factors) == 2:
            product = "psi'(w) = asinh(2 w / |c|) / 2: l2 for large c, l1 as c -> 0"
            terms = [product] * bool(found.factors.size)
            terms += ["|w - w(0)|^2 / 2"] * bool(found.plain.size)
            return "; ".join(terms)
        if found is not None and found.link is None and found.factors.size:
            product = f"of a product of {len(found.factors)} numbers"
            return f"{product}: {self.contrast:.4g} times as much at 1 as at .1, where l1 has 10"
        return "numerical"

    @property
    def contrast(self) -> float:
        """The potential of 1 over that of .1, of the first product: 10 for l1, 100 for l2.

        Raises Refused where no coordinate is a product of numbers.
        """
        if self.products is None or not self.products.factors.size:
            raise Refused(f"no coordinate of {self.parameterization!r} is a product of numbers")
        mirror = mirror_of(self.products._replace(
            factors=self.products.factors[:, :1], plain=np.zeros(0)
        ))  # fmt: skip
        return float(mirror.bregman(np.ones(1))[0] / mirror.bregman(np.full(1, 0.1))[0])

    def __call__(self, w: Array) -> Array:
        p = self.parameterization
        w = effective(w, p.shape)
        if self.products is not None and self.products.link is None:
            factors, plain, _ = self.products
            charge = factors[0] ** 2 - factors[1] ** 2
            if len(factors) == 2 and factors.size and np.all(charge != 0):
                return _depth_two(p.flat_coordinates(w), factors, plain)
        seen = concrete(w)
        if seen is None:
            raise Refused(f"no closed form is known for {p!r}: its potential cannot be traced")
        seen = in_tables(p, np.asarray(seen, dtype=float))
        if self.products is None:
            return constant(self.flow.divergence(seen.ravel()), w)
        mirror = mirror_of(self.products)
        return constant(np.sum(mirror.bregman(np.asarray(p.flat_coordinates(seen)))), w)

    def evaluate(self, w: Array) -> Divergence:
        """The value at w, its gradient, and an error estimate, in float64."""
        p = self.parameterization
        seen = np.asarray(effective(w, p.shape), dtype=float)
        value = float(self(seen))
        if self.products is None:
            value, dual, error = self.flow.evaluate(seen.ravel())
            return Divergence(value, dual.reshape(p.shape), error)
        dual = mirror_of(self.products).dual(np.asarray(p.flat_coordinates(seen)))
        dual = np.linalg.solve(synthesis_matrix(p).T, dual).reshape(p.shape)
        return Divergence(value, dual, 0.0)


def _depth_two(coordinates: Array, factors: np.ndarray, plain: np.ndarray) -> Array:
    """sum of psi over products of two factors with charges, and (w - w0)^2 / 2 of plain ones."""
    xp, count = array_namespace(coordinates), len(plain)
    w, first = coordinates[count:], constant(np.prod(factors, axis=0), coordinates)
    charge = constant(np.abs(factors[0] ** 2 - factors[1] ** 2), w)
    rise = xp.asinh(2 * w / charge) - xp.asinh(2 * first / charge)
    bend = xp.hypot(charge, 2 * w) - xp.hypot(charge, 2 * first)
    total = xp.sum(w * rise / 2 - bend / 4)
    if count:
        total = total + xp.sum((coordinates[:count] - constant(plain, w)) ** 2) / 2
    return total


def in_tables(p: Parameterization, w: np.ndarray) -> np.ndarray:
    """w, refused beyond the table of a link."""
    if not bool(p.within_tables(w)):
        raise ValueError(f"|w| goes up to {np.abs(w).max():.4g}, beyond the table of {p!r}")
    return w
