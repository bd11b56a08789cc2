"""Series in O(n): total variation and trend filtering by knots, spectra by fast transforms."""

from symbias.solvers.series.knots import Series
from symbias.solvers.series.observations import SeriesSolution
from symbias.solvers.series.spectrum import Spectrum, SpectrumSolution

__all__ = ["Series", "SeriesSolution", "Spectrum", "SpectrumSolution"]
