"""Replicas spread over devices and processes, on one machine."""

import os
import socket
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import symbias

SCRIPT = """
import sys
import jax
process, count, port, folder = sys.argv[1:]
if count != "1":
    jax.distributed.initialize(f"127.0.0.1:{port}", int(count), int(process))
import jax.numpy as jnp
import numpy as np
from symbias.dynamics import SGD, Problem, simulate

problem = Problem(
    predict=lambda p, x: (x @ p["w"]) @ p["v"],
    params=lambda key: {"w": jax.random.normal(key, (3, 4)), "v": jnp.ones(4)},
    sampler=lambda key, size: (jax.random.uniform(key, (size, 3)), jnp.ones(size)),
)
run = simulate(
    problem, SGD(1e-2, 4), steps=600, replicas=7, key=3, every=60, progress=False,
    observe={"v": lambda p: p["v"]}, path=None if folder == "-" else folder,
)
assert list(run.trace.replica) == list(range(7))
np.savez(f"out-{process}.npz", w=run.final["w"], v=run.trace.v.values,
         devices=len(jax.devices()), processes=jax.process_count())
"""


def launch(folder: Path, *, processes: int = 1, devices: int = 1, path: str = "-") -> list[dict]:
    """Run the script in `folder` and give back what each process saved."""
    folder.mkdir(exist_ok=True)
    (folder / "script.py").write_text(SCRIPT)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    environment = os.environ | {
        "XLA_FLAGS": f"--xla_force_host_platform_device_count={devices}",
        "PYTHONPATH": str(Path(symbias.__file__).parents[1]),
    }
    started = [
        subprocess.Popen(
            [sys.executable, "script.py", str(i), str(processes), str(port), path],
            cwd=folder,
            env=environment,
        )
        for i in range(processes)
    ]
    assert [p.wait(timeout=120) for p in started] == [0] * processes
    results = []
    for i in range(processes):
        with np.load(folder / f"out-{i}.npz") as saved:
            results.append(dict(saved))
    return results


@pytest.mark.slow
def test_layouts_agree(tmp_path: Path) -> None:
    """Seven replicas on one device, on four, and on two processes of two devices."""
    (one,) = launch(tmp_path / "one")
    (four,) = launch(tmp_path / "four", devices=4)
    (again,) = launch(tmp_path / "four", devices=4)
    pair = launch(tmp_path / "pair", processes=2, devices=2)
    assert (one["devices"], four["devices"], pair[0]["devices"]) == (1, 4, 4)
    assert pair[0]["processes"] == pair[1]["processes"] == 2
    for name in ("w", "v"):
        assert np.isfinite(one[name]).all()
        np.testing.assert_array_equal(four[name], again[name])
        np.testing.assert_array_equal(pair[0][name], pair[1][name])
        np.testing.assert_allclose(four[name], one[name], rtol=2e-5, atol=1e-6)
        np.testing.assert_allclose(pair[0][name], one[name], rtol=2e-5, atol=1e-6)


@pytest.mark.slow
def test_each_process_stores_and_resumes_its_share(tmp_path: Path) -> None:
    first = launch(tmp_path, processes=2, path="run")
    assert sorted(p.name for p in (tmp_path / "run").iterdir()) == [
        "process-0-of-2",
        "process-1-of-2",
    ]
    again = launch(tmp_path, processes=2, path="run")
    np.testing.assert_array_equal(first[0]["w"], again[1]["w"])
    np.testing.assert_array_equal(first[0]["v"], again[1]["v"])
