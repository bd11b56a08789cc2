"""A reduced design grid: every check passes on a right design, and fails on a wrong one."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from sklearn.exceptions import ConvergenceWarning

import symbias as sb
from symbias.studies import design_grid, verification

QUICK = {"pairs": 12, "relaxations": 40, "burn_in": 10}


@pytest.fixture(scope="module")
def grid(tmp_path_factory: pytest.TempPathFactory):
    folder = tmp_path_factory.mktemp("grid")

    def label_noise(entry: design_grid.Entry, quick: bool) -> verification.Verification:
        return verification.check_label_noise(entry.of((3,)), **QUICK)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(design_grid, "ENTRIES", design_grid.ENTRIES[:3])
        patch.setitem(design_grid.CHECKS, "label noise", label_noise)
        return folder, design_grid.run(folder, quick=True, progress=False)


@pytest.mark.slow
def test_no_cell_is_empty_and_none_fails(grid: tuple[Path, dict]) -> None:
    folder, result = grid
    verdicts = {}
    for name, cells in result["grid"].items():
        assert [c["mechanism"] for c in cells] == list(design_grid.MECHANISMS)
        for c in cells:
            assert c["verdict"] == "verified" or (c["verdict"] == "refused" and c["note"])
        verdicts[name] = [c["verdict"] for c in cells]
    assert verdicts["u v"] == ["verified"] * 5 + ["refused"]
    assert verdicts["s v, groups of 3"][2:4] == ["refused"] * 2
    assert json.loads((folder / "design-grid.json").read_text())["quick"] is True
    assert "<img" in (folder / "index.html").read_text()


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
