"""Which solver for which design and which loss, behind one face.

| design | squared error | another loss |
|---|---|---|
| products of two factors behind a linear map | `LeastSquares` | `Newton` |
| deeper products (not convex) | `LeastSquares` | `General` |
| links, matrices, sums with them, anything | `General` | `General` |
"""

from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np

from symbias.solvers.losses import SquaredError
from symbias.training.certificate import Certificate
from symbias.training.certificate import strength_max as reduced_strength_max
from symbias.training.factors import Trained, first_step
from symbias.training.linear import as_products
from symbias.training.newton import proximal_newton
from symbias.training.objective import Objective
from symbias.training.problem import ReducedProblem, Reduction
from symbias.training.rows import Rows
from symbias.training.solve import least_squares, solve, solve_path
from symbias.training.train import Options, Solution

_CONTINUATION = np.geomspace(0.01, 1, 12)
_LOOSE_STEPS = 200
_REFINED = 3  # proximal minima that training goes on from


@dataclass(frozen=True)
class Fit:
    """The effective parameter, its factors, and how far they are from optimal.

    ``penalized`` are the coordinates c that the penalty acts on; ``objectives`` what the starts of
    a problem that is not convex ended in, best first.
    """

    coef: np.ndarray
    intercept: np.ndarray
    penalized: np.ndarray
    params: dict[str, np.ndarray]
    certificate: Certificate
    n_iter: int
    converged: bool
    objectives: np.ndarray


class Solver(ABC):
    """Fits one objective at any strength."""

    def __init__(self, objective: Objective) -> None:
        self.objective = objective

    @property
    def convex(self) -> bool:
        return self.objective.model.convex

    @property
    @abstractmethod
    def strength_max(self) -> float:
        """The smallest strength at which c = 0 is the answer; infinite if there is none.

        Where the problem is not convex: at which no single size improves on zero.
        """

    @abstractmethod
    def fit(self, strength: float, options: Options, start: np.ndarray | None = None) -> Fit:
        """Fit at one strength, from scratch or warm from the coordinates ``start``."""

    def path(self, strengths: Iterable[float], options: Options) -> Iterator[Fit]:
        """Fit at one strength after the other, each warm from the one before.

        Problems that are not convex are all solved upward, from the weakest strength on, before
        the first fit is given back in the order of ``strengths``.
        """
        order, found, warm = list(strengths), {}, None
        if self.convex:
            for strength in order:
                fit = self.fit(strength, options, warm)
                yield fit
                warm = fit.penalized
            return
        for strength in sorted(set(order)):
            found[strength] = self.fit(strength, options, warm)
            warm = found[strength].penalized
        yield from (found[strength] for strength in order)

    def refit(self, keep: np.ndarray) -> Fit:
        """No penalty, only the coordinates in ``keep``; factors are balanced."""
        raise ValueError(
            "a refit is for a squared error and a penalty that is a sum over coordinates or groups"
        )

    def _finish(
        self,
        c: np.ndarray,
        g: np.ndarray,
        certificate: Certificate,
        steps: int,
        tol: float,
        objectives: list[float],
    ) -> Fit:
        objective = self.objective
        w, free, intercept = objective.recover(c, g)
        params = objective.normal.name_free(free)
        for core, part in zip(objective.normal.cores, objective.normal.split(c), strict=True):
            params |= core.rename(core.design.section(part))
        met = certificate.violation <= tol
        values = np.sort([certificate.objective, *objectives])
        return Fit(w, intercept, c, params, certificate, steps, bool(met), values)


def solver_for(objective: Objective) -> Solver:
    """The solver that suits the design and the loss; see the table above."""
    products = as_products(objective.normal.cores)
    if products is not None and isinstance(objective.loss, SquaredError):
        return LeastSquares(objective)
    if products is not None and products.power == 1:
        return Newton(objective)
    return General(objective)


class LeastSquares(Solver):
    """Variable projection (or plain descent) on products, free coordinates projected out."""

    @cached_property
    def _reduced(self) -> tuple[Reduction, np.ndarray, ReducedProblem, float]:
        """The reduction, its target, the problem, and the sum of all weights."""
        objective = self.objective
        if not objective.model.joint:
            reduction, y, total = objective.model.reduction, objective.Y[:, 0], 1.0
        else:
            rows = Rows(objective)
            reduction, y = rows.reduce(objective.weights), rows.flat(objective.Y)
            total = float(objective.weights.sum())
        return reduction, y, reduction.problem(y), total

    @property
    def strength_max(self) -> float:
        _, _, problem, total = self._reduced
        return total * reduced_strength_max(problem)

    def fit(self, strength: float, options: Options, start: np.ndarray | None = None) -> Fit:
        _, _, problem, total = self._reduced
        best = solve(problem, strength / total, start=start, **_training(options))
        found, steps = [best], best.n_iter
        if problem.power > 1 and options.starts and start is None:
            minima = self.objective.direct.minima(strength, options.starts)
            for c in minima[:_REFINED]:
                found.append(solve(problem, strength / total, start=c, **_training(options)))
                steps += found[-1].n_iter
            best = min(found, key=lambda s: s.certificate.objective)
        values = [total * s.certificate.objective for s in found]
        return self._fit(replace(best, n_iter=steps), values)

    def path(self, strengths: Iterable[float], options: Options) -> Iterator[Fit]:
        _, _, problem, total = self._reduced
        if problem.power > 1:  # several starts each, as a single fit has
            yield from (self.fit(strength, options) for strength in strengths)
            return
        scaled = [s / total for s in strengths]
        for solution in solve_path(problem, scaled, **_training(options)):
            yield self._fit(solution, [total * solution.certificate.objective])

    def refit(self, keep: np.ndarray) -> Fit:
        solution = least_squares(self._reduced[2], keep)
        return self._fit(solution, [self._reduced[3] * solution.certificate.objective])

    def _fit(self, solution: Solution, values: list[float]) -> Fit:
        reduction, y, _, total = self._reduced
        w, free, intercept = reduction.recover(y, solution.z)
        params = reduction.name_factors(solution.factors, free)
        objective, gap, violation = solution.certificate
        certificate = Certificate(total * objective, total * gap, violation)
        shape = self.objective.model.design.shape
        return Fit(
            w.reshape(shape),
            intercept,
            solution.z,
            params,
            certificate,
            solution.n_iter,
            solution.converged,
            np.sort(values),
        )


class Newton(Solver):
    """Proximal Newton steps, each a least-squares design."""

    @cached_property
    def strength_max(self) -> float:
        return self.objective.direct.strength_max

    def fit(self, strength: float, options: Options, start: np.ndarray | None = None) -> Fit:
        c = np.zeros(self.objective.size) if start is None else start
        if strength >= self.strength_max:
            c = np.zeros_like(c)
        c, g, certificate, steps = proximal_newton(self.objective, strength, c, options)
        return self._finish(c, g, certificate, steps, options.tol, [])


class General(Solver):
    """L-BFGS on all factors; several starts and a continuation where it is not convex."""

    @cached_property
    def _trained(self) -> Trained:
        return Trained(self.objective)

    @cached_property
    def strength_max(self) -> float:
        return self.objective.direct.strength_max

    def fit(self, strength: float, options: Options, start: np.ndarray | None = None) -> Fit:
        if options.solver != "varpro":
            raise ValueError(
                f"solver {options.solver!r} is for a squared error over products of factors; take "
                "solver='varpro'"
            )
        objective, zero = self.objective, np.zeros(self.objective.size)
        g = objective.null_offset
        if not any(np.any(pull) for pull in objective.null_pull):
            nothing = objective.certify(zero, g, strength)
            return self._finish(zero, g, nothing, 0, options.tol, [])
        if self.convex:
            if strength >= self.strength_max:
                trivial = objective.certify(zero, g, strength)
                return self._finish(zero, g, trivial, 0, options.tol, [])
            c = first_step(objective) if start is None else start
            found = self._trained.train(c, g, strength, options)
            return self._finish(*found, options.tol, [])
        return self._search(strength, options, start)

    def _search(self, strength: float, options: Options, start: np.ndarray | None) -> Fit:
        """Continuation from the least-squares solution, proximal starts, and c = 0."""
        objective, g = self.objective, self.objective.null_offset
        zero = np.zeros(objective.size)
        found = [(zero, g, objective.certify(zero, g, strength), 0)]
        c, steps = start, 0
        loose = replace(options, tol=max(options.tol, 1e-4), max_iter=_LOOSE_STEPS)
        if c is None:
            c = objective.direct.least_squares()
            for fraction in _CONTINUATION[:-1]:
                if not np.any(c):
                    break
                c, g, _, steps = self._trained.train(c, g, fraction * strength, loose, steps)
        if np.any(c):
            found.append(self._trained.train(c, g, strength, options, steps))
        if start is None and options.starts:
            for c in objective.direct.minima(strength, options.starts)[:_REFINED]:
                if np.any(c):
                    steps = found[-1][3]
                    g = objective.polish(objective.forward(c))
                    found.append(self._trained.train(c, g, strength, options, steps))
        best = min(found, key=lambda f: f[2].objective)
        values = [f[2].objective for f in found[1:] if f is not best]
        return self._finish(*best[:3], found[-1][3], options.tol, values)


def _training(options: Options) -> dict[str, Any]:
    names = ("solver", "tol", "max_iter", "callback")
    return {name: getattr(options, name) for name in names}
