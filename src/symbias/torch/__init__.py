"""Designs inside PyTorch models: train as always, end with plain weights."""

from symbias._core.extras import needed_by

with needed_by("symbias.torch"):
    import torch as _torch  # noqa: F401

from symbias.models.twins import find_bonds
from symbias.torch.collapsing import collapse
from symbias.torch.designing import apply, apply_matching, slices
from symbias.torch.errors import (
    AlreadyDesigned,
    AveragedFactors,
    ChangedOutputs,
    DecoupledDecay,
    NoPenalty,
    NoProximalStep,
    NothingTrains,
    NotLoadable,
    NotRun,
    OtherObjective,
    ScaleInvariant,
    ShapeMismatch,
    StaleOptimizer,
    TransposedWeight,
    UnknownParameter,
    Unreachable,
    UnsupportedTensor,
    WrappedModel,
)
from symbias.torch.gaps import Gap
from symbias.torch.proximal import ProximalStep, penalize, penalize_channels
from symbias.torch.removal import Measures, Shrunk, shrink
from symbias.torch.report import Report, report
from symbias.torch.table import Row, Table
from symbias.torch.training import (
    DecaySchedule,
    check_optimizer,
    factor_parameters,
    factor_penalty,
)

__all__ = [
    "AlreadyDesigned",
    "AveragedFactors",
    "ChangedOutputs",
    "DecaySchedule",
    "DecoupledDecay",
    "Gap",
    "Measures",
    "NoPenalty",
    "NoProximalStep",
    "NotLoadable",
    "NotRun",
    "NothingTrains",
    "OtherObjective",
    "ProximalStep",
    "Report",
    "Row",
    "ScaleInvariant",
    "ShapeMismatch",
    "Shrunk",
    "StaleOptimizer",
    "Table",
    "TransposedWeight",
    "UnknownParameter",
    "Unreachable",
    "UnsupportedTensor",
    "WrappedModel",
    "apply",
    "apply_matching",
    "check_optimizer",
    "collapse",
    "factor_parameters",
    "factor_penalty",
    "find_bonds",
    "penalize",
    "penalize_channels",
    "report",
    "shrink",
    "slices",
]
