"""Structured pruning of networks for digits: accuracy against size, three ways to get there.

* design: whole units (channels, neurons, heads) share a scale, weight decay does the rest;
* proximal: the same group penalty, explicitly, with a proximal step after every step;
* magnitude: train, then remove the units that are read with the smallest weights.

Dead units are removed physically, and all small networks are tuned for the same few epochs. Writes
a table (JSON) and a figure (SVG).

    python examples/pruning.py [--quick] [--out FOLDER]
"""

import argparse
import copy
import json
import os
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np
import torch
from networks import NETWORKS, shrink, size, unit_norms
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split
from torch import Tensor, nn

import symbias.torch as st

LR, MOMENTUM, BATCH, TUNING = 0.1, 0.9, 64, 5
STRENGTHS = (1e-3, 2e-3, 4e-3, 8e-3)
KEPT = (0.6, 0.4, 0.2, 0.1)
PLAIN_DECAY = 1e-4
DEAD = 5e-2  # norm of the weights that read a unit, below which it counts as dead


def digits(seed: int) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Training images and labels, test images and labels."""
    x, y = load_digits(return_X_y=True)
    images = (x.reshape(-1, 1, 8, 8) / 16 - 0.3).astype(np.float32)
    split = train_test_split(images, y, test_size=0.25, random_state=seed, stratify=y)
    return tuple(map(torch.as_tensor, (split[0], split[2], split[1], split[3])))  # type: ignore[return-value]


def train(
    model: nn.Module, groups: Any, data: Any, epochs: int, lr: float, prox: Any = None
) -> None:
    """SGD with momentum, batches of 64; ``lr`` falls to 0 over the last third."""
    x, y = data[:2]
    steps = epochs * (len(x) // BATCH)
    optimizer = torch.optim.SGD(groups, lr=lr, momentum=MOMENTUM)
    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda t: min(1, 3 * (1 - t / steps)))
    for step in range(steps):
        if step % (len(x) // BATCH) == 0:
            order = torch.randperm(len(x))
        batch, order = order[:BATCH], order[BATCH:]
        optimizer.zero_grad()
        nn.functional.cross_entropy(model(x[batch]), y[batch]).backward()
        optimizer.step()
        if prox:
            prox(schedule.get_last_lr()[0] / (1 - MOMENTUM))
        schedule.step()


@torch.no_grad()
def accuracy(model: nn.Module, data: Any) -> float:
    return float((model(data[2]).argmax(1) == data[3]).float().mean())


def finish(model: nn.Module, data: Any) -> dict[str, float]:
    """Remove dead units, check that this changed nothing, tune."""
    with torch.no_grad():
        before = model(data[2])
        shrink(model)
        torch.testing.assert_close(model(data[2]), before, rtol=1e-3, atol=1e-3)
    raw = accuracy(model, data)
    train(model, [{"params": model.parameters(), "weight_decay": PLAIN_DECAY}], data, TUNING, 0.02)
    return {"size": size(model), "accuracy": accuracy(model, data), "before tuning": raw}


def group_sizes(model: nn.Module) -> dict[str, float]:
    """sqrt(weights that read a unit), by reader: the usual weights of a group lasso."""
    readers = {u.reader: u for u in model.units}
    weights = {r: model.get_submodule(r).weight for r in readers}
    return {r: (w.numel() / w.shape[1] * readers[r].size) ** 0.5 for r, w in weights.items()}


def by_design(model: nn.Module, data: Any, strength: float, epochs: int) -> nn.Module:
    """The readers' inputs in groups; weight decay on everything, and nothing else."""
    scale = {f"{r}.weight": s / 10 for r, s in group_sizes(model).items()}
    for unit in model.units:
        st.apply(model, f"{unit.reader}.weight", st.slices(1, unit.size))
    groups = st.factor_parameters(model, strength, scale=scale, others=strength / 10)
    train(model, groups, data, epochs, LR)
    st.collapse(model, threshold=DEAD)
    return model


def by_proximal_steps(model: nn.Module, data: Any, strength: float, epochs: int) -> nn.Module:
    """The same objective in the weights themselves."""
    sizes = group_sizes(model)
    readers = {u.reader: model.get_submodule(u.reader).weight for u in model.units}

    @torch.no_grad()
    def prox(rate: float) -> None:
        for unit in model.units:
            weight, norms = readers[unit.reader], unit_norms(model, unit)
            shift = rate * strength * sizes[unit.reader] / 10
            factor = (1 - shift / norms.clamp_min(1e-12)).clamp_min(0)
            each = factor.repeat_interleave(unit.size)
            weight.mul_(each.view(1, -1, *[1] * (weight.ndim - 2)))

    grouped = {id(w) for w in readers.values()}
    rest = [p for p in model.parameters() if id(p) not in grouped]
    groups = [
        {"params": list(readers.values())},
        {"params": rest, "weight_decay": strength / 10},
    ]
    train(model, groups, data, epochs, LR, prox)
    return cut(model, lambda norms: norms > DEAD)


def largest(norms: Tensor, kept: float) -> Tensor:
    """Which norms are among the largest, for a fraction to be kept."""
    count = max(1, round(kept * len(norms)))
    return norms >= norms.sort(descending=True).values[count - 1]


@torch.no_grad()
def cut(model: nn.Module, stays: Callable[[Tensor], Tensor]) -> nn.Module:
    """Set the weights to zero that read other units than those that stay, by their norms."""
    for unit in model.units:
        alive = stays(unit_norms(model, unit))
        weight = model.get_submodule(unit.reader).weight
        mask = alive.repeat_interleave(unit.size).view(1, -1, *[1] * (weight.ndim - 2))
        weight.mul_(mask)
    return model


def one_seed(kind: str, seed: int, strengths: Any, kept: Any, epochs: int) -> list[dict[str, Any]]:
    """All methods on one split and one initialisation."""
    torch.set_num_threads(1)
    data, rows = digits(seed), []
    torch.manual_seed(seed)
    start = NETWORKS[kind]()

    def add(method: str, knob: float, model: nn.Module) -> None:
        rows.append(
            {"network": kind, "seed": seed, "method": method, "knob": knob, **finish(model, data)}
        )

    for strength in strengths:
        add("design", strength, by_design(copy.deepcopy(start), data, strength, epochs))
        model = by_proximal_steps(copy.deepcopy(start), data, strength, epochs)
        add("proximal", strength, model)
    dense = copy.deepcopy(start)
    groups = [{"params": dense.parameters(), "weight_decay": PLAIN_DECAY}]
    train(dense, groups, data, epochs, LR)
    add("dense", 1.0, copy.deepcopy(dense))
    for fraction in kept:
        small = cut(copy.deepcopy(dense), partial(largest, kept=fraction))
        add("magnitude", fraction, small)
    return rows


def table(rows: list[dict[str, Any]]) -> list[str]:
    """One line for each network, method and knob: means over seeds, and the spread."""
    lines = ["network      method     knob     size           accuracy, %     before tuning"]
    keys = dict.fromkeys((r["network"], r["method"], r["knob"]) for r in rows)
    for key in keys:
        own = [r for r in rows if (r["network"], r["method"], r["knob"]) == key]
        s, a, b = (np.array([r[k] for r in own]) for k in ("size", "accuracy", "before tuning"))
        lines.append(
            f"{key[0]:<12} {key[1]:<10} {key[2]:<8g} {s.mean():7.0f} ± {s.std():<5.0f} "
            f"{100 * a.mean():5.1f} ± {100 * a.std():3.1f}     {100 * b.mean():5.1f}"
        )
    return lines


def draw(rows: list[dict[str, Any]], path: Path) -> None:
    """Accuracy against size, every run a dot and a line through the means."""
    from symbias.report.style import DATA, FIT, INK, MARK, axes, svg, svg_text

    colours = {"design": FIT, "proximal": MARK, "magnitude": DATA, "dense": INK}
    marks = {"design": "o", "proximal": "s", "magnitude": "^", "dense": "D"}
    with axes(8.0, 3.4, columns=2) as (figure, panels):
        for panel, kind in zip(panels, NETWORKS, strict=True):
            for method, colour in colours.items():
                own = [r for r in rows if (r["network"], r["method"]) == (kind, method)]
                if not own:
                    continue
                panel.scatter(
                    [r["size"] for r in own],
                    [100 * (1 - r["accuracy"]) for r in own],
                    s=9, alpha=0.35, color=colour, marker=marks[method], linewidths=0,
                )  # fmt: skip
                knobs = dict.fromkeys(r["knob"] for r in own)
                means = [
                    np.mean(
                        [[r["size"], 100 * (1 - r["accuracy"])] for r in own if r["knob"] == k], 0
                    )
                    for k in knobs
                ]
                line = np.array(means)
                panel.plot(*line.T, color=colour, marker=marks[method], ms=4, label=method)
            panel.set(xscale="log", xlabel="parameters", title=kind)
        panels[0].set_ylabel("test error, %")
        panels[0].legend()
        path.write_text(svg_text(svg(figure)))


def main() -> None:
    """Run everything; print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="one seed, two strengths, 6 epochs")
    parser.add_argument("--out", type=Path, default=Path("out/pruning"))
    options = parser.parse_args()
    begun = time.perf_counter()
    options.out.mkdir(parents=True, exist_ok=True)
    seeds = range(1 if options.quick else 5)
    knobs = (STRENGTHS[2::2], KEPT[1::2], 6) if options.quick else (STRENGTHS, KEPT, 50)
    rows: list[dict[str, Any]] = []
    with ProcessPoolExecutor(min(2, os.cpu_count() or 1), get_context("spawn")) as pool:
        jobs = [pool.submit(one_seed, kind, s, *knobs) for kind in NETWORKS for s in seeds]
        for job in jobs:
            rows += job.result()
    lines = table(rows)
    print("\n".join(lines))
    print(f"{time.perf_counter() - begun:.0f} s")
    (options.out / "pruning.json").write_text(json.dumps(rows, indent=1))
    draw(rows, options.out / "pruning.svg")


if __name__ == "__main__":
    main()
