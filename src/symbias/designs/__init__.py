"""From a wish to a parameterization."""

from symbias.designs.by_langevin import LogPenalty
from symbias.designs.compiler import design
from symbias.designs.penalties import (
    L1,
    PENALTIES,
    Custom,
    Differences,
    ElasticNet,
    Elementwise,
    GroupLasso,
    LatentGroupLasso,
    LogSum,
    Lq,
    Nuclear,
    Penalty,
    Ridge,
    Schatten,
    Spectral,
    TotalVariation,
    TrendFilter,
    as_penalty,
)

__all__ = [
    "L1",
    "PENALTIES",
    "Custom",
    "Differences",
    "ElasticNet",
    "Elementwise",
    "GroupLasso",
    "LatentGroupLasso",
    "LogPenalty",
    "LogSum",
    "Lq",
    "Nuclear",
    "Penalty",
    "Ridge",
    "Schatten",
    "Spectral",
    "TotalVariation",
    "TrendFilter",
    "as_penalty",
    "design",
]
