"""The scikit-learn face: designed regression, its cross-validation, and series."""

from symbias.estimators.classifier import DesignedClassifier
from symbias.estimators.completion import complete
from symbias.estimators.cross_validation import DesignedRegressorCV, choose
from symbias.estimators.regressor import DesignedRegressor
from symbias.estimators.series import SeriesFit, fit_series

__all__ = [
    "DesignedClassifier",
    "DesignedRegressor",
    "DesignedRegressorCV",
    "SeriesFit",
    "choose",
    "complete",
    "fit_series",
]
