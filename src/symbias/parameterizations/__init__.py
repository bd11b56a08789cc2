"""Redundant parameterizations theta -> w, each with its symmetry."""

from symbias.parameterizations.base import Parameterization
from symbias.parameterizations.group_product import GroupProduct
from symbias.parameterizations.hadamard import Hadamard
from symbias.parameterizations.matrix_product import MatrixProduct
from symbias.parameterizations.synthesis import Synthesis
from symbias.parameterizations.transforms import (
    Cosine,
    CumulativeSum,
    Diagonal,
    Matrix,
    Transform,
)

__all__ = [
    "Cosine",
    "CumulativeSum",
    "Diagonal",
    "GroupProduct",
    "Hadamard",
    "Matrix",
    "MatrixProduct",
    "Parameterization",
    "Synthesis",
    "Transform",
]
