"""Microseconds per training step: `simulate` beside an eager PyTorch loop of the same step.

The five experiments of arXiv 2601.06597, one seed in PyTorch (what a script does), 1 to 4,096
replicas here. Both are timed in turns in the same run, the best of several turns counts, and
compilation is left out: ratios hold on a busy machine where times do not.

    python benchmarks/dynamics.py [--quick] [--json FILE]
"""

import argparse
import json
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import torch
from comparison.timing import least

from symbias.dynamics import SGD, Problem, simulate

REPLICAS = (1, 16, 256, 4096)
Numpy = dict[str, np.ndarray]


@dataclass(frozen=True)
class Case:
    """The same training twice, and how many times faster it must be for one replica."""

    name: str
    problem: Problem
    rule: SGD
    torch_step: Callable[[], None]
    target: float


def descend(params: dict[str, torch.Tensor], rate: float, loss: torch.Tensor) -> None:
    """One step of plain SGD, as short as eager PyTorch has it."""
    grads = torch.autograd.grad(loss, list(params.values()))
    with torch.no_grad():
        for p, g in zip(params.values(), grads, strict=True):
            p.sub_(g, alpha=rate)


def leaves(params: Numpy) -> dict[str, torch.Tensor]:
    return {k: torch.tensor(v, requires_grad=True) for k, v in params.items()}


def normal(rng: np.random.Generator, scale: float, *shape: int) -> np.ndarray:
    return (scale * rng.normal(size=shape)).astype(np.float32)


def relu() -> Case:
    """3-16-1, fresh Gaussian inputs, batch 8, output noise 0.1."""
    rng, rate = np.random.default_rng(0), 5e-5
    tilt = np.exp(np.linspace(-1.2, 1.2, 16)).astype(np.float32)
    teacher = {"w": normal(rng, 1.5, 16, 3), "v": normal(rng, 1.5, 16)}
    student = {
        "w": normal(rng, 0.05, 16, 3) * tilt[:, None],
        "v": normal(rng, 0.05, 16) / tilt,
    }

    def predict(p: Any, x: Any) -> Any:
        hidden = jnp.maximum((x[:, None, :] * p["w"]).sum(-1), 0)
        return (hidden * p["v"]).sum(-1)

    def sampler(key: Any, size: int) -> Any:
        keys = jax.random.split(key)
        x = jax.random.normal(keys[0], (size, 3))
        return x, predict(teacher, x) + 0.1 * jax.random.normal(keys[1], (size,))

    p, t = leaves(student), {k: torch.tensor(v) for k, v in teacher.items()}

    def step() -> None:
        x = torch.randn(8, 3)
        y = torch.relu(x @ t["w"].T) @ t["v"] + 0.1 * torch.randn(8)
        descend(p, rate, 0.5 * ((torch.relu(x @ p["w"].T) @ p["v"] - y) ** 2).mean())

    problem = Problem(predict=predict, params=student, sampler=sampler)
    return Case("ReLU", problem, SGD(rate, 8), step, 50)


def attention() -> Case:
    """One head of 8 on sequences of 8 tokens of 16, batch 16, output noise 0.02.

    Ours takes the three projections in one product; scripts in PyTorch take them one by one.
    """
    rng, rate = np.random.default_rng(1), 1e-3
    teacher = {k: normal(rng, 0.75, 16, 8) for k in "qkv"}
    student = {k: normal(rng, 0.1, 16, 8) for k in "qkv"}

    def predict(p: Any, x: Any) -> Any:
        w = jnp.concatenate([p[name] for name in "qkv"], axis=1)
        q, k, v = jnp.split((x.reshape(-1, 16) @ w).reshape(*x.shape[:2], 24), 3, axis=-1)
        a = jax.nn.softmax(q @ jnp.swapaxes(k, -1, -2) / 8**0.5, axis=-1)
        return a @ v

    def sampler(key: Any, size: int) -> Any:
        keys = jax.random.split(key)
        x = jax.random.normal(keys[0], (size, 8, 16))
        return x, predict(teacher, x) + 0.02 * jax.random.normal(keys[1], (size, 8, 8))

    def forward(p: dict[str, torch.Tensor], x: torch.Tensor) -> torch.Tensor:
        q, k, v = (x @ p[name] for name in "qkv")
        return torch.softmax(q @ k.mT / 8**0.5, dim=-1) @ v

    p, t = leaves(student), {k: torch.tensor(v) for k, v in teacher.items()}

    def step() -> None:
        x = torch.randn(16, 8, 16)
        with torch.no_grad():
            y = forward(t, x) + 0.02 * torch.randn(16, 8, 8)
        descend(p, rate, 0.5 * ((forward(p, x) - y) ** 2).sum() / 16)

    problem = Problem(predict=predict, params=student, sampler=sampler)
    return Case("attention", problem, SGD(rate, 16), step, 5)


def completion() -> Case:
    """20 x 20 of rank 2, a random half of 80 observed entries at each step, model rank 20."""
    rng, rate = np.random.default_rng(2), 1e-3
    u, v = (np.linalg.qr(rng.normal(size=(20, 2)))[0] for _ in range(2))
    truth = (u * [15, 5] @ v.T).astype(np.float32)
    seen = np.zeros(400, bool)
    seen[rng.permutation(400)[:80]] = True
    seen = seen.reshape(20, 20)
    student = {"p": normal(rng, 0.11, 20, 20), "q": normal(rng, 0.1, 20, 20)}

    def predict(p: Any, mask: Any) -> Any:
        return (p["p"] @ p["q"] - truth) * mask

    def loss(error: Any, y: Any) -> Any:
        return 0.5 * jnp.mean(error**2)

    def sampler(key: Any, size: int) -> Any:
        words = jax.random.bits(key, (13, 1)) >> jnp.arange(32, dtype=jnp.uint32)
        coins = (words & 1).reshape(-1)[:400].reshape(20, 20)  # a fair coin for each entry
        return seen * (coins == 1), jnp.zeros(())

    p, w, mask = leaves(student), torch.tensor(truth), torch.tensor(seen)

    def step() -> None:
        half = mask & (torch.rand(20, 20) < 0.5)
        descend(p, rate, 0.5 * (((p["p"] @ p["q"] - w) * half) ** 2).mean())

    problem = Problem(predict=predict, params=student, sampler=sampler, loss=loss)
    return Case("completion", problem, SGD(rate, 1), step, 20)


def linear(name: str, x: np.ndarray, y: np.ndarray, rate: float, summed: bool) -> Case:
    """Full batch on y = x w with w = u v, or its cumulative sum."""
    rng, size = np.random.default_rng(4), x.shape[1]
    student = {k: normal(rng, 0.1, size) for k in "uv"}

    def predict(p: Any, x: Any) -> Any:
        w = p["u"] * p["v"]
        return x @ (jax.lax.cumsum(w) if summed else w)

    p, tx, ty = leaves(student), torch.tensor(x), torch.tensor(y)

    def step() -> None:
        w = p["u"] * p["v"]
        error = tx @ (torch.cumsum(w, 0) if summed else w) - ty
        descend(p, rate, 0.5 * (error**2).mean())

    problem = Problem(predict=predict, params=student, data=(x, y))
    return Case(name, problem, SGD(rate), step, 50)


def spectral() -> Case:
    """64 cosines, 3 active, 32 samples."""
    rng = np.random.default_rng(3)
    x = np.cos(2 * np.pi * np.outer(rng.uniform(size=32), np.arange(64))).astype(np.float32)
    y = x[:, [3, 11, 29]] @ np.float32([1.0, -2.0, 1.5]) + normal(rng, 0.1, 32)
    return linear("spectral", x, y, 1e-3, summed=False)


def total_variation(once: bool = False) -> Case:
    """A piecewise constant signal of length 200 from 60 Gaussian measurements.

    The prediction x @ cumsum(w) sums at every step, as the paper's script does; or `once`: the
    columns of x are summed before training, in both libraries, and the step is spectral's.
    """
    rng = np.random.default_rng(5)
    signal = np.repeat(np.float32([1, -1.5, 0.5, 2]), [50, 70, 40, 40])
    x = normal(rng, 60**-0.5, 60, 200)
    y = x @ signal + normal(rng, 0.1, 60)
    if once:
        x = np.ascontiguousarray(np.cumsum(x[:, ::-1], axis=1)[:, ::-1])
    return linear("TV once" if once else "TV", x, y, 1e-3, summed=not once)


CASES = (relu, attention, completion, spectral, total_variation, partial(total_variation, True))


def per_step(case: Case, replicas: int, seconds: float, turns: int) -> float:
    """Microseconds of one step of all replicas; what a run costs apart from steps is taken off."""
    stretch = max(2, min(1000, 4096 // replicas))

    def run(stretches: int) -> None:
        simulate(
            case.problem,
            case.rule,
            steps=stretches * stretch,
            every=stretch,
            chunk=stretch,  # one program for every length
            replicas=replicas,
            progress=False,
        )

    run(1)
    short = least(lambda: run(1), 2)
    more = max(least(lambda: run(3), 2) - short, 1e-5) / 2
    stretches = 1 + max(2, min(1000, int(seconds / more)))
    short = min(short, least(lambda: run(1), turns))
    return (least(lambda: run(stretches), turns) - short) / ((stretches - 1) * stretch) * 1e6


def torch_per_step(case: Case, seconds: float, turns: int) -> float:
    """The better of PyTorch's default threads and one thread."""
    times, threads = [], torch.get_num_threads()
    for count in {1, threads}:
        torch.set_num_threads(count)
        least(case.torch_step, 50)
        steps = max(50, int(seconds / least(case.torch_step, 50)))
        times.append(least(lambda n=steps: [case.torch_step() for _ in range(n)], turns) / steps)
    torch.set_num_threads(threads)
    return min(times) * 1e6


def main() -> None:
    """Print the table; write it as JSON if asked."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    seconds, turns = (0.2, 2) if options.quick else (0.7, 4)
    counts = REPLICAS[:2] if options.quick else REPLICAS
    warnings.simplefilter("ignore", RuntimeWarning)  # some replicas may diverge: timing only
    rows = []
    print(f"{jax.default_backend()}; microseconds per step of all replicas")
    print("setting     PyTorch" + "".join(f"{n:>10}" for n in counts) + "   ratio (target)")
    for make in CASES:
        case = make()
        eager = torch_per_step(case, seconds, turns)
        times = {n: per_step(case, n, seconds, turns) for n in counts}
        eager = min(eager, torch_per_step(case, seconds, turns))
        ratio = eager / times[1]
        rows.append(
            {
                "setting": case.name,
                "torch_us": eager,
                "symbias_us": times,
                "ratio": ratio,
                "target": case.target,
                "device": jax.default_backend(),
            }
        )
        cells = "".join(f"{times[n]:>10.2f}" for n in counts)
        print(f"{case.name:<12}{eager:>7.1f}{cells}   {ratio:.0f} ({case.target:g})", flush=True)
    if options.json:
        options.json.write_text(json.dumps(rows, indent=1))


if __name__ == "__main__":
    main()
