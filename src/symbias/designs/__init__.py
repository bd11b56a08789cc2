"""From a wish to a parameterization."""

from symbias.designs.compiler import design
from symbias.designs.penalties import (
    L1,
    PENALTIES,
    GroupLasso,
    Lq,
    Penalty,
    Spectral,
    TotalVariation,
    TrendFilter,
    as_penalty,
)

__all__ = [
    "L1",
    "PENALTIES",
    "GroupLasso",
    "Lq",
    "Penalty",
    "Spectral",
    "TotalVariation",
    "TrendFilter",
    "as_penalty",
    "design",
]
