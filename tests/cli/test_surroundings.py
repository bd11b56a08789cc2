"""Commands where the machine is not as it should be: no home, no display, little room, Ctrl-C."""

import os
import shutil
import subprocess
import sys
from importlib.resources import files
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import save_file

ROOT = Path(__file__).parents[2]
NILE = str(files("symbias") / "data" / "nile.csv")
NOWHERE = "/proc/nowhere"  # not even root can make it
BONDS = "bonds:\n  - {group: GeneralLinear(40), vectors: [[a, 0]], covectors: [[b, 1]]}\n"
LINUX = pytest.mark.skipif(not Path("/proc/self").exists(), reason="has no /proc")


def symbias(
    *arguments: str, folder: Path, before: str = "", **changes: str
) -> tuple[int, str, str]:
    """Status, output and errors of a command in a process of its own."""
    away = ("DISPLAY", "WAYLAND_DISPLAY", "MPLCONFIGDIR", "XDG_CACHE_HOME", "XDG_CONFIG_HOME")
    kept = {k: v for k, v in os.environ.items() if k not in away}
    code = f"import os, signal\n{before}\nfrom symbias.cli import main\nmain()"
    command = [sys.executable, "-W", "error", "-c", code, *arguments]
    run = subprocess.run(command, cwd=folder, env=kept | changes, capture_output=True, text=True)
    return run.returncode, run.stdout, run.stderr


@LINUX
@pytest.mark.parametrize(
    "backend", ["TkAgg", pytest.param("no such backend", marks=pytest.mark.slow)]
)
def test_no_home_and_no_display(tmp_path: Path, backend: str) -> None:
    bad = {"HOME": NOWHERE, "MPLBACKEND": backend}
    found = symbias("demo", "--quiet", "--out", "out", folder=tmp_path, **bad)
    assert found == (0, "", "")
    assert (tmp_path / "out" / "index.html").exists()


@pytest.mark.slow
@LINUX
def test_no_home_for_compiled_programs(tmp_path: Path) -> None:
    arguments = ("design", "--penalty", "l1", "--quiet", "--out", "out")
    assert symbias(*arguments, folder=tmp_path, HOME=NOWHERE) == (0, "", "")


@LINUX
def test_a_folder_that_cannot_be_made(tmp_path: Path) -> None:
    out = f"{NOWHERE}/results"
    code, stdout, stderr = symbias(
        "fit", NILE, "--penalty", "tv", "--strength", "20", "--quiet", "--out", out, folder=tmp_path
    )
    assert (code, stdout) == (2, "")
    assert stderr.startswith("symbias: error: /proc/nowhere")
    assert stderr.count("\n") == 1
    assert list(tmp_path.iterdir()) == []


def test_an_interrupt_between_the_two_fits_of_the_demo(tmp_path: Path) -> None:
    before = """
from symbias.cli import jobs
fit = jobs.run_job
def interrupted(table, options):
    if "sunspots" in str(table.path):
        os.kill(os.getpid(), signal.SIGINT)
    return fit(table, options)
jobs.run_job = interrupted
"""
    code, stdout, stderr = symbias(
        "demo", "--quiet", "--out", "out", folder=tmp_path, before=before
    )
    assert (code, stdout, stderr) == (130, "", "symbias: interrupted; nothing was written\n")
    assert list(tmp_path.iterdir()) == []


@pytest.fixture
def model(tmp_path: Path) -> Path:
    rng = np.random.default_rng(0)
    arrays = {"a": rng.normal(size=(40, 60)), "b": rng.normal(size=(50, 40))}
    save_file(arrays, tmp_path / "m.safetensors")
    (tmp_path / "b.yaml").write_text(BONDS)
    return tmp_path


@pytest.mark.parametrize(
    "arguments",
    [
        ("--help",),
        pytest.param(("demo",), marks=pytest.mark.slow),
        ("fit", NILE, "--penalty", "trend", "--strength", "20"),
        ("audit", "m.safetensors", "--bonds", "b.yaml"),
        pytest.param(("design", "--penalty", "tv"), marks=pytest.mark.slow),
    ],
    ids=lambda words: " ".join(words[:1] + words[-1:]),
)
def test_sixty_columns_hold_all_that_is_said(model: Path, arguments: tuple[str, ...]) -> None:
    code, stdout, _ = symbias(*arguments, folder=model, COLUMNS="60")
    lines = [line for line in stdout.splitlines() if "Page: file://" not in line]
    assert code == 0
    assert max(len(line) for line in lines) <= 60
    assert "…" not in stdout
    assert len(lines) >= 5


@pytest.mark.parametrize("interpreter", ["/bin/false", "/no/such/python"])
@pytest.mark.skipif(shutil.which("make") is None, reason="needs make")
def test_make_without_a_python_that_will_do(tmp_path: Path, interpreter: str) -> None:
    for name in ("Makefile", "pyproject.toml", "constraints.txt"):
        shutil.copy(ROOT / name, tmp_path)
    before = sorted(tmp_path.iterdir())
    command = ["make", "--silent", "demo", f"PYTHON={interpreter}"]
    run = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)
    assert run.returncode == 2
    assert run.stdout == ""
    assert run.stderr.startswith("symbias needs Python 3.11 or newer: make PYTHON=")
    assert len(run.stderr.splitlines()) == 2  # and make's own
    assert sorted(tmp_path.iterdir()) == before


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_completion(tmp_path: Path, shell: str) -> None:
    script = symbias(folder=tmp_path, _SYMBIAS_COMPLETE=f"source_{shell}", before=NAMED)
    assert script[0] == 0
    assert "_SYMBIAS_COMPLETE=complete_" in script[1]


def test_completion_of_an_option(tmp_path: Path) -> None:
    words = {"COMP_WORDS": "symbias fit --pen", "COMP_CWORD": "2"}
    asked = symbias(folder=tmp_path, _SYMBIAS_COMPLETE="complete_bash", before=NAMED, **words)
    assert asked[:2] == (0, "--penalty\n")


NAMED = "import sys; sys.argv[0] = 'symbias'"
