"""Wishes on an effective parameter: value, normal form, and what solvers ask of them.

A new penalty is a class with a value and a normal form: a scalar function of sizes (`scalars`) on
entries, groups or singular values (`sizes`), behind a linear map.
"""

from symbias.penalties.base import Penalty, Scaled
from symbias.penalties.composed import Composed
from symbias.penalties.custom import Custom
from symbias.penalties.elementwise import L1, ElasticNet, Elementwise, LogPenalty, LogSum, Lq, Ridge
from symbias.penalties.entropies import Entropy, Hypentropy, HyperbolicEntropy
from symbias.penalties.form import Added, Behind, Form, Piece, Placed
from symbias.penalties.groups import GroupLasso, LatentGroupLasso
from symbias.penalties.matrices import Nuclear, Schatten
from symbias.penalties.names import PENALTIES, as_penalty
from symbias.penalties.numeric import is_convex, scalar_prox, supremum, tabulated_prox
from symbias.penalties.reshaped import Reshaped
from symbias.penalties.scalars import Elastic, Logarithm, Power, Scalar, Through
from symbias.penalties.sizes import Entries, Groups, SingularValues, Sizes
from symbias.penalties.structured import Differences, Spectral, TotalVariation, TrendFilter

__all__ = [
    "L1",
    "Added",
    "PENALTIES",
    "Behind",
    "Composed",
    "Custom",
    "Differences",
    "Elastic",
    "ElasticNet",
    "Elementwise",
    "Entries",
    "Entropy",
    "Form",
    "GroupLasso",
    "Groups",
    "HyperbolicEntropy",
    "Hypentropy",
    "LatentGroupLasso",
    "LogPenalty",
    "LogSum",
    "Logarithm",
    "Lq",
    "Nuclear",
    "Penalty",
    "Piece",
    "Placed",
    "Power",
    "Reshaped",
    "Ridge",
    "Scalar",
    "Scaled",
    "Schatten",
    "SingularValues",
    "Sizes",
    "Spectral",
    "Through",
    "TotalVariation",
    "TrendFilter",
    "as_penalty",
    "is_convex",
    "scalar_prox",
    "supremum",
    "tabulated_prox",
]
