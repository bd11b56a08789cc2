"""Other convex losses over products: proximal Newton, a weighted least-squares design each step.

At eta the loss is replaced by sum weights h (zeta - eta')^2 / 2 with h = l''(eta) and the working
response zeta = eta - l'(eta) / h (iteratively reweighted least squares); its penalised minimum is
trained as any least-squares design is, and a line search on the true objective goes towards it.
Lee, Sun, Saunders, "Proximal Newton-type methods for minimizing composite functions", SIAM J.
Optim. 2014.
"""

import numpy as np

from symbias.training.certificate import Certificate
from symbias.training.objective import Objective
from symbias.training.problem import ReducedProblem
from symbias.training.rows import Rows
from symbias.training.solve import solve
from symbias.training.train import Options

MAX_ITER = 100


def proximal_newton(
    objective: Objective, strength: float, c: np.ndarray, options: Options
) -> tuple[np.ndarray, np.ndarray, Certificate, int]:
    """Minimise from ``c``; c, g, certificate, and the steps of training in all."""
    rows, steps = Rows(objective), 0
    g = objective.polish(objective.forward(c))
    certificate = objective.certify(c, g, strength)
    for _ in range(MAX_ITER):
        if certificate.violation <= options.tol:
            break
        eta = objective.forward(c) + objective.offset(g)
        bend = objective.loss.bend(eta, objective.Y, objective.weights)
        zeta = eta - objective.loss.gradient(eta, objective.Y) / bend
        weights = objective.weights * bend
        reduction, target = rows.reduce(weights), rows.flat(zeta)
        total = float(weights.sum())
        problem = reduction.problem(target)
        inner = max(1e-13, min(1e-4, 0.01 * certificate.violation))
        found = solve(
            problem,
            strength / total,
            start=c if np.any(c) else None,
            solver=options.solver,
            tol=inner * min(1.0, certificate.objective / total / max(_size(problem), 1e-300)),
            max_iter=options.max_iter,
        )
        steps += found.n_iter
        towards = objective.forward(found.z)
        target_offset = objective.polish(towards, g)
        size, value = 1.0, certificate.objective
        ahead = certificate
        while size > 1e-10:
            new = c + size * (found.z - c) if size < 1 else found.z
            between = g + size * (target_offset - g)
            offset = objective.polish(objective.forward(new), between)
            ahead = objective.certify(new, offset, strength)
            if ahead.objective < value or ahead.violation <= options.tol:
                break
            size /= 4
        else:
            break
        c, g, certificate = new, offset, ahead
        if options.callback:
            options.callback(steps, certificate.objective)
        if options.max_iter and steps >= options.max_iter:
            break
    return c, g, certificate, steps


def _size(problem: ReducedProblem) -> float:
    return 0.5 * float(problem.target @ problem.target)
