"""All penalties, and their short names for the estimators and the command line."""

from symbias.penalties.base import Penalty
from symbias.penalties.elementwise import L1, ElasticNet, LogSum, Lq, Ridge
from symbias.penalties.entropies import Hypentropy
from symbias.penalties.groups import GroupLasso
from symbias.penalties.matrices import Nuclear, Schatten
from symbias.penalties.structured import Differences, Spectral, TotalVariation, TrendFilter

PENALTIES: dict[str, type[Penalty]] = {
    "l1": L1,
    "lq": Lq,
    "ridge": Ridge,
    "elastic": ElasticNet,
    "logsum": LogSum,
    "hypentropy": Hypentropy,
    "group": GroupLasso,
    "tv": TotalVariation,
    "trend": TrendFilter,
    "differences": Differences,
    "spectral": Spectral,
    "nuclear": Nuclear,
    "schatten": Schatten,
}


def as_penalty(penalty: str | Penalty) -> Penalty:
    """A penalty object from its short name, or as it is.

    Raises
    ------
    ValueError
        For an unknown name, with the list of names.
    """
    if isinstance(penalty, Penalty):
        return penalty
    if isinstance(penalty, str) and penalty in PENALTIES:
        return PENALTIES[penalty]()
    raise ValueError(
        f"unknown penalty {penalty!r}; expected a symbias penalty or one of {', '.join(PENALTIES)}"
    )
