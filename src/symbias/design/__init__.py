"""From a wish to a parameterization."""

from symbias.design.compiler import design
from symbias.design.penalties import (
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
