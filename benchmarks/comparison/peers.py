"""The peers, behind one face: coefficients of a problem at a strength and a tolerance."""

import warnings
from collections.abc import Callable

import numpy as np

from comparison.problems import Problem

Solve = Callable[[Problem, float, float], np.ndarray]


def peers(problem: Problem) -> dict[str, Solve]:
    """Every solver that is installed and can do it, ours first."""
    known = {
        ("squared", False): {"celer": _celer, "skglm": _skglm, "scikit-learn": _sklearn},
        ("squared", True): {"celer": _celer_group, "skglm": _skglm_group, "adelie": _adelie},
        ("logistic", False): {
            "celer": _celer_logistic,
            "skglm": _skglm_logistic,
            "scikit-learn": _liblinear,
        },
    }[problem.loss, problem.size > 1]
    known = {"symbias": _symbias, **known}
    return {name: solve for name, solve in known.items() if _installed(name)}


def _installed(name: str) -> bool:
    try:
        __import__({"scikit-learn": "sklearn"}.get(name, name))
    except ImportError:
        return False
    return True


def _symbias(problem: Problem, strength: float, tol: float) -> np.ndarray:
    import symbias as sb

    options = {"fit_intercept": False, "tol": tol}
    if problem.loss == "logistic":
        return sb.DesignedClassifier("l1", strength, **options).fit(problem.X, problem.y).coef_[0]
    if problem.size > 1:
        groups = np.arange(problem.X.shape[1]) // problem.size
        penalty = sb.GroupLasso(groups, weights=np.ones(groups[-1] + 1))
        return sb.DesignedRegressor(penalty, strength, **options).fit(problem.X, problem.y).coef_
    return sb.DesignedRegressor("l1", strength, **options).fit(problem.X, problem.y).coef_


def _celer(problem: Problem, strength: float, tol: float) -> np.ndarray:
    from celer import Lasso

    return Lasso(strength, fit_intercept=False, tol=tol).fit(problem.X, problem.y).coef_


def _skglm(problem: Problem, strength: float, tol: float) -> np.ndarray:
    from skglm import Lasso

    return Lasso(strength, fit_intercept=False, tol=tol).fit(problem.X, problem.y).coef_


def _sklearn(problem: Problem, strength: float, tol: float) -> np.ndarray:
    from sklearn.linear_model import Lasso

    options = {"fit_intercept": False, "tol": tol, "max_iter": 100_000}
    return Lasso(strength, **options).fit(problem.X, problem.y).coef_


def _celer_group(problem: Problem, strength: float, tol: float) -> np.ndarray:
    from celer import GroupLasso

    model = GroupLasso(problem.size, strength, fit_intercept=False, tol=tol)
    return model.fit(problem.X, problem.y).coef_


def _skglm_group(problem: Problem, strength: float, tol: float) -> np.ndarray:
    from skglm import GroupLasso

    model = GroupLasso(problem.size, strength, fit_intercept=False, tol=tol)
    return model.fit(problem.X, problem.y).coef_


def _adelie(problem: Problem, strength: float, tol: float) -> np.ndarray:
    import adelie

    starts = np.arange(0, problem.X.shape[1], problem.size)
    state = adelie.grpnet(
        problem.X,
        adelie.glm.gaussian(problem.y),
        groups=starts,
        penalty=np.ones(len(starts)),
        lmda_path=np.array([strength]),
        intercept=False,
        early_exit=False,
        tol=tol,
        newton_tol=1e-14,
        progress_bar=False,
    )
    return np.asarray(state.betas.toarray())[-1]


def _celer_logistic(problem: Problem, strength: float, tol: float) -> np.ndarray:
    from celer import LogisticRegression

    C = 1 / (strength * len(problem.y))
    return LogisticRegression(C=C, tol=tol).fit(problem.X, problem.y).coef_[0]


def _skglm_logistic(problem: Problem, strength: float, tol: float) -> np.ndarray:
    from skglm import SparseLogisticRegression

    model = SparseLogisticRegression(strength, fit_intercept=False, tol=tol)
    return model.fit(problem.X, problem.y).coef_[0]


def _liblinear(problem: Problem, strength: float, tol: float) -> np.ndarray:
    from sklearn.linear_model import LogisticRegression

    C = 1 / (strength * len(problem.y))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        options = {"solver": "liblinear", "fit_intercept": False, "tol": tol, "max_iter": 5_000}
        try:
            model = LogisticRegression(l1_ratio=1.0, C=C, **options)
            return model.fit(problem.X, problem.y).coef_[0]
        except (TypeError, ValueError):
            model = LogisticRegression(penalty="l1", C=C, **options)
            return model.fit(problem.X, problem.y).coef_[0]
