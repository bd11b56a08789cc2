"""Tables as people have them: no header, an index, holes, truth, categories, classes."""

import csv
import json
import os
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from sklearn.linear_model import LogisticRegression
from typer.testing import CliRunner

from symbias.cli import app
from symbias.cli.read import read_csv

ROWS = 120


def fit(data: Path, *options: str) -> dict:
    out = data.parent / "out"
    result = CliRunner().invoke(app, ["fit", str(data), "--out", str(out), *options])
    assert result.exit_code == 0, result.stderr
    record = json.loads((out / "run.json").read_text())
    with (out / "coefficients.csv").open() as stream:
        record["rows"] = list(csv.DictReader(stream))
    return record | {
        "said": " ".join(result.stdout.split()),
        "page": (out / "index.html").read_text(),
    }


def refused(data: Path, *options: str) -> str:
    result = CliRunner().invoke(app, ["fit", str(data), "--out", str(data.parent / "no"), *options])
    assert result.exit_code == 2, result.output
    assert len(result.stderr.strip().splitlines()) == 1
    assert not (data.parent / "no").exists()
    return result.stderr


@pytest.fixture
def frame() -> pd.DataFrame:
    rng = np.random.default_rng(0)
    data = pd.DataFrame({"size": rng.normal(size=ROWS), "age": rng.normal(size=ROWS)})
    data["new"] = rng.random(ROWS) < 0.5
    data["color"] = rng.choice(["red", "green", "blue"], ROWS)
    effect = data["color"].map({"red": 2.0, "green": 0.0, "blue": -1.0})
    data["price"] = 3 * data["size"] + effect + data["new"] + 0.1 * rng.normal(size=ROWS)
    data["kind"] = np.where(
        data["price"] > 1, "dear", np.where(data["price"] < -1, "cheap", "fair")
    )
    return data


def save(frame: pd.DataFrame, folder: Path, **options) -> Path:
    frame.to_csv(folder / "data.csv", **{"index": False} | options)
    return folder / "data.csv"


def rerun(record: dict, folder: Path) -> object:
    """The model that the code on the page makes."""
    import html

    code = html.unescape(record["page"].split("<code>")[1].split("</code>")[0])
    before = Path.cwd()
    os.chdir(folder)
    try:
        names: dict = {}
        exec(code, names)
    finally:
        os.chdir(before)
    return names["model"]


def test_holes_truth_and_categories(frame: pd.DataFrame, tmp_path: Path) -> None:
    frame.loc[[3, 7], "age"] = np.nan
    frame.loc[5, "color"] = np.nan
    frame["sold"] = np.where(frame["price"] > 1, "yes", "no")
    data = save(frame.drop(columns="kind"), tmp_path)
    common = ("--penalty", "l1", "--target", "price", "--strength", "0.05")
    assert "row 2, column 'color'" in (said := refused(data, *common, "--impute", "mean"))
    assert "--onehot" in said
    assert "row 5, column 'age': missing value; --impute" in refused(data, *common, "--onehot")
    record = fit(data, *common, "--onehot", "--impute", "median")
    assert "2 missing values of age, filled in with the column's median." in record["said"]
    assert "color has 4 categories, as 4 columns of 0 and 1 (one-hot)." in record["said"]
    assert "filled in with the column&#39;s median" in record["page"]
    assert record["features"][:3] == ["size", "age", "new"]
    assert record["features"][3:] == [
        *("color_blue", "color_green", "color_red", "color_nan", "sold_yes")
    ]
    assert "sold has 2 categories, as 1 column of 0 and 1" in record["said"]
    model = rerun(record, tmp_path)
    assert model.objective_ == pytest.approx(record["objective"], rel=1e-9)
    found = {r["feature"]: float(r["coefficient"]) for r in record["rows"]}
    assert found["size"] == pytest.approx(3, abs=0.2)
    assert found["color_red"] > 0.5 > -0.3 > found["color_blue"]


def test_categories_are_groups(frame: pd.DataFrame, tmp_path: Path) -> None:
    data = save(frame.drop(columns="kind"), tmp_path)
    common = ("--penalty", "group", "--target", "price", "--strength", "0.4", "--onehot")
    for groups in ((), ("--groups", "age,new")):
        record = fit(data, *common, *groups)
        zero = [r["feature"] for r in record["rows"] if float(r["coefficient"]) == 0]
        assert set(zero) <= {"age", "new"}  # the colors are in, all three of them
        assert rerun(record, tmp_path).objective_ == pytest.approx(record["objective"], rel=1e-9)


@pytest.mark.parametrize("strength", ["0.03", "auto"])
def test_two_classes_are_those_of_scikit_learn(frame, tmp_path: Path, strength: str) -> None:
    frame["kind"] = np.where(frame["price"] > 0, "dear", "cheap")
    data = save(frame.drop(columns="price"), tmp_path)
    record = fit(
        data,
        "--penalty",
        "l1",
        "--target",
        "kind",
        "--classify",
        "--onehot",
        "--strength",
        strength,
    )
    assert record["classes"] == {k: int(n) for k, n in frame["kind"].value_counts().items()}
    assert "cheap (" in record["page"]
    model = rerun(record, tmp_path)
    assert model.objective_[0] == pytest.approx(record["objective"], rel=1e-9)
    X = pd.get_dummies(frame.drop(columns=["price", "kind"])).to_numpy(dtype=float)
    X = (X - X.mean(axis=0)) / X.std(axis=0)
    peer = LogisticRegression(
        l1_ratio=1.0, C=1 / (ROWS * record["strength"]), solver="saga", tol=1e-9, max_iter=100_000
    )
    peer.fit(X, frame["kind"])
    scaled = [float(r["per_standard_deviation"]) for r in record["rows"][1:]]
    np.testing.assert_allclose(scaled, peer.coef_[0], atol=1e-4)
    if strength == "auto":
        assert len(record["mean_log_loss"]) == 30
        assert peer.score(X, frame["kind"]) > 0.9


def test_three_classes_are_written_one_by_one(frame: pd.DataFrame, tmp_path: Path) -> None:
    data = save(frame.drop(columns="price"), tmp_path)
    record = fit(
        data, "--penalty", "l1", "--target", "kind", "--classify", "--onehot", "--strength", "0.02"
    )
    assert [r["class"] for r in record["rows"][::7]] == ["cheap", "dear", "fair"]
    model = rerun(record, tmp_path)
    scaled = [float(r["per_standard_deviation"] or "nan") for r in record["rows"]]
    np.testing.assert_allclose(np.reshape(scaled, (3, 7))[:, 1:], model.coef_, atol=1e-8)


def test_what_stands_in_the_way_of_classes(frame: pd.DataFrame, tmp_path: Path) -> None:
    common = ("--penalty", "l1", "--target", "kind", "--classify", "--onehot")
    frame.loc[0, "kind"] = np.nan
    assert "row 2, column 'kind': missing class" in refused(save(frame, tmp_path), *common)
    frame.loc[0, "kind"] = "odd"
    assert "class 'odd' has one row" in refused(save(frame, tmp_path), *common)
    assert "a class of its own" in refused(save(frame, tmp_path), *common[:3], "size", "--classify")
    series = ("--penalty", "tv", "--classify")
    assert "are for tables" in refused(save(frame, tmp_path), *series)


def test_an_index_of_pandas_is_left_out(frame: pd.DataFrame, tmp_path: Path) -> None:
    frame = frame[["size", "age", "price"]]
    common = ("--penalty", "l1", "--target", "price", "--strength", "0.05")
    plain = fit(save(frame, tmp_path), *common)
    record = fit(save(frame, tmp_path, index=True), *common)
    assert record["features"] == plain["features"] == ["size", "age"]
    assert record["objective"] == plain["objective"]
    assert "counts the rows and was left out" in record["page"]
    other = save(frame.set_index(frame.index * 2), tmp_path, index=True)
    assert fit(other, *common)["features"] == ["Unnamed: 0", "size", "age"]
    assert fit(other, *common, "--drop", "Unnamed: 0")["features"] == ["size", "age"]


def test_a_file_without_a_header(tmp_path: Path) -> None:
    data = tmp_path / "data.csv"
    data.write_text("".join(f"{1871 + i},{i // 5}\n" for i in range(10)))
    common = ("--penalty", "tv", "--strength", "0.01")
    said = refused(data, *common)
    assert "row 1: 1871, 0 looks like data" in said
    assert "--no-header" in said
    record = fit(data, *common, "--no-header")
    assert (record["n"], record["time"], record["target"]) == (10, "column_1", "column_2")
    assert record["changes"] == [[1875, 1876]]
    assert fit(data, *common, "--header")["n"] == 9
    data.write_text("2021-01-01,1\n2021-01-02,2\n2021-01-03,3\n")
    assert "looks like data" in refused(data, *common)


def test_numbers_are_not_code(tmp_path: Path) -> None:
    data = tmp_path / "data.csv"
    data.write_text("t,x\n1,1\n2,1_0\n3,3\n")
    assert "row 3, column 'x': '1_0' is not a number" in refused(data, "--penalty", "tv")
    data.write_text("t,x\n1,1\n2,ten\n3,3\n4,4\n5,y\n")
    said = refused(data, "--penalty", "l1", "--target", "t", "--onehot")
    assert "row 3, column 'x': 'ten' is not a number" in said  # a slip, not a category


def test_a_target_of_words_may_be_a_class(tmp_path: Path) -> None:
    data = tmp_path / "data.csv"
    data.write_text("a,b,kind\n1,2,yes\n2,3,no\n3,1,yes\n")
    said = refused(data, "--penalty", "l1", "--target", "kind")
    assert "row 2, column 'kind': 'yes' is not a number; --classify takes classes" in said
    data.write_text("a,b,kind\n1,2,1\n2,3,no\n3,1,2\n")
    assert "--classify" not in refused(data, "--penalty", "l1", "--target", "kind")


@pytest.mark.parametrize("character", ["\u2028", "\u2029", "\x85", "\x0b", "\x0c", "\x1c"])
def test_line_ends_of_other_alphabets_are_part_of_a_cell(tmp_path: Path, character: str) -> None:
    data = tmp_path / "data.csv"
    data.write_text(f"t,a{character}b\n1,x{character}y\n2,z\n", encoding="utf-8")
    table = read_csv(data)
    assert table.columns[f"a{character}b"] == [f"x{character}y", "z"]
    assert table.lines == [2, 3]


@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
@pytest.mark.parametrize("separator", [",", ";", "\t"])
def test_separators_and_line_ends(tmp_path: Path, end: str, separator: str) -> None:
    data = tmp_path / "data.csv"
    rows = [["t", "height; in m, or so"], ["1", "2"], ["3", "4"]]
    data.write_bytes(end.join(separator.join(f'"{c}"' for c in row) for row in rows).encode())
    assert read_csv(data).columns == {"t": ["1", "3"], "height; in m, or so": ["2", "4"]}
