"""What may move without changing the predictor, and how much room it has."""

from symbias.symmetry.action import act, charges, random_element
from symbias.symmetry.balance import Balanced, balance
from symbias.symmetry.bonds import Bond, Symmetry
from symbias.symmetry.generators import gram
from symbias.symmetry.groups import GeneralLinear, Rescaling, Translation, UniformScale
from symbias.symmetry.volume import log_volume

__all__ = [
    "Balanced",
    "Bond",
    "GeneralLinear",
    "Rescaling",
    "Symmetry",
    "Translation",
    "UniformScale",
    "act",
    "balance",
    "charges",
    "gram",
    "log_volume",
    "random_element",
]
