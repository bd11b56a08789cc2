"""What designed regressions share: a loss, the mean that they predict, fits without shrinkage."""

from copy import copy
from typing import Any, Self

import numpy as np
from sklearn.utils import Tags
from sklearn.utils.validation import check_is_fitted

from symbias._core.arrays import as_columns
from symbias.estimators.base import DesignedBase
from symbias.solvers import Loss, Poisson, as_loss


class LossRegression(DesignedBase):
    """Regressions with a parameter ``loss``, whose shrinkage can be undone on a support."""

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
        solvers = self._fitters(X, weights, Y)
        inner = np.shape(self.penalized_)
        if not solvers[0].model.joint and y.ndim > 1:
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
        again._store(solvers, fits, y.ndim == 1, X.dtype)
        again.strength_max_ = self.strength_max_
        return again

    def _loss(self) -> Loss:
        return as_loss(self.loss)

    def predict(self, X: Any) -> np.ndarray:
        """The mean: X coef_ + intercept_, or its exponential for the Poisson loss.

        Shape (n_samples,) or (n_samples, n_targets).
        """
        return self._loss().mean(self._decision(X))

    def __sklearn_tags__(self) -> Tags:
        tags = super().__sklearn_tags__()
        tags.target_tags.positive_only = self.loss == "poisson" or isinstance(self.loss, Poisson)
        return tags
