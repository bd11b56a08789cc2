"""Designs for Langevin noise: the volume of the orbit is the penalty."""

from typing import TYPE_CHECKING

from symbias._core.arrays import Shape
from symbias._core.refusal import Refused
from symbias.maps import GaugeLink, PowerLink
from symbias.parameterizations import Parameterization, Radial
from symbias.penalties import L1, LogPenalty, Penalty, Piece

if TYPE_CHECKING:
    from symbias.mechanisms import Langevin


def by_langevin(penalty: Penalty, mechanism: "Langevin", shape: Shape) -> Parameterization:
    """Radial designs, for the reference measure that ``mechanism`` names.

    "ambient" (gauge design; Aladrah et al., arXiv 2601.06597): |x| = sqrt(2) exp(R(w) / T) in two
    dimensions, so T log vol = R(w) for w >= 0 and any increasing R; for w < 0 it goes on as
    -R(|w|), since a volume that varies with w is monotone along it. Its law against dw is another.
    "predictor": w = |x|^p has the density exp(-l/T) w^(k/p - 1) against dw, k = rho (n - 1) + 1:
    the penalty T (1 - k/p) log w.

    Raises
    ------
    Refused
        For penalties or references that this does not reach.
    """
    T = mechanism.temperature
    if mechanism.reference == "ambient":
        if mechanism.orbital != 0:
            raise Refused(
                f"gauge design takes noise without a component along orbits, got orbital = "
                f"{mechanism.orbital}: isotropic noise has no log volume in its ambient law"
            )
        form = penalty.form(shape)
        if not isinstance(form, Piece) or not form.sizes.elementwise:
            raise Refused(
                f"gauge design takes penalties sum_i R(|w_i|), not {penalty!r}", near=(L1(),)
            )
        return Radial(shape, 2, GaugeLink(form.scalar.link(), T, 2))
    if mechanism.reference != "predictor":
        raise Refused(f"no design is known against the reference {mechanism.reference!r}")
    if not isinstance(penalty, LogPenalty):
        raise Refused(
            f"against dw Langevin noise reaches weight * log w alone (sb.LogPenalty), not "
            f"{penalty!r}: other links are stiff and fail in practice"
        )
    n = 2
    k = mechanism.orbital * (n - 1) + 1
    if not penalty.weight < T:
        raise Refused(
            f"weight {penalty.weight} must stay below the temperature {T}: the law would pile up "
            f"at 0 (w^(-weight/T) is not integrable there)"
        )
    return Radial(shape, n, PowerLink(k / (1 - penalty.weight / T)))
