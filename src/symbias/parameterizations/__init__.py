"""Redundant parameterizations theta -> w, each with its symmetry and its normal form."""

from symbias.parameterizations.base import Parameterization
from symbias.parameterizations.flat import FlatMap, flat_map, flatten
from symbias.parameterizations.group_product import GroupProduct
from symbias.parameterizations.hadamard import Hadamard
from symbias.parameterizations.inputs import check_inputs, compressed, measurements
from symbias.parameterizations.jacobian import jacobian
from symbias.parameterizations.linked import Linked
from symbias.parameterizations.matrix_product import MatrixProduct
from symbias.parameterizations.normal import BoxImage, Core, NormalForm, Products, Scales
from symbias.parameterizations.parts import Parts, Sum
from symbias.parameterizations.plain import Plain
from symbias.parameterizations.radial import Radial
from symbias.parameterizations.synthesis import Synthesis

__all__ = [
    "BoxImage",
    "Core",
    "FlatMap",
    "GroupProduct",
    "Hadamard",
    "Linked",
    "MatrixProduct",
    "NormalForm",
    "Parameterization",
    "Parts",
    "Plain",
    "Products",
    "Radial",
    "Scales",
    "Sum",
    "Synthesis",
    "check_inputs",
    "compressed",
    "flat_map",
    "flatten",
    "jacobian",
    "measurements",
]
