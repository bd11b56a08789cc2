"""Redundant parameterizations theta -> w, each with its symmetry."""

from symbias.parameterizations.base import Parameterization
from symbias.parameterizations.group_product import GroupProduct
from symbias.parameterizations.hadamard import Hadamard
from symbias.parameterizations.linked import Linked
from symbias.parameterizations.links import ElasticLink, ExponentialLink, Link, PowerLink
from symbias.parameterizations.matrix_product import MatrixProduct
from symbias.parameterizations.parts import Parts, Sum
from symbias.parameterizations.plain import Plain
from symbias.parameterizations.radial import Radial
from symbias.parameterizations.synthesis import Synthesis
from symbias.parameterizations.tabulated import TabulatedLink
from symbias.parameterizations.transforms import (
    Copies,
    Cosine,
    CumulativeSum,
    Diagonal,
    GridSum,
    Matrix,
    Transform,
    TreeSum,
    Wavelet,
)

__all__ = [
    "Copies",
    "Cosine",
    "CumulativeSum",
    "Diagonal",
    "ElasticLink",
    "ExponentialLink",
    "GridSum",
    "GroupProduct",
    "Hadamard",
    "Link",
    "Linked",
    "Matrix",
    "MatrixProduct",
    "Parameterization",
    "Parts",
    "Plain",
    "PowerLink",
    "Radial",
    "Sum",
    "Synthesis",
    "TabulatedLink",
    "Transform",
    "TreeSum",
    "Wavelet",
]
