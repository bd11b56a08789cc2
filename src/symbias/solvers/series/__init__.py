"""Series in O(n): total variation and trend filtering by knots."""

from symbias.solvers.series.knots import Series
from symbias.solvers.series.observations import SeriesSolution

__all__ = ["Series", "SeriesSolution"]
