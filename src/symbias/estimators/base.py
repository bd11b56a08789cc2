"""What both regressors share: checked input, the reduced problem, the fitted attributes."""

import warnings
from copy import copy
from typing import Any, Self

import numpy as np
from sklearn.base import BaseEstimator, MultiOutputMixin, RegressorMixin
from sklearn.exceptions import ConvergenceWarning
from sklearn.utils.validation import _check_sample_weight, check_is_fitted, validate_data

from symbias.designs import as_penalty, design
from symbias.mechanisms import WeightDecay
from symbias.solvers import SOLVERS, Reduction, Solution, least_squares

_LARGEST = 1e100


class DesignedBase(MultiOutputMixin, RegressorMixin, BaseEstimator):
    """A linear model whose coefficients are a designed product of trained factors."""

    def _validate(
        self, X: Any, y: Any, sample_weight: Any
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        if self.solver not in SOLVERS:
            raise ValueError(f"solver must be one of {', '.join(SOLVERS)}, got {self.solver!r}")
        if not self.tol > 0:
            raise ValueError(f"tol must be positive, got {self.tol}")
        if self.max_iter is not None and self.max_iter < 1:
            raise ValueError(f"max_iter must be at least 1, got {self.max_iter}")
        X, y = validate_data(self, X, y, dtype=np.float64, multi_output=True, y_numeric=True)
        weights = _check_sample_weight(sample_weight, X, dtype=np.float64, ensure_non_negative=True)
        if max(np.abs(X).max(), np.abs(y).max()) > _LARGEST:
            raise ValueError(
                f"X and y must stay below {_LARGEST:g}, whose square overflows; rescale"
            )
        return X, np.asarray(y, dtype=np.float64), weights

    def _reduce(self, X: np.ndarray, weights: np.ndarray, strength: float = 1.0) -> Reduction:
        penalty = as_penalty(self.penalty)
        p = design(penalty, WeightDecay(strength), shape=X.shape[1])
        return Reduction(p, X, weights, self.fit_intercept)

    def _store(self, reduction: Reduction, Y: np.ndarray, solutions: list[Solution]) -> None:
        """Set the fitted attributes from one solution per column of ``Y``."""
        recovered = [reduction.recover(y, s.z) for y, s in zip(Y.T, solutions, strict=True)]
        factors = [
            reduction.name_factors(s.factors, free)
            for s, (_, free, _) in zip(solutions, recovered, strict=True)
        ]
        certificates = [s.certificate for s in solutions]
        self.parameterization_ = reduction.parameterization
        self.coef_ = np.array([w for w, _, _ in recovered])
        self.intercept_ = np.array([b for _, _, b in recovered])
        self.penalized_ = np.array([s.z for s in solutions])
        self.objective_ = np.array([c.objective for c in certificates])
        self.dual_gap_ = np.array([c.gap for c in certificates])
        self.params_ = {n: np.array([f[n] for f in factors]) for n in factors[0]}
        self.n_iter_ = max(1, *(s.n_iter for s in solutions))
        self.converged_ = all(s.converged for s in solutions)
        if not self.converged_:
            worst = max(c.violation for c in certificates)
            warnings.warn(
                f"not converged after {self.n_iter_} steps: relative "
                f"{'gap' if np.isfinite(self.dual_gap_).all() else 'violation'} {worst:.1e}, "
                f"wanted {self.tol:.1e}. Raise max_iter, or take solver='lbfgs'",
                ConvergenceWarning,
                stacklevel=4,
            )

    def _squeeze(self) -> None:
        """One output given as a vector: attributes lose their leading axis."""
        for name in ("coef_", "intercept_", "penalized_", "objective_", "dual_gap_"):
            value = getattr(self, name)[0]
            setattr(self, name, value if value.ndim else float(value))
        self.params_ = {n: a[0] for n, a in self.params_.items()}

    def refit(self, X: Any, y: Any, support: Any = None, sample_weight: Any = None) -> Self:
        """A copy with plain least squares on a support: shrinkage undone.

        ``support`` (default `support_`) marks the penalised coordinates that may be nonzero; the
        unpenalised ones always take part. Attributes as after `fit`, but no penalty acts, so
        ``dual_gap_`` is nan and ``params_`` are balanced factors.

        Raises
        ------
        ValueError
            If ``support`` is not a boolean mask of the shape of ``penalized_``.
        """
        check_is_fitted(self)
        X, y, weights = self._validate(X, y, sample_weight)
        reduction = self._reduce(X, weights)
        Y = as_columns(y)
        shape = (Y.shape[1], len(reduction.labels))
        mask = np.asarray(self.support_ if support is None else support)
        if mask.dtype != bool or mask.shape not in (shape, shape[1:]):
            raise ValueError(
                f"support must be a boolean mask of shape {shape[1:]} or {shape}, got "
                f"{mask.dtype} of shape {mask.shape}"
            )
        again = copy(self)
        again._store(
            reduction,
            Y,
            [
                least_squares(reduction.problem(column), keep)
                for column, keep in zip(Y.T, np.broadcast_to(mask, shape), strict=True)
            ],
        )
        if y.ndim == 1:
            again._squeeze()
        return again

    @property
    def support_(self) -> np.ndarray:
        """Which penalised coordinates are not zero: features, groups' members, jumps, ..."""
        check_is_fitted(self)
        return self.penalized_ != 0

    def predict(self, X: Any) -> np.ndarray:
        """X coef_ + intercept_, shape (n_samples,) or (n_samples, n_targets)."""
        check_is_fitted(self)
        X = validate_data(self, X, dtype=np.float64, reset=False)
        return X @ self.coef_.T + self.intercept_


def as_columns(y: np.ndarray) -> np.ndarray:
    """``y`` with one column per target."""
    return y[:, None] if y.ndim == 1 else y
