"""Ctrl-C at any moment: status 130, one line that is true, and nothing half-written."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

NAMES = ["coefficients.csv", "figure-1.svg", "index.html", "run.json"]
START = """
import os, signal, sys
from symbias._core import ending
from symbias.cli import main
ending.end_on_signals()
print("begun", flush=True)
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A series, and old results of it."""
    values = np.random.default_rng(0).normal(size=300).cumsum()
    body = "".join(f"{k},{v:.4f}\n" for k, v in enumerate(values))
    (tmp_path / "series.csv").write_text("t,x\n" + body)
    (tmp_path / "out").mkdir()
    age(tmp_path)
    return tmp_path


def age(folder: Path) -> None:
    for name in NAMES:
        (folder / "out" / name).write_text("old")


def begin(folder: Path, code: str = "") -> subprocess.Popen:
    """A fit, from the moment on at which the command waits for signals."""
    options = ["--penalty", "trend", "--strength", ".1", "--out", "out", "--quiet"]
    command = [sys.executable, "-c", START + code + "\nmain()", "fit", "series.csv", *options]
    running = subprocess.Popen(command, cwd=folder, stdout=-1, stderr=-1, text=True)
    assert running.stdout is not None
    assert running.stdout.readline() == "begun\n"
    return running


def ended(running: subprocess.Popen, folder: Path) -> str:
    """How a run ended, after a check that all of it fits together."""
    said, error = running.communicate(timeout=120)
    assert said == ""
    found = {p.name: p.read_text() for p in (folder / "out").iterdir()}
    assert sorted(found) == NAMES
    new = [text != "old" for text in found.values()]
    if running.returncode == 0:  # it was over before
        assert error == ""
        assert all(new)
        return "finished"
    assert running.returncode == 130, error
    assert error == (
        "symbias: interrupted; the results are in out\n"
        if all(new)
        else "symbias: interrupted; nothing was written\n"
    )
    assert all(new) or not any(new)
    return "written" if all(new) else "interrupted"


def interrupted_after(delay: float, folder: Path) -> str:
    age(folder)  # a run before may have been over
    running = begin(folder)
    time.sleep(delay)
    running.send_signal(signal.SIGINT)
    return ended(running, folder)


@pytest.mark.parametrize("delay", [0.0, 0.1, 0.3, 0.6])
def test_at_any_moment(folder: Path, delay: float) -> None:
    interrupted_after(delay, folder)


@pytest.mark.slow
def test_at_many_moments(folder: Path) -> None:
    begun = time.monotonic()
    assert ended(begin(folder), folder) == "finished"
    whole = time.monotonic() - begun
    ends = [interrupted_after(d, folder) for d in np.linspace(0, 1.1 * whole, 24)]
    assert ends[0] == "interrupted"
    assert ends.count("interrupted") > 8


KILL = "os.kill(os.getpid(), signal.SIGINT)"
MOMENTS = {
    "an import": f"""
class Finder:
    def find_spec(self, name, path=None, target=None):
        if name == "matplotlib.figure":
            {KILL}
sys.meta_path.insert(0, Finder())
""",
    "a callback that loses exceptions": f"""
import gc
def collected(phase, info):
    if "symbias.cli.series" in sys.modules:
        {KILL}
gc.callbacks.append(collected)
gc.set_threshold(5)
""",
    "code that turns exceptions into others": f"""
import symbias.cli.jobs as jobs
def job(*args):
    try:
        {KILL}
        import time; time.sleep(5)
    except BaseException:
        raise ImportError("numpy failed to import") from None
jobs.series_job = job
""",
}


@pytest.mark.parametrize("moment", MOMENTS)
def test_in(folder: Path, moment: str) -> None:
    assert ended(begin(folder, MOMENTS[moment]), folder) == "interrupted"


@pytest.mark.slow
def test_while_results_are_written(folder: Path) -> None:
    """All of them are replaced, and that is said."""
    code = f"""
import pathlib
replace = pathlib.Path.replace
def first(self, target):
    {KILL}
    return replace(self, target)
pathlib.Path.replace = first
"""
    assert ended(begin(folder, code), folder) == "written"
    assert json.loads((folder / "out" / "run.json").read_text())["converged"]


def test_nothing_heavy_comes_before_the_handler() -> None:
    code = "import sys; before = set(sys.modules); from symbias.cli import main; " \
           "print(*(set(sys.modules) - before))"  # fmt: skip
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert not {"typer", "click", "numpy", "rich"} & set(out.stdout.split())


@pytest.mark.parametrize("options", [["tv"], ["l1", "--target", "x"]])
def test_a_fit_needs_no_jax(folder: Path, options: list[str]) -> None:
    code = f"""
import sys
from typer.testing import CliRunner
from symbias.cli import app
given = ["fit", "series.csv", "--strength", "1", "--out", "o", "--penalty", *{options!r}]
assert CliRunner().invoke(app, given).exit_code == 0
assert not {{m for m in sys.modules if m.split(".")[0] in ("jax", "jaxlib")}}
"""
    subprocess.run([sys.executable, "-c", code], cwd=folder, check=True, env=os.environ)
