"""The groups a bond can carry.

Elements and Lie algebras follow Hall, *Lie Groups, Lie Algebras, and Representations* (2015).
"""

from symbias.symmetry.groups.base import Group, live_part
from symbias.symmetry.groups.complex_scaling import ComplexScaling
from symbias.symmetry.groups.diagonal import Rescaling, Translation, UniformScale
from symbias.symmetry.groups.general_linear import GeneralLinear
from symbias.symmetry.groups.indefinite import IndefiniteOrthogonal
from symbias.symmetry.groups.orthogonal import Orthogonal
from symbias.symmetry.groups.weighted import WeightedRescaling

__all__ = [
    "ComplexScaling",
    "GeneralLinear",
    "Group",
    "IndefiniteOrthogonal",
    "Orthogonal",
    "Rescaling",
    "Translation",
    "UniformScale",
    "WeightedRescaling",
    "live_part",
]
