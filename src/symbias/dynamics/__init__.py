"""Training simulated: problems, rules, and ensembles of runs that last."""

from symbias._core.extras import needed_by

with needed_by("symbias.dynamics"):
    from symbias.dynamics.checks import as_key
    from symbias.dynamics.classification import log_logistic_loss, logistic_loss
    from symbias.dynamics.normalized import NormalizedDescent
    from symbias.dynamics.problem import Problem, squared_error
    from symbias.dynamics.rules import SGD, Langevin, Optax, Rule
    from symbias.dynamics.simulate import Run, simulate
    from symbias.dynamics.steepest import steepest_descent

__all__ = [
    "SGD",
    "Langevin",
    "NormalizedDescent",
    "Optax",
    "Problem",
    "Rule",
    "Run",
    "as_key",
    "log_logistic_loss",
    "logistic_loss",
    "simulate",
    "squared_error",
    "steepest_descent",
]
