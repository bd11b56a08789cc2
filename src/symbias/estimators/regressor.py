"""Linear regression with a designed bias, trained by a plain optimizer."""

from collections.abc import Callable
from typing import Any, Self

from symbias.designs import Penalty
from symbias.estimators.base import DesignedBase, as_columns
from symbias.solvers import solve, strength_max


class DesignedRegressor(DesignedBase):
    """Least squares with a penalty that is built into the parameterization.

    Minimises ``|y - X w - b|^2 / (2 n) + strength * penalty(w)``, as scikit-learn's Lasso does,
    by training the factors of ``sb.design(penalty, WeightDecay(strength))`` with weight decay
    and no proximal step. Convergence is a duality gap of at most ``tol`` times the objective
    (for Lq, which is not convex, stationarity in w); coefficients are set to zero exactly where
    the gap proves that they are. Training runs in float64.

    Parameters
    ----------
    penalty : Penalty or str
        Such as ``sb.TotalVariation()``; or ``"l1"``, ``"lq"``, ``"group"``, ``"tv"``,
        ``"trend"``, ``"spectral"`` with their defaults.
    strength : float
        Positive. From ``strength_max_`` on all penalised coordinates are zero.
    fit_intercept : bool
        Whether to fit an intercept, which is not penalised.
    solver : "lbfgs" or "gd"
        L-BFGS on the scales with the other factor eliminated, or full-batch descent with momentum
        0.99 and weight decay on all factors.
    tol : float
        Bound on the duality gap, relative to the objective.
    max_iter : int, optional
        5,000 for "lbfgs" and 500,000 for "gd" by default.
    callback : function of (steps, objective), optional
        Called now and then while it trains.

    Attributes
    ----------
    coef_ : array (n_features,) or (n_targets, n_features)
    intercept_ : float or array (n_targets,)
    params_ : dict of arrays
        The trained factors; ``parameterization_(params_)`` is ``coef_``.
    parameterization_ : Parameterization
    penalized_ : array
        The coordinates that the penalty acts on: coefficients times their weights, differences,
        frequencies.
    support_ : array of bool
        Which of them are not zero.
    objective_, dual_gap_ : float or array (n_targets,)
        Gap in units of the objective; nan where the problem is not convex.
    strength_max_ : float
        The smallest strength with an all-zero answer, over all targets. For Lq: the smallest at
        which no single coordinate improves on zero.
    n_iter_ : int
    converged_ : bool

    Notes
    -----
    Cost O(n p^2) once and O(min(n, p)^3) per step; memory O(p^2 + n p), above the 360 MB that JAX
    takes. Two problem sizes compile at most once each: p is padded to a power of two. In
    `GridSearchCV` take threads or no parallelism, since every process compiles anew.

    Examples
    --------
    >>> import numpy as np, symbias as sb
    >>> X = np.eye(6)
    >>> y = np.array([1.0, 1.1, 0.9, 3.0, 3.1, 2.9])
    >>> sb.DesignedRegressor("tv", strength=0.05).fit(X, y).support_.nonzero()[0]
    array([2])
    """

    def __init__(
        self,
        penalty: str | Penalty = "l1",
        strength: float = 0.1,
        *,
        fit_intercept: bool = True,
        solver: str = "lbfgs",
        tol: float = 1e-10,
        max_iter: int | None = None,
        callback: Callable[[int, float], None] | None = None,
    ) -> None:
        self.penalty = penalty
        self.strength = strength
        self.fit_intercept = fit_intercept
        self.solver = solver
        self.tol = tol
        self.max_iter = max_iter
        self.callback = callback

    def fit(self, X: Any, y: Any, sample_weight: Any = None) -> Self:
        """Fit to X of shape (n_samples, n_features) and y (n_samples,) or (n_samples, n_targets).

        ``sample_weight`` weighs the squared errors, and the n of the objective is its sum.

        Raises
        ------
        ValueError
            For input that scikit-learn's checks refuse, an unknown penalty or solver, a strength
            that is not positive, or a penalty that no design reaches.
        """
        X, y, weights = self._validate(X, y, sample_weight)
        reduction = self._reduce(X, weights, self.strength)
        problems = [reduction.problem(column) for column in as_columns(y).T]
        solutions = [
            solve(
                problem,
                self.strength,
                solver=self.solver,
                tol=self.tol,
                max_iter=self.max_iter,
                callback=self.callback,
            )
            for problem in problems
        ]
        self.strength_max_ = max(map(strength_max, problems))
        self._store(reduction, as_columns(y), solutions)
        if y.ndim == 1:
            self._squeeze()
        return self
