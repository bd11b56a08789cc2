"""`symbias fit`: what it writes, and what it says of bad input."""

import csv
import json
import os
import subprocess
import sys
from importlib.resources import files
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from typer.testing import CliRunner

import symbias as sb
from symbias.cli import app

NILE = str(files("symbias") / "data" / "nile.csv")


def run(*arguments: object) -> tuple[int, str, str]:
    result = CliRunner().invoke(app, [str(a) for a in arguments])
    assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
    return result.exit_code, result.stdout, result.stderr


def rows(path: Path) -> list[dict[str, str]]:
    with path.open() as stream:
        return list(csv.DictReader(stream))


def write(path: Path, text: str) -> Path:
    path.write_text(text)
    return path


def test_a_series_at_a_given_strength(tmp_path: Path) -> None:
    out = tmp_path / "out"
    code, stdout, _ = run(
        "fit", NILE, "--penalty", "tv", "--strength", 20, "--out", out, "--quiet", "--json"
    )
    assert code == 0
    record = json.loads(stdout)
    assert record == json.loads((out / "run.json").read_text())
    assert record["changes"] == [[1898, 1899]]
    assert record["converged"]
    assert record["dual_gap"] <= 1e-8 * record["objective"]
    assert abs(record["reference"]["relative_objective_difference"]) < 1e-6
    table = rows(out / "coefficients.csv")
    assert len(table) == 100
    levels = np.array([float(r["fit"]) for r in table])
    assert np.flatnonzero(np.diff(levels)).tolist() == [27]
    assert sorted(os.listdir(out)) == [
        "coefficients.csv",
        "figure-1.svg",
        "index.html",
        "run.json",
    ]
    assert "<svg" in (out / "figure-1.svg").read_text()


def test_auto_finds_the_change_of_1898(tmp_path: Path) -> None:
    code, stdout, _ = run("fit", NILE, "--penalty", "tv", "--out", tmp_path / "o")
    assert code == 0
    said = "The level of flow fell once, between 1898 and 1899, from 1,098 to 850."
    assert stdout.startswith(said)
    assert "With 95% confidence the change lies between 1896 and 1901." in stdout
    record = json.loads((tmp_path / "o" / "run.json").read_text())
    assert record["sure"]["intervals"] == [["1896", "1901"]]
    assert record["sure"]["false_alarms"] < 0.05


def test_gaps_and_irregular_stamps_are_handled(tmp_path: Path) -> None:
    """A broken line over uneven times with holes: the slope changes where it should."""
    times = np.cumsum(np.random.default_rng(0).uniform(0.2, 2.0, 60)).round(3)
    values = np.where(times < times[30], times, 2 * times[30] - times)
    cells = ["" if i % 7 == 3 else f"{v:.6f}" for i, v in enumerate(values)]
    body = "\n".join(f"{t},{c}" for t, c in zip(times, cells, strict=True))
    data = write(tmp_path / "gaps.csv", f"t,x\n{body}\n")
    code, stdout, stderr = run(
        "fit", data, "--penalty", "trend", "--strength", 1e-4, "--out", tmp_path / "o", "--json"
    )
    assert code == 0, stderr
    record = json.loads(stdout)
    assert record["missing"] == 9
    # shrinkage splits one kink over its neighbours, and not further
    assert all(times[27] <= at <= times[33] for at, _ in record["changes"])
    assert record["changes"]
    found = np.array([float(r["fit"]) for r in rows(tmp_path / "o" / "coefficients.csv")])
    np.testing.assert_allclose(found, values, atol=0.05)


def test_dates_are_times(tmp_path: Path) -> None:
    days = pd.date_range("2020-01-01", periods=12, freq="MS")
    body = "\n".join(f"{d:%Y-%m-%d},{1.0 if i < 5 else 4.0}" for i, d in enumerate(days))
    data = write(tmp_path / "months.csv", f"month,value\n{body}\n")
    code, stdout, stderr = run(
        "fit", data, "--penalty", "tv", "--strength", 0.01, "--out", tmp_path / "o", "--json"
    )
    assert code == 0, stderr
    assert json.loads(stdout)["nonzero"] == 1


def test_months_and_large_offsets(tmp_path: Path) -> None:
    body = "\n".join(
        f"{2000 + i // 12}-{i % 12 + 1:02},{1e9 + 1.0 * (i > 9) + 0.01 * (i % 3)}"
        for i in range(24)
    )
    data = write(tmp_path / "offset.csv", f"month,value\n{body}\n")
    code, stdout, stderr = run(
        "fit", data, "--penalty", "tv", "--strength", 0.01, "--out", tmp_path / "o", "--json"
    )
    assert code == 0, stderr
    record = json.loads(stdout)
    assert record["nonzero"] == 1
    assert abs(record["reference"]["relative_objective_difference"]) < 1e-5


def test_a_table_in_original_units(tmp_path: Path) -> None:
    rng = np.random.default_rng(1)
    X = rng.normal(size=(80, 4)) * [1, 10, 0.1, 1] + [5, 0, 1, 0]  # means that count
    frame = pd.DataFrame(X, columns=["a", "b", "c", "d"])
    frame["y"] = 3 + 2 * X[:, 0] - 0.3 * X[:, 1]
    data = tmp_path / "table.csv"
    frame.to_csv(data, index=False)
    code, stdout, stderr = run(
        "fit", data, "--penalty", "l1", "--target", "y", "--out", tmp_path / "o", "--json"
    )
    assert code == 0, stderr
    assert json.loads(stdout)["features"] == ["a", "b", "c", "d"]
    found = {r["feature"]: float(r["coefficient"]) for r in rows(tmp_path / "o/coefficients.csv")}
    assert found["(intercept)"] == pytest.approx(3, abs=1)  # of shrunk slopes
    assert found["a"] == pytest.approx(2, abs=0.2)
    assert found["b"] == pytest.approx(-0.3, abs=0.03)
    prediction = found["(intercept)"] + X @ [found[n] for n in "abcd"]
    assert np.corrcoef(prediction, frame["y"])[0, 1] > 0.999
    assert prediction.mean() == pytest.approx(frame["y"].mean(), rel=1e-9)


def test_groups_are_in_or_out_together(tmp_path: Path) -> None:
    rng = np.random.default_rng(2)
    frame = pd.DataFrame(rng.normal(size=(60, 4)), columns=["a", "b", "c", "d"])
    frame["y"] = frame["a"] + frame["b"] + 0.1 * rng.normal(size=60)
    data = tmp_path / "table.csv"
    frame.to_csv(data, index=False)
    code, _, stderr = run(
        "fit", data, "--penalty", "group", "--target", "y", "--groups", "a,b;c,d",
        "--strength", 0.2, "--out", tmp_path / "o",
    )  # fmt: skip
    assert code == 0, stderr
    kept = [r["feature"] for r in rows(tmp_path / "o/coefficients.csv")[1:]
            if float(r["coefficient"])]  # fmt: skip
    assert kept == ["a", "b"]


@pytest.mark.parametrize(
    ("penalty", "extra"),
    [("tv", []), ("spectral", []), ("l1", ["--target", "flow"])],
)
def test_the_snippet_on_the_page_runs(tmp_path: Path, penalty: str, extra: list[str]) -> None:
    from symbias.cli.jobs import run_job
    from symbias.cli.read import read_csv
    from symbias.cli.record import Options

    target = tuple(extra[1:])
    job = run_job(read_csv(Path(NILE)), Options(penalty, 10.0, target, show_progress=False))
    write(tmp_path / "nile.csv", Path(NILE).read_text())
    before = Path.cwd()
    os.chdir(tmp_path)
    try:
        names: dict[str, object] = {}
        exec(job.section.parts[-1].code, names)
    finally:
        os.chdir(before)
    found = names["model"].objective_ if "model" in names else names["fit"].objective
    assert found == pytest.approx(job.record["objective"], rel=1e-9)


def test_verify_shows_three_ways(tmp_path: Path) -> None:
    """Solved directly, factors trained, and an independent convex solver."""
    from symbias.cli.jobs import run_job
    from symbias.cli.read import read_csv
    from symbias.cli.record import Options

    table = tmp_path / "table.csv"
    rng = np.random.default_rng(0)
    rows = rng.normal(size=(40, 4))
    lines = [",".join(f"{v:.6f}" for v in [*row, row[0] - row[1]]) for row in rows]
    table.write_text("a,b,c,d,y\n" + "\n".join(lines) + "\n")
    for options in (
        Options("tv", 10.0, show_progress=False, verify=True),
        Options("l1", 0.1, ("y",), show_progress=False, verify=True),
    ):
        job = run_job(read_csv(Path(NILE) if options.penalty == "tv" else table), options)
        for other in (job.record["trained"], job.record["reference"]):
            assert abs(other["relative_objective_difference"]) < 1e-7
        names = [row[0] for row in job.section.parts[-1].tables[0][1]]
        for name in ("solved directly", "factors trained (varpro)", "Clarabel"):
            assert f"objective, {name}" in names


BAD = {
    "infinite": ("t,x\n1,2\n2,inf\n3,4\n", "row 3, column 'x': 'inf' is not finite"),
    "overflow": ("t,x\n1,2\n2,1e999\n3,4\n", "row 3, column 'x': '1e999' is not finite"),
    "text": ("# c\nt,x\n1,2\n2,high\n3,4\n", "row 4, column 'x': 'high' is not a number"),
    "missing time": ("t,x\n1,2\n,3\n3,4\n", "row 3, column 't': missing value"),
    "all missing": ("t,x\n1,\n2,NA\n3,nan\n", "column 'x' has only missing values"),
    "two values": ("t,x\n1,1\n2,\n3,2\n", "at least 3 observed values, got 2"),
    "empty": ("", "the file is empty"),
    "only comments": ("# nothing\n", "the file is empty"),
    "header only": ("t,x\n", "no rows of data"),
    "one row": ("t,x\n1,2\n", "1 row of data, need"),
    "ragged": ("t,x\n1,2\n2,3,4\n3,4\n", "row 3: 3 cells, expected 2"),
    "same name": ("x,x\n1,2\n2,3\n3,4\n", "a name of its own"),
    "three columns": ("t,x,y\n1,2,3\n2,3,4\n3,4,5\n", "Name it with --target: x, y"),
    "too large": ("t,x\n1,2\n2,1e200\n3,4\n", "row 3, column 'x': '1e200' is too large"),
    "bad date": (
        "t,x\n2020-01-01,2\n2020-02-30,3\n2020-03-01,4\n",
        "row 3, column 't': '2020-02-30",
    ),
    "missing date": ("t,x\n2020-01,2\n,3\n2020-03,4\n", "row 3, column 't': missing value"),
    "one time": ("t,x\n1,1\n1,2\n1,3\n", "all 3 time stamps are equal (1)"),
    "long cell": ("t,x\n1,1\n1," + "9" * 200_000 + "\n1,3\n", "field larger than field limit"),
    "quote": ('t,x\n1,"2\n2,3"\n3,4\n', "runs over several lines"),
}


@pytest.mark.parametrize("name", BAD)
def test_bad_files_get_one_line_and_no_output(tmp_path: Path, name: str) -> None:
    text, message = BAD[name]
    data, out = write(tmp_path / "bad.csv", text), tmp_path / "out"
    code, stdout, stderr = run("fit", data, "--penalty", "tv", "--strength", 1, "--out", out)
    assert code == 2
    assert message in stderr
    assert str(data) in stderr
    assert len(stderr.strip().splitlines()) == 1
    assert stdout == ""
    assert not out.exists()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--penalty", "tv", "--strength", "0"], "--strength must be 'auto' or a positive"),
        (["--penalty", "tv", "--strength", "-1"], "--strength must be"),
        (["--penalty", "tv", "--strength", "inf"], "--strength must be"),
        (["--penalty", "tv", "--strength", "much"], "got 'much'"),
        (
            ["--penalty", "lasso"],
            "one of tv, trend, spectral, l1, lq, group, ridge, elastic, logsum, got",
        ),
        (["--penalty", "tv", "--solver", "adam"], "one of auto, varpro, gd, got 'adam'"),
        (["--penalty", "tv", "--folds", "1"], "--folds must be at least 2"),
        (["--penalty", "tv", "--target", "level"], "no column 'level'; the columns are year, flow"),
        (["--penalty", "tv", "--time", "month"], "no column 'month'"),
        (["--penalty", "l1"], "with --target: year, flow"),
        (["--penalty", "l1", "--target", "rain"], "no column 'rain'"),
        (["--penalty", "l1", "--target", "flow", "--drop", "year"], "no column is left"),
        (["--penalty", "group", "--target", "flow"], "needs --groups"),
        (
            ["--penalty", "group", "--target", "flow", "--groups", "year,month"],
            "'month' is not a feature",
        ),
    ],
)
def test_bad_arguments_get_one_line(tmp_path: Path, arguments: list[str], message: str) -> None:
    code, _, stderr = run("fit", NILE, *arguments, "--out", tmp_path / "out")
    assert code == 2
    assert message in stderr
    assert len(stderr.strip().splitlines()) == 1
    assert not (tmp_path / "out").exists()


def test_files_that_cannot_be_read_or_written(tmp_path: Path) -> None:
    code, _, stderr = run("fit", tmp_path / "none.csv", "--penalty", "tv")
    assert code == 2
    assert "No such file" in stderr
    binary = tmp_path / "binary.csv"
    binary.write_bytes(b"\xff\xfe\x00\x01")
    code, _, stderr = run("fit", binary, "--penalty", "tv", "--out", tmp_path / "out")
    assert code == 2
    assert "not a UTF-8" in stderr
    for out in [write(tmp_path / "file", ""), tmp_path / "file" / "below"]:
        code, _, stderr = run("fit", NILE, "--penalty", "tv", "--out", out)
        assert code == 2
        assert "not a folder" in stderr


@pytest.mark.skipif(os.getuid() == 0, reason="root may write everywhere")
def test_a_folder_without_permission(tmp_path: Path) -> None:
    tmp_path.chmod(0o500)
    code, _, stderr = run("fit", NILE, "--penalty", "tv", "--out", tmp_path / "out")
    assert code == 2
    assert "no permission" in stderr


def test_a_failed_write_leaves_what_was_there(tmp_path: Path, monkeypatch) -> None:
    from symbias.cli.errors import InputError
    from symbias.cli.write import write_all

    write_all(tmp_path, {"a": "old"})
    monkeypatch.setattr(os, "fsync", lambda _: (_ for _ in ()).throw(OSError(28, "No space")))
    with pytest.raises(InputError, match="No space"):
        write_all(tmp_path, {"a": "new", "b": "new"})
    assert os.listdir(tmp_path) == ["a"]
    assert (tmp_path / "a").read_text() == "old"


def test_no_convergence_is_said(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    body = "\n".join(f"{i},{v}" for i, v in enumerate(rng.normal(size=50).cumsum()))
    data = write(tmp_path / "walk.csv", f"t,x\n{body}\n")
    code, stdout, stderr = run(
        "fit", data, "--penalty", "trend", "--strength", 1e-3, "--solver", "gd",
        "--max-iter", 1000, "--out", tmp_path / "o", "--json",
    )  # fmt: skip
    assert code == 0
    assert "warning: not converged" in stderr
    assert json.loads(stdout)["converged"] is False


@pytest.mark.parametrize("strength", ["1e-3", pytest.param("auto", marks=pytest.mark.slow)])
def test_rounds_and_gap_are_options(tmp_path: Path, strength: str) -> None:
    rng = np.random.default_rng(0)
    body = "\n".join(f"{i},{v}" for i, v in enumerate(rng.normal(size=50).cumsum()))
    data = write(tmp_path / "walk.csv", f"t,x\n{body}\n")
    common = ("fit", data, "--penalty", "trend", "--out", tmp_path / "o", "--json")
    _, stdout, _ = run(*common, "--strength", strength, "--max-iter", 1)
    short = json.loads(stdout)
    assert (short["n_iter"], short["converged"]) == (1, False)
    rough, fine = (
        json.loads(run(*common, "--strength", strength, "--tol", tol)[1]) for tol in (0.9, 1e-9)
    )
    assert rough["converged"]
    assert rough["n_iter"] < fine["n_iter"]
    data = write(tmp_path / "table.csv", "a,b,y\n1,2,3\n2,0,1\n0,1,1\n3,3,1\n")
    _, _, stderr = run(
        "fit", data, "--penalty", "l1", "--target", "y", "--strength", 1e-3, "--solver", "varpro",
        "--max-iter", 1, "--out", tmp_path / "o",
    )  # fmt: skip
    assert "not converged after 1 steps" in stderr
    for option, wrong in (("--max-iter", 0), ("--tol", 0), ("--tol", "nan")):
        code, _, stderr = run(*common, option, wrong)
        assert code == 2
        assert option in stderr


def test_the_convex_solver_runs_where_it_is_quick_or_asked_for(tmp_path, monkeypatch) -> None:
    from symbias.cli import compare

    common = ("fit", NILE, "--penalty", "tv", "--strength", 20, "--out", tmp_path / "o", "--json")
    assert json.loads(run(*common)[1])["reference"]
    monkeypatch.setattr(compare, "_QUICK_SERIES", 99)
    said = json.loads(run(*common)[1])
    assert said["reference"] is None
    assert "--verify asks for it" in said["reference_note"]
    assert json.loads(run(*common, "--verify")[1])["reference"]
    table = (*common[:3], "l1", "--target", "flow", "--strength", 20, *common[6:])
    assert json.loads(run(*table)[1])["reference"]
    monkeypatch.setattr(compare, "_QUICK_TABLE", 99)
    assert json.loads(run(*table)[1])["reference"] is None
    assert json.loads(run(*table, "--verify")[1])["reference"]


def test_help_is_light() -> None:
    heavy = ("jax", "sklearn", "torch", "matplotlib", "xarray")
    code = (
        "import sys; from typer.testing import CliRunner; from symbias.cli import app; "
        "assert CliRunner().invoke(app, ['fit', '--help']).exit_code == 0; "
        f"print([m for m in {heavy!r} if m in sys.modules])"
    )
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert out.stdout.strip() == "[]"


def test_series_fit_refuses_penalties_of_tables() -> None:
    with pytest.raises(ValueError, match="for tables"):
        sb.fit_series(range(5), range(5), "l1")


def test_stamps_too_uneven_for_frequencies_are_refused() -> None:
    with pytest.raises(ValueError, match="too uneven"):
        sb.fit_series([0, 1, 2, 3, 1000], np.ones(5), "spectral", 0.1)


def test_frequencies_over_irregular_stamps() -> None:
    """A pure cosine seen at uneven times is one coefficient."""
    rng = np.random.default_rng(3)
    times = np.sort(np.concatenate([[0, 79], rng.uniform(0, 79, 78)]))
    fit = sb.fit_series(times, np.cos(2 * np.pi * times / 16), "spectral", 1e-3)
    periods, coefficients = fit.spectrum
    assert periods[np.argmax(np.abs(coefficients))] == pytest.approx(16, rel=0.1)


def test_series_that_change_together(tmp_path: Path) -> None:
    rng, level = np.random.default_rng(4), np.where(np.arange(60) < 25, 1.0, 3.0)
    a, b = level + 0.1 * rng.normal(size=60), 0.5 * level + 0.1 * rng.normal(size=60)
    a[[3, 40]], b[40] = np.nan, np.nan
    table = pd.DataFrame({"t": np.arange(60), "a": a, "b": b, "c": a})
    data, options = tmp_path / "both.csv", ["--penalty", "tv", "--strength", 0.1]
    table.to_csv(data, index=False)
    both = ["--target", "a", "--target", "b", "--verify", "--quiet"]
    code, _, err = run("fit", data, *options, *both, "--out", tmp_path / "out")
    assert code == 0, err
    fit = sb.fit_series(table["t"], table[["a", "b"]], sb.TotalVariation(joint=True), 0.1)
    written = rows(tmp_path / "out" / "coefficients.csv")
    names = ["fit of a", "fit of b", "unshrunk of a", "unshrunk of b"]
    assert list(written[0]) == ["t", "a", "b", *names]
    found = [[float(row["fit of a"]), float(row["fit of b"])] for row in written]
    np.testing.assert_allclose(found, fit.fitted, rtol=1e-12)
    assert [written[k]["a"] == "" for k in (3, 4, 40)] == [True, False, True]
    assert float(written[3]["b"]) == pytest.approx(b[3], rel=1e-14)
    record = json.loads((tmp_path / "out" / "run.json").read_text())
    assert record["changes"] == [[24, 25]]
    assert record["target"] == ["a", "b"]
    assert record["objective"] == pytest.approx(fit.objective, rel=1e-12)
    assert abs(record["reference"]["relative_objective_difference"]) < 1e-8
    assert abs(record["trained"]["relative_objective_difference"]) < 1e-6
    page = (tmp_path / "out" / "index.html").read_text()
    assert "<h1>a, b: one change of level</h1>" in page
    assert "b over t, and the fit." in page
    means = [np.nanmean(column[part]) for column in (a, b) for part in (slice(25), slice(25, 60))]
    before, after = means[:2]
    said = f"between 24 and 25 (a from {before:.2f} to {after:.2f}, b from"
    assert f"The levels of a and b changed together once: {said}" in page


@pytest.mark.parametrize(
    ("options", "says"),
    [
        (["tv", "--target", "a", "--target", "a"], "--target a is given twice"),
        (["tv", "--target", "a", "--target", "t", "--time", "t"], "--target t is given twice"),
        (["tv", "--target", "a", "--target", "z"], "no column 'z'"),
        (["spectral", "--target", "a", "--target", "b"], "fit them one by one"),
        (["l1", "--target", "a", "--target", "b"], "a table is fitted to one --target, got 2"),
    ],
)
def test_targets_that_do_not_go_together(tmp_path: Path, options: list[str], says: str) -> None:
    data = write(tmp_path / "d.csv", "t,a,b\n" + "".join(f"{k},{k % 5},{k}\n" for k in range(9)))
    out = tmp_path / "out"
    code, _, err = run("fit", data, "--penalty", *options, "--strength", 0.1, "--out", out)
    assert code == 2
    assert says in err
    assert not out.exists()
    assert len(err.strip().splitlines()) == 1


def test_the_package_runs_as_the_command() -> None:
    command = [sys.executable, "-m", "symbias", "--version"]
    found = subprocess.run(command, capture_output=True, text=True, check=True)
    assert found.stdout.split()[-1] == sb.__version__
