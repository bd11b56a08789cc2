"""The estimators are what scikit-learn takes for estimators."""

import pickle
import warnings
from typing import Any

import numpy as np
import pytest
from sklearn.base import clone
from sklearn.exceptions import ConvergenceWarning, SkipTestWarning
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.utils.estimator_checks import check_estimator

import symbias as sb

RNG = np.random.default_rng(3)
X = RNG.normal(size=(40, 12))
Y = X[:, :3] @ RNG.normal(size=(3, 2)) + 0.2 * RNG.normal(size=(40, 2))
PENALTIES = ["l1", "lq", sb.GroupLasso(3), "tv", "trend", "spectral"]


@pytest.mark.parametrize(
    "estimator",
    [
        *(sb.DesignedRegressor(name) for name in ["l1", "tv", "trend", "spectral"]),
        sb.DesignedRegressor(sb.GroupLasso(2)),
        sb.DesignedRegressor("l1", solver="gd"),
        *(
            pytest.param(estimator, marks=pytest.mark.slow)
            for estimator in (
                sb.DesignedRegressor("lq"),
                sb.DesignedRegressor("tv", solver="gd"),
                sb.DesignedRegressor(sb.GroupLasso(2), solver="gd"),
            )
        ),
        *(sb.DesignedRegressorCV(name, strengths=3, cv=3) for name in ["l1", "tv"]),
        sb.DesignedRegressor(loss="huber"),
        sb.DesignedRegressor(loss="poisson"),
        sb.DesignedClassifier("l1"),
        sb.DesignedClassifier(sb.GroupLasso(2)),
    ],
    ids=repr,
)
def test_check_estimator(estimator: Any) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", SkipTestWarning)
        # that check has negative targets, whatever the tags say
        expected = {"check_regressor_multioutput": "targets of a Poisson loss are not negative"}
        poisson = getattr(estimator, "loss", None) == "poisson"
        check_estimator(estimator, expected_failed_checks=expected if poisson else None)


@pytest.mark.parametrize("penalty", PENALTIES, ids=str)
def test_several_outputs_are_separate_fits(penalty: Any) -> None:
    model = sb.DesignedRegressor(penalty, 0.05).fit(X, Y)
    assert model.coef_.shape == (2, 12)
    assert model.predict(X).shape == (40, 2)
    singles = [sb.DesignedRegressor(penalty, 0.05).fit(X, y) for y in Y.T]
    for k, single in enumerate(singles):
        np.testing.assert_array_equal(model.coef_[k], single.coef_)
        assert model.intercept_[k] == single.intercept_
        np.testing.assert_array_equal(model.support_[k], single.support_)
        np.testing.assert_allclose(model.predict(X)[:, k], single.predict(X), rtol=1e-12)
    assert model.strength_max_ == max(s.strength_max_ for s in singles)


@pytest.mark.parametrize("penalty", PENALTIES, ids=str)
def test_weights_are_repetitions(penalty: Any) -> None:
    counts = np.random.default_rng(0).integers(0, 4, 40)
    options = {"penalty": penalty, "strength": 0.05, "tol": 1e-11}
    weighted = sb.DesignedRegressor(**options).fit(X, Y[:, 0], sample_weight=counts)
    rows = np.repeat(np.arange(40), counts)
    repeated = sb.DesignedRegressor(**options).fit(X[rows], Y[rows, 0])
    np.testing.assert_allclose(weighted.coef_, repeated.coef_, atol=1e-8)
    np.testing.assert_array_equal(weighted.support_, repeated.support_)
    kept = counts > 0
    removed = sb.DesignedRegressor(**options).fit(X[kept], Y[kept, 0], counts[kept])
    np.testing.assert_allclose(weighted.coef_, removed.coef_, atol=1e-8)
    other = sb.DesignedRegressor(**options).fit(X, Y[:, 0])
    assert np.abs(weighted.coef_ - other.coef_).max() > 1e-3


def test_weights_of_cross_validation_are_removals() -> None:
    """A weight of zero takes a sample out of its fold, in training and in testing."""
    weights, folds = np.ones(40), [np.arange(k, 40, 4) for k in range(4)]
    weights[folds[1][:5]] = 0
    kept = np.flatnonzero(weights)
    splits = [(np.setdiff1d(np.arange(40), f), f) for f in folds]
    there = [(np.searchsorted(kept, a[weights[a] > 0]), b[weights[b] > 0]) for a, b in splits]
    there = [(a, np.searchsorted(kept, b)) for a, b in there]
    grid = [0.3, 0.1, 0.03]
    weighted = sb.DesignedRegressorCV(strengths=grid, cv=splits).fit(X, Y[:, 0], weights)
    removed = sb.DesignedRegressorCV(strengths=grid, cv=there).fit(X[kept], Y[kept, 0])
    np.testing.assert_allclose(weighted.mse_path_, removed.mse_path_, rtol=1e-6)
    np.testing.assert_allclose(weighted.coef_, removed.coef_, atol=1e-6)


def test_pipeline_and_grid_search() -> None:
    pipeline = make_pipeline(StandardScaler(), sb.DesignedRegressor())
    grid = {"designedregressor__strength": [2.0, 0.02], "designedregressor__penalty": ["l1", "tv"]}
    search = GridSearchCV(pipeline, grid, cv=3).fit(X, Y[:, 0])
    assert search.best_params_ == {
        "designedregressor__strength": 0.02,
        "designedregressor__penalty": "l1",
    }
    assert search.score(X, Y[:, 0]) > 0.9


@pytest.mark.parametrize(
    "model", [sb.DesignedRegressor(sb.GroupLasso(3), 0.05), sb.DesignedRegressorCV(strengths=3)]
)
def test_clone_and_pickle(model: Any) -> None:
    model = clone(model).fit(X, Y[:, 0])
    again = pickle.loads(pickle.dumps(model))
    np.testing.assert_array_equal(again.predict(X), model.predict(X))
    np.testing.assert_array_equal(again.support_, model.support_)
    refitted = clone(again).fit(X, Y[:, 0])
    assert not hasattr(clone(again), "coef_")
    np.testing.assert_array_equal(refitted.coef_, model.coef_)


@pytest.mark.parametrize("solver", ["varpro", "gd"])
@pytest.mark.parametrize("penalty", PENALTIES, ids=str)
def test_too_few_steps_warn(penalty: Any, solver: str) -> None:
    model = sb.DesignedRegressor(penalty, 1e-3, solver=solver, max_iter=1)
    with pytest.warns(ConvergenceWarning, match=r"not converged after \d+ steps: relative"):
        model.fit(X, Y[:, 0])
    assert not model.converged_
    assert np.all(np.isfinite(model.coef_))
    assert np.isfinite(model.objective_)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"penalty": "bic"}, "unknown penalty 'bic'.*l1, lq, .*group, tv, trend"),
        ({"penalty": sb.Lq(3.0)}, "Exponents up to 2 work"),
        ({"penalty": sb.L1([1.0, 2.0])}, "one per coefficient"),
        ({"strength": 0.0}, "strength must be positive and finite, got 0.0"),
        ({"strength": -1.0}, "strength must be positive"),
        ({"strength": np.nan}, "strength must be positive"),
        ({"strength": np.inf}, "strength must be positive"),
        ({"solver": "adam"}, "solver must be one of auto, varpro, gd, got 'adam'"),
        ({"loss": "hinge"}, "unknown loss 'hinge'; .* squared, huber, poisson"),
        ({"loss": "poisson"}, "targets that are not negative"),
        ({"tol": 0.0}, "tol must be positive"),
        ({"max_iter": 0}, "max_iter must be at least 1"),
    ],
)
def test_bad_options_of_the_regressor(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message) as caught:
        sb.DesignedRegressor(**options).fit(X, Y)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"strengths": 0}, "strengths must be at least 1"),
        ({"min_ratio": 1.0}, "min_ratio between 0 and 1"),
        ({"strengths": []}, "strengths must be positive and finite"),
        ({"strengths": [0.1, 0.0]}, "strengths must be positive and finite"),
        ({"strengths": [np.inf]}, "strengths must be positive and finite"),
        ({"rule": "max"}, "rule must be one of one_standard_error, min, got 'max'"),
        ({"solver": "sgd"}, "solver must be one of"),
        ({"penalty": "bic"}, "unknown penalty"),
        ({"cv": 41}, "n_splits=41"),
        ({"cv": 1}, "k-fold"),
    ],
)
def test_bad_options_of_cross_validation(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        sb.DesignedRegressorCV(**options).fit(X, Y)


@pytest.mark.parametrize(
    ("X", "y", "weights", "message"),
    [
        (np.where(X > 2, np.nan, X), Y, None, "contains NaN"),
        (X, np.where(Y > 1, np.inf, Y), None, "infinity"),
        (X[:3], Y, None, "inconsistent numbers of samples"),
        (X[:0], Y[:0], None, "0 sample"),
        (X, Y, np.zeros(40), "zero"),
        (X, Y, -np.ones(40), "[Nn]egative"),
        (X, Y, np.ones(3), "sample_weight"),
    ],
)
def test_bad_data(X: Any, y: Any, weights: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        sb.DesignedRegressor().fit(X, y, weights)


def test_a_fold_without_weight_is_refused() -> None:
    weights = np.zeros(40)
    weights[:20] = 1
    halves = [(np.arange(20), np.arange(20, 40)), (np.arange(20, 40), np.arange(20))]
    with pytest.raises(ValueError, match="fold 1 leaves no sample weight to train on"):
        sb.DesignedRegressorCV(cv=halves, strengths=2).fit(X, Y[:, 0], weights)
    with pytest.raises(ValueError, match="no fold has a sample of positive weight"):
        sb.DesignedRegressorCV(cv=halves[:1], strengths=2).fit(X, Y[:, 0], weights)


def test_bad_options_and_labels_of_the_classifier() -> None:
    labels = Y[:, 0] > 0
    for options, y, message in (
        ({"penalty": "bic"}, labels, "unknown penalty"),
        ({"strength": 0.0}, labels, "strength must be positive"),
        ({"class_weight": {7: 1.0}}, labels, "not in class_weight"),
        ({}, np.zeros(40), "at least 2 classes"),
        ({}, Y[:, 0], "Unknown label type"),
    ):
        with pytest.raises(ValueError, match=message):
            sb.DesignedClassifier(**options).fit(X, y)
    with pytest.raises(ValueError, match="zero"):
        sb.DesignedClassifier().fit(X, labels, np.zeros(40))


def test_classes_are_fitted_one_against_the_rest() -> None:
    labels = np.array(["a", "b", "c"])[np.digitize(Y[:, 0], [-0.5, 0.5])]
    model = sb.DesignedClassifier("l1", 0.02).fit(X, labels)
    assert model.coef_.shape == (3, 12)
    one = sb.DesignedClassifier("l1", 0.02).fit(X, labels == "b")
    np.testing.assert_array_equal(model.coef_[1], one.coef_[0])
    np.testing.assert_allclose(model.predict_proba(X).sum(axis=1), 1)
    assert model.score(X, labels) > 0.6
    # a matrix penalty couples the classes
    coupled = sb.DesignedClassifier("nuclear", 0.05).fit(X, labels)
    assert coupled.coef_.shape == (3, 12)
    assert np.sum(np.linalg.svd(coupled.coef_, compute_uv=False) > 1e-9) < 3


@pytest.mark.parametrize("loss", ["huber", "poisson", sb.Huber(0.5)], ids=repr)
def test_weights_are_repetitions_under_every_loss(loss: Any) -> None:
    y = np.abs(Y[:, 0]) if loss == "poisson" else Y[:, 0]
    counts = np.random.default_rng(0).integers(0, 4, 40)
    rows = np.repeat(np.arange(40), counts)
    options = {"strength": 0.03, "loss": loss, "tol": 1e-11}
    weighted = sb.DesignedRegressor(**options).fit(X, y, sample_weight=counts)
    repeated = sb.DesignedRegressor(**options).fit(X[rows], y[rows])
    np.testing.assert_allclose(weighted.coef_, repeated.coef_, atol=1e-6)
    assert weighted.objective_ == pytest.approx(repeated.objective_, rel=1e-9)
    assert np.all(weighted.predict(X) > 0) or loss != "poisson"
