"""Maps with an inverse: linear ones along an axis (transforms), and scalar ones (links).

Penalties and parameterizations are put behind them: R(A^-1 w), w = A z, w = h(z).
"""

from symbias.maps.linear import Linear
from symbias.maps.links import (
    ElasticLink,
    ExponentialLink,
    GaugeLink,
    Link,
    PowerLink,
    check_link,
)
from symbias.maps.tabulated import TabulatedLink
from symbias.maps.transforms import (
    Copies,
    Cosine,
    CumulativeSum,
    Diagonal,
    GridSum,
    IntervalSum,
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
    "GaugeLink",
    "GridSum",
    "IntervalSum",
    "Linear",
    "Link",
    "Matrix",
    "PowerLink",
    "TabulatedLink",
    "Transform",
    "TreeSum",
    "Wavelet",
    "check_link",
]
