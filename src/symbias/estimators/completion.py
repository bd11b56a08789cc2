"""Fill in a matrix with missing entries."""

from typing import Any

import numpy as np

from symbias.estimators.base import couples
from symbias.estimators.regressor import DesignedRegressor
from symbias.parameterizations import Parameterization
from symbias.penalties import Penalty


def complete(
    Y: Any,
    penalty: str | Penalty | Parameterization = "nuclear",
    strength: float = 1e-3,
    **options: Any,
) -> tuple[np.ndarray, DesignedRegressor]:
    """Estimate all entries of a matrix from those that are not nan.

    Minimises ``1/(2 n) sum over observed (i, j) of (Y_ij - W_ij)^2 + strength * penalty(W)`` over
    matrices W, with n the number of rows: a `DesignedRegressor` on X = the identity, without an
    intercept unless ``options`` ask for one (then one per column, not penalised).

    Parameters
    ----------
    Y : array (n_rows, n_cols)
        nan (or masked) where an entry is missing; at least one entry of every column is there.
    penalty : Penalty, str or Parameterization
        On matrices: "nuclear", ``sb.Schatten(2 / 3)``, ``sb.TotalVariation(joint=True)``, ...
    strength : float
        Positive.
    **options
        Of `DesignedRegressor`: ``loss``, ``fit_intercept``, ``tol`` (here 1e-8: at strengths near
        zero, where the solution is the matrix of least norm through the data, more is slow), ...

    Returns
    -------
    completed : array (n_rows, n_cols)
        W, plus intercepts: the model's value everywhere, not Y, also where Y is observed.
    model : DesignedRegressor

    Raises
    ------
    ValueError
        If Y is not a matrix, has infinite entries or a column without any, or the penalty does
        not act on matrices.

    References
    ----------
    Candes and Recht, "Exact matrix completion via convex optimization", 2009.

    Examples
    --------
    >>> import numpy as np, symbias as sb
    >>> Y = np.outer([1.0, 2.0, 3.0], [1.0, -1.0, 2.0])
    >>> Y[2, 2] = np.nan
    >>> float(sb.complete(Y, strength=1e-6)[0][2, 2].round(2))
    6.0
    """
    if np.iscomplexobj(Y):
        raise TypeError("expected a real matrix, got a complex one")
    if np.ma.isMaskedArray(Y):
        Y = np.ma.asarray(Y, dtype=float).filled(np.nan)
    Y = np.asarray(Y, dtype=float)
    if Y.ndim != 2 or not Y.size:
        raise ValueError(f"expected a matrix with nan for missing entries, got shape {Y.shape}")
    model = DesignedRegressor(penalty, strength, **{"fit_intercept": False, "tol": 1e-8, **options})
    if not couples(penalty):
        raise ValueError(f"{penalty!r} acts on each column alone: it says nothing of missing ones")
    model.fit(np.eye(len(Y)), Y)
    return model.predict(np.eye(len(Y))), model
