"""Other convex losses over products: proximal Newton, a weighted least-squares design each step.

At eta the loss is replaced by sum weights h (zeta - eta')^2 / 2 with h = l''(eta) and the working
response zeta = eta - l'(eta) / h (iteratively reweighted least squares); its penalised minimum is
trained as any least-squares design is, and a line search on the true objective goes towards it.
Lee, Sun, Saunders, "Proximal Newton-type methods for minimizing composite functions", SIAM J.
Optim. 2014.
"""

from dataclasses import dataclass, replace

import numpy as np

from symbias.parameterizations import Scales
from symbias.solvers import Candidate, Composite, Minimum, Options, SquaredError
from symbias.training.products import Method, Products

MAX_ITER = 100


@dataclass(frozen=True, eq=False)
class Newton:
    """A convex loss over products of two factors; ``method`` trains its quadratic models."""

    composite: Composite
    scales: Scales
    method: type[Method]

    def minimise(self, strength: float, c: np.ndarray, options: Options) -> Minimum:
        """Train from c until the certificate is met; ``n_iter`` counts the steps of training."""
        best, steps = self.composite.certify(c, strength), 0
        for _ in range(MAX_ITER):
            if best.violation <= options.tol:
                return Minimum(best, steps, "converged")
            if options.max_iter and steps >= options.max_iter:
                break
            model, total = self._model(best)
            exact = max(1e-13, 0.01 * min(1.0, best.violation))  # of the true objective
            tol = exact * min(1.0, best.objective / total / max(model.problem.null.loss, 1e-300))
            inner = replace(options, tol=tol, callback=None)
            found = Products(model, self.scales, self.method).minimise(
                strength / total, best.c, inner
            )
            steps += found.n_iter
            ahead = self._towards(best, found.best.c, strength, options.tol)
            if ahead is None:
                return Minimum(best, steps, "stalled: rounding hides what is left")
            best = ahead
            if options.callback:
                options.callback(steps, best.objective)
        return Minimum(best, steps, "max_iter")

    def _model(self, at: Candidate) -> tuple[Composite, float]:
        """The quadratic model of the loss, and the sum of its weights."""
        problem = self.composite.problem
        eta = problem.inputs.push(at.c) + problem.basis @ at.g
        h = problem.loss.bend(eta, problem.y, problem.a)
        zeta = eta - problem.loss.gradient(eta, problem.y) / h
        total = float(problem.a @ h)
        weights = problem.a * h / total
        quadratic = replace(problem, y=zeta, loss=SquaredError(), weights=weights)
        return Composite(quadratic, self.composite.form), total

    def _towards(
        self, best: Candidate, goal: np.ndarray, strength: float, tol: float
    ) -> Candidate | None:
        size = 1.0
        while size > 1e-10:
            c = best.c + size * (goal - best.c) if size < 1 else goal
            ahead = self.composite.certify(c, strength, best.g)
            if ahead.objective < best.objective or ahead.violation <= tol:
                return ahead
            size /= 4
        return None
