"""Margins on separable data: the least penalty that has them, and the proof that none can."""

from symbias.solvers.margins.conic import LARGEST_SIDE
from symbias.solvers.margins.half import least_nonnegative
from symbias.solvers.margins.least import least_margin
from symbias.solvers.margins.norms import least_norm
from symbias.solvers.margins.problem import SUPPORT, MarginSolution
from symbias.solvers.margins.separation import NotSeparable, Separation, gordan

__all__ = [
    "LARGEST_SIDE",
    "SUPPORT",
    "MarginSolution",
    "NotSeparable",
    "Separation",
    "gordan",
    "least_margin",
    "least_nonnegative",
    "least_norm",
]
