"""What stays of an answer when part of the data is left out."""

import numpy as np
import pytest
from sklearn.datasets import load_diabetes, load_iris
from sklearn.exceptions import NotFittedError

import symbias as sb
from symbias.estimators import left_out

X, Y = load_diabetes(return_X_y=True)


def test_halves_are_complementary_and_counted() -> None:
    """By hand: the same splits, fitted by scikit-learn's Lasso."""
    from sklearn.linear_model import Lasso
    from sklearn.model_selection import RepeatedKFold

    model = sb.DesignedRegressor("l1", strength=0.5).fit(X, Y)
    counts, halves = np.zeros(10), RepeatedKFold(n_splits=2, n_repeats=4, random_state=3)
    for train, test in halves.split(X):
        assert sorted([*train, *test]) == list(range(len(X)))
        counts += Lasso(0.5, tol=1e-10).fit(X[train], Y[train]).coef_ != 0
    share = sb.selection_frequency(model, X, Y, repeats=4, random_state=3)
    assert share.tolist() == (counts / 8).tolist()


def test_features_of_noise_are_kept_seldom() -> None:
    """No irrelevant one of 200 is kept in nine of ten halves; the bound is 1.2 of them."""
    rng = np.random.default_rng(0)
    A = rng.normal(size=(200, 200))
    b = A[:, 0] - A[:, 1] + rng.normal(size=200)
    model = sb.DesignedRegressor("l1", strength=0.25).fit(A, b)
    share = sb.selection_frequency(model, A, b)
    assert share[:2].tolist() == [1.0, 1.0]
    assert share[2:].max() < 0.9


def test_a_cross_validated_model_counts_at_its_strength() -> None:
    chosen = sb.DesignedRegressorCV("l1").fit(X, Y)
    plain = sb.DesignedRegressor("l1", strength=chosen.strength_).fit(X, Y)
    a, b = (sb.selection_frequency(m, X, Y, repeats=2) for m in (chosen, plain))
    assert a.tolist() == b.tolist()


def test_classes_keep_their_shares() -> None:
    A, b = load_iris(return_X_y=True)
    model = sb.DesignedClassifier("l1", strength=0.05).fit(A, b)
    share = sb.selection_frequency(model, A, b, repeats=2)
    assert share.shape == (3, 4)
    assert share[:, 2].max() == 1


def test_bad_input() -> None:
    with pytest.raises(NotFittedError):
        sb.selection_frequency(sb.DesignedRegressor(), X, Y)
    model = sb.DesignedRegressor("l1", strength=0.5).fit(X, Y)
    with pytest.raises(ValueError, match="repeats must be at least 1"):
        sb.selection_frequency(model, X, Y, repeats=0)


def test_a_series_without_each_stretch() -> None:
    t = np.arange(100)
    y = np.cos(2 * np.pi * (t + 0.5) / 12.5) + 0.1 * np.random.default_rng(0).normal(size=100)
    fit = sb.fit_series(t, y, "spectral", 0.05)
    found = left_out(fit, 5)
    for k, again in enumerate(found):
        assert sorted({*t} - {*again.observed_times}) == list(range(20 * k, 20 * k + 20))
        assert again.strength == fit.strength
        assert again.strongest_period == pytest.approx(12.5, rel=0.01)
