"""Loss + penalty -> solution with a certificate; knows nothing of factors."""

from symbias.solvers.composite import Candidate, Composite
from symbias.solvers.inputs import Inputs
from symbias.solvers.lbfgs import LBFGS
from symbias.solvers.losses import Huber, Logistic, Loss, Poisson, SquaredError, as_loss
from symbias.solvers.model import Certified, Fit, Model, Options
from symbias.solvers.problem import Problem
from symbias.solvers.proximal import Minimum
from symbias.solvers.regression import General, Regression, solver_for
from symbias.solvers.series import Series, SeriesSolution, Spectrum, SpectrumSolution
from symbias.solvers.starts import working_model

__all__ = [
    "Candidate",
    "Certified",
    "Composite",
    "Fit",
    "General",
    "Huber",
    "Inputs",
    "LBFGS",
    "Logistic",
    "Loss",
    "Minimum",
    "Model",
    "Options",
    "Poisson",
    "Problem",
    "Regression",
    "Series",
    "SeriesSolution",
    "Spectrum",
    "SpectrumSolution",
    "SquaredError",
    "as_loss",
    "solver_for",
    "working_model",
]
