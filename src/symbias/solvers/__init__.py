"""Least squares over a designed parameterization: reduce, train the factors, certify."""

from symbias.solvers.certificate import Certificate, certify, strength_max
from symbias.solvers.problem import Factors, ReducedProblem, Reduction
from symbias.solvers.solve import least_squares, solve, solve_path
from symbias.solvers.train import SOLVERS, Solution

__all__ = [
    "SOLVERS",
    "Certificate",
    "Factors",
    "ReducedProblem",
    "Reduction",
    "Solution",
    "certify",
    "least_squares",
    "solve",
    "solve_path",
    "strength_max",
]
