"""Loss + penalty -> solution with a certificate; knows nothing of factors."""

from symbias.solvers.losses import Huber, Logistic, Loss, Poisson, SquaredError, as_loss

__all__ = ["Huber", "Logistic", "Loss", "Poisson", "SquaredError", "as_loss"]
