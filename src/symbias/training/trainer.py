"""Fits by training the factors of a design; what is trained is the same problem in w.

| design | squared error | another loss |
|---|---|---|
| products of two factors behind a linear map | `Products` | `Newton` |
| deeper products (not convex) | `Products` | `Factors` |
| links, matrices, sums with them, anything | `Factors` | `Factors` |
"""

from dataclasses import replace
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np

from symbias._core.extras import needed_by
from symbias.parameterizations import Parameterization
from symbias.solvers import Certified, Fit, General, Loss, Minimum, Model, Options
from symbias.training.descent import Descent
from symbias.training.newton import Newton
from symbias.training.products import Method, Products
from symbias.training.variable_projection import VariableProjection

if TYPE_CHECKING:
    from symbias.training.factors import Factors

SOLVERS: dict[str, type[Method]] = {"varpro": VariableProjection, "gd": Descent}
_LOOSE_TOL, _LOOSE_STEPS = 1e-4, 200  # of the strengths that a continuation passes


class _InCoordinates(Model):
    """Coordinates c as the factors make them, not in units of their penalty."""

    units = None


class Trainer(General):
    """Fits one target, or all targets of a matrix, by training the factors of ``design``.

    Starts, the certificate and what is eliminated are those of the direct solver; every descent is
    training. ``solver`` is "varpro" (variable projection, or L-BFGS on all factors where that does
    not apply) or "gd" (momentum descent with weight decay).
    """

    def __init__(self, design: Parameterization, model: Model, Y: np.ndarray, solver: str) -> None:
        super().__init__(model, Y)
        self.normal, self._solver = design.normal_form(), solver

    @cached_property
    def _method(self) -> "Products | Newton | Factors":
        scales = self.normal.scales
        if scales is not None and self.problem.quadratic:
            return Products(self.composite, scales, SOLVERS[self._solver])
        if scales is not None and scales.power == 1:
            return Newton(self.composite, scales, SOLVERS[self._solver])
        if self._solver != "varpro":
            raise ValueError(
                f"solver {self._solver!r} is for a squared error over products of factors; take "
                "solver='varpro'"
            )
        with needed_by("training the factors of this design"):
            from symbias.training.factors import Factors
        return Factors(self.composite, self.model, self.normal)

    def minimise(self, strength: float, c: np.ndarray, options: Options) -> Minimum:
        """Train from c, for weights that sum to 1, until the certificate is met."""
        return self._method.minimise(strength, c, options)

    def follow(self, strength: float, c: np.ndarray) -> tuple[np.ndarray, int]:
        """Train loosely from c: one strength of a continuation."""
        found = self._method.minimise(strength, c, Options(_LOOSE_TOL, _LOOSE_STEPS))
        return found.best.c, found.n_iter

    def _recovered(
        self, c: np.ndarray, f: np.ndarray, certificate: Certified, *rest: Any, **more: Any
    ) -> Fit:
        free, _ = self.model.apart(c, f)
        fit = super()._recovered(c, f, certificate, *rest, **more)
        return replace(fit, params=self.normal.section(free, c))


def trainers(
    design: Parameterization,
    X: Any,
    weights: np.ndarray,
    fit_intercept: bool,
    loss: Loss,
    targets: list[np.ndarray],
    solver: str = "varpro",
) -> list[Trainer]:
    """One `Trainer` for each target; ``weights`` sum to 1."""
    X = np.asarray(X, dtype=float)
    model = _InCoordinates(design.balanced_form(), X, weights, fit_intercept, loss)
    return [Trainer(design, model, y, solver) for y in targets]
