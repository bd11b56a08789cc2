"""Classification with a designed bias: the logistic loss over a designed product of factors."""

from collections.abc import Callable
from typing import Any, Self

import numpy as np
from sklearn.base import ClassifierMixin
from sklearn.utils.class_weight import compute_sample_weight
from sklearn.utils.multiclass import check_classification_targets
from sklearn.utils.validation import _check_sample_weight, check_is_fitted, validate_data

from symbias._core.numbers import non_negative
from symbias.estimators.base import FLOATS, DesignedBase, check_size
from symbias.parameterizations import Parameterization
from symbias.penalties import Penalty
from symbias.solvers import Logistic, Loss


class DesignedClassifier(ClassifierMixin, DesignedBase):
    """Logistic regression with a penalty that is built into the parameterization.

    Minimises ``mean(log(1 + exp(-s (X w + b)))) + strength * penalty(w)`` with s = 1 for the second
    class and -1 for the first; scikit-learn's ``LogisticRegression(C=1 / (n strength))`` for l1.
    More than two classes are fitted one against the rest; a penalty on matrices, such as
    ``sb.Nuclear()``, couples them. Solved as `DesignedRegressor` is.

    Parameters
    ----------
    penalty, fit_intercept, solver, tol, max_iter, callback
        As in `DesignedRegressor`.
    strength : float
        Positive. From ``strength_max_`` on all penalised coordinates are zero.
    class_weight : dict from class to weight, "balanced" or None
        Weights of the classes, times ``sample_weight``.

    Attributes
    ----------
    classes_ : array (n_classes,)
        In sorted order.
    coef_ : array (1, n_features) or (n_classes, n_features)
    intercept_ : array (1,) or (n_classes,)
    parameterization_, params_, penalized_, support_, objective_, dual_gap_, ...
        As in `DesignedRegressor` for several targets, one per row of ``coef_``.

    Notes
    -----
    Where an unpenalised coordinate (the level of a total variation, a weight of 0) separates the
    classes, no finite coefficients are best, and the fit ends with a warning.

    Examples
    --------
    >>> import numpy as np, symbias as sb
    >>> X = np.array([[-2.0, 0.1], [-1.0, -0.3], [1.0, 0.2], [2.0, -0.1]])
    >>> model = sb.DesignedClassifier(strength=0.1).fit(X, ["no", "no", "yes", "yes"])
    >>> model.predict([[1.5, 0.0]]).tolist(), model.support_.tolist()
    (['yes'], [[True, False]])
    """

    def __init__(
        self,
        penalty: str | Penalty | Parameterization = "l1",
        strength: float = 0.01,
        *,
        class_weight: Any = None,
        fit_intercept: bool = True,
        solver: str = "auto",
        tol: float = 1e-10,
        max_iter: int | None = None,
        callback: Callable[[int, float], None] | None = None,
    ) -> None:
        self.penalty = penalty
        self.strength = strength
        self.class_weight = class_weight
        self.fit_intercept = fit_intercept
        self.solver = solver
        self.tol = tol
        self.max_iter = max_iter
        self.callback = callback

    def fit(self, X: Any, y: Any, sample_weight: Any = None) -> Self:
        """Fit to X of shape (n_samples, n_features) and labels y (n_samples,).

        Raises
        ------
        ValueError
            For input that scikit-learn's checks refuse, fewer than two classes, an unknown penalty
            or solver, a strength that is not positive, or a penalty that no design reaches.
        """
        self._check_options()
        X, y = validate_data(self, X, y, dtype=FLOATS, accept_sparse=self._sparse)
        check_size(X)
        check_classification_targets(y)
        weights = _check_sample_weight(sample_weight, X, dtype=np.float64, ensure_non_negative=True)
        if self.class_weight is not None:
            weights = weights * _of_classes(self.class_weight, y)
        if not weights.sum() > 0:
            raise ValueError("all weights are zero")
        self.classes_ = np.unique(y[weights > 0])
        if len(self.classes_) < 2:
            raise ValueError(
                f"a classifier needs at least 2 classes of positive weight, got 1 class: "
                f"{self.classes_[0]!r}"
            )
        own = self.classes_[1:] if len(self.classes_) == 2 else self.classes_
        Y = (np.asarray(y)[:, None] == own).astype(float)
        solvers = self._fitters(X, weights, Y)
        fits = [solver.fit(self.strength, self._options()) for solver in solvers]
        self._store(solvers, fits, False, X.dtype)
        return self

    def _loss(self) -> Loss:
        return Logistic()

    def decision_function(self, X: Any) -> np.ndarray:
        """X coef_ + intercept_: (n_samples,) for two classes, else (n_samples, n_classes)."""
        scores = self._decision(X)
        return scores[:, 0] if scores.shape[1] == 1 else scores

    def predict_proba(self, X: Any) -> np.ndarray:
        """Probabilities (n_samples, n_classes); those of one against the rest, normalised."""
        check_is_fitted(self)
        second = Logistic().mean(self._decision(X))
        if second.shape[1] == 1:
            return np.hstack([1 - second, second])
        return second / np.maximum(second.sum(axis=1, keepdims=True), np.finfo(float).tiny)

    def predict(self, X: Any) -> np.ndarray:
        """The most probable class of every sample."""
        scores = self.decision_function(X)
        if scores.ndim == 1:
            return self.classes_[(scores > 0).astype(int)]
        return self.classes_[scores.argmax(axis=1)]


def _of_classes(class_weight: Any, y: np.ndarray) -> np.ndarray:
    """The weight of every sample's class."""
    if isinstance(class_weight, dict):
        for name, weight in class_weight.items():
            non_negative(f"class_weight[{name!r}]", weight)
    return compute_sample_weight(class_weight, y)
