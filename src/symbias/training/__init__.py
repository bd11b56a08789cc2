"""The factors of a design, trained: nothing but an optimizer with weight decay is needed."""

from symbias.training.trainer import SOLVERS, Trainer, trainers

__all__ = ["SOLVERS", "Trainer", "trainers"]
