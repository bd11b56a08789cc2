"""The factors of a design, trained: the face that direct solvers have too."""

from collections.abc import Iterable, Iterator
from typing import Any

import numpy as np

from symbias.mechanisms import WeightDecay
from symbias.parameterizations import Parameterization
from symbias.solvers import Certified, Loss
from symbias.solvers import Fit as Solved
from symbias.solvers import Model as Wished
from symbias.solvers import Options as HowFar
from symbias.training.fit import Fit, solver_for
from symbias.training.objective import Model, Objective
from symbias.training.train import Options


class Trainer:
    """Fits one target by training factors; ``model`` is the problem in w that this solves."""

    def __init__(self, model: Wished, trained: Model, Y: np.ndarray, solver: str) -> None:
        self.model, self._solver = model, solver_for(Objective(trained, Y))
        self._how = solver

    @property
    def strength_max(self) -> float:
        return self._solver.strength_max

    def fit(self, strength: float, options: HowFar, start: np.ndarray | None = None) -> Solved:
        """Train at one strength, from scratch or from the coordinates ``start``."""
        return _solved(self._solver.fit(strength, self._options(options), start))

    def path(self, strengths: Iterable[float], options: HowFar) -> Iterator[Solved]:
        """Train at one strength after the other, each warm from the one before."""
        yield from map(_solved, self._solver.path(strengths, self._options(options)))

    def refit(self, keep: np.ndarray) -> Solved:
        """No penalty, only the coordinates in ``keep``."""
        return _solved(self._solver.refit(keep))

    def _options(self, options: HowFar) -> Options:
        return Options(self._how, options.tol, options.max_iter, options.callback, options.starts)


def trainers(
    design: Parameterization,
    X: Any,
    weights: np.ndarray,
    fit_intercept: bool,
    loss: Loss,
    targets: list[np.ndarray],
    solver: str = "auto",
) -> list[Trainer]:
    """One trainer for each target; ``weights`` sum to 1.

    ``solver`` is "varpro" (variable projection, or L-BFGS on all factors where that does not
    apply), "gd" (momentum descent with weight decay) or "auto" (the former).
    """
    X = np.asarray(X, dtype=float)
    form = WeightDecay(1.0).induced(design).form(design.shape)
    wished = Wished(form, X, weights, fit_intercept, loss)
    trained = Model(design, X, weights, fit_intercept, loss)
    how = "varpro" if solver == "auto" else solver
    return [Trainer(wished, trained, y, how) for y in targets]


def _solved(fit: Fit) -> Solved:
    return Solved(
        fit.coef,
        fit.intercept,
        fit.penalized,
        Certified(*fit.certificate),
        fit.n_iter,
        fit.converged,
        fit.objectives,
        fit.params,
        "converged" if fit.converged else "max_iter",
    )
