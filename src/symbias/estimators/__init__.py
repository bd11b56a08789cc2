"""The scikit-learn face: designed regression, its cross-validation, and a refit."""

from symbias.estimators.cross_validation import DesignedRegressorCV
from symbias.estimators.regressor import DesignedRegressor

__all__ = ["DesignedRegressor", "DesignedRegressorCV"]
