"""What all designed estimators share: checked input, the design, the fitted attributes."""

import warnings
from typing import Any

import numpy as np
from scipy.sparse import issparse
from sklearn.base import BaseEstimator
from sklearn.exceptions import ConvergenceWarning
from sklearn.utils import Tags, check_array, check_consistent_length
from sklearn.utils.validation import _check_sample_weight, check_is_fitted, validate_data

from symbias._core.arrays import Shape
from symbias._core.numbers import positive, whole
from symbias.designs import design
from symbias.mechanisms import WeightDecay
from symbias.parameterizations import Parameterization
from symbias.penalties import Form, Penalty, as_penalty
from symbias.solvers import Fit, Loss, Model, Options, SquaredError, solver_for

SOLVERS = ("auto", "varpro", "gd")
FLOATS = (np.float64, np.float32)
_LARGEST, _SMALLEST = 1e100, 1e-150


class DesignedBase(BaseEstimator):
    """A linear model whose penalty is the weight-decay bias of a design."""

    def _check_options(self) -> None:
        if self.solver not in SOLVERS:
            hint = "; 'varpro' is what was 'lbfgs'" if self.solver == "lbfgs" else ""
            raise ValueError(
                f"solver must be one of {', '.join(SOLVERS)}, got {self.solver!r}{hint}"
            )
        positive("tol", self.tol)
        if self.max_iter is not None:
            whole("max_iter", self.max_iter, 1)
        if self.penalty == "group" or getattr(self.penalty, "trivial", False):
            raise ValueError(
                "groups of one coefficient are l1: write sb.GroupLasso(labels) or "
                "sb.GroupLasso(size) for groups, or 'l1'"
            )
        if isinstance(getattr(self, "strength", None), str):
            raise ValueError(
                f"strength must be a number, got {self.strength!r}; "
                "sb.DesignedRegressorCV chooses one"
            )
        if hasattr(self, "strength"):
            check_strength(self.strength)

    def _validate(
        self, X: Any, y: Any, sample_weight: Any
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        self._check_options()
        if couples(self.penalty) and y is not None:  # entries of y may be missing
            X = validate_data(self, X, dtype=FLOATS, accept_sparse=self._sparse)
            y = check_array(y, dtype=np.float64, ensure_2d=False, ensure_all_finite="allow-nan")
            check_consistent_length(X, y)
            if np.isnan(y).reshape(len(y), -1).all(axis=0).any():
                raise ValueError("every target needs at least one value that is not missing")
        else:
            takes = {"accept_sparse": self._sparse, "multi_output": True, "y_numeric": True}
            X, y = validate_data(self, X, y, dtype=FLOATS, **takes)
            if y.dtype.kind not in "biuf":
                raise ValueError(
                    f"y must be numbers, got {y.dtype} such as {y.flat[0]!s}; for classes take "
                    "sb.DesignedClassifier"
                )
        weights = _check_sample_weight(sample_weight, X, dtype=np.float64, ensure_non_negative=True)
        check_size(X, y)
        y = np.asarray(y, dtype=np.float64)
        check_underflow("y is", y)
        self._loss().check(y[~np.isnan(y)])
        return X, y, weights

    @property
    def _sparse(self) -> list[str] | bool:
        """The sparse formats that the solver takes."""
        return ["csr", "csc"] if self.solver == "auto" else False

    def _loss(self) -> Loss:
        return SquaredError()

    def _options(self) -> Options:
        return Options(self.tol, self.max_iter, getattr(self, "callback", None))

    def _shape(self, features: int, targets: int) -> Shape:
        return (features, targets) if couples(self.penalty) else (features,)

    def _form(self, features: int, targets: int) -> Form:
        """The penalty in normal form; of a parameterization what weight decay makes of it."""
        shape = self._shape(features, targets)
        if isinstance(self.penalty, Parameterization):
            return WeightDecay(1.0).induced(self.penalty).form(shape)
        return as_penalty(self.penalty).form(shape)

    def _fitters(self, X: Any, weights: np.ndarray, Y: np.ndarray) -> list[Any]:
        """One for each target, or one for all where the penalty couples them.

        Directly in w, or by training the factors of the design.
        """
        form = self._form(X.shape[1], Y.shape[1])
        share, loss = weights / weights.sum(), self._loss()
        model = Model(form, X, share, self.fit_intercept, loss)
        targets = [Y] if model.joint else list(Y.T)
        design = self._designed(X.shape[1], Y.shape[1])  # refuses what no design reaches
        if self.solver == "auto":
            return [solver_for(model, y) for y in targets]
        from symbias.training import trainers

        return trainers(design, X, share, self.fit_intercept, loss, targets, self.solver)

    def _designed(self, features: int, targets: int) -> Parameterization:
        if isinstance(self.penalty, Parameterization):
            return self.penalty
        mechanism = WeightDecay(getattr(self, "strength_", getattr(self, "strength", 1.0)))
        return design(self.penalty, mechanism, shape=self._shape(features, targets))

    def _store(self, fitters: list[Any], fits: list[Fit], squeeze: bool, dtype: Any) -> None:
        """Set the fitted attributes from one fit per target, or one for all of them."""
        form, joint = fitters[0].model.form, fitters[0].model.joint
        certificates = [fit.certificate for fit in fits]
        self.strength_max_ = max(fitter.strength_max for fitter in fitters)
        self.n_iter_ = max(1, *(fit.n_iter for fit in fits))
        self.converged_ = all(fit.converged for fit in fits)
        per_target: dict[str, list[Any]] = {
            "penalized_": [_shaped(form, fit.penalized).astype(dtype) for fit in fits],
            "objective_": [c.objective for c in certificates],
            "dual_gap_": [c.gap for c in certificates],
            "spread_": [float(f.objectives[-1] / (f.objectives[0] or 1.0) - 1) for f in fits],
        }
        if joint:
            (fit,) = fits
            self.coef_, self.intercept_ = fit.coef.T.astype(dtype), fit.intercept
            objectives = [fit.objectives]
        else:
            self.coef_ = np.array([fit.coef for fit in fits], dtype=dtype)
            self.intercept_ = np.array([float(fit.intercept[0]) for fit in fits])
            objectives = [fit.objectives for fit in fits]
        self._trained = _side_by_side(fits, joint, squeeze)
        self.objectives_: Any = objectives[0] if squeeze or joint else objectives
        if squeeze:
            coef, intercept = self.coef_[0], float(self.intercept_[0])
            self.coef_, self.intercept_ = coef, intercept  # type: ignore[assignment]
        self._squeezed = squeeze
        check_range(self.penalty, self.coef_)
        for name, values in per_target.items():
            setattr(self, name, values[0] if squeeze or joint else np.array(values))
        self._warn_if_not_converged(certificates, any("stalled" in fit.reason for fit in fits))

    @property
    def parameterization_(self) -> Parameterization:
        """The design whose weight decay is the penalty."""
        check_is_fitted(self)
        return self._designed(self.n_features_in_, len(np.atleast_2d(self.coef_)))

    @property
    def params_(self) -> dict[str, np.ndarray]:
        """Factors of the coefficients: those that were trained, or balanced ones."""
        check_is_fitted(self)
        if self._trained is not None:
            return self._trained
        p = self.parameterization_
        coef = np.atleast_2d(np.asarray(self.coef_, dtype=float))
        if couples(self.penalty):
            return p.section(np.ascontiguousarray(coef.T))
        each = [p.section(row) for row in coef]
        stacked = {name: np.array([one[name] for one in each]) for name in each[0]}
        return {n: a[0] for n, a in stacked.items()} if self._squeezed else stacked

    def _warn_if_not_converged(self, certificates: list[Any], stalled: bool) -> None:
        if self.converged_:
            return
        worst = max(c.violation for c in certificates)
        hint = "Raise max_iter" + (", or take solver='auto'" * (self.solver != "auto"))
        if stalled:
            hint = "Rounding hides the rest: take a larger strength, or a larger tol"
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

    def __sklearn_tags__(self) -> Tags:
        tags = super().__sklearn_tags__()
        tags.input_tags.sparse = self.solver == "auto"
        return tags

    def _decision(self, X: Any) -> np.ndarray:
        check_is_fitted(self)
        X = validate_data(self, X, dtype=FLOATS, accept_sparse=("csr", "csc"), reset=False)
        return X @ self.coef_.T + self.intercept_


def couples(penalty: Penalty | Parameterization | str) -> bool:
    """Whether the penalty acts on all targets together: on a matrix (n_features, n_targets)."""
    if isinstance(penalty, Parameterization):
        return len(penalty.shape) == 2
    return as_penalty(penalty).couples


def check_strength(strength: float) -> float:
    """Positive, and large enough for its square not to underflow."""
    if positive("strength", strength) < _SMALLEST:
        raise ValueError(f"strength {strength:g} underflows when it is squared; rescale X and y")
    return strength


def check_underflow(what: str, values: np.ndarray) -> None:
    """Refuse numbers, not all zero, whose squares underflow; ``what`` begins the sentence."""
    if 0 < np.nanmax(np.abs(values), initial=0.0) < _SMALLEST:
        raise ValueError(f"{what} below {_SMALLEST:g}, whose square underflows; rescale")


def check_size(*arrays: Any) -> None:
    """Refuse numbers whose square overflows."""
    for a in arrays:
        flat = (a.data if issparse(a) else a).ravel(order="K")
        if float(np.vdot(flat, flat)) <= _LARGEST**2:  # in one pass; false where nan or too large
            continue
        largest = float(np.nanmax(np.abs(flat), initial=0.0))
        if largest > _LARGEST:
            raise ValueError(
                f"X and y must stay below {_LARGEST:g}, whose square overflows; rescale"
            )


def check_range(penalty: Any, coef: np.ndarray) -> None:
    """A fit that leaves the range of a tabulated penalty minimised something else: refuse it."""
    high = getattr(penalty, "high", np.inf)
    if (largest := float(np.abs(coef).max(initial=0.0))) > high * (1 + 1e-6):
        raise ValueError(
            f"a coefficient of {largest:.4g} leaves the range |w| <= {high:.4g} on which "
            f"{penalty!r} is known or still increasing: rescale X, give a larger "
            "`high`, or take a penalty that grows, such as sb.LogSum"
        )


def _shaped(form: Form, c: np.ndarray) -> np.ndarray:
    """The penalised coordinates in the shape of the only piece, or in a row."""
    parts = form.split(c)
    return parts[0] if len(parts) == 1 else c


def _side_by_side(fits: list[Fit], joint: bool, squeeze: bool) -> dict[str, np.ndarray] | None:
    """Trained factors of all targets, if there are any."""
    trained = [fit.params for fit in fits if fit.params is not None]
    if len(trained) < len(fits):
        return None
    if joint or squeeze:
        return trained[0]
    return {n: np.array([params[n] for params in trained]) for n in trained[0]}
