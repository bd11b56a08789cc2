"""`symbias design`: a card, a page, and snippets that run."""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from symbias.cli import app

RUN = CliRunner()


def invoke(out: Path, *args: str):
    return RUN.invoke(app, ["design", *args, "--out", str(out)])


@pytest.mark.parametrize(
    ("penalty", "mechanism", "strength", "shape"),
    [
        ("tv", "weight-decay", "0.01", "12"),
        pytest.param("nuclear", "weight-decay", "0.02", "5x3", marks=pytest.mark.slow),
        pytest.param("logsum", "weight-decay", "0.01", "8", marks=pytest.mark.slow),
        pytest.param("l1", "label-noise", "0.5", "6", marks=pytest.mark.slow),
        pytest.param("l1", "gradient-flow", "0.1", "12", marks=pytest.mark.slow),
        pytest.param("l1", "langevin", "0.1", "4", marks=pytest.mark.slow),
    ],
)
def test_the_snippets_run(tmp_path: Path, penalty, mechanism, strength, shape) -> None:
    args = ["--penalty", penalty, "--mechanism", mechanism, "--strength", strength]
    result = invoke(tmp_path, *args, "--shape", shape, "--json")
    assert result.exit_code == 0, result.output
    record = json.loads(result.output)
    assert record["card"]["rows"][0]["mechanism"] == "weight decay"
    for library in ("jax", "torch", "sklearn"):
        code = (tmp_path / f"train_{library}.py").read_text()
        # the same code, in fewer steps
        for many in ("100_000", "20_000", "10_000", "5_000", "3_000", "2_000"):
            code = code.replace(many, "200")
        said: list[str] = []
        exec(compile(code, library, "exec"), {"print": lambda *a, said=said: said.append(str(a))})
        assert said
        assert "nan" not in "".join(said)
    page = (tmp_path / "index.html").read_text()
    assert "http" not in page.replace("http://www.w3.org", "")


@pytest.mark.slow
def test_the_libraries_find_the_same_optimum(tmp_path: Path) -> None:
    args = ["--penalty", "tv", "--strength", "0.01", "--shape", "12"]
    assert invoke(tmp_path, *args, "--quiet").exit_code == 0
    losses = []
    for library in ("jax", "torch"):
        command = [sys.executable, "-W", "error", str(tmp_path / f"train_{library}.py")]
        out = subprocess.run(command, capture_output=True, text=True, check=True).stdout.split()
        losses.append(float(out[1]) + 0.01 * float(out[3]))
    command = [sys.executable, str(tmp_path / "train_sklearn.py")]
    out = subprocess.run(command, capture_output=True, text=True, check=True).stdout.split()
    # the estimator has an intercept besides
    assert np.ptp(losses) < 1e-3 * losses[0]
    assert float(out[1]) < losses[0] * (1 + 1e-6)


@pytest.mark.parametrize(
    ("args", "message"),
    [
        (["--penalty", "lasso"], "--penalty must be one of"),
        (["--penalty", "l1", "--mechanism", "adam"], "Adam and AdamW minimise another"),
        (["--penalty", "l1", "--strength", "-1"], "--strength must be"),
        (["--penalty", "l1", "--shape", "3xx"], "--shape must be like"),
        (["--penalty", "l1", "--shape", "0"], "--shape must be like"),
        (["--penalty", "nuclear"], "penalty on matrices"),
        (["--penalty", "tv", "--shape", "4x4"], "no exact square synthesis"),
        (["--penalty", "group", "--mechanism", "gradient-flow"], "no potential"),
        (["--penalty", "lq", "--mechanism", "label-noise"], "exponents from 1 to below 2"),
        (["--penalty", "tv", "--mechanism", "langevin"], "gauge design takes penalties"),
    ],
)
def test_bad_input_is_one_line(tmp_path: Path, args, message: str) -> None:
    result = invoke(tmp_path / "out", *args)
    assert result.exit_code == 2
    assert message in result.output
    assert len(result.output.strip().splitlines()) == 1
    assert not (tmp_path / "out").exists()
