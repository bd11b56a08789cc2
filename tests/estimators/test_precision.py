"""Fits where columns are far from zero, and in float32: honest in double precision."""

import numpy as np
import pytest
from sklearn.linear_model import Lasso

import symbias as sb
from symbias.penalties import as_penalty

LABELS = np.arange(40) // 4


def data(offset: float, dtype: type, n: int = 100, m: int = 40) -> tuple[np.ndarray, ...]:
    """X, its centred self in float64, and a signal."""
    rng = np.random.default_rng(0)
    X = (rng.normal(size=(n, m)) + offset).astype(dtype)
    centred = X.astype(float) - X.mean(axis=0, dtype=float)
    centred -= centred.mean(axis=0)
    return X, centred, centred[:, :3].sum(axis=1) + rng.normal(size=n)


def mean_loss(eta: np.ndarray, y: np.ndarray, logistic: bool) -> float:
    each = np.logaddexp(0, eta) - y * eta if logistic else (y - eta) ** 2 / 2
    return float(np.mean(each))


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("offset", [0.0, 1.0, 9.0, 30.0, 300.0, 1e4])
@pytest.mark.parametrize("shape", [(100, 40), (30, 40)], ids=["tall", "wide"])
@pytest.mark.parametrize(
    ("penalty", "logistic"),
    [("l1", False), ("l1", True), (sb.GroupLasso(LABELS), False), ("elastic", False)],
    ids=["l1", "logistic", "group", "elastic"],
)
def test_the_gap_bounds_the_excess_whatever_the_offset(
    dtype: type, offset: float, shape: tuple[int, int], penalty: object, logistic: bool
) -> None:
    X, centred, y = data(offset, dtype, *shape)
    kind = sb.DesignedClassifier if logistic else sb.DesignedRegressor
    y = (y > 0).astype(float) if logistic else y
    value = as_penalty(penalty)

    def objective(model: object, X: np.ndarray, strength: float) -> float:
        w, b = np.ravel(model.coef_).astype(float), float(np.ravel(model.intercept_)[0])
        b += float(X.mean(axis=0, dtype=float) @ w)
        return mean_loss(centred @ w + b, y, logistic) + strength * float(value(w))

    strength = 0.1 * float(kind(penalty, strength=1e3).fit(centred, y).strength_max_)
    model = kind(penalty, strength=strength).fit(X, y)
    best = objective(kind(penalty, strength=strength).fit(centred, y), centred, strength)
    assert model.converged_
    assert model.coef_.dtype == dtype
    gap = float(np.ravel(model.dual_gap_)[0])
    assert gap <= 1e-10 * best
    assert objective(model, X, strength) - best <= gap + 1e-13 * best


@pytest.mark.parametrize("offset", [10.0, 300.0, 600.0])
def test_float32_is_as_good_as_the_lasso_of_scikit_learn(offset: float) -> None:
    X, centred, y = data(offset, np.float32, 500, 20)
    model = sb.DesignedRegressor("l1", strength=0.05).fit(X, y)
    exact = Lasso(alpha=0.05, tol=1e-14, max_iter=100_000).fit(centred, y)
    np.testing.assert_allclose(model.coef_, exact.coef_, atol=1e-6)


def test_targets_together_far_from_zero() -> None:
    X, centred, y = data(600.0, np.float32)
    Y = np.stack([y, 2 * centred[:, 1] + y[::-1]], axis=1)
    penalty = sb.GroupLasso(np.repeat(np.arange(40), 2).reshape(40, 2))
    model, exact = (sb.DesignedRegressor(penalty, strength=0.1).fit(A, Y) for A in (X, centred))
    assert model.converged_
    np.testing.assert_allclose(model.coef_, exact.coef_, atol=1e-6)
    there = X.mean(axis=0, dtype=float) @ model.coef_.T.astype(float) + model.intercept_
    np.testing.assert_allclose(there, Y.mean(axis=0), atol=1e-9)


def test_weights_far_from_zero_are_repeated_rows() -> None:
    X, _, y = data(300.0, np.float64)
    counts = np.random.default_rng(1).integers(0, 3, size=len(y))
    weighted = sb.DesignedRegressor().fit(X, y, counts)
    repeated = sb.DesignedRegressor().fit(np.repeat(X, counts, axis=0), np.repeat(y, counts))
    np.testing.assert_allclose(weighted.coef_, repeated.coef_, atol=1e-9)
    np.testing.assert_allclose(weighted.intercept_, repeated.intercept_, rtol=1e-9)
