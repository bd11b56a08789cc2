"""The study of Adam, AdamW and steepest descent: its rows by hand, summaries and sections."""

import numpy as np
import pytest

import symbias as sb
from symbias.studies import adaptive, adaptive_page


def test_a_row_of_a_margin_is_what_it_says() -> None:
    setting = next(s for s in adaptive.SETTINGS if s.name == "steepest descent, l1")
    row = adaptive.margin_row(setting, 20, 10, 0, steps=200)
    X, y = adaptive.separable(20, 10, 0)
    w = adaptive.trained(sb.Plain(20), X, y, sb.steepest_descent("l1"), 200, 0)
    best = sb.SteepestDescent("l1").direction(sb.Plain(20), X, y)
    assert row["angle"] == pytest.approx(adaptive.angle(w, best.w))
    assert row["ratio"] == pytest.approx(np.min(y * (X @ w)) / np.abs(w).sum() * best.R)
    short = sb.MaxMargin().direction(sb.Plain(20), X, y).w
    assert row["rival_angle"] == pytest.approx(adaptive.angle(w, short), abs=1e-4)


def test_a_row_of_a_box_is_what_it_says() -> None:
    boxed = adaptive.BOXED[1]
    row = adaptive.box_row(boxed, (0.9, 0.95), 0, steps=300)
    X, y = adaptive.regression(8, 40, 0)
    theta = adaptive.decayed(boxed.of(8), X, y, (0.9, 0.95), 1.0, 300, 0)
    assert row["beyond"] == pytest.approx(max(np.abs(a).max() for a in theta.values()) - 1)
    free = np.linalg.lstsq(X, y)[0]
    assert row["unbounded"] == pytest.approx(np.abs(theta["u1"] * theta["u2"] - free).max())
    inside = sb.AdamW(1.0).least_squares(sb.Plain(8), X, y)
    assert row["walls"] == np.sum(np.abs(inside) == 1)


def test_summaries_and_sections() -> None:
    rows = [
        {"setting": "Adam", "features": 20, "samples": 10, "gap": 1e-9}
        | {"angle": a, "rival_angle": 2.0, "ratio": 1 - 0.01 * a}
        for a in (0.2, 1.5, 2.5)
    ]
    margin = adaptive_page.summarised(rows)
    cells = adaptive_page.margin_cells(margin)
    assert cells == ["Adam", "10 x 20", "1.50", "2.50", "2.0", "0.975", "2 of 3"]
    assert len(cells) == len(adaptive_page.MARGIN_HEADER)
    rows = [
        {"setting": "w", "betas": (0.9, 0.95), "beyond": b, "residual": -10 * b}
        | {"error": 1e3 * abs(b), "unbounded": 0.5}
        for b in (-1e-8, -3e-7, -1e-6)
    ]
    box = adaptive_page.box_summarised(rows)
    cells = adaptive_page.box_cells(box)
    assert cells == ["w", "0.9, 0.95", "-1e-08", "3e-06", "1e-05", "1 of 3", "0.5"]
    assert len(cells) == len(adaptive_page.BOX_HEADER)
    first, second = adaptive_page.sections({"margin_summary": [margin], "box_summary": [box]})
    assert first.answer.startswith("2 of 3 runs")
    assert second.answer == "No |theta| ends beyond 1/lam by more than 0."
