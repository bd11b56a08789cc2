"""What all designed estimators share: checked input, the design, the fitted attributes."""

import warnings
from copy import copy
from typing import Any, Self

import numpy as np
from sklearn.base import BaseEstimator
from sklearn.exceptions import ConvergenceWarning
from sklearn.utils import check_array, check_consistent_length
from sklearn.utils.validation import _check_sample_weight, check_is_fitted, validate_data

from symbias._core.numbers import number, positive
from symbias.designs import L1, GroupLasso, Penalty, Schatten, as_penalty, design
from symbias.mechanisms import WeightDecay
from symbias.parameterizations import Parameterization
from symbias.training import (
    SOLVERS,
    Fit,
    Loss,
    Model,
    Objective,
    Options,
    Solver,
    SquaredError,
    solver_for,
)

_LARGEST = 1e100


class DesignedBase(BaseEstimator):
    """A linear model whose coefficients are a designed product of trained factors."""

    def _check_options(self) -> None:
        if self.solver not in SOLVERS:
            raise ValueError(f"solver must be one of {', '.join(SOLVERS)}, got {self.solver!r}")
        positive("tol", self.tol)
        if self.max_iter is not None and number("max_iter", self.max_iter) < 1:
            raise ValueError(f"max_iter must be at least 1, got {self.max_iter}")
        if isinstance(getattr(self, "strength", None), str):
            raise ValueError(
                f"strength must be a number, got {self.strength!r}; "
                "sb.DesignedRegressorCV chooses one"
            )

    def _validate(
        self, X: Any, y: Any, sample_weight: Any
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        self._check_options()
        if couples(self.penalty) and y is not None:  # entries of y may be missing
            X = validate_data(self, X, dtype=np.float64)
            y = check_array(y, dtype=np.float64, ensure_2d=False, ensure_all_finite="allow-nan")
            check_consistent_length(X, y)
            if np.isnan(y).reshape(len(y), -1).all(axis=0).any():
                raise ValueError("every target needs at least one value that is not missing")
        else:
            X, y = validate_data(self, X, y, dtype=np.float64, multi_output=True, y_numeric=True)
        weights = _check_sample_weight(sample_weight, X, dtype=np.float64, ensure_non_negative=True)
        check_size(X, y)
        y = np.asarray(y, dtype=np.float64)
        self._loss().check(y[~np.isnan(y)])
        return X, y, weights

    def _loss(self) -> Loss:
        return SquaredError()

    def _options(self) -> Options:
        return Options(self.solver, self.tol, self.max_iter, getattr(self, "callback", None))

    def _model(
        self, X: np.ndarray, weights: np.ndarray, targets: int, strength: float = 1.0
    ) -> Model:
        shape = (X.shape[1], targets) if couples(self.penalty) else (X.shape[1],)
        mechanism = WeightDecay(strength)
        if isinstance(self.penalty, Parameterization):
            p = self.penalty
            if p.shape != shape:
                raise ValueError(f"the design has shape {p.shape}, the coefficients {shape}")
        else:
            p = design(as_penalty(self.penalty), mechanism, shape=shape)
        return Model(p, X, weights / weights.sum(), self.fit_intercept, self._loss())

    def _store(self, solvers: list[Solver], fits: list[Fit], squeeze: bool) -> None:
        """Set the fitted attributes from one fit per target, or one for all of them."""
        model = solvers[0].objective.model
        certificates = [fit.certificate for fit in fits]
        self.parameterization_ = model.design
        self.strength_max_ = max(solver.strength_max for solver in solvers)
        self.n_iter_ = max(1, *(fit.n_iter for fit in fits))
        self.converged_ = all(fit.converged for fit in fits)
        per_target: dict[str, list[Any]] = {
            "penalized_": [_shaped(model, fit.penalized) for fit in fits],
            "objective_": [c.objective for c in certificates],
            "dual_gap_": [c.gap for c in certificates],
            "spread_": [float(f.objectives[-1] / (f.objectives[0] or 1.0) - 1) for f in fits],
        }
        if model.joint:
            (fit,) = fits
            self.coef_, self.intercept_ = fit.coef.T, fit.intercept
            self.params_, objectives = fit.params, [fit.objectives]
        else:
            self.coef_ = np.array([fit.coef for fit in fits])
            self.intercept_ = np.array([float(fit.intercept[0]) for fit in fits])
            self.params_ = {n: np.array([fit.params[n] for fit in fits]) for n in fits[0].params}
            objectives = [fit.objectives for fit in fits]
        self.objectives_: Any = objectives[0] if squeeze or model.joint else objectives
        if squeeze:
            coef, intercept = self.coef_[0], float(self.intercept_[0])
            self.coef_, self.intercept_ = coef, intercept  # type: ignore[assignment]
            if not model.joint:
                self.params_ = {n: a[0] for n, a in self.params_.items()}
        check_range(self.penalty, self.coef_)
        for name, values in per_target.items():
            setattr(self, name, values[0] if squeeze or model.joint else np.array(values))
        self._warn_if_not_converged(certificates)

    def _warn_if_not_converged(self, certificates: list[Any]) -> None:
        if self.converged_:
            return
        worst = max(c.violation for c in certificates)
        hint = "Raise max_iter" + (", or take solver='lbfgs'" * (self.solver != "lbfgs"))
        kind = "gap" if np.isfinite([c.gap for c in certificates]).all() else "violation"
        warnings.warn(
            f"not converged after {self.n_iter_} steps: relative {kind} {worst:.1e}, "
            f"wanted {self.tol:.1e}. {hint}",
            ConvergenceWarning,
            stacklevel=5,
        )

    @property
    def support_(self) -> np.ndarray:
        """Which penalised coordinates are not zero: features, groups' members, jumps, ..."""
        check_is_fitted(self)
        return self.penalized_ != 0

    def _decision(self, X: Any) -> np.ndarray:
        check_is_fitted(self)
        X = validate_data(self, X, dtype=np.float64, reset=False)
        return X @ self.coef_.T + self.intercept_


class Refit(DesignedBase):
    """Estimators whose shrinkage can be undone on a support."""

    def refit(self, X: Any, y: Any, support: Any = None, sample_weight: Any = None) -> Self:
        """A copy with plain least squares on a support: shrinkage undone.

        ``support`` (default `support_`) marks the penalised coordinates that may be nonzero; the
        unpenalised ones always take part. Attributes as after `fit`, but no penalty acts, so
        ``dual_gap_`` is nan and ``params_`` are balanced factors.

        Raises
        ------
        ValueError
            If ``support`` is not a boolean mask of the shape of ``penalized_``; for a loss that is
            not the squared error, and for penalties that are not a sum over coordinates or groups.
        """
        check_is_fitted(self)
        X, y, weights = self._validate(X, y, sample_weight)
        Y = as_columns(y)
        solvers = solvers_of(self._model(X, weights, Y.shape[1]), Y)
        inner = np.shape(self.penalized_)
        if not solvers[0].objective.model.joint and y.ndim > 1:
            inner = inner[1:]
        shape = (len(solvers), *inner)
        mask = np.asarray(self.support_ if support is None else support)
        if mask.dtype != bool or mask.shape not in (shape, shape[1:]):
            raise ValueError(
                f"support must be a boolean mask of shape {shape[1:]} or {shape}, got "
                f"{mask.dtype} of shape {mask.shape}"
            )
        again = copy(self)
        masks = np.broadcast_to(mask, shape).reshape(len(solvers), -1)
        fits = [s.refit(keep) for s, keep in zip(solvers, masks, strict=True)]
        again._store(solvers, fits, y.ndim == 1)
        again.strength_max_ = self.strength_max_
        return again


def couples(penalty: Penalty | Parameterization | str) -> bool:
    """Whether the penalty acts on all targets together: on a matrix (n_features, n_targets)."""
    if isinstance(penalty, Parameterization):
        return len(penalty.shape) == 2
    penalty = as_penalty(penalty)
    return (
        isinstance(penalty, Schatten)
        or bool(getattr(penalty, "joint", False))
        or getattr(penalty, "axis", None) is not None
        or (isinstance(penalty, GroupLasso) and np.ndim(penalty.groups) == 2)
        or (
            isinstance(penalty, L1)
            and penalty.weights is not None
            and np.ndim(penalty.weights) == 2
        )
    )


def check_size(*arrays: np.ndarray) -> None:
    """Refuse numbers whose square overflows."""
    if max(np.nanmax(np.abs(a)) for a in arrays) > _LARGEST:
        raise ValueError(f"X and y must stay below {_LARGEST:g}, whose square overflows; rescale")


def solvers_of(model: Model, Y: np.ndarray) -> list[Solver]:
    """One solver per target (n_samples,), or one for all where the design couples them."""
    targets = [Y] if model.joint else list(Y.T)
    return [solver_for(Objective(model, y)) for y in targets]


def check_range(penalty: Any, coef: np.ndarray) -> None:
    """A fit that leaves the range of a tabulated penalty minimised something else: refuse it."""
    high = getattr(penalty, "high", np.inf)
    if (largest := float(np.abs(coef).max(initial=0.0))) > high * (1 + 1e-6):
        raise ValueError(
            f"a coefficient of {largest:.4g} leaves the range |w| <= {high:.4g} on which "
            f"{penalty!r} is known or still increasing: rescale X, give a larger "
            "`high`, or take a penalty that grows, such as sb.LogSum"
        )


def as_columns(y: np.ndarray) -> np.ndarray:
    """``y`` with one column per target."""
    return y[:, None] if y.ndim == 1 else y


def _shaped(model: Model, c: np.ndarray) -> np.ndarray:
    """The penalised coordinates in the shape of the only core, or in a row."""
    parts = model.linear.split(c)
    return parts[0] if len(parts) == 1 else c
