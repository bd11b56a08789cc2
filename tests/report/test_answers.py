"""What is said first: the answer, and how sure it is."""

import json
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from symbias.cli import app
from symbias.report.words import amount, counted, listed, times

RNG = np.random.default_rng(0)


@pytest.mark.parametrize(
    ("value", "change", "said"),
    [
        (1097.75, 247.8, "1,098"),
        (849.97, -247.8, "850"),
        (0.12345, 0.0021, "0.12345"),
        (1_000_001.0, 2.0, "1,000,001.00"),
        (1234567.0, 50_000.0, "1,234,600"),
        (-0.0004, 3.0, "0.00"),
        (2e12, 1e12, "2e+12"),
        (0.1, 1e-14, "0.1"),
        (5.0, 0.0, "5"),
    ],
)
def test_a_value_is_written_to_a_hundredth_of_its_change(
    value: float, change: float, said: str
) -> None:
    assert amount(value, change) == said


def test_lists_and_counts() -> None:
    assert [listed(list("abc"[:k])) for k in (1, 2, 3)] == ["a", "a and b", "a, b and c"]
    assert [times(k) for k in (1, 2, 1234)] == ["once", "twice", "1,234 times"]
    assert [counted(k, "change") for k in (0, 1, 2)] == ["no change", "one change", "2 changes"]


def fit(folder: Path, head: str, rows: np.ndarray, *options: object) -> tuple[str, dict]:
    data = folder / "data.csv"
    np.savetxt(data, rows, delimiter=",", header=head, comments="", fmt="%.6g")
    command = ["fit", data, "--out", folder / "out", *options]
    result = CliRunner().invoke(app, [str(part) for part in command])
    assert result.exit_code == 0, result.output
    return " ".join(result.stdout.split()), json.loads((folder / "out/run.json").read_text())


T = np.arange(80)
NOISE = 0.2 * RNG.normal(size=80)


@pytest.mark.parametrize(
    ("signal", "penalty", "answer"),
    [
        (2.0 * (T > 30) - 5.0 * (T > 50), "tv", "The level of x changed twice: between 30 and 31 "),
        (2.0 * (T > 30), "tv", "The level of x rose once, between 30 and 31, from "),
        (0.0 * T, "tv", "The level of x does not change."),
        (0.4 * np.maximum(T - 40, 0), "trend", "The slope of x rose once, at 40, from "),
        (np.cos(np.pi * 10 * (T + 0.5) / 80), "spectral", "The strongest period of x is 1"),
    ],
)
def test_the_answer_comes_first(
    tmp_path: Path, signal: np.ndarray, penalty: str, answer: str
) -> None:
    strength = {"tv": 0.1, "trend": 8.0, "spectral": 0.05}[penalty]
    rows = np.column_stack([T, signal + NOISE])
    said, record = fit(tmp_path, "year,x", rows, "--penalty", penalty, "--strength", strength)
    assert said.startswith(answer)
    page = " ".join((tmp_path / "out/index.html").read_text().split())
    assert f'<p class="answer">{answer}' in page
    titles = ("How sure this is", "What was assumed", "How it was computed")
    parts = [page.index(f"<h3>{title}</h3>") for title in titles]
    assert parts == sorted(parts)
    assert page.index("<figure>") < parts[0]
    for k, (low, high) in enumerate(record["sure"].get("intervals", [])):
        a, b = np.array(record["changes"][k], dtype=float)
        assert float(low) <= a <= b <= float(high)
    assert ("intervals" in record["sure"]) == (penalty != "spectral")


def test_slopes_have_units(tmp_path: Path) -> None:
    rows = np.column_stack([T, 0.4 * np.maximum(T - 40, 0) + NOISE])
    said, _ = fit(tmp_path, "year,x", rows, "--penalty", "trend", "--strength", 8)
    assert " per year." in said.split("How sure")[0]


def test_half_of_the_rows(tmp_path: Path) -> None:
    X = RNG.normal(size=(60, 4))
    y = X[:, 0] - X[:, 1] + 0.3 * RNG.normal(size=60)
    said, record = fit(tmp_path, "a,b,c,d,y", np.column_stack([X, y]), "--penalty", "l1",
                       "--target", "y", "--strength", 0.2)  # fmt: skip
    assert said.startswith("2 of 4 features predict y: ")
    assert record["sure"]["kept"]["a"] == record["sure"]["kept"]["b"] == 20
    assert "kept in at least nine of ten random halves of the rows." in said


def test_few_rows_are_not_halved(tmp_path: Path) -> None:
    X = RNG.normal(size=(12, 2))
    rows = np.column_stack([X, X[:, 0]])
    said, record = fit(tmp_path, "a,b,y", rows, "--penalty", "l1", "--target", "y",
                       "--strength", 0.1)  # fmt: skip
    assert "Not tested: halves of 12 rows say little: from 20 rows on." in said
    assert "kept" not in record["sure"]


def test_what_takes_long_is_asked_for(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    from symbias.cli import sure

    monkeypatch.setattr(sure, "_SECONDS", 0.0)
    monkeypatch.setattr(sure, "_STAMPS", 10)
    rows = np.column_stack([T, np.cos(np.pi * 10 * (T + 0.5) / 80) + NOISE])
    said, record = fit(tmp_path, "year,x", rows, "--penalty", "spectral", "--strength", 0.05)
    assert "--verify makes them" in said
    assert "periods" not in record["sure"]
    said, record = fit(tmp_path, "year,x", rows, "--penalty", "tv", "--strength", 3)
    assert "noise alone is tried for up to 10 stamps, or by --verify" in said
    assert record["sure"]["intervals"] == []
