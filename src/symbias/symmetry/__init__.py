"""What may move without changing the predictor, and how much room it has."""

from symbias.symmetry.action import act, act_on, charges, random_element
from symbias.symmetry.balancing import (
    Balanced,
    Gauge,
    balance,
    balancing_of_blocks,
    check_balanceable,
    least_norm,
)
from symbias.symmetry.bonds import Bond, Symmetry
from symbias.symmetry.checks import check_invariance, validate
from symbias.symmetry.discovery import Discovery, discover
from symbias.symmetry.ends import End, EndSpec
from symbias.symmetry.generators import gram
from symbias.symmetry.groups import (
    ComplexScaling,
    GeneralLinear,
    IndefiniteOrthogonal,
    Orthogonal,
    Rescaling,
    Translation,
    UniformScale,
    WeightedRescaling,
)
from symbias.symmetry.norm import induced_norm
from symbias.symmetry.projection import horizontal
from symbias.symmetry.volumes import Volume, log_volume, volume

__all__ = [
    "Balanced",
    "Bond",
    "ComplexScaling",
    "Discovery",
    "End",
    "EndSpec",
    "Gauge",
    "GeneralLinear",
    "IndefiniteOrthogonal",
    "Orthogonal",
    "Rescaling",
    "Symmetry",
    "Translation",
    "UniformScale",
    "Volume",
    "WeightedRescaling",
    "act",
    "act_on",
    "balance",
    "balancing_of_blocks",
    "charges",
    "check_balanceable",
    "check_invariance",
    "discover",
    "gram",
    "horizontal",
    "induced_norm",
    "least_norm",
    "log_volume",
    "random_element",
    "validate",
    "volume",
]
