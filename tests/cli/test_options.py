"""Options that do not go together, or ask for what is not there, are refused in one line."""

import json
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from symbias.cli import app

RNG = np.random.default_rng(0)
TABLE = "a,b,c,price\n" + "".join(
    f"{a:.3f},{b:.3f},{c:.3f},{a - b + 0.1 * c:.3f}\n" for a, b, c in RNG.normal(size=(6, 3))
)
SERIES = "t,x\n" + "".join(f"{k},{v:.3f}\n" for k, v in enumerate(RNG.normal(size=6)))
L1, GROUP, TV = (("--penalty", p) for p in ("l1", "group", "tv"))
PRICE = ("--target", "price")


def run(folder: Path, text: str, *options: str):
    (folder / "data.csv").write_text(text)
    command = ["fit", str(folder / "data.csv"), *options]
    return CliRunner().invoke(app, command if "--out" in options else [*command, "--out", "o"])


@pytest.fixture(autouse=True)
def inside(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


BAD = {
    "groups": (TABLE, (*L1, *PRICE, "--groups", "a,b"), "--groups is for --penalty group"),
    "groups of a series": (SERIES, (*TV, "--groups", ""), "--groups is for --penalty group"),
    "no group": (TABLE, (*GROUP, *PRICE, "--groups", ";;"), "--groups ';;' names no column"),
    "target": (TABLE, (*L1, *PRICE, "--drop", "price"), "--target price is a column to --drop"),
    "series": (SERIES, (*TV, "--target", "x", "--drop", "x"), "--target x is a column to --drop"),
    "time": (SERIES, (*TV, "--time", "t", "--drop", "t"), "--time t is a column to --drop"),
    "time of a table": (TABLE, (*L1, *PRICE, "--time", "a"), "--time is for series (tv, trend"),
    "folds": (TABLE, (*L1, *PRICE, "--folds", "7"), "has 6 rows, so there are at most 6 folds"),
    "folds of a series": (SERIES, (*TV, "--folds", "7"), "6 time stamps have a value, so there"),
    "no folds": (TABLE, (*L1, *PRICE, "--folds", "3", "--strength", "1"), "is for --strength auto"),
    "out": (TABLE, (*L1, *PRICE, "--out", ""), "--out is empty"),
    "blank out": (TABLE, (*L1, *PRICE, "--out", " "), "--out is empty"),
}


@pytest.mark.parametrize("name", BAD)
def test_refused(tmp_path: Path, name: str) -> None:
    text, options, message = BAD[name]
    result = run(tmp_path, text, *options)
    assert result.exit_code == 2
    assert message in result.stderr
    assert len(result.stderr.strip().splitlines()) == 1
    assert [p.name for p in tmp_path.iterdir()] == ["data.csv"]


def test_folds_of_classes_are_at_most_the_rows_of_the_smallest(tmp_path: Path) -> None:
    text = "a,kind\n" + "".join(f"{k * 7 % 5},{'yes' if k < 3 else 'no'}\n" for k in range(9))
    common = (*L1, "--target", "kind", "--classify")
    said = run(tmp_path, text, *common, "--folds", "4").stderr
    assert "class 'yes' has 3 rows, so there are at most 3 folds" in said
    result = run(tmp_path, text, *common)
    assert "(one standard error, 3 folds)" in " ".join(result.stdout.split())


@pytest.mark.parametrize(("text", "options"), [(TABLE, (*L1, *PRICE)), (SERIES, TV)])
def test_how_it_was_cross_validated_is_said(tmp_path: Path, text: str, options) -> None:
    for folds, said in (((), "5 folds"), (("--folds", "3"), "3 folds"),
                        (("--folds", "6"), "leaving one out at a time")):  # fmt: skip
        result = run(tmp_path, text, *options, *folds)
        assert f"(one standard error, {said})" in " ".join(result.stdout.split()), result.stderr
    few = "\n".join(text.splitlines()[:5]) + "\n"
    assert "leaving one out at a time" in " ".join(run(tmp_path, few, *options).stdout.split())


@pytest.mark.parametrize("command", [["demo"], ["design", "--penalty", "l1"], ["audit", "."],
                                     ["study", "run", "orbits"]])  # fmt: skip
def test_every_command_wants_a_folder_with_a_name(tmp_path: Path, command: list[str]) -> None:
    result = CliRunner().invoke(app, [*command, "--out", ""])
    assert result.exit_code == 2
    assert "--out is empty" in result.stderr
    assert not list(tmp_path.iterdir())


def test_the_current_folder_by_its_name(tmp_path: Path) -> None:
    assert run(tmp_path, SERIES, *TV, "--strength", ".1", "--out", ".").exit_code == 0
    assert json.loads((tmp_path / "run.json").read_text())["n"] == 6
