"""Which column of a table is the time: said, asked for, or plain; and always named."""

import csv
import json
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from symbias.cli import app

RNG = np.random.default_rng(0)
SIZE, PRICE = RNG.normal(size=20).round(3), np.repeat([1.0, 3.0], 10)
TV = ("--penalty", "tv", "--strength", "0.01")


def write(folder: Path, **columns: object) -> Path:
    data = folder / "data.csv"
    with data.open("w", newline="") as stream:
        csv.writer(stream).writerows([list(columns), *zip(*columns.values(), strict=True)])
    return data


def fit(data: Path, *options: str) -> dict:
    result = CliRunner().invoke(app, ["fit", str(data), *TV, *options, "--out", f"{data}.out"])
    assert result.exit_code == 0, result.stderr
    record = json.loads((Path(f"{data}.out") / "run.json").read_text())
    page = (Path(f"{data}.out") / "index.html").read_text()
    return record | {"said": " ".join(result.stdout.split()), "page": page}


def refused(data: Path, *options: str) -> str:
    result = CliRunner().invoke(app, ["fit", str(data), *TV, *options, "--out", f"{data}.no"])
    assert result.exit_code == 2, result.output
    assert not Path(f"{data}.no").exists()
    assert len(result.stderr.strip().splitlines()) == 1
    return result.stderr


def test_a_feature_is_not_taken_for_the_time(tmp_path: Path) -> None:
    data = write(tmp_path, size=SIZE, rooms=range(20), price=PRICE)
    said = refused(data, "--target", "price")
    assert "which column is the time? Name it with --time: size, rooms" in said
    assert "--time index" in said
    named = fit(data, "--target", "price", "--time", "rooms")
    assert named["changes"] == [[9, 10]]
    counted = fit(data, "--target", "price", "--time", "index")
    assert counted["changes"] == [[9, 10]]
    assert counted["time"] is None
    for where in ("said", "page"):
        assert "rooms (numbers)" in named[where]
        assert "rows in order" in counted[where]


@pytest.mark.parametrize(
    ("name", "values"),
    [
        ("x", range(20)),  # strictly increasing
        ("x", [f"2020-01-{31 - k:02}" for k in range(20)]),  # dates, newest first
        ("Year", np.repeat(range(10), 2)),
        ("time (s)", SIZE),
    ],
)
def test_a_plausible_time_is_taken_and_said(tmp_path: Path, name: str, values) -> None:
    record = fit(write(tmp_path, **{name: values, "size": SIZE, "price": PRICE}),
                 "--target", "price")  # fmt: skip
    assert record["time"] == name
    form = "year-month-day" if "2020" in str(values) else "numbers"
    assert f"time {name} ({form})" in record["said"]


@pytest.mark.parametrize(
    "values",
    [[1, 1, *range(2, 20)], [*range(19), ""], [*range(19), "x"], list(range(20))[::-1]],
)
def test_other_numbers_are_no_time(tmp_path: Path, values: list) -> None:
    data = write(tmp_path, x=values, size=SIZE, price=PRICE)
    assert "which column is the time?" in refused(data, "--target", "price")


def test_the_only_other_column_is_the_time(tmp_path: Path) -> None:
    order = RNG.permutation(20)
    data = write(tmp_path, place=order, price=PRICE[order])
    for options in ((), ("--target", "price")):
        record = fit(data, *options)
        assert record["changes"] == [[9, 10]]
        assert "time place (numbers)" in record["said"]
    assert "rows in order" in fit(data, "--target", "price", "--drop", "place")["said"]


def test_a_column_named_index_is_that_column(tmp_path: Path) -> None:
    data = write(tmp_path, size=SIZE, index=np.arange(20) * 2, price=PRICE)
    assert fit(data, "--target", "price", "--time", "index")["changes"] == [[18, 20]]
