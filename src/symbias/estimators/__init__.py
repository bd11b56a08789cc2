"""The scikit-learn face: designed regression, its cross-validation, and series."""

from symbias.estimators.classifier import DesignedClassifier
from symbias.estimators.completion import complete
from symbias.estimators.cross_validation import DesignedRegressorCV, choose
from symbias.estimators.regressor import DesignedRegressor
from symbias.estimators.selection import left_out, selection_frequency
from symbias.estimators.series import fit_series
from symbias.estimators.series_fit import SeriesFit

__all__ = [
    "DesignedClassifier",
    "DesignedRegressor",
    "DesignedRegressorCV",
    "SeriesFit",
    "choose",
    "complete",
    "fit_series",
    "left_out",
    "selection_frequency",
]
