"""Symmetries of a predictor that one only has as a function, found and named."""

from symbias.symmetry.discovery.search import Discovery, discover

__all__ = ["Discovery", "discover"]
