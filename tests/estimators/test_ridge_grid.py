"""Strengths of a cross-validated ridge, under which nothing is ever zero."""

import numpy as np
import pytest
from sklearn.linear_model import Ridge
from sklearn.model_selection import KFold

import symbias as sb

RNG = np.random.default_rng(0)
MIXING = RNG.normal(size=(12, 12))


def data(scale: float = 1.0):
    rng = np.random.default_rng(1)
    X = rng.normal(size=(80, 12)) @ MIXING * scale + 5
    y = X @ rng.normal(size=12) / scale + 3 * rng.normal(size=80)
    return X, y


@pytest.mark.parametrize("scale", [1e-3, 1.0, 1e4])
@pytest.mark.parametrize("solver", ["auto", pytest.param("varpro", marks=pytest.mark.slow)])
def test_the_largest_shrinks_every_direction_to_one_per_cent(scale: float, solver: str) -> None:
    X, y = data(scale)
    model = sb.DesignedRegressorCV("ridge", solver=solver, cv=3).fit(X, y)
    centred = X - X.mean(axis=0)
    h, directions = np.linalg.eigh(centred.T @ centred / len(X))
    top, bottom = model.strengths_[0], model.strengths_[-1]
    left = h / (h + top)  # of least squares
    assert 0.009 < left.max() <= 0.01
    assert bottom == pytest.approx(1e-6 * top)
    assert (h / (h + bottom))[-1] > 0.999
    # by another implementation: the ratio of the fits along the first direction
    strong = Ridge(alpha=len(X) * top).fit(X, y).coef_ @ directions[:, -1]
    plain = Ridge(alpha=1e-12 * len(X) * h.min()).fit(X, y).coef_ @ directions[:, -1]
    assert strong / plain == pytest.approx(left.max(), rel=1e-5)
    assert not np.isfinite(model.strength_max_)


def test_the_choice_is_that_of_scikit_learn() -> None:
    X, y = data()
    folds = KFold(4, shuffle=True, random_state=0)
    model = sb.DesignedRegressorCV("ridge", cv=folds, rule="min").fit(X, y)
    mse = [
        [
            np.mean((y[b] - Ridge(len(a) * s).fit(X[a], y[a]).predict(X[b])) ** 2)
            for a, b in folds.split(X)
        ]
        for s in model.strengths_
    ]
    np.testing.assert_allclose(model.mse_path_, mse, rtol=1e-6)
    assert model.strength_ == model.strengths_[np.argmin(np.mean(mse, axis=1))]
    assert model.strengths_[-1] < model.strength_ < model.strengths_[0]


def test_weights_count() -> None:
    X, y = data()
    weights = RNG.integers(1, 5, 80)
    model = sb.DesignedRegressorCV("ridge").fit(X, y, weights)
    repeated = sb.DesignedRegressorCV("ridge").fit(X.repeat(weights, 0), y.repeat(weights))
    assert model.strengths_[0] == pytest.approx(repeated.strengths_[0], rel=1e-6)


def test_smooth_penalties_without_a_curvature_at_zero_are_refused() -> None:
    X, y = data()
    with pytest.raises(ValueError, match="give the strengths themselves"):
        sb.DesignedRegressorCV(sb.Lq(1.5)).fit(X, y)
    assert sb.DesignedRegressorCV(sb.Lq(1.5), strengths=[1.0, 0.1]).fit(X, y).strength_ > 0
    assert sb.DesignedRegressorCV(sb.Lq(2.0)).fit(X, y).strengths_[0] == pytest.approx(
        sb.DesignedRegressorCV("ridge").fit(X, y).strengths_[0] / 2
    )  # sum w^2, not half of it


def test_on_the_command_line(tmp_path) -> None:
    import json

    from typer.testing import CliRunner

    from symbias.cli import app

    X, y = data()
    lines = [",".join(f"{v:.6f}" for v in [*row, target]) for row, target in zip(X, y, strict=True)]
    table = tmp_path / "ridge.csv"
    table.write_text(",".join([f"f{j}" for j in range(12)] + ["y"]) + "\n" + "\n".join(lines))
    command = ["fit", str(table), "--penalty", "ridge", "--target", "y", "--out"]
    result = CliRunner().invoke(app, [*command, str(tmp_path / "out")])
    assert result.exit_code == 0, result.stderr
    record = json.loads((tmp_path / "out" / "run.json").read_text())
    assert record["strengths"][-1] < record["strength"] < record["strengths"][0]
    assert record["strength_max"] is None
    assert "strength_max" not in result.stdout
