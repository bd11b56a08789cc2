"""Label noise in full: runs against the drift, the least penalty, and isotropic noise beside it."""

import math

import numpy as np
import pytest

import symbias as sb
from symbias.studies import label_noise_full as study
from symbias.studies import label_shift, noise_shapes


def test_a_problem_is_what_it_says() -> None:
    made = study.Fitted.of(0, 3, 0.5)
    u, v = made.theta["u1"], made.theta["u2"]
    ahead = made.X @ ((u + 1e-6) * v) - made.X @ (u * v)
    np.testing.assert_allclose(made.gradients[:, :5].sum(axis=1) * 1e-6, ahead, rtol=1e-6)
    hessian = made.gradients.T @ made.gradients / 3
    np.testing.assert_allclose(made.curvatures, np.linalg.eigvalsh(hessian)[:6:-1], rtol=1e-9)
    assert np.abs(hessian @ made.tangents).max() < 1e-12
    assert np.trace(made.tangents) == pytest.approx(7)


@pytest.mark.slow
def test_the_first_order_is_the_limit_of_the_drift() -> None:
    made = study.Fitted.of(1, 3, 0.5)
    for batch, momentum in ((None, 0.9), (2, 0.0)):
        mechanism = sb.LabelNoise(0.2, 1e-7, batch, momentum)
        drift = mechanism.drift(sb.Hadamard(5), made.theta, made.X).theta
        told = np.concatenate([drift["u1"], drift["u2"]])
        np.testing.assert_allclose(study.first_order(made, mechanism), told, rtol=1e-4)


@pytest.mark.slow
@pytest.mark.parametrize("setting", study.SETTINGS, ids=lambda s: f"{s.name}, {s.momentum:g}")
def test_runs_drift_as_foretold(setting: study.Setting) -> None:
    """Four standard errors are passed once in 16,000 times; the first order is off by far more."""
    steps = 6000 if setting.momentum == 0 else 20_000
    row = study.drift_row(setting, 0.6, 2, replicas=16, steps=steps)
    assert row["standard_error"] < 0.015
    assert abs(row["ratio"] - 1) < 4 * row["standard_error"]
    assert row["first_error"] > 0.25


@pytest.mark.slow
@pytest.mark.parametrize("momentum", [0.0, 0.9])
def test_the_mean_of_w_settles_where_the_least_penalty_says(momentum: float) -> None:
    """More equations than entries: -S^-1 grad R at eta h/2 = .6, where the first order is off."""
    _, p, x, y = label_shift.settings()[0]
    w = np.linalg.lstsq(x, y)[0]
    rate = 1.2 / (np.linalg.norm(x * np.sqrt(2 * np.abs(w)), 2) ** 2 / len(x))
    row = label_shift.shift_row(
        p, x, y, rate, sigma=0.03, momentum=momentum, pairs=16, relaxations=500
    )
    mechanism, step = sb.LabelNoise(0.03, rate, momentum=momentum), 1e-4
    slope = [
        (mechanism.least_penalty(p, w + d, x) - mechanism.least_penalty(p, w - d, x)) / (2 * step)
        for d in step * np.eye(4)
    ]
    told = -np.linalg.solve(x.T @ x / len(x), slope)
    measured = np.asarray(row["measured_shift"])
    assert np.linalg.norm(measured - told) < 0.03 * np.linalg.norm(told)
    assert row["relative_error"] > 0.2


@pytest.mark.slow
def test_label_noise_finds_the_sparse_w_from_any_start_and_isotropic_noise_does_not() -> None:
    rows = noise_shapes.measure(quick=True)
    assert [row["start"] for row in rows] == list(noise_shapes.STARTS)
    for row in rows:
        assert row["label noise"] < 0.1
        assert min(row[name] for name in noise_shapes.TEMPERATURES) > 2 * row["label noise"]
    assert rows[1]["none"] > 0.5


def test_claims_count_problems_and_infinite_distances() -> None:
    drifts = [
        {"setting": s.name, "momentum": s.momentum, "share": share, "ratio": 1 + 1e-3 * k}
        for s in study.SETTINGS
        for share in study.SHARES
        for k in range(10)
    ]
    ends = [
        {"start": start, "label noise": 0.01 + 0.001 * k, "isotropic": 10.0}
        | {"isotropic, a tenth": 0.5 if start == "small" else 5.0}
        for start in noise_shapes.STARTS
        for k in range(10)
    ]
    made = study.claims(drifts) + noise_shapes.claims(ends)
    assert len(made) == 12 + 6
    assert {c.evidence.verdict for c in made} == {"consistent"}
    ends[3]["isotropic"] = math.inf
    ends[3]["label noise"] = 0.2
    assert noise_shapes.claims(ends)[0].held == 9
