"""Choose the strength: a warm path per fold, and the one-standard-error rule."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any, Self

import numpy as np
from sklearn.base import MultiOutputMixin, RegressorMixin
from sklearn.model_selection import check_cv

from symbias._core.arrays import as_columns
from symbias.estimators.loss_regression import LossRegression
from symbias.parameterizations import Parameterization
from symbias.penalties import Penalty
from symbias.solvers import Loss, Options, SquaredError

RULES = ("one_standard_error", "min")


class DesignedRegressorCV(MultiOutputMixin, RegressorMixin, LossRegression):
    """`DesignedRegressor` with the strength chosen by cross-validation.

    Every fold runs along the same strengths, each warm from the one before; the whole data are
    then fitted at the chosen one.

    Parameters
    ----------
    penalty, loss, fit_intercept, solver, tol, max_iter
        As in `DesignedRegressor`.
    strengths : int or array
        How many strengths from ``strength_max_`` down to ``min_ratio`` times it, geometrically;
        or the strengths themselves. Ridge, under which nothing is ever zero, goes from 99 times
        the largest eigenvalue of the (weighted) X^T X / n, which leaves 1% or less of the least
        squares in every direction, down to ``min_ratio ** 3`` times it: at the default 1e-4 of that
        eigenvalue.
    min_ratio : float
        Between 0 and 1.
    cv : int, splitter or iterable of (train, test)
        As everywhere in scikit-learn. For a signal (X the identity) take folds that are
        interleaved or shuffled: a contiguous block leaves a gap that nothing measures.
    rule : "one_standard_error" or "min"
        The largest strength whose mean error is within one standard error (over folds) of the
        smallest mean error, or the one with the smallest. Errors are the loss on left-out samples.
    callback : function of (strengths done, strengths in all, objective), optional
        Called after every strength of every fold.

    Attributes
    ----------
    strength_ : float
        The strength that was chosen.
    strengths_ : array (n_strengths,)
        In decreasing order.
    mse_path_ : array (n_strengths, n_folds)
        Mean squared error on the left-out samples; of another ``loss`` its mean.
    coef_, intercept_, params_, ...
        As in `DesignedRegressor`, at ``strength_``.
    """

    def __init__(
        self,
        penalty: str | Penalty | Parameterization = "l1",
        *,
        strengths: Any = 30,
        min_ratio: float = 1e-2,
        cv: Any = None,
        rule: str = "one_standard_error",
        loss: str | Loss = "squared",
        fit_intercept: bool = True,
        solver: str = "auto",
        tol: float = 1e-10,
        max_iter: int | None = None,
        callback: Callable[[int, int, float], None] | None = None,
    ) -> None:
        self.penalty = penalty
        self.strengths = strengths
        self.min_ratio = min_ratio
        self.cv = cv
        self.rule = rule
        self.loss = loss
        self.fit_intercept = fit_intercept
        self.solver = solver
        self.tol = tol
        self.max_iter = max_iter
        self.callback = callback

    def fit(self, X: Any, y: Any, sample_weight: Any = None) -> Self:
        """Fit as `DesignedRegressor.fit` does, at the strength that cross-validation chooses.

        Raises
        ------
        ValueError
            As there; and for strengths that are not positive, an unknown rule, or folds that
            leave no weight to train on.
        """
        X, y, weights = self._validate(X, y, sample_weight)
        if self.rule not in RULES:
            raise ValueError(f"rule must be one of {', '.join(RULES)}, got {self.rule!r}")
        Y = as_columns(y)
        solvers = self._fitters(X, weights, Y)
        self.strengths_ = self._grid(solvers)
        folds = list(check_cv(self.cv).split(X, y))
        self.mse_path_ = np.column_stack(
            [self._score(k, folds, X, Y, weights) for k in range(len(folds))]
        )
        chosen = choose(self.mse_path_, self.rule)
        self.strength_ = float(self.strengths_[chosen])
        fits = [solver.fit(self.strength_, self._training()) for solver in solvers]
        self._store(solvers, fits, y.ndim == 1, X.dtype)
        return self

    def _grid(self, solvers: list[Any]) -> np.ndarray:
        if isinstance(self.strengths, int | np.integer):
            if self.strengths < 1 or not 0 < self.min_ratio < 1:
                raise ValueError(
                    "strengths must be at least 1 and min_ratio between 0 and 1, got "
                    f"{self.strengths} and {self.min_ratio}"
                )
            top = max(solver.strength_top for solver in solvers) or 1.0
            if not np.isfinite(top):
                raise ValueError(
                    "no strength makes every coefficient zero under this penalty: give the "
                    "strengths themselves"
                )
            zero = all(np.isfinite(solver.strength_max) for solver in solvers)
            ratio = self.min_ratio if zero else self.min_ratio**3
            return np.geomspace(top, top * ratio, int(self.strengths))
        grid = np.sort(np.asarray(self.strengths, dtype=float).ravel())[::-1]
        if not grid.size or not (np.all(grid > 0) and np.all(np.isfinite(grid))):
            raise ValueError("strengths must be positive and finite")
        return grid

    def _training(self) -> Options:
        # the callback counts strengths, not steps
        return replace(self._options(), callback=None)

    def _score(
        self, k: int, folds: list[Any], X: np.ndarray, Y: np.ndarray, weights: np.ndarray
    ) -> np.ndarray:
        """The mean loss on fold ``k`` at every strength, twice that of squares."""
        train, test = folds[k]
        if not weights[train].sum() > 0:
            raise ValueError(f"fold {k} leaves no sample weight to train on")
        solvers = self._fitters(X[train], weights[train], Y[train])
        steps = len(self.strengths_)
        errors = np.zeros((steps, len(test)))
        training = self._training()
        loss = self._loss()
        factor = 2.0 if isinstance(loss, SquaredError) else 1.0
        targets = [Y[test]] if len(solvers) < Y.shape[1] else list(Y[test].T)
        for j, (solver, y) in enumerate(zip(solvers, targets, strict=True)):
            coefs, intercepts = [], []
            for i, fit in enumerate(solver.path(self.strengths_, training)):
                coefs.append(fit.coef)
                intercepts.append(fit.intercept)
                if self.callback:
                    done = (k * len(solvers) + j) * steps + i + 1
                    total = len(folds) * len(solvers) * steps
                    self.callback(done, total, fit.certificate.objective)
            seen = np.hstack([as_columns(c) for c in coefs])
            guess = (X[test] @ seen).reshape(len(test), steps, -1) + np.stack(intercepts)
            left = np.asarray(loss.value(guess, as_columns(y)[:, None, :]))
            errors += factor * np.nansum(left, axis=2).T / Y.shape[1]
        if not weights[test].sum() > 0:
            return np.full(steps, np.nan)
        return np.average(errors, axis=1, weights=weights[test])


def choose(errors: np.ndarray, rule: str = "one_standard_error") -> int:
    """The row of ``errors`` (n_strengths, n_folds), strongest first, that the rule picks.

    One standard error: the first row whose mean is at most min(mean) + std / sqrt(n_folds), both
    taken at the row of the smallest mean (Hastie, Tibshirani, Friedman, section 7.10).
    """
    errors = errors[:, np.isfinite(errors).all(axis=0)]
    if not errors.size:
        raise ValueError("no fold has a sample of positive weight to test on")
    means = errors.mean(axis=1)
    best = int(np.argmin(means))
    if rule == "min" or errors.shape[1] < 2:
        return best
    bound = means[best] + errors[best].std(ddof=1) / np.sqrt(errors.shape[1])
    return int(np.argmax(means <= bound))
