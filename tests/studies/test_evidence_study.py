"""The evidence study in its quick form: predictions meet simulations, wrong ones fail."""

import json
from pathlib import Path
from typing import Any

import pytest

from symbias.studies import study

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module", name="study")
def _study(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, Any]]:
    folder = tmp_path_factory.mktemp("evidence")
    study("evidence")(folder, quick=True, progress=False)
    return folder, json.loads((folder / "evidence.json").read_text())


def test_one_step_identity(study: tuple[Path, dict[str, Any]]) -> None:
    rows = study[1]["identity"]
    assert {row["network"] for row in rows} == {
        "ReLU, 3 layers",
        "attention, 2 heads",
        "deep linear",
        "normalised",
    }
    assert max(row["error"] for row in rows) < 1e-12


def test_equilibria_are_predicted_where_balance_is_not(
    study: tuple[Path, dict[str, Any]],
) -> None:
    """Four replicas, six relaxation times of measurement; seeds are fixed."""
    rows = {(row["setting"], row["observable"]): row for row in study[1]["equilibria"]}
    for name, row in rows.items():
        assert abs(row["error"]) < 0.05, name
        assert row["verdict"] != "rejected", name
    relu = rows["ReLU, 3 inputs, weight decay 0", "|v|/|w|"]
    assert abs(relu["measured"] / 3**-0.5 - 1) < 0.05
    assert abs(relu["balanced_error"]) > 0.3
    assert relu["start"] == pytest.approx(2)
    matrix = [row for (setting, _), row in rows.items() if setting.startswith("P Q")]
    assert len(matrix) == 4
    assert max(abs(row["balanced_error"]) for row in matrix) > 0.2


def test_laws_hold_and_wrong_ones_do_not(study: tuple[Path, dict[str, Any]]) -> None:
    """4,000 replicas a law, rejected at 1% after correction; two wrong laws are within reach."""
    rows = {row["law"]: row for row in study[1]["laws"]}
    assert len(rows) == 4
    assert {row["verdict"] for row in rows.values()} == {"consistent"}
    for row in rows.values():
        assert min(row["wrong"].values()) < 0.01, row["law"]
    assert rows["u v, rho = 0"]["wrong"]["flat"] < 1e-4
    assert rows["|x|^2, n = 1, rho = 1"]["wrong"]["ambient"] < 1e-4


def test_the_judge_is_calibrated(study: tuple[Path, dict[str, Any]]) -> None:
    """100 true laws a test at 5%: 13% or more rejected comes once in 700."""
    for row in study[1]["calibration"]:
        assert row["rejected_at_5_percent"] < 0.13, row["test"]


def test_figures(study: tuple[Path, dict[str, Any]]) -> None:
    for name in ("equilibria", "laws", "calibration"):
        assert (study[0] / f"{name}.png").read_bytes().startswith(b"\x89PNG")


def test_the_page_holds_every_table(study: tuple[Path, dict[str, Any]]) -> None:
    page = (study[0] / "index.html").read_text()
    for table in ("identity", "equilibria", "laws", "calibration"):
        assert len(study[1][table]) > 0
    for row in study[1]["laws"]:
        assert row["law"] in page
    assert page.count("data:image/svg+xml") == 3
