"""Architectures: which bonds a family of models has, by the names and shapes of its arrays."""

from symbias.models.bonds_file import read_bonds
from symbias.models.claims import Claim, Model, Reading, Shape, Stream, model_of
from symbias.models.families import check_fit, name_of, reason_for, recognise
from symbias.models.families.lora import PREFIX, may_be_truncated, module_of
from symbias.models.families.lora_config import rank_for, scale_of, taken_from_base

__all__ = [
    "PREFIX",
    "Claim",
    "Model",
    "Reading",
    "Shape",
    "Stream",
    "check_fit",
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
