"""`symbias study`: the list, unknown names, and what a run hands on."""

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from symbias.cli import app


def run(*arguments: object) -> tuple[int, str, str]:
    result = CliRunner().invoke(app, ["study", *map(str, arguments)])
    assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
    return result.exit_code, result.stdout, result.stderr


def test_the_list_names_every_study() -> None:
    code, stdout, _ = run("list", "--json")
    assert code == 0
    assert "evidence" in json.loads(stdout)


def test_an_unknown_study_is_named_with_the_nearest(tmp_path: Path) -> None:
    code, _, stderr = run("run", "evidense", "--out", tmp_path / "o")
    assert code == 2
    assert "no study 'evidense'" in stderr
    assert "did you mean evidence?" in stderr
    assert len(stderr.strip().splitlines()) == 1
    assert not (tmp_path / "o").exists()


def test_options_reach_the_study(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from symbias.studies import evidence

    def options(out: Path, quick: bool, progress: bool) -> dict[str, object]:
        return {"out": str(out), "quick": quick, "progress": progress}

    monkeypatch.setattr(evidence, "run", options)
    code, stdout, _ = run("run", "evidence", "--quick", "--json", "--out", tmp_path / "o")
    assert code == 0
    assert json.loads(stdout) == {"out": str(tmp_path / "o"), "quick": True, "progress": False}
