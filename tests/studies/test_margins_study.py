"""The study of margins: its measures by hand, and its quick form."""

import json
from pathlib import Path

import numpy as np
import pytest

import symbias as sb
from symbias.studies import margins, margins_page, study


def test_angles_by_hand() -> None:
    assert margins.angle(np.array([1.0, 0.0]), np.array([3.0, 3.0])) == pytest.approx(45)
    assert margins.angle(np.array([1.0, 0.0]), np.array([1.0, 1e-9])) == pytest.approx(
        np.degrees(1e-9), rel=1e-6
    )


def test_problems_are_separable_and_of_a_sparse_truth() -> None:
    X, y = margins.separable(20, 30, 3)
    truth = X[:, :3] @ [2.0, -1.0, 1.5]
    np.testing.assert_array_equal(y, np.sign(truth))
    X, y = margins.separable(20, 30, 3, classes=3)
    assert set(y) == {0, 1, 2}
    found = sb.MaxMargin().direction(sb.Plain((20, 3)), X, y)
    assert margins._least(found.w, X, y) == pytest.approx(1)


def test_the_excess_of_a_rival_in_a_sum_is_its_best_split() -> None:
    """R of a sum of two l1 designs, against the value at the sum's own margin."""
    setting = next(s for s in margins.SETTINGS if "cosines" in s.name)
    X, y = margins.separable(20, 10, 0)
    found = sb.MaxMargin().direction(setting.of(20), X, y)
    assert margins._norm(setting.of(20), found) == pytest.approx(found.R, rel=1e-6)


def test_a_summary_counts_what_it_says() -> None:
    rows = [
        {"setting": "w", "features": 20, "samples": 10, "angle": a, "rival_angle": 2.0}
        | {"excess": 0.01 * a, "rival_excess": 0.5, "gap": 1e-9}
        for a in (0.2, 1.5, 2.5)
    ]
    found = margins_page.summarised(rows)
    assert (found["within_a_degree"], found["told_apart"], found["problems"]) == (1, 2, 3)
    cells = margins_page.summary_cells(found)
    assert cells == ["w", "10 x 20", "1.50", "2.50", "1 of 3", "2.0", "2.50%", "50.0%", "2 of 3"]
    assert len(cells) == len(margins_page.HEADER)


@pytest.mark.slow
def test_the_quick_study(tmp_path: Path) -> None:
    study("margins")(tmp_path, quick=True, progress=False)
    result = json.loads((tmp_path / "margins.json").read_text())
    assert [row["setting"] for row in result["summary"]] == [s.name for s in margins.SETTINGS]
    assert all(row["told_apart"] == row["problems"] == 2 for row in result["summary"])
    assert max(row["largest_excess"] for row in result["summary"]) < 0.01
    page = (tmp_path / "index.html").read_text()
    assert page.count("data:image/svg+xml") == 1
    for setting in margins.SETTINGS:
        assert setting.name in page
