"""A reduced design grid: every check passes on a right design, and fails on a wrong one."""

import html
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy.integrate import solve_ivp
from sklearn.exceptions import ConvergenceWarning

import symbias as sb
from symbias.studies import grid, grid_checks, lengths, mechanisms, small_starts, verification
from symbias.studies.theorems import THEOREMS

QUICK = {"pairs": 12, "relaxations": 40, "burn_in": 10}


@pytest.fixture(scope="module")
def study(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, Any]]:
    folder = tmp_path_factory.mktemp("mechanisms")
    return folder, mechanisms.run(folder, quick=True, progress=False)


@pytest.mark.slow
def test_no_cell_is_empty_and_none_fails(study: tuple[Path, dict[str, Any]]) -> None:
    folder, result = study
    verdicts = {}
    for name, cells in result["grid"].items():
        assert [c["mechanism"] for c in cells] == list(grid.CHECKS)
        for c in cells:
            right = c["verdict"] == "verified" or (c["verdict"] == "refused" and c["note"])
            assert right, (name, c)
        verdicts[name] = {c["mechanism"] for c in cells if c["verdict"] == "refused"}
    assert verdicts["u v"] == verdicts["|x|^2"] == set()
    assert verdicts["s v, groups of 3"] == {"gradient flow", "SGD noise", "Langevin"}
    assert verdicts["u, ridge"] == {"label noise", "SGD noise", "small start"}
    assert json.loads((folder / "mechanisms.json").read_text())["quick"] is True


@pytest.mark.slow
def test_the_page_has_theorem_prediction_and_run_of_every_mechanism(
    study: tuple[Path, dict[str, Any]],
) -> None:
    folder, result = study
    text = html.unescape((folder / "index.html").read_text())
    for theorem in THEOREMS:
        assert theorem.says in text
        assert theorem.source in text
    assert set(grid.CHECKS) <= {theorem.mechanism for theorem in THEOREMS}
    assert set(result["parts"]) == set(mechanisms.PARTS) <= {t.mechanism for t in THEOREMS}
    assert "<img" in text
    assert (folder / "grid.svg").read_text().startswith("<?xml")


def test_a_product_of_three_waits_for_a_power_of_the_start() -> None:
    """Time until u^L = 1/2 from u = a, on 1/2 (u^L - 1)^2: log(1/a) at depth 2, 1/a at depth 3."""

    def time(depth: int, a: float) -> float:
        def half(_: float, u: np.ndarray) -> float:
            return float(u[0] ** depth - 0.5)

        half.terminal = True  # type: ignore[attr-defined]
        flow = solve_ivp(lambda _, u: u ** (depth - 1) * (1 - u**depth), (0, 1e6), [a],
                         events=half, rtol=1e-8, atol=1e-12)  # fmt: skip
        return float(flow.t_events[0][0])

    assert time(2, 1e-4) / time(2, 1e-2) == pytest.approx(2, rel=0.1)
    assert time(3, 1e-4) / time(3, 1e-2) == pytest.approx(100, rel=0.05)


def test_a_plain_parameter_waits_for_nothing() -> None:
    """Half of the way at log 2, whatever the start; and refused."""
    for first in (1e-2, 1e-12):
        flow = solve_ivp(lambda _, u: 1 - u, (0, np.log(2)), [first], rtol=1e-10)
        assert flow.y[0, -1] == pytest.approx(0.5, abs=first + 1e-6)
    with pytest.raises(sb.Refused, match="learned from the start"):
        grid_checks.check_entries(sb.Plain(3))


def test_a_law_of_small_starts_that_is_10_percent_off_fails(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    p = sb.Hadamard(3)
    assert grid_checks.check_entries(p).verdict == "verified"
    law = small_starts.separable(p, grid_checks.CHARGE, 1)
    off = {
        seed: replace(found, events=tuple(replace(e, time=1.1 * e.time) for e in found.events))
        for seed, found in law.items()
    }
    monkeypatch.setattr(small_starts, "separable", lambda *_: off)
    assert grid_checks.check_entries(p).verdict == "failed"


@pytest.mark.parametrize("wrong", ["max margin", "step size"])
def test_wrong_predictions_fail(wrong: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Another norm, and a largest rate that is 5% too large."""
    monkeypatch.setitem(grid_checks.STEPS, "max margin", 30_000)
    if wrong == "max margin":
        right = sb.MaxMargin.direction
        monkeypatch.setattr(
            sb.MaxMargin, "direction", lambda m, p, X, y, start: right(m, sb.Plain(6), X, y)
        )
        assert grid_checks.check_max_margin(sb.Hadamard(6)).verdict == "failed"
    else:
        monkeypatch.setattr(grid_checks, "SHARES", (1.02, 1.08))
        assert grid_checks.check_step_size(sb.Hadamard(6)).verdict == "failed"


@pytest.mark.slow
def test_wrong_predictions_of_lengths_fail(monkeypatch: pytest.MonkeyPatch) -> None:
    p = sb.Radial((3,), 3, sb.PowerLink(2.0))
    assert lengths.check_decay_of_lengths(p, 0.05).verdict == "verified"
    assert lengths.check_flow_of_lengths(p).verdict == "verified"
    monkeypatch.setattr(lengths, "WeightDecay", lambda strength: sb.WeightDecay(1.1 * strength))
    assert lengths.check_decay_of_lengths(p, 0.05).verdict == "failed"
    right = lengths.start_of_steps
    assert lengths.check_steps_of_lengths(p).verdict == "verified"
    monkeypatch.setattr(lengths, "start_of_steps", lambda p, s, g, rate: right(p, s, g, rate / 2))
    assert lengths.check_steps_of_lengths(p).verdict == "failed"
    start = {"x": 0.11 * np.tile([1.0, 0.0, 0.0], 3)}
    monkeypatch.setattr(lengths, "GradientFlow", lambda **_: sb.GradientFlow(start=start))
    assert lengths.check_flow_of_lengths(p).verdict == "failed"


@pytest.mark.slow
def test_a_wrong_prediction_of_the_shift_fails(monkeypatch) -> None:
    right = sb.LabelNoise.penalty
    monkeypatch.setattr(sb.LabelNoise, "penalty", lambda self, p, w, x: 1.5 * right(self, p, w, x))
    found = verification.check_label_noise(sb.Hadamard(3), **QUICK)
    assert found.verdict == "failed"


@pytest.mark.slow
def test_a_wrong_law_fails(monkeypatch: pytest.MonkeyPatch) -> None:
    p = sb.Radial((), 3, sb.PowerLink(2.0))
    assert verification.check_langevin(p, replicas=500).verdict == "verified"
    right = sb.Langevin.law

    def tilted(self, p, loss, reference=None):
        law = right(self, p, loss, reference)
        return sb.Law(lambda w: law.log_density(w) - 3 * w, law.reference, law.shape)

    monkeypatch.setattr("symbias.mechanisms.langevin.Langevin.law", tilted)
    assert verification.check_langevin(p, replicas=500).verdict == "failed"


def test_a_trained_estimator_that_stops_early_fails(monkeypatch: pytest.MonkeyPatch) -> None:
    assert verification.check_weight_decay(sb.L1(), 0.05, (6,)).verdict == "verified"
    whole = verification.DesignedRegressor

    def early(*arguments: Any, **options: Any) -> sb.DesignedRegressor:
        return whole(*arguments, **options, max_iter=2)

    monkeypatch.setattr(verification, "DesignedRegressor", early)
    with pytest.warns(ConvergenceWarning):
        found = verification.check_weight_decay(sb.L1(), 0.05, (6,))
    assert found.verdict == "failed"


@pytest.mark.slow
@pytest.mark.parametrize(
    ("penalty", "mechanism", "shape"),
    [
        ("elastic", sb.WeightDecay(0.05), 6),
        ("tv", sb.GradientFlow(0.1), 8),
        (sb.L1(), sb.Langevin(0.2, reference="ambient"), 3),
    ],
)
def test_verify_takes_what_design_takes(penalty, mechanism, shape) -> None:
    found = sb.verify(penalty, mechanism, shape=shape)
    assert found.verdict == "verified", found
    assert np.isfinite(found.value)


def test_verify_refuses_what_design_refuses() -> None:
    with pytest.raises(ValueError, match="no potential"):
        sb.verify("group", sb.GradientFlow(0.1), shape=6)
    with pytest.raises(TypeError, match="Adam"):
        sb.verify("l1", "adam", shape=6)


@pytest.mark.slow
def test_the_law_of_a_gauge_design_against_dw_is_simulated(monkeypatch) -> None:
    gauge = sb.Langevin(1.0, reference="ambient")
    one, three = (sb.design("l1", gauge, shape=shape) for shape in ((), 3))
    found = verification.check_gauge(three, one, sb.L1(), 1.0, replicas=500)
    assert found.verdict == "verified"
    assert "simulated: p = " in found.note

    def misread(self, p, loss, reference=None):  # the ambient density, taken for one against dw
        return sb.Law(lambda w: -loss(w) / self.temperature, "predictor", p.shape)

    monkeypatch.setattr("symbias.mechanisms.langevin.Langevin.law", misread)
    assert verification.check_gauge(three, one, sb.L1(), 1.0, replicas=500).verdict == "failed"


def test_a_gauge_design_that_is_too_stiff_to_simulate_says_so() -> None:
    found = sb.verify("logsum", sb.Langevin(0.02, reference="ambient"), shape=2)
    assert found.verdict == "verified"
    assert "no step size serves" in found.note
