"""What stays of an answer when part of the data is left out."""

from typing import Any

import numpy as np
from sklearn.base import clone, is_classifier
from sklearn.model_selection import RepeatedKFold, RepeatedStratifiedKFold
from sklearn.utils import indexable
from sklearn.utils.validation import check_is_fitted

from symbias._core.numbers import whole
from symbias.estimators.classifier import DesignedClassifier
from symbias.estimators.cross_validation import DesignedRegressorCV
from symbias.estimators.regressor import DesignedRegressor
from symbias.estimators.series import fit_series
from symbias.estimators.series_fit import SeriesFit


def selection_frequency(
    model: DesignedRegressor | DesignedRegressorCV | DesignedClassifier,
    X: Any,
    y: Any,
    *,
    repeats: int = 10,
    random_state: int = 0,
) -> np.ndarray:
    """The share of half-samples in which each coefficient is not zero, at the model's strength.

    The rows are split into two halves at random, ``repeats`` times, and each half is fitted: what
    is kept in nearly all of them does not hang on a few rows. Meinshausen and Bühlmann, "Stability
    selection", JRSS B 2010; complementary pairs: Shah and Samworth, JRSS B 2013. With q features
    kept in a half on average, of p, at most q^2 / ((2 c - 1) p) irrelevant ones are kept in more
    than a share c of them (under exchangeability). Cost ``2 repeats`` fits of half the rows.

    Parameters
    ----------
    model : estimator, fitted
        Of a cross-validated one, ``strength_`` is taken.
    X, y
        What it was fitted to; classes keep their shares in the halves.

    Returns
    -------
    array of the shape of ``coef_``

    Raises
    ------
    NotFittedError, ValueError
        For a model that is not fitted, or ``repeats`` below 1.

    Examples
    --------
    >>> from sklearn.datasets import load_diabetes
    >>> import symbias as sb
    >>> X, y = load_diabetes(return_X_y=True)
    >>> model = sb.DesignedRegressor("l1", strength=0.5).fit(X, y)
    >>> sb.selection_frequency(model, X, y).round(1).tolist()
    [0.0, 0.1, 1.0, 1.0, 0.2, 0.0, 0.9, 0.1, 1.0, 0.1]
    """
    check_is_fitted(model)
    repeats = whole("repeats", repeats, 1)
    X, y = indexable(X, y)
    kind = RepeatedStratifiedKFold if is_classifier(model) else RepeatedKFold
    halves = kind(n_splits=2, n_repeats=repeats, random_state=random_state)
    again = _at_strength(model)
    kept = [
        clone(again).fit(X[train], np.asarray(y)[train]).coef_ != 0
        for train, _ in halves.split(X, y)
    ]
    return np.mean(kept, axis=0)


def _at_strength(model: Any) -> Any:
    """The estimator that fits at the strength of ``model``."""
    if not isinstance(model, DesignedRegressorCV):
        return clone(model).set_params(callback=None)
    taken = DesignedRegressor().get_params(deep=False)
    same = {name: value for name, value in model.get_params(deep=False).items() if name in taken}
    return DesignedRegressor(**same | {"strength": model.strength_, "callback": None})


def left_out(fit: SeriesFit, parts: int = 10) -> list[SeriesFit]:
    """Fits at the same strength to the series without each of ``parts`` stretches in turn."""
    stretches = np.array_split(np.arange(len(fit.observed)), whole("parts", parts, 2))
    fits = []
    for stretch in stretches:
        values = fit.observed.copy()
        values[stretch] = np.nan
        again = fit_series(fit.observed_times, values, fit.penalty, fit.strength, loss=fit.loss)
        fits.append(again)
    return fits
