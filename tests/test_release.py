"""What is released: one version, and a wheel and an sdist that hold what they should and run."""

import json
import os
import re
import subprocess
import sys
import tarfile
import tomllib
import zipfile
from pathlib import Path

import pytest
import yaml

import symbias

ROOT = Path(__file__).parents[1]
SERIES = "t,x\n" + "".join(f"{k},{k // 20 + 0.1 * (-1) ** k}\n" for k in range(60))


def test_one_version() -> None:
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text())
    assert citation["version"] == symbias.__version__
    assert {"cff-version", "message", "title", "authors", "license"} <= set(citation)


def test_all_is_all() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    extras = project["optional-dependencies"]
    assert set(extras) == {"simulate", "torch", "all", "peers", "docs", "dev"}
    assert extras["all"] == ["symbias[simulate,torch]"]
    given = {re.match(r"[\w-]+", line)[0] for line in project["dependencies"]}
    more = {re.match(r"[\w-]+", line)[0] for name in ("simulate", "torch") for line in extras[name]}
    assert not given & more


def run(*command: object, cwd: Path, **environment: str) -> str:
    kept = {k: v for k, v in os.environ.items() if k != "PYTHONPATH"} | environment
    found = subprocess.run([*map(str, command)], cwd=cwd, env=kept, capture_output=True, text=True)
    assert found.returncode == 0, found.stdout + found.stderr
    return found.stdout


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the sdist of this checkout, and the wheel that is built from that sdist."""
    out = tmp_path_factory.mktemp("dist")
    here = os.environ.get("PYTHONPATH", "")
    run(sys.executable, "-m", "build", "--outdir", out, ROOT, cwd=out, PYTHONPATH=here)
    return out


@pytest.mark.slow
def test_what_they_hold(built: Path) -> None:
    (wheel,), (sdist,) = built.glob("*.whl"), built.glob("*.tar.gz")
    with zipfile.ZipFile(wheel) as archive:
        names = archive.namelist()
    tops = {name.split("/")[0] for name in names}
    assert tops == {"symbias", f"symbias-{symbias.__version__}.dist-info"}
    for name in ("py.typed", "data/nile.csv", "data/sunspots.csv"):
        assert f"symbias/{name}" in names
    assert any(name.startswith("symbias/report/templates/") for name in names)
    with tarfile.open(sdist) as archive:
        paths = [Path(*Path(name).parts[1:]) for name in archive.getnames()]
    tops = {path.parts[0] for path in paths if path.parts}
    assert tops == {
        *("src", "tests", "docs", "examples", "benchmarks", ".ci", ".gitignore", "PKG-INFO"),
        *("CHANGELOG.md", "CITATION.cff", "LICENSE", "README.md", "Makefile", "mkdocs.yml"),
        *("constraints.txt", "pyproject.toml"),
    }
    assert {path.suffix for path in paths} & {".pyc", ".partial", ".so", ".egg-info"} == set()
    assert sum(1 for path in paths if path.match("tests/**/test_*.py")) > 50


@pytest.mark.slow
def test_the_wheel_runs_in_an_empty_environment(built: Path, tmp_path: Path) -> None:
    (wheel,) = built.glob("*.whl")
    run(sys.executable, "-m", "venv", "env", cwd=tmp_path)
    python, command = tmp_path / "env/bin/python", tmp_path / "env/bin/symbias"
    pip = [python, "-m", "pip", "install", "--quiet", "--constraint", ROOT / "constraints.txt"]
    run(*pip, wheel, cwd=tmp_path)
    run(python, "-m", "pip", "check", cwd=tmp_path)
    away = tmp_path / "away"
    away.mkdir()
    (away / "series.csv").write_text(SERIES)
    assert run(command, "--version", cwd=away) == f"symbias {symbias.__version__}\n"
    run(command, "demo", "--out", "demo", "--quiet", cwd=away)
    nile = json.loads((away / "demo/nile/run.json").read_text())
    assert nile["changes"] == [[1898, 1899]]
    assert nile["trained"]["solver"] == "varpro"
    fit = ("fit", "series.csv", "--penalty", "tv", "--strength", "0.1", "--verify", "--out", "fit")
    run(command, *fit, cwd=away)
    assert json.loads((away / "fit/run.json").read_text())["changes"] == [[19, 20], [39, 40]]
    size = sum(path.stat().st_size for path in (tmp_path / "env").rglob("*") if path.is_file())
    assert size < 500e6
