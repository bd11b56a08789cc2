"""Architectures: which bonds a family of models has, by the names and shapes of its arrays."""

from typing import TYPE_CHECKING, Any

from symbias.models.bonds_file import read_bonds
from symbias.models.claims import Claim, Model, Reading, Shape, Stream, model_of
from symbias.models.families import check_fit, name_of, reason_for, recognise
from symbias.models.families.lora import PREFIX, may_be_truncated, module_of
from symbias.models.families.lora_config import rank_for, scale_of, taken_from_base

if TYPE_CHECKING:
    from symbias.models.twins import find_bonds

__all__ = [
    "PREFIX",
    "Claim",
    "Model",
    "Reading",
    "Shape",
    "Stream",
    "check_fit",
    "find_bonds",
    "may_be_truncated",
    "model_of",
    "module_of",
    "name_of",
    "read_bonds",
    "rank_for",
    "reason_for",
    "recognise",
    "scale_of",
    "taken_from_base",
]


def __getattr__(name: str) -> Any:
    """The search on twins loads only when it is asked for."""
    if name == "find_bonds":
        from symbias.models import twins

        return twins.find_bonds
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
