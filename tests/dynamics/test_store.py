"""Runs on disk: killed, resumed, refused, out of space."""

import errno
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import xarray as xr

from symbias.dynamics import SGD, Optax, Problem, Run, simulate, store

SCRIPT = """
import sys
import jax, jax.numpy as jnp, numpy as np, optax
from symbias.dynamics import Optax, Problem, simulate

problem = Problem(
    predict=lambda p, x: (x * p["u"] * p["v"]).sum(-1),
    params={"u": np.full(3, 0.5, np.float32), "v": np.full(3, 0.3, np.float32)},
    sampler=lambda key, size: (jax.random.normal(key, (size, 3)), jnp.ones(size)),
)
run = simulate(
    problem, Optax(optax.adam(1e-3), 4), steps=1_200_000, replicas=2, key=7, every=1000,
    observe={"u": lambda p: p["u"], "norm": lambda p: (p["v"] ** 2).sum()},
    path=sys.argv[1], chunk=20_000, progress=False,
)
np.savez(sys.argv[2], u=run.final["u"], trace=run.trace.u.values, norm=run.trace.norm.values)
"""


@pytest.mark.slow
def test_a_killed_run_resumes_bit_by_bit(tmp_path: Path) -> None:
    script = tmp_path / "run.py"
    script.write_text(SCRIPT)

    def launch(folder: str) -> subprocess.Popen:
        command = [
            sys.executable,
            str(script),
            str(tmp_path / folder),
            str(tmp_path / folder) + ".npz",
        ]
        return subprocess.Popen(command)

    assert launch("whole").wait() == 0
    kills = 0
    state = tmp_path / "killed" / "state.npz"
    rng = np.random.default_rng(0)
    while True:
        process = launch("killed")
        before = state.stat().st_mtime_ns if state.exists() else 0
        while kills < 4 and process.poll() is None:
            if state.exists() and state.stat().st_mtime_ns != before:
                time.sleep(rng.uniform(0, 0.2))  # chunks take about 0.05 s: anywhere inside
                process.send_signal(signal.SIGKILL)
                kills += process.wait() == -signal.SIGKILL
                break
            time.sleep(0.001)
        else:
            assert process.wait() == 0
            break
    assert kills >= 3  # else the run is too short to be a test
    with np.load(tmp_path / "whole.npz") as whole, np.load(tmp_path / "killed.npz") as killed:
        for name in whole:
            np.testing.assert_array_equal(whole[name], killed[name])
        assert np.isfinite(whole["trace"]).all()


def predict(params, x):
    return (x * params["w"]).sum(-1)


def sample(key, size):
    return jax.random.normal(key, (size, 2)), jnp.ones(size)


def watch(params):
    return params["w"]


PROBLEM = Problem(predict=predict, params={"w": np.zeros(2, np.float32)}, sampler=sample)


def go(path: Path | None, problem: Problem = PROBLEM, **changes) -> Run:
    options = {"steps": 400, "replicas": 2, "every": 10, "chunk": 100, "observe": {"w": watch}}
    rule = changes.pop("rule", SGD(0.01, 2))
    return simulate(problem, rule, path=path, progress=False, **{**options, **changes})


def test_a_run_on_disk_is_the_run_in_memory(tmp_path: Path) -> None:
    stored, kept = go(tmp_path / "run"), go(None)
    np.testing.assert_array_equal(stored.final["w"], kept.final["w"])
    xr.testing.assert_equal(stored.trace.load(), kept.trace)
    again = go(tmp_path / "run")  # finished: only read
    xr.testing.assert_equal(again.trace.load(), kept.trace)
    np.testing.assert_array_equal(again.final["w"], kept.final["w"])


def content(path: Path) -> dict[str, bytes]:
    return {str(p): p.read_bytes() for p in sorted(path.rglob("*")) if p.is_file()}


OTHER = Problem(
    predict=lambda p, x: (x * p["w"]).sum(-1) * 1.5,
    params={"w": np.zeros(2, np.float32)},
    sampler=sample,
)
SHIFTED = Problem(predict=predict, params={"w": np.ones(2, np.float32)}, sampler=sample)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"problem": OTHER}, "the functions of the problem or of the observables are others"),
        ({"problem": SHIFTED}, "the starting parameters are others"),
        ({"key": 1}, r"key: stored \[0, 0\], asked \[0, 1\]"),
        ({"rule": SGD(0.02, 2)}, "rule: stored .*0.01.* asked .*0.02[^;]*"),
        ({"steps": 200}, "steps: stored 400, asked 200"),
        ({"every": 20}, "every: stored 10, asked 20"),
        ({"replicas": 4}, "replicas: stored 2, asked 4"),
        ({"replicas": 4, "key": 1}, "key: [^;]*; replicas: [^;]*"),
        ({"observe": {"other": watch}}, "observables: [^;]*"),
        ({"observe": {"w": lambda p: 2 * p["w"]}}, "the functions of the problem or [^;]*"),
        ({"start": {"w": np.ones((2, 2))}}, "the starting parameters are others"),
    ],
)
def test_another_run_is_refused_and_left_alone(tmp_path: Path, change, message: str) -> None:
    path = tmp_path / "run"
    go(path)
    before = content(path)
    with pytest.raises(ValueError, match=rf"holds another run \({message}\); not overwritten"):
        go(path, **change)
    assert content(path) == before


def test_another_version_and_foreign_folders_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "run"
    go(path)
    marker = path / "run.json"
    marker.write_text(marker.read_text().replace('"format": 3', '"format": 2'))
    with pytest.raises(ValueError, match=r"another run \(format: stored 2, asked 3\); not"):
        go(path)
    foreign = tmp_path / "foreign"
    foreign.mkdir()
    (foreign / "thesis.txt").write_text("years of work")
    with pytest.raises(ValueError, match="is not empty and holds no symbias run"):
        go(foreign)
    assert content(foreign) == {str(foreign / "thesis.txt"): b"years of work"}


def test_data_belong_to_the_identity(tmp_path: Path) -> None:
    x = np.eye(2)
    problems = [
        Problem(predict=predict, params={"w": np.zeros(2)}, data=(x, y))
        for y in (np.ones(2), np.array([1.0, 2.0]))
    ]
    go(tmp_path / "run", problems[0], rule=SGD(0.1))
    with pytest.raises(ValueError, match="holds another run"):
        go(tmp_path / "run", problems[1], rule=SGD(0.1))


def test_a_full_disk_keeps_the_last_good_state(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "run"
    real, calls = store.replace_file, []

    def full(file: Path, data: bytes) -> None:
        calls.append(file)
        if len(calls) == 4:  # the marker and two chunks went well
            file.with_name(file.name + ".partial").write_bytes(data[:10])
            raise OSError(errno.ENOSPC, "No space left on device")
        real(file, data)

    monkeypatch.setattr(store, "replace_file", full)
    with pytest.raises(OSError, match=r"No space left on device.*last saved state is step 200"):
        go(path)
    monkeypatch.undo()
    assert (path / "state.npz.partial").exists()
    resumed = go(path)
    assert not (path / "state.npz.partial").exists()
    xr.testing.assert_equal(resumed.trace.load(), go(None).trace)


@pytest.mark.slow
def test_a_file_size_limit_of_the_system_is_reported(tmp_path: Path) -> None:
    """A real refusal by the kernel, while writing the trace."""
    code = f"""
import resource, sys
sys.path.insert(0, {str(Path(__file__).parent)!r})
import test_store
path = test_store.Path({str(tmp_path / "run")!r})
resource.setrlimit(resource.RLIMIT_FSIZE, (3000, 3000))
try:
    test_store.go(path, observe={{"big": lambda p: p["w"].sum() * test_store.jnp.arange(9999.)}})
except OSError as error:
    print(error)
"""
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert "cannot write the run to" in out.stdout
    assert "No step of this call was saved" in out.stdout


def test_a_lost_store_is_reported_and_not_half_rebuilt(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "run"
    real = store.Store.commit

    def lose(self: store.Store, state, trace, first) -> None:
        if first:
            shutil.rmtree(path)
        real(self, state, trace, first)

    monkeypatch.setattr(store.Store, "commit", lose)
    with pytest.raises(OSError, match=r"has gone.*last saved state is step 100"):
        go(path)
    assert not path.exists()


def test_a_crash_before_the_first_commit_starts_over(tmp_path: Path) -> None:
    path = tmp_path / "run"
    go(path)
    os.remove(path / "state.npz")
    xr.testing.assert_equal(go(path).trace.load(), go(None).trace)


def test_damaged_files_are_named(tmp_path: Path) -> None:
    path = tmp_path / "run"
    go(path)
    (path / "state.npz").write_bytes(b"not a state")
    with pytest.raises(ValueError, match=r"state\.npz is damaged"):
        go(path)
    (path / "run.json").write_text("{")
    with pytest.raises(ValueError, match=r"run\.json is damaged"):
        go(path)


def test_optimizer_state_is_saved(tmp_path: Path) -> None:
    import optax

    rule = Optax(optax.adamw(1e-2), 2)
    go(tmp_path / "run", rule=rule)
    again = go(tmp_path / "run", rule=rule)
    np.testing.assert_array_equal(again.final["w"], go(None, rule=rule).final["w"])


TEACHER = {"w": np.float32([[0.6, 0.2], [-0.3, 0.5]]), "v": np.float32([1.0, -1.2])}


def network(params, x):
    hidden = jnp.maximum((x[:, None, :] * params["w"]).sum(-1), 0)
    return (hidden * params["v"]).sum(-1)


def lessons(key, size):
    keys = jax.random.split(key)
    x = jax.random.normal(keys[0], (size, 2))
    return x, network(TEACHER, x) + jax.random.normal(keys[1], (size,))


@pytest.mark.slow
def test_an_interruption_keeps_the_bits_and_other_chunks_keep_them_to_rounding(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What docs/dynamics.md promises, of its network: other chunks differ by 3e-7 there."""
    problem, calls = Problem(predict=network, params=TEACHER, sampler=lessons), []
    options = {"rule": SGD(0.02, 8, weight_decay=0.01), "steps": 600, "every": 20}
    watched = {"w": lambda p: p["w"], "v": lambda p: p["v"]}
    whole = go(None, problem, observe=watched, chunk=200, **options)
    real = store.Store.commit

    def stop(self: store.Store, *committed) -> None:
        calls.append(committed)
        if len(calls) == 3:
            raise KeyboardInterrupt
        real(self, *committed)

    with monkeypatch.context() as patch:
        patch.setattr(store.Store, "commit", stop)
        with pytest.raises(KeyboardInterrupt):
            go(tmp_path / "run", problem, observe=watched, chunk=200, **options)
    resumed = go(tmp_path / "run", problem, observe=watched, chunk=200, **options)
    xr.testing.assert_equal(resumed.trace.load(), whole.trace)
    other = go(None, problem, observe={}, chunk=600, **{**options, "every": 30})
    for name, end in whole.final.items():
        np.testing.assert_allclose(other.final[name], end, rtol=1e-5, atol=1e-6)
        np.testing.assert_array_equal(resumed.final[name], end)
