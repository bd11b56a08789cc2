"""Names that are too long, processes that are stopped, and what they leave behind."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import save_file
from typer.testing import CliRunner

from symbias.audit import CheckpointError, audit, balance_checkpoint
from symbias.cli import app
from symbias.models.bonds_file import read_bonds

RUN = CliRunner()
BONDS = "bonds:\n  - {group: GeneralLinear(4), vectors: [[a, 0]], covectors: [[b, 1]]}\n"


@pytest.fixture
def model(tmp_path: Path) -> Path:
    rng = np.random.default_rng(0)
    arrays = {"a": 3 * rng.normal(size=(4, 6)), "b": rng.normal(size=(5, 4))}
    save_file(arrays, tmp_path / "m.safetensors")
    (tmp_path / "bonds.yaml").write_text(BONDS)
    return tmp_path / "m.safetensors"


def call(*args: object) -> tuple[int, str]:
    result = RUN.invoke(app, [str(a) for a in args])
    return result.exit_code, result.output


@pytest.mark.parametrize("length", [245, 250, 300])
@pytest.mark.parametrize("verb", ["balance", "audit"])
def test_long_names(model: Path, verb: str, length: int) -> None:
    out = model.parent / "b" / ("x" * length)
    code, said = call(verb, model, "--bonds", model.parent / "bonds.yaml", "--out", out)
    assert code == (0 if length < 255 else 2), said
    assert code == 0 or ("too long" in said and len(said.splitlines()) == 1)


def test_a_page_never_goes_into_the_model(tmp_path: Path, model: Path) -> None:
    folder = tmp_path / "folder"
    folder.mkdir()
    model.rename(folder / "model.safetensors")
    args = ("--bonds", tmp_path / "bonds.yaml", "--out", folder / "page")
    assert call("audit", folder, *args) == (2, call("audit", folder, *args)[1])
    assert [p.name for p in folder.iterdir()] == ["model.safetensors"]


def test_drafts_of_killed_processes_are_named(model: Path) -> None:
    stale = model.parent / ".new.safetensors.123.partial"
    stale.write_text("half")
    found = balance_checkpoint(
        model, model.parent / "new.safetensors", bonds=read_bonds(model.parent / "bonds.yaml")
    )
    assert f"{stale}: left over from an interrupted run" in found.notes
    assert found.changed == ["a", "b"]


def test_what_is_balanced_already_is_not_rewritten(model: Path) -> None:
    bonds = model.parent / "bonds.yaml"
    save_file({"a": np.ones((4, 6)), "b": np.zeros((5, 4))}, model)
    code, said = call("balance", model, "--bonds", bonds, "--out", model.parent / "n.safetensors")
    assert code == 0
    assert "0 bonds moved to least norm, 0 arrays rewritten" in said
    assert (model.parent / "n.safetensors").read_bytes() == model.read_bytes()


def test_a_request_to_end_leaves_nothing(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    many = {f"{s}{i}": rng.normal(size=(300, 300)) for i in range(30) for s in "ab"}
    save_file(many, tmp_path / "m.safetensors")
    (tmp_path / "b.yaml").write_text(
        BONDS.replace("(4)", "(300)")
        .replace("[[a,", "[['a{i}',")
        .replace("[[b,", "[['b{i}',")
        .replace("{group", "{name: 'n {i}', repeat: 30, group")
    )
    code = "from symbias.cli import main; main()"
    args = ["balance", "m.safetensors", "--bonds", "b.yaml", "--out", "out/new.safetensors"]
    running = subprocess.Popen([sys.executable, "-c", code, *args], cwd=tmp_path, stderr=-1)
    until = time.monotonic() + 60
    while not list(tmp_path.glob("out/.new*.partial")) and time.monotonic() < until:
        assert running.poll() is None
        time.sleep(0.01)
    os.kill(running.pid, signal.SIGTERM)
    error = running.communicate(timeout=60)[1].decode()
    assert "interrupted; nothing was written" in error
    assert running.returncode == 143
    assert list((tmp_path / "out").iterdir()) == []


def test_squares_that_overflow_are_refused(model: Path) -> None:
    save_file({"a": np.full((4, 6), 1e300), "b": np.ones((5, 4))}, model)
    with pytest.raises(CheckpointError, match=r"'a' holds values above 1e.120"):
        audit(model, bonds=read_bonds(model.parent / "bonds.yaml"))


@pytest.mark.parametrize(
    ("text", "line"),
    [
        (BONDS + BONDS.split("\n", 1)[1], "bond 2: the same as an earlier one"),
        (BONDS.replace("{group", "{group: Rescaling(4), group"), "not valid YAML, line 2"),
    ],
)
def test_a_bond_twice(tmp_path: Path, text: str, line: str) -> None:
    (tmp_path / "b.yaml").write_text(text)
    with pytest.raises(CheckpointError, match=line):
        read_bonds(tmp_path / "b.yaml")


def test_json_is_strict(model: Path) -> None:
    code, said = call("audit", model, "--bonds", model.parent / "bonds.yaml", "--json")
    assert code == 0
    json.loads(said, parse_constant=lambda name: pytest.fail(name))
