"""Linear syntheses w = A z: the penalty acts on z = A^-1 w, except on its first coordinates."""

from symbias.maps.transforms.base import Transform
from symbias.maps.transforms.bases import Cosine, Diagonal, Matrix, Wavelet
from symbias.maps.transforms.copies import Copies
from symbias.maps.transforms.intervals import IntervalSum
from symbias.maps.transforms.sums import CumulativeSum, GridSum, TreeSum

__all__ = [
    "Copies",
    "Cosine",
    "CumulativeSum",
    "Diagonal",
    "GridSum",
    "IntervalSum",
    "Matrix",
    "Transform",
    "TreeSum",
    "Wavelet",
]
