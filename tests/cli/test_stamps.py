"""Time stamps of series: read where there is no doubt, and given back as they were."""

import csv
import json
import os
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from typer.testing import CliRunner

import symbias as sb
from symbias.cli import app
from symbias.cli.read import read_csv

LENGTH, JUMP = 60, 31
VALUES = np.where(np.arange(LENGTH) < JUMP, 1.0, 3.0) + 0.1 * np.sin(np.arange(LENGTH) ** 2)
DAYS = pd.date_range("2021-01-01", periods=LENGTH)
HOURS = pd.date_range("2021-03-27", periods=LENGTH, freq="h", tz="Europe/Berlin")  # clocks change
WAYS = {
    "iso": list(DAYS.strftime("%Y-%m-%d")),
    "months": [f"{1990 + i // 12}-{i % 12 + 1:02}" for i in range(LENGTH)],
    "seconds": list(DAYS.strftime("%Y-%m-%d %H:%M:%S.%f")),
    "nanoseconds": [f"2021-01-01T00:00:00.0000000{i:02}" for i in range(LENGTH)],
    "yearmonthday": list(DAYS.strftime("%Y%m%d")),
    "dots": list(DAYS.strftime("%d.%m.%Y")),
    "day first": list(DAYS.strftime("%d/%m/%Y")),
    "month first": list(DAYS.strftime("%m/%d/%Y %H:%M")),
    "year first": list(DAYS.strftime("%Y/%m/%d")),
    "quarters": [f"{1990 + i // 4}Q{i % 4 + 1}" for i in range(LENGTH)],
    "UTC": list(HOURS.tz_convert("UTC").strftime("%Y-%m-%d %H:%M UTC")),
    "Z": list(HOURS.tz_convert("UTC").strftime("%Y-%m-%dT%H:%M:%SZ")),
    "one offset": [f"{d:%Y-%m-%d}T00:00-05:00" for d in DAYS],
    "daylight saving": [t.isoformat() for t in HOURS],
    "epoch": [str(t.value) for t in DAYS],
    "numbers": [f"{i}.50" for i in range(LENGTH)],
}


def write(folder: Path, stamps: list[str], separator: str = ",") -> Path:
    rows = [f"{s}{separator}{v:.6f}" for s, v in zip(stamps, VALUES, strict=True)]
    text = "\n".join([f"when{separator}value", *rows]) + "\n"
    data = folder / "data.csv"
    data.write_text(text.replace(".", ",") if separator == ";" else text)
    return data


def fit(folder: Path, stamps: list[str], *options: str, separator: str = ",") -> dict:
    data = write(folder, stamps, separator)
    arguments = ["fit", str(data), "--out", str(folder / "out"), *options]
    result = CliRunner().invoke(app, arguments)
    assert result.exit_code == 0, result.stderr
    return json.loads((folder / "out" / "run.json").read_text()) | {"said": result.stdout}


TV = ("--penalty", "tv", "--strength", "0.1")


@pytest.mark.parametrize("way", WAYS)
def test_stamps_come_back_as_they_went_in(tmp_path: Path, way: str) -> None:
    stamps = WAYS[way]
    record = fit(tmp_path, stamps, *TV)
    before, after = stamps[JUMP - 1 : JUMP + 1]
    kind = float if way in ("epoch", "numbers") else str
    assert record["changes"] == [[kind(before), kind(after)]]
    sentence = f"once, between {before} and {after}, from "
    assert sentence in " ".join(record["said"].split())
    page = (tmp_path / "out" / "index.html").read_text()
    assert sentence in page.replace("&#43;", "+")
    with (tmp_path / "out" / "coefficients.csv").open() as stream:
        assert [row["when"] for row in csv.DictReader(stream)] == stamps
    assert abs(record["reference"]["relative_objective_difference"]) < 1e-6


@pytest.mark.parametrize("way", WAYS)
def test_the_code_on_the_page_reads_the_same(tmp_path: Path, way: str, monkeypatch) -> None:
    from symbias.cli.jobs import run_job
    from symbias.cli.record import Options
    from symbias.report import figures

    monkeypatch.setattr(figures, "svg", lambda figure: "")
    data = write(tmp_path, WAYS[way])
    job = run_job(read_csv(data), Options("trend", 1e-2, show_progress=False))
    before = Path.cwd()
    os.chdir(tmp_path)
    try:
        names: dict = {}
        exec(job.section.parts[-1].code, names)
    finally:
        os.chdir(before)
    assert names["fit"].objective == pytest.approx(job.record["objective"], rel=1e-9)


def test_offsets_that_change_leave_no_gap(tmp_path: Path) -> None:
    (tmp_path / "x.csv").write_text("t,x\n" + "\n".join(f"{t},1" for t in WAYS["daylight saving"]))
    steps = np.diff(read_csv(tmp_path / "x.csv").times("t").values)
    assert set(steps) == {np.timedelta64(1, "h")}


def test_decimal_commas(tmp_path: Path) -> None:
    record = fit(tmp_path, list(map(str, range(LENGTH))), *TV, separator=";")
    assert record["changes"] == [[JUMP - 1, JUMP]]
    assert "sep=';', decimal=\",\"" in record["read"]
    plain = fit(tmp_path, list(map(str, range(LENGTH))), *TV)
    assert record["objective"] == plain["objective"]


def test_periods_of_dates_are_days(tmp_path: Path) -> None:
    record = fit(tmp_path, WAYS["UTC"], "--penalty", "spectral", "--strength", "0.001")
    assert "days" in record["said"]
    hours = fit(
        tmp_path, list(map(str, range(LENGTH))), "--penalty", "spectral", "--strength", ".001"
    )
    assert record["strongest_period"] == pytest.approx(hours["strongest_period"] / 24)


def test_axes_of_dates_are_dates(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    from symbias.report import figures

    seen = []
    monkeypatch.setattr(figures, "svg", lambda figure: seen.append(figure) or "data:;base64,")
    for way in ("dots", "quarters", "daylight saving"):
        fit(tmp_path, WAYS[way], *TV)
        figure = seen.pop()
        figure.canvas.draw()
        axis = figure.axes[0].xaxis
        texts = [tick.get_text() for tick in axis.get_ticklabels()]
        texts.append(axis.get_major_formatter().get_offset())
        assert any(year in text for text in texts for year in ("1990", "2000", "2021")), texts
        assert figure.axes[0].get_xlabel() == "when" + " (UTC)" * (way == "daylight saving")


BAD = {
    "two readings": (["01/02/2021", "02/02/2021", "03/02/2021"], "row 2", "may be day/month/year"),
    "names": (["1 Jan 2021", "2 Jan 2021", "3 Jan 2021"], "row 2", "write dates like 2020-01-31"),
    "short years": (["31.01.21", "01.02.21", "02.02.21"], "row 2", "write dates like"),
    "two ways": (["2021-01-31", "01.02.2021", "2021-02-02"], "row 3", "is not a date like 2021"),
    "no zone": (["2021-01-31T10:00Z", "2021-02-01T10:00", "2021-02-02T10:00Z"], "row 3", "mixes"),
    "no such day": (["30.01.2021", "31.01.2021", "31.02.2021"], "row 4", "no day or time"),
    "no such hour": (["2021-01-31T10:00", "2021-01-31T25:00", "2021-02-01"], "row 3", "no day"),
    "missing": (["2021-01-31", "NA", "2021-02-02"], "row 3", "missing value"),
    "underscore": (["1_0", "2_0", "3_0"], "row 2", "'1_0' is not a number"),
    "thousands": (["1,234", "1,235", "1,236"], "row 2", "may be 1.234 or 1234"),
    "points too": (["1,234.5", "2,000.0", "3"], "row 2", "separators of thousands"),
}


@pytest.mark.parametrize("name", BAD)
def test_what_leaves_a_doubt_is_refused_in_one_line(tmp_path: Path, name: str) -> None:
    stamps, row, message = BAD[name]
    (tmp_path / "x.csv").write_text("t\tx\n" + "\n".join(f"{s}\t{i}" for i, s in enumerate(stamps)))
    result = CliRunner().invoke(app, ["fit", str(tmp_path / "x.csv"), *TV])
    assert result.exit_code == 2
    assert row in result.stderr
    assert message in result.stderr
    assert len(result.stderr.strip().splitlines()) == 1


def test_whole_numbers_that_are_no_dates_are_numbers(tmp_path: Path) -> None:
    (tmp_path / "x.csv").write_text("t,x\n20210131,1\n20210199,2\n20210200,3\n")
    assert not read_csv(tmp_path / "x.csv").times("t").dates


def test_dates_in_the_library() -> None:
    """Dates come back as dates; zones are refused in one line."""
    for dates in (DAYS, DAYS.to_numpy(), list(DAYS.strftime("%Y-%m-%d")), list(DAYS.date)):
        found = sb.fit_series(dates, VALUES, "trend", 1e-2)
        assert found.times.dtype.kind == "M"
        days = sb.fit_series(np.arange(LENGTH), VALUES, "trend", 1e-2)
        np.testing.assert_array_equal(found.fitted, days.fitted)
        np.testing.assert_array_equal(found.unshrunk, days.unshrunk)
        np.testing.assert_array_equal(found.breaks, DAYS.to_numpy()[days.breaks])
    with pytest.raises(ValueError, match="dates without a zone"):
        sb.fit_series(HOURS, VALUES, "tv", 0.1)


@pytest.mark.parametrize("shift", [0, 1.6e18])
def test_whole_numbers_keep_their_digits(shift: float) -> None:
    times = np.arange(LENGTH) + int(shift)
    found = sb.fit_series(times, VALUES, "tv", 0.1)
    assert found.breaks.tolist() == [[JUMP - 1 + int(shift), JUMP + int(shift)]]
