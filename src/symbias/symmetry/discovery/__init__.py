"""Symmetries of a predictor that one only has as a function, found and named."""

from symbias.symmetry.discovery.diagonal import Rates, Scales, search_scales
from symbias.symmetry.discovery.draws import Draws
from symbias.symmetry.discovery.equations import Unknowns
from symbias.symmetry.discovery.search import Discovery, discover, search, search_shifts

__all__ = [
    "Discovery",
    "Draws",
    "Rates",
    "Scales",
    "Unknowns",
    "discover",
    "search",
    "search_scales",
    "search_shifts",
]
