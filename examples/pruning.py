"""Structured pruning of networks for digits: accuracy against size, six ways to get there.

* design: whole units (channels, neurons, heads) share a scale, weight decay under SGD does all;
* sgd, adam: the same under SGD without momentum, and under Adam with coupled weight decay;
* proximal: the same group penalty, explicitly, with a proximal step after every step of SGD;
* adamw: proximal steps in the metric of AdamW;
* magnitude: train, then remove the units whose weights, in times out, are smallest.

Dead units are removed physically, and all small networks are tuned for the same few epochs. Prints
a table; writes all runs (JSON) and a figure (SVG). All takes some twenty minutes on two free cores.

    python examples/pruning.py [--quick] [--out FOLDER]
"""

import argparse
import copy
import json
import os
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor, as_completed
from functools import partial
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import torch
from networks import NETWORKS, accuracy, digits, size, unit_scores
from pruning_report import draw, table
from torch import Tensor, nn

import symbias.torch as st

MOMENTUM, BATCH, EPOCHS, TUNING = 0.9, 64, 60, 5
RATES = {"momentum": 0.1, "sgd": 0.3, "adam": 0.01, "adamw": 0.01}
STRENGTHS = {
    "conv net": (1e-3, 2e-3, 4e-3, 8e-3),
    "transformer": (1e-3, 4e-3, 1.6e-2, 6.4e-2),
}
KEPT = (0.6, 0.4, 0.2, 0.1)
PLAIN_DECAY = 1e-4
DEAD = 5e-2  # norm of the weights that read a unit, below which it counts as dead


def train(
    model: nn.Module,
    groups: Any,
    data: Any,
    epochs: int,
    kind: str = "momentum",
    lr: float | None = None,
    prox: bool = False,
) -> None:
    """One of `RATES`, by default SGD with momentum; ``lr`` falls to 0 over the last third."""
    x, y = data[:2]
    steps = epochs * (len(x) // BATCH)
    lr = RATES[kind] if lr is None else lr
    optimizer: torch.optim.Optimizer
    if kind == "adamw":
        optimizer = torch.optim.AdamW(groups, lr=lr, weight_decay=0.0)
    elif kind == "adam":
        optimizer = torch.optim.Adam(groups, lr=lr)
    else:
        optimizer = torch.optim.SGD(groups, lr=lr, momentum=MOMENTUM * (kind == "momentum"))
    if prox:
        st.ProximalStep(optimizer, lambda step: min(1.0, 20 * step / steps))
    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda t: min(1, 3 * (1 - t / steps)))
    for step in range(steps):
        if step % (len(x) // BATCH) == 0:
            order = torch.randperm(len(x))
        batch, order = order[:BATCH], order[BATCH:]
        optimizer.zero_grad()
        nn.functional.cross_entropy(model(x[batch]), y[batch]).backward()
        optimizer.step()
        schedule.step()


def group_scales(model: nn.Module) -> dict[str, float]:
    """A tenth of sqrt(weights that read a unit), by reader: the usual weights of a group lasso."""
    readers = {u.reader: u for u in model.units}
    weights = {r: model.get_submodule(r).weight for r in readers}
    return {r: (w.numel() / w.shape[1] * readers[r].size) ** 0.5 / 10 for r, w in weights.items()}


def by_design(
    model: nn.Module, data: Any, strength: float, epochs: int, kind: str = "momentum"
) -> nn.Module:
    """The readers' inputs in groups; weight decay on everything, and nothing else."""
    scale = {f"{reader}.weight": s for reader, s in group_scales(model).items()}
    for unit in model.units:
        st.apply(model, f"{unit.reader}.weight", st.slices(1, unit.size))
    groups = st.factor_parameters(model, strength, scale=scale, others=strength / 10)
    train(model, groups, data, epochs, kind)
    st.collapse(model, threshold=DEAD)
    return model


def by_proximal_steps(
    model: nn.Module, data: Any, strength: float, epochs: int, kind: str = "momentum"
) -> nn.Module:
    """The same objective in the weights themselves."""
    scales = group_scales(model)
    readers = [model.get_submodule(u.reader).weight for u in model.units]
    for unit in model.units:
        penalty = st.slices(1, unit.size)
        st.penalize(model, f"{unit.reader}.weight", penalty, strength * scales[unit.reader])
    grouped = set(map(id, readers))
    rest = [p for p in model.parameters() if id(p) not in grouped]
    groups = [{"params": readers}, {"params": rest, "weight_decay": strength / 10}]
    train(model, groups, data, epochs, kind, prox=True)
    return model


def by_magnitude(model: nn.Module, kept: float) -> nn.Module:
    """Silence all but the units with the highest scores, the same fraction in every layer."""
    for unit in model.units:
        scores = unit_scores(model, unit)
        count = max(1, round(kept * len(scores)))
        multiply(model, unit, scores >= scores.sort(descending=True).values[count - 1])
    return model


@torch.no_grad()
def multiply(model: nn.Module, unit: Any, factors: Tensor) -> None:
    """Scale the weights that read each unit."""
    weight = model.get_submodule(unit.reader).weight
    each = factors.repeat_interleave(unit.size)
    weight.mul_(each.view(1, -1, *[1] * (weight.ndim - 2)))


@torch.no_grad()
def forward_ms(model: nn.Module, images: Tensor) -> float:
    """The fastest of many passes over the test images, in CPU time: others may be busy too."""
    times = []
    while sum(times) < 0.2:
        begun = time.process_time()
        model(images)
        times.append(time.process_time() - begun)
    return 1e3 * min(times)


def finish(model: nn.Module, data: Any, epochs: int) -> dict[str, float]:
    """Remove dead units, check that this changed nothing, tune."""
    with torch.no_grad():
        before = model(data[2])
        st.shrink(model, data[2][:8], low_rank=False)
        torch.testing.assert_close(model(data[2]), before, rtol=1e-3, atol=1e-3)
    raw = accuracy(model, data)
    groups = [{"params": model.parameters(), "weight_decay": PLAIN_DECAY}]
    train(model, groups, data, epochs, lr=0.02)
    return {
        "size": size(model),
        "accuracy": accuracy(model, data),
        "untuned": raw,
        "forward_ms": forward_ms(model, data[2]),
    }


def one_seed(
    network: str, seed: int, strengths: Any, kept: Any, epochs: int
) -> list[dict[str, Any]]:
    """All methods on one split and one initialisation."""
    torch.set_num_threads(1)
    st.apply(nn.Linear(1, 1), "weight", "l1")  # the first one imports a part of PyTorch
    data, rows = digits(seed), []
    torch.manual_seed(seed)
    start = NETWORKS[network]()

    def run(method: str, knob: float, start: nn.Module, do: Callable[..., Any]) -> nn.Module:
        model, begun = copy.deepcopy(start), time.process_time()
        do(model)
        spent = time.process_time() - begun
        trained, ends = copy.deepcopy(model), finish(model, data, min(epochs, TUNING))
        row = {
            "network": network,
            "seed": seed,
            "method": method,
            "knob": knob,
            "training_s": spent,
        }
        rows.append(row | ends)
        return trained

    for strength in strengths:
        more = {"data": data, "strength": strength, "epochs": epochs}
        run("design", strength, start, partial(by_design, **more))
        for kind in ("sgd", "adam"):
            run(kind, strength, start, partial(by_design, **more, kind=kind))
        run("proximal", strength, start, partial(by_proximal_steps, **more))
        run("adamw", strength, start, partial(by_proximal_steps, **more, kind="adamw"))

    def plainly(model: nn.Module) -> None:
        groups = [{"params": model.parameters(), "weight_decay": PLAIN_DECAY}]
        train(model, groups, data, epochs)

    dense = run("dense", 1.0, start, plainly)
    for fraction in kept:
        run("magnitude", fraction, dense, partial(by_magnitude, kept=fraction))
        rows[-1]["training_s"] += next(r for r in rows if r["method"] == "dense")["training_s"]
    return rows


def all_runs(quick: bool) -> Iterator[tuple[str, list[dict[str, Any]]]]:
    """A name and the rows of each job as it ends; full runs in two processes."""
    if quick:
        for kind in NETWORKS:
            yield kind, one_seed(kind, 0, STRENGTHS[kind][-1:], KEPT[1:2], 2)
        return
    with ProcessPoolExecutor(min(2, os.cpu_count() or 1), get_context("spawn")) as pool:
        jobs = {
            pool.submit(one_seed, kind, seed, STRENGTHS[kind], KEPT, EPOCHS): f"{kind}, seed {seed}"
            for seed in range(5)
            for kind in NETWORKS
        }
        for job in as_completed(jobs):
            yield jobs[job], job.result()


def main() -> None:
    """Run everything; print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="one seed, one strength, 2 epochs")
    parser.add_argument("--out", type=Path, default=Path("out/pruning"))
    options = parser.parse_args()
    options.out.mkdir(parents=True, exist_ok=True)
    begun, rows = time.perf_counter(), []
    for done, (name, more) in enumerate(all_runs(options.quick), 1):
        rows += more
        total = len(NETWORKS) * (1 if options.quick else 5)
        print(f"{done} of {total}: {name}, {time.perf_counter() - begun:.0f} s", flush=True)
    rows.sort(key=lambda r: r["seed"])
    print("\n".join(table(rows)))
    if options.quick:
        print("--quick is 2 epochs: too short to prune anything, and for accuracies that mean much")
    (options.out / "pruning.json").write_text(json.dumps(rows, indent=1))
    draw(rows, options.out / "pruning.svg")
    print(f"wrote {options.out}/pruning.json and pruning.svg")


if __name__ == "__main__":
    main()
