"""The factors of a design, trained: nothing but an optimizer with weight decay is needed."""

from symbias.solvers.losses import Huber, Logistic, Loss, Poisson, SquaredError, as_loss
from symbias.training.certificate import Certificate, certify, strength_max
from symbias.training.fit import Fit, Solver, solver_for
from symbias.training.objective import Model, Objective
from symbias.training.problem import Factors, ReducedProblem, Reduction
from symbias.training.solve import least_squares, solve, solve_path
from symbias.training.train import SOLVERS, Options, Solution
from symbias.training.trainer import Trainer, trainers

__all__ = [
    "SOLVERS",
    "Certificate",
    "Factors",
    "Fit",
    "Huber",
    "Logistic",
    "Loss",
    "Model",
    "Objective",
    "Options",
    "Poisson",
    "ReducedProblem",
    "Reduction",
    "Solution",
    "Solver",
    "Trainer",
    "SquaredError",
    "as_loss",
    "certify",
    "least_squares",
    "solve",
    "solve_path",
    "solver_for",
    "strength_max",
    "trainers",
]
