"""Loss + penalty -> solution with a certificate; knows nothing of factors."""

from symbias.solvers.losses import Huber, Logistic, Loss, Poisson, SquaredError, as_loss
from symbias.solvers.model import Certified, Fit, Model, Options
from symbias.solvers.regression import General, Regression, solver_for
from symbias.solvers.series import Series, SeriesSolution, Spectrum, SpectrumSolution

__all__ = [
    "Certified",
    "Fit",
    "General",
    "Huber",
    "Logistic",
    "Loss",
    "Model",
    "Options",
    "Poisson",
    "Regression",
    "Series",
    "SeriesSolution",
    "Spectrum",
    "SpectrumSolution",
    "SquaredError",
    "as_loss",
    "solver_for",
]
