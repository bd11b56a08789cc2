"""Linear regression with a designed bias, trained by a plain optimizer."""

from collections.abc import Callable
from typing import Any, Self

from sklearn.base import MultiOutputMixin, RegressorMixin

from symbias._core.arrays import as_columns
from symbias.estimators.loss_regression import LossRegression
from symbias.parameterizations import Parameterization
from symbias.penalties import Penalty
from symbias.solvers import Loss


class DesignedRegressor(MultiOutputMixin, RegressorMixin, LossRegression):
    """A regression with a penalty that is built into the parameterization.

    Minimises ``|y - X w - b|^2 / (2 n) + strength * penalty(w)``, as scikit-learn's Lasso does, or
    the mean of another loss in place of the squares: what training the factors of
    ``sb.design(penalty, WeightDecay(strength))`` with weight decay ends in. Solved in w directly,
    or by training those factors; see ``solver``. Convergence is a duality gap of at most ``tol``
    times the objective (for penalties that are not convex, stationarity in w). X may be a
    scipy.sparse matrix where it is solved directly. A float32 X stays float32 in memory (but for
    the columns in use, and for penalties that are solved by proximal descent), products with it run
    in float64, and ``coef_`` is float32.

    Penalties on matrices (``"nuclear"``, ``sb.TotalVariation(joint=True)``, groups that span
    targets) are fitted to all targets together, ``|Y - X W - b|^2 / (2 n) + strength * penalty(W)``
    with W of shape (n_features, n_targets); entries of Y may then be missing (nan), and n stays
    the number of rows. Penalties that are not convex are solved from a continuation upward from
    the least-squares solution and from the best of 20 proximal descents and their neighbours.

    Parameters
    ----------
    penalty : Penalty, str or Parameterization
        Such as ``sb.TotalVariation()``; or a short name with its defaults: ``"l1"``, ``"lq"``,
        ``"elastic"``, ``"tv"``, ``"trend"``, ``"nuclear"``, ...; or any
        parameterization of shape (n_features,) or (n_features, n_targets), whose penalty is what
        weight decay makes of it.
    strength : float
        Positive. From ``strength_max_`` on all penalised coordinates are zero.
    loss : "squared", "huber", "poisson" or Loss
        ``sb.Huber(delta)``, delta 1.35 by default; "poisson" is half the deviance with a log link.
    fit_intercept : bool
        Whether to fit an intercept, which is not penalised.
    solver : "auto", "varpro" or "gd"
        Directly in w, by the fastest certified way; or by training the factors: variable projection
        (L-BFGS on the scales, the other factor eliminated), or full-batch descent with momentum
        0.99 and weight decay on all factors.
    tol : float
        Bound on the duality gap, relative to the objective.
    max_iter : int, optional
        100 rounds by default, 5,000 steps for "varpro", and 500,000 for "gd".
    callback : function of (steps, objective), optional
        Called after every fit or round, or now and then while factors are trained.

    Attributes
    ----------
    coef_ : array (n_features,) or (n_targets, n_features)
    intercept_ : float or array (n_targets,)
    params_ : dict of arrays
        The factors, balanced or as trained; ``parameterization_(params_)`` is ``coef_``.
    parameterization_ : Parameterization
    penalized_ : array
        The coordinates that the penalty acts on: coefficients times their weights, differences,
        frequencies.
    support_ : array of bool
        Which of them are not zero.
    objective_, dual_gap_ : float or array (n_targets,)
        One number where the penalty couples the targets. The gap is in units of the objective;
        nan where the problem is not convex.
    objectives_, spread_ : array and float, or one for each target
        What the starts of a problem that is not convex ended in, best first; and how much worse
        the last is than the best, relative. One start and 0 for convex problems.
    strength_max_ : float
        The smallest strength with an all-zero answer, over all targets; infinite where there is
        none, as for ridge. Where the penalty is not convex: the smallest at which no single
        coordinate improves on zero.
    n_iter_ : int
    converged_ : bool

    Notes
    -----
    Cost O(n p) a round, and O(n s^2 + s^3) for s coefficients that are not zero; nothing compiles.
    Transforms that mix coordinates (differences, frequencies) make a dense copy of X. Trained
    factors ("varpro", "gd") cost O(n p^2) once and O(min(n, p)^3) a step, and import JAX.

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
        penalty: str | Penalty | Parameterization = "l1",
        strength: float = 0.1,
        *,
        loss: str | Loss = "squared",
        fit_intercept: bool = True,
        solver: str = "auto",
        tol: float = 1e-10,
        max_iter: int | None = None,
        callback: Callable[[int, float], None] | None = None,
    ) -> None:
        self.penalty = penalty
        self.strength = strength
        self.loss = loss
        self.fit_intercept = fit_intercept
        self.solver = solver
        self.tol = tol
        self.max_iter = max_iter
        self.callback = callback

    def fit(self, X: Any, y: Any, sample_weight: Any = None) -> Self:
        """Fit to X of shape (n_samples, n_features) and y (n_samples,) or (n_samples, n_targets).

        ``sample_weight`` weighs the losses, and the n of the objective is its sum. Where the
        penalty couples the targets, entries of y that are nan are missing and cost nothing.

        Raises
        ------
        ValueError
            For input that scikit-learn's checks refuse, an unknown penalty, loss or solver, a
            strength that is not positive, a penalty that no design reaches, or groups of one.
        """
        X, y, weights = self._validate(X, y, sample_weight)
        Y = as_columns(y)
        solvers = self._fitters(X, weights, Y)
        fits = [solver.fit(self.strength, self._options()) for solver in solvers]
        self._store(solvers, fits, y.ndim == 1, X.dtype)
        return self
