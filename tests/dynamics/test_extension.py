"""Runs extended, restarted, named and shared: what a folder and an ensemble allow."""

import os
import subprocess
import sys
from itertools import pairwise
from pathlib import Path

import jax.numpy as jnp
import numpy as np
import pytest
import xarray as xr

import symbias as sb
from symbias._core.files import FolderInUseError, locked
from symbias.dynamics import SGD, simulate
from tests.dynamics.test_store import PROBLEM, content, go, watch


@pytest.mark.parametrize(
    ("lengths", "every"),
    [
        ((400, 800), 10),
        pytest.param((130, 437), 10, marks=pytest.mark.slow),
        pytest.param((40, 2000), 10, marks=pytest.mark.slow),
        pytest.param((55, 57, 90), 10, marks=pytest.mark.slow),
        pytest.param((55, 60, 65), 10, marks=pytest.mark.slow),
    ],
)
def test_an_extended_run_is_the_long_one(tmp_path: Path, lengths, every: int) -> None:
    """Also where a part ended between two records, or at one, or was of another chunk."""
    for steps in lengths:
        run = go(tmp_path / "run", steps=steps, every=every)
    whole = go(None, steps=lengths[-1], every=every)
    np.testing.assert_array_equal(run.final["w"], whole.final["w"])
    xr.testing.assert_equal(run.trace.load(), whole.trace)
    assert run.trace.step[-1] == lengths[-1] // every * every


def test_by_default_an_extension_keeps_the_records_of_the_folder(tmp_path: Path) -> None:
    for steps in (200, 400):
        run = go(tmp_path / "run", steps=steps, every=None, chunk=None)
    assert list(run.trace.step.values) == list(range(0, 401, 2))
    with pytest.raises(ValueError, match="steps: stored 400, asked 200"):
        go(tmp_path / "run", steps=200, every=None)
    before = content(tmp_path / "run")
    with pytest.raises(ValueError, match="every: stored 2, asked 4"):
        go(tmp_path / "run", steps=800, every=4)
    assert content(tmp_path / "run") == before


def test_an_extension_that_was_killed_goes_on(tmp_path: Path, monkeypatch) -> None:
    from symbias.dynamics import store

    path = tmp_path / "run"
    go(path, steps=200)
    real = store.Store._mark

    def die(self):
        raise KeyboardInterrupt

    with monkeypatch.context() as killed:
        killed.setattr(store.Store, "_mark", die)  # the trace has grown, the marker has not
        with pytest.raises(KeyboardInterrupt):
            go(path, steps=400)
    assert len(go(path, steps=200).trace.step) == 21
    assert store.Store._mark is real
    xr.testing.assert_equal(go(path, steps=400).trace.load(), go(None, steps=400).trace)


def test_an_ensemble_is_restarted_from_the_end_of_another() -> None:
    options = {"replicas": 3, "every": 1, "observe": {"w": watch}, "progress": False}
    first = simulate(PROBLEM, SGD(0.01, 2), steps=20, **options)
    again = simulate(PROBLEM, SGD(0.01, 2), steps=20, key=1, start=first.final, **options)
    np.testing.assert_array_equal(again.trace.w[:, 0], first.final["w"])
    assert all(np.ptp(a) > 0 for a in again.final["w"].T)
    # the same with momentum, whose state is new: a step of it by hand on fixed data
    data = (np.eye(2), np.ones(2))
    problem = sb.Problem(predict=PROBLEM.predict, params={"w": np.zeros(2)}, data=data)
    start = {"w": np.array([[0.0, 0.0], [1.0, 3.0]])}
    run = simulate(
        problem, SGD(0.1, momentum=0.9), steps=1, replicas=2, start=start, progress=False
    )
    np.testing.assert_allclose(run.final["w"], start["w"] - 0.1 * (start["w"] - 1) / 2)


@pytest.mark.parametrize(
    ("start", "message"),
    [
        ({"w": np.zeros(2)}, r"wanted \{'w': \(2, 2\)\}"),
        ({"v": np.zeros((2, 2))}, "one set for each replica"),
        ({"w": np.full((2, 2), np.nan)}, "not finite"),
    ],
)
def test_other_starts_are_refused(start, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        go(None, start=start)


@pytest.mark.parametrize(
    "names", [("train/loss",), ("step",), ("replica",), ("w", "w_0"), ("",), (".w",), (3,)]
)
def test_names_that_a_trace_cannot_hold_are_refused(tmp_path: Path, names) -> None:
    for path in (None, tmp_path / "run"):
        with pytest.raises(ValueError, match=f"observable {names[-1]!r}"):
            go(path, observe=dict.fromkeys(names, watch))
    assert not (tmp_path / "run").exists()


def test_odd_names_are_kept(tmp_path: Path) -> None:
    names = ["|v|/|w|".replace("/", " over "), "loss (train)", "w 0", "β", "a.b"]
    observe = {name: (lambda p, i=i: jnp.sum(p["w"]) + i) for i, name in enumerate(names)}
    stored, kept = (go(path, observe=observe) for path in (tmp_path / "run", None))
    assert set(stored.trace) == set(names)
    xr.testing.assert_equal(stored.trace.load(), kept.trace)
    for a, b in pairwise(names):
        np.testing.assert_allclose(stored.trace[b] - stored.trace[a], 1, atol=1e-5)


def test_a_parameterization_in_place_of_observables() -> None:
    with pytest.raises(TypeError, match=r"observe takes a dict of functions .* got Hadamard"):
        go(None, observe=sb.Hadamard(2))


def test_a_path_at_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    go("~/run")  # type: ignore[arg-type]
    assert (tmp_path / "run" / "state.npz").exists()


def test_a_second_writer_is_told(tmp_path: Path) -> None:
    path = tmp_path / "run"
    go(path)
    before = content(path)
    with locked(path), pytest.raises(FolderInUseError, match=f"in use by .*process {os.getpid()}"):
        go(path)
    assert content(path) == before
    go(path)  # the lock is gone with its holder


def test_a_second_process_that_writes_is_told_in_one_line(tmp_path: Path) -> None:
    code = f"""
import sys
sys.path.insert(0, {str(Path(__file__).parents[2])!r})
from tests.dynamics.test_store import go
try:
    go({str(tmp_path / "run")!r})
except RuntimeError as error:
    print(error)
"""
    go(tmp_path / "run")
    with locked(tmp_path / "run"):
        out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert out.stdout.count("\n") == 1
    assert "in use by another run" in out.stdout
