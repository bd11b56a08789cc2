"""Penalised linear models: a penalty in normal form, inputs, weights, a loss, and targets.

    min over w, b of  sum_i weights_i l(X_i w + b, y_i) + strength R(w)

One target at a time, or all at once where the penalty couples the columns of W (rows are then the
entries of Y, those that are missing with weight 0).
"""

from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator
from dataclasses import replace
from functools import cached_property

import numpy as np

from symbias.solvers.composite import Composite
from symbias.solvers.losses import SquaredError
from symbias.solvers.model import Certified, Fit, Model, Options
from symbias.solvers.problem import Problem
from symbias.solvers.proximal import MAX_ITER, Minimum, descend, minimise
from symbias.solvers.search import search
from symbias.solvers.threshold import strength_max, strength_of_shrinkage
from symbias.solvers.working_set import Solution, path, solve

_LOOSE_STEPS = 50


def solver_for(model: Model, Y: np.ndarray) -> "Regression":
    """The solver that suits the penalty: working sets for corners alone, else proximal descent.

    The latter in double precision, whatever that of X.
    """
    if model.units is not None:
        return Corners(model, Y)
    if model.X.dtype == np.float32:
        model = replace(model, X=model.X.astype(np.float64))
    return General(model, Y)


class Regression(ABC):
    """A model and its target (n_samples,), or all of them (n_samples, n_targets)."""

    def __init__(self, model: Model, Y: np.ndarray) -> None:
        self.model = model
        Y = Y.reshape(len(Y), -1)
        seen = ~np.isnan(Y)
        weights = np.where(seen, model.weights[:, None], 0.0).ravel()
        self.total = float(weights.sum())
        self.level = np.zeros(Y.shape[1])
        if model.fit_intercept and isinstance(model.loss, SquaredError):
            share = np.where(seen, model.weights[:, None], 0.0)
            known = share.sum(axis=0)
            self.level = np.sum(share * np.where(seen, Y, 0.0), axis=0)
            self.level /= np.where(known > 0, known, 1.0)
        self.y = np.where(seen, Y - self.level, 0.0).ravel()
        even = bool(np.all(weights == weights[0]))
        self.weights = None if even else weights / self.total

    @cached_property
    def problem(self) -> Problem:
        """The loss, in units in which weights sum to 1."""
        model = self.model
        return Problem(model.inputs, self.y, model.loss, self.weights, model.free)

    @property
    @abstractmethod
    def strength_max(self) -> float:
        """The smallest strength at which c = 0 is the answer; infinite if there is none.

        Where the problem is not convex: at which no single size improves on zero.
        """

    @property
    def strength_top(self) -> float:
        """Where a grid of strengths begins: where all is zero, or 1% of what it is unpenalised.

        Infinite if there is neither.
        """
        return self.strength_max

    @abstractmethod
    def fit(self, strength: float, options: Options, start: np.ndarray | None = None) -> Fit:
        """Fit at one strength, from scratch or from the coordinates ``start``."""

    @abstractmethod
    def path(self, strengths: Iterable[float], options: Options) -> Iterator[Fit]:
        """Fit at one strength after the other, each warm from the one before."""

    def refit(self, keep: np.ndarray) -> Fit:
        """No penalty, only the coordinates in ``keep``: least squares of least norm.

        Raises
        ------
        ValueError
            For another loss, and for penalties of singular values.
        """
        if not isinstance(self.model.loss, SquaredError) or any(
            piece.sizes.labels is None for piece in self.model.form.pieces
        ):
            raise ValueError(
                "a refit is for a squared error and a penalty that is a sum over coordinates or "
                "groups"
            )
        problem, index = self.problem, np.flatnonzero(keep)
        root = np.sqrt(problem.a)
        B = problem.inputs.gather(index).dense().T
        E = problem.basis * root[:, None]
        Q = E @ np.linalg.pinv(E)
        left, target = root[:, None] * B, root * problem.y
        c = np.zeros(self.model.form.size)
        c[index] = np.linalg.lstsq(left - Q @ left, target - Q @ target)[0]
        eta = B @ c[index]
        g = problem.polish(eta)
        loss = problem.value(eta + problem.basis @ g)
        certificate = Certified(self.total * loss, float("nan"), 0.0)
        return self._recovered(c, problem.recover(g), certificate, 0, "converged")

    def _recovered(
        self,
        c: np.ndarray,
        f: np.ndarray,
        certificate: Certified,
        rounds: int,
        reason: str,
        values: np.ndarray | None = None,
    ) -> Fit:
        model = self.model
        c = c if model.units is None else c / model.units
        w, intercept = model.recover(c, f)
        intercept = intercept + self.level
        values = np.array([certificate.objective]) if values is None else values
        met = reason == "converged"
        return Fit(w, intercept, c, certificate, rounds, met, values, reason=reason)


class Corners(Regression):
    """Norms of entries or groups, with or without a square: working sets."""

    @cached_property
    def problem(self) -> Problem:
        model = self.model
        l1, l2 = 1.0, 0.0
        corner = model.form.pieces[0].scalar.corner
        if corner is not None and corner[1]:
            l1, l2 = corner
        return Problem(
            model.inputs, self.y, model.loss, self.weights, model.free, model.groups, l1, l2
        )

    @property
    def strength_max(self) -> float:
        return self.total * self.problem.strength_max()

    def fit(self, strength: float, options: Options, start: np.ndarray | None = None) -> Fit:
        units = self.model.units
        begin = None if start is None or units is None else start * units
        found = solve(
            self.problem,
            strength / self.total,
            begin,
            tol=options.tol,
            max_iter=options.max_iter or 100,
        )
        return self._fit(found, options)

    def path(self, strengths: Iterable[float], options: Options) -> Iterator[Fit]:
        scaled = [s / self.total for s in strengths]
        limit = options.max_iter or 100
        for found in path(self.problem, scaled, tol=options.tol, max_iter=limit):
            yield self._fit(found, options)

    def _fit(self, found: Solution, options: Options) -> Fit:
        if options.callback:
            options.callback(found.n_iter, self.total * found.objective)
        total = self.total
        certificate = Certified(total * found.objective, total * found.gap, found.violation)
        return self._recovered(found.c, found.f, certificate, found.n_iter, found.reason)


class General(Regression):
    """Anything else: ridge, concave functions, singular values, sums; proximal and Newton steps."""

    @cached_property
    def composite(self) -> Composite:
        """The loss with its penalty."""
        return Composite(self.problem, self.model.form)

    @cached_property
    def strength_max(self) -> float:
        return self.total * strength_max(self.composite)

    @cached_property
    def strength_top(self) -> float:
        if np.isfinite(self.strength_max):
            return self.strength_max
        return self.total * strength_of_shrinkage(self.composite)

    def fit(self, strength: float, options: Options, start: np.ndarray | None = None) -> Fit:
        scaled, zero = strength / self.total, np.zeros(self.composite.size)
        if self.composite.convex and strength >= self.strength_max:
            start = zero
        found, values = search(
            self.composite,
            scaled,
            lambda c: self.minimise(scaled, c, options),
            self.follow,
            start=start,
            starts=options.starts,
        )
        best, total = found.best, self.total
        certificate = Certified(
            total * best.objective, total * best.certificate.gap, best.violation
        )
        f = self.problem.recover(best.g)
        return self._recovered(best.c, f, certificate, found.n_iter, found.reason, total * values)

    def minimise(self, strength: float, c: np.ndarray, options: Options) -> Minimum:
        """Descend from c, for weights that sum to 1, until the certificate is met."""
        return minimise(
            self.composite,
            strength,
            c,
            tol=options.tol,
            max_iter=options.max_iter or MAX_ITER,
            callback=options.callback,
        )

    def follow(self, strength: float, c: np.ndarray) -> tuple[np.ndarray, int]:
        """A round of few steps down from c: one strength of a continuation."""
        return descend(self.composite, strength, c, _LOOSE_STEPS, self.composite.lipschitz)[0], 1

    def path(self, strengths: Iterable[float], options: Options) -> Iterator[Fit]:
        """Each warm from the one before; where it is not convex each from starts of its own."""
        warm = None
        for strength in strengths:
            fit = self.fit(strength, options, warm)
            yield fit
            warm = fit.penalized if self.composite.convex else None
