"""What a fit says of itself is true, and says enough."""

import csv
import json
import re
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

import symbias as sb
from symbias.cli import app
from symbias.estimators import SeriesFit
from symbias.report.answers import moves_of

RNG = np.random.default_rng(0)


def write(folder: Path, **columns: object) -> Path:
    data = folder / "data.csv"
    with data.open("w", newline="") as stream:
        csv.writer(stream).writerows([list(columns), *zip(*columns.values(), strict=True)])
    return data


def fit(data: Path, penalty: str, *options: str) -> dict:
    out = data.parent / "out"
    command = ["fit", str(data), "--penalty", penalty, "--out", str(out), *options]
    result = CliRunner().invoke(app, command)
    assert result.exit_code == 0, result.stderr
    record = json.loads((out / "run.json").read_text())
    with (out / "coefficients.csv").open() as stream:
        record["rows"] = list(csv.DictReader(stream))
    page = re.sub(r"\s+", " ", (out / "index.html").read_text())
    return record | {"said": " ".join(result.stdout.split()), "page": page}


def refused(data: Path, *options: str) -> str:
    result = CliRunner().invoke(app, ["fit", str(data), *options, "--out", f"{data}.no"])
    assert result.exit_code == 2, result.output
    assert len(result.stderr.strip().splitlines()) == 1
    return result.stderr


@pytest.mark.parametrize("penalty", ["tv", "spectral", "l1"])
def test_a_constant_fit_is_compared_in_the_scale_of_the_data(tmp_path: Path, penalty: str) -> None:
    values = RNG.normal(size=40).round(3)
    data = write(tmp_path, t=range(40), x=values)
    record = fit(data, penalty, "--target", "x", "--strength", "1e6", "--verify")
    apart = record["reference"]["relative_fit_difference"]
    assert apart < 1e-5
    assert f"fits to {apart:.1e} of the range of x." in record["said"]
    assert "of that of a constant fit" in record["said"]
    # differences in units of what the mean leaves, and of the range
    scale = np.var(values) / 2
    assert record["objective"] == pytest.approx(scale)
    difference = record["objective"] - record["reference"]["objective"]
    found = record["reference"]["relative_objective_difference"]
    assert found == pytest.approx(difference / scale, abs=1e-14)
    trained = record["trained"]
    difference = trained["objective"] - record["objective"]
    assert trained["relative_objective_difference"] == pytest.approx(difference / scale, abs=1e-14)


def test_a_perfect_fit_is_compared_in_the_scale_of_the_data(tmp_path: Path) -> None:
    """Objectives near zero agree."""
    a = RNG.normal(size=30).round(3)
    record = fit(write(tmp_path, a=a, b=RNG.normal(size=30), y=2 * a), "l1", "--target", "y",
                 "--strength", "1e-13")  # fmt: skip
    assert record["objective"] < 1e-12
    assert "finds the same answer" in record["said"]


def test_a_wrong_answer_is_a_warning() -> None:
    from symbias.cli.compare import _agreement, constant
    from symbias.report.agreement import agreement

    y = np.array([[0.0, 1.0], [2.0, np.nan], [4.0, 11.0]])
    scale = ((4 + 0 + 4) + (25 + 25)) / 2 / 3
    found = _agreement(y, y + 0.5, 0.2 + 1e-5 * scale, 0.2, y)
    reference = found["reference"]
    assert reference["relative_objective_difference"] == pytest.approx(1e-5)
    reference["relative_fit_difference"] = 0.0
    (said,) = agreement(found | {"target": ["a", "b"]})
    assert said.startswith("WARNING: an independent convex solver (Clarabel) finds a lower")
    assert _agreement(y[:1], y[:1] + 0.5, 1, 1, y)["reference"][
        "relative_fit_difference"
    ] == pytest.approx(0.05)
    assert not constant(y)
    assert constant(np.array([[1.0, 2.0], [np.nan, 2.0]]))


@pytest.mark.parametrize("strength", ["auto", "0.5"])
@pytest.mark.parametrize("penalty", ["tv", "trend", "spectral", "l1", "ridge"])
def test_a_constant_target_is_said_to_be_one(tmp_path: Path, penalty: str, strength: str) -> None:
    data = write(tmp_path, t=range(12), x=[3.25] * 12)
    record = fit(data, penalty, "--target", "x", "--strength", strength, "--verify")
    assert record["constant"] == 3.25
    for where in ("said", "page"):
        assert "x is constant (3.25 everywhere)" in record[where]
        assert "strength_max" not in record[where]
        assert "one standard error" not in record[where]
        assert "convex" not in record[where]
    if strength == "auto":
        assert "strength any: the target is constant" in record["said"]
        assert "strengths" not in record
    else:
        assert "strength 0.5 (given)" in record["said"]


def test_channels_that_are_constant(tmp_path: Path) -> None:
    data = write(tmp_path, t=range(12), x=[1] * 12, y=[2] * 12)
    record = fit(data, "tv", "--target", "x", "--target", "y")
    assert "x and y are constant: nothing is left" in record["said"]


@pytest.mark.parametrize("strength", ["0.01", "auto"])
def test_the_class_that_a_positive_coefficient_speaks_for(tmp_path: Path, strength: str) -> None:
    a = RNG.normal(size=40)
    kinds = np.where(a + 0.3 * RNG.normal(size=40) > 0, "aye", "nay")
    record = fit(write(tmp_path, a=a, kind=kinds), "l1", "--target", "kind", "--classify",
                 "--strength", strength)  # fmt: skip
    assert record["positive_class"] == "nay"
    assert {row["class"] for row in record["rows"]} == {"nay"}
    assert float(record["rows"][1]["coefficient"]) < 0
    for where in ("said", "page"):
        assert "A positive coefficient speaks for nay, a negative one for aye." in record[where]


@pytest.mark.parametrize("penalty", ["tv", "trend"])
def test_of_many_changes_the_largest_are_named(tmp_path: Path, penalty: str) -> None:
    steps = RNG.normal(size=60)
    steps[41] = -30.0
    values = np.cumsum(steps) if penalty == "tv" else np.cumsum(np.cumsum(steps))
    times = np.arange(60) * 2
    record = fit(write(tmp_path, t=times, x=values), penalty, "--strength", "1e-7")
    assert len(record["changes"]) > 8
    assert "..." not in record["said"]
    where = r"between 80 and 82" if penalty == "tv" else r"at (?:80|82)"
    number = r"([-,.\d]+)"
    found = re.search(rf"most of all {where} \(from {number} to {number}", record["said"])
    assert found
    before, after = (float(value.replace(",", "")) for value in found.groups())
    size = values[41] - values[40] if penalty == "tv" else -15.0
    assert after - before == pytest.approx(size, rel=0.15)
    assert record["said"].count("(from ") == 5


def change_sizes(fit: SeriesFit) -> np.ndarray:
    moves = moves_of(fit)
    return moves[..., 1] - moves[..., 0]


def test_sizes_of_changes() -> None:
    times = np.array([0.0, 1.0, 3.0, 4.0, 8.0, 9.0])
    both = np.stack([[0, 0, 0, 5, 5, 5], [1, 1, 1, -1, -1, -1]], axis=1).astype(float)
    both[3] = np.nan  # the jump is between 3 and 8
    found = sb.fit_series(times, both, sb.TotalVariation(joint=True), 1e-6)
    np.testing.assert_allclose(change_sizes(found), [[5, -2]], atol=1e-3)
    bent = sb.fit_series(times, np.maximum(times - 3, 0) * 0.5, "trend", 1e-7)
    at = bent.breaks[:, 0].tolist().index(3.0)
    assert change_sizes(bent)[at, 0] == pytest.approx(0.5, abs=1e-3)
    days = np.datetime64("2020-01-01") + times.astype(int)
    again = sb.fit_series(days, np.maximum(times - 3, 0) * 0.5, "trend", 1e-7)
    np.testing.assert_allclose(change_sizes(again), change_sizes(bent), atol=1e-9)


def test_many_kept_features_are_counted(tmp_path: Path) -> None:
    X = RNG.normal(size=(60, 15))
    columns = {f"f{j}": X[:, j] for j in range(15)}
    record = fit(write(tmp_path, **columns, y=X.sum(axis=1)), "l1", "--target", "y",
                 "--strength", ".01")  # fmt: skip
    assert "15 of 15 features predict y: " in record["said"]
    assert ", and 3 more." in record["said"]


def test_all_constant_columns_are_named_at_once(tmp_path: Path) -> None:
    x, y = RNG.normal(size=(2, 9))
    data = write(tmp_path, a=[1] * 9, x=x, b=[2] * 9, y=y)
    said = refused(data, "--penalty", "l1", "--target", "y")
    assert "columns 'a', 'b' are constant; --drop them" in said
    assert "column 'b' is constant; --drop it" in refused(
        data, "--penalty", "l1", "--target", "y", "--drop", "a"
    )


def test_rows_are_counted_and_named(tmp_path: Path) -> None:
    data = tmp_path / "data.csv"
    data.write_text("t,x\n1,2\n")
    assert "1 row of data, need at least 2" in refused(data, "--penalty", "tv")
    data.write_text("t,x\n")
    assert "no rows of data" in refused(data, "--penalty", "tv")
    data.write_text('# c\nt,x\n1,2\n2,"3\n\n4"\n5,6\n')
    said = refused(data, "--penalty", "tv")
    assert f"{data}, row 4: a quoted cell runs over several lines" in said
