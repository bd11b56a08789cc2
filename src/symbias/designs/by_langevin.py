"""Designs for Langevin noise: the volume of the orbit is the penalty."""

from dataclasses import dataclass
from math import sqrt
from typing import ClassVar

from array_api_compat import array_namespace

from symbias._core.arrays import Array, Shape
from symbias.designs.elementwise import Elementwise
from symbias.designs.penalty import Penalty
from symbias.mechanisms import Langevin
from symbias.parameterizations import Link, Parameterization, PowerLink, Radial


@dataclass(frozen=True)
class GaugeLink(Link):
    """w = h((n - 1) T log(r / sqrt 2)), h the inverse of the penalty: T log volume = penalty(w).

    sqrt 2 is the length of a unit rotation's generator. ``r >= sqrt 2`` gives w >= 0; below, the
    penalty goes on as an odd function.
    """

    inner: Link
    temperature: float
    n: int = 2

    def forward(self, z: Array) -> Array:
        xp = array_namespace(z)
        return self.inner.forward((self.n - 1) * self.temperature * xp.log(z / sqrt(2)))

    def inverse(self, w: Array) -> Array:
        xp = array_namespace(w)
        return sqrt(2) * xp.exp(self.inner.inverse(w) / ((self.n - 1) * self.temperature))


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


def by_langevin(penalty: Penalty, mechanism: Langevin, shape: Shape) -> Parameterization:
    """Radial designs, for the reference measure that ``mechanism`` names.

    "ambient" (gauge design; Aladrah et al., arXiv 2601.06597): |x| = sqrt(2) exp(R(w) / T) in two
    dimensions, so T log vol = R(w), for any increasing R; its law against dw is another.
    "predictor": w = |x|^p has the density exp(-l/T) w^(k/p - 1) against dw, k = rho (n - 1) + 1:
    the penalty T (1 - k/p) log w.

    Raises
    ------
    ValueError
        For penalties or references that this does not reach.
    """
    T = mechanism.temperature
    if mechanism.reference == "ambient":
        if mechanism.orbital != 0:
            raise ValueError(
                f"gauge design takes noise without a component along orbits, got orbital = "
                f"{mechanism.orbital}: isotropic noise has no log volume in its ambient law"
            )
        if not isinstance(penalty, Elementwise):
            raise ValueError(
                f"gauge design takes penalties sum_i R(|w_i|), such as sb.L1() or sb.Custom(fn), "
                f"not {penalty!r}"
            )
        return Radial(shape, 2, GaugeLink(penalty.link(), T, 2))
    if mechanism.reference != "predictor":
        raise ValueError(f"no design against the reference {mechanism.reference!r}: ambient works")
    if not isinstance(penalty, LogPenalty):
        raise ValueError(
            f"against dw Langevin noise reaches weight * log w alone (sb.LogPenalty), not "
            f"{penalty!r}: other links are stiff and fail in practice. "
            "Langevin(T, reference='ambient') takes it, by gauge design; WeightDecay exactly"
        )
    n = 2
    k = mechanism.orbital * (n - 1) + 1
    if not penalty.weight < T:
        raise ValueError(
            f"weight {penalty.weight} must stay below the temperature {T}: the law would pile up "
            f"at 0 (w^(-weight/T) is not integrable there)"
        )
    return Radial(shape, n, PowerLink(k / (1 - penalty.weight / T)))
