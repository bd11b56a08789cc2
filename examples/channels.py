"""Channels of a residual network with BatchNorm: accuracy against size, three ways to get there.

* sgd, adamw: scale and shift of every channel as one group, with proximal steps; no tuning;
* slimming: l1 on the scales alone (Liu et al. 2017) under SGD, the smallest of all scales removed,
  and tuned for 10 epochs.

Dead channels are removed by `symbias.torch.shrink`. Prints a table: means over five seeds.

    python examples/channels.py [--quick]
"""

import argparse
import copy
import os
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from typing import Any

import numpy as np
import torch
from networks import accuracy, digits
from torch import Tensor, nn

import symbias.torch as st

WIDTH, BATCH, EPOCHS, TUNING = 16, 64, 60, 10
RATES = {"sgd": 0.1, "adamw": 0.01}
STRENGTHS = {"sgd": (5e-3, 1e-2, 2e-2), "adamw": (2e-2, 5e-2, 1e-1)}
SLIMMING, KEPT = 1e-2, (0.6, 0.4, 0.25)


class Block(nn.Module):
    """Two convolutions and a shortcut."""

    def __init__(self, into: int, out: int, stride: int = 1) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(into, out, 3, stride, 1, bias=False)
        self.conv2 = nn.Conv2d(out, out, 3, 1, 1, bias=False)
        self.norm1, self.norm2 = nn.BatchNorm2d(out), nn.BatchNorm2d(out)
        self.short: nn.Module = nn.Identity()
        if into != out:
            short = nn.Conv2d(into, out, 1, stride, bias=False)
            self.short = nn.Sequential(short, nn.BatchNorm2d(out))

    def forward(self, x: Tensor) -> Tensor:
        y = self.conv2(self.norm1(self.conv1(x)).relu())
        return (self.norm2(y) + self.short(x)).relu()


def residual() -> nn.Module:
    """A stem, three blocks, a linear layer: 38,266 parameters, 208 channels."""
    return nn.Sequential(
        *(nn.Conv2d(1, WIDTH, 3, padding=1, bias=False), nn.BatchNorm2d(WIDTH), nn.ReLU()),
        *(Block(WIDTH, WIDTH), Block(WIDTH, 2 * WIDTH, 2), Block(2 * WIDTH, 2 * WIDTH)),
        *(nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(2 * WIDTH, 10)),
    )


def norms(model: nn.Module) -> list[nn.BatchNorm2d]:
    """Every BatchNorm."""
    return [m for m in model.modules() if isinstance(m, nn.BatchNorm2d)]


def train(model: nn.Module, data: Any, kind: str, epochs: int, rate: float, prox: bool) -> None:
    """The rate falls to 0 over the last third; scales and shifts are not decayed."""
    ours = [p for norm in norms(model) for p in (norm.weight, norm.bias)]
    rest = [p for p in model.parameters() if not any(p is q for q in ours)]
    decay = 5e-4 if kind == "sgd" else 1e-2
    groups: Any = [{"params": ours, "weight_decay": 0.0}, {"params": rest, "weight_decay": decay}]
    optimizer: torch.optim.Optimizer = torch.optim.AdamW(groups, rate)
    if kind == "sgd":
        optimizer = torch.optim.SGD(groups, rate, momentum=0.9)
    if prox:
        st.ProximalStep(optimizer)
    x, y = data[:2]
    batches = len(x) // BATCH
    schedule = torch.optim.lr_scheduler.LambdaLR(
        optimizer, lambda t: min(1, 3 * (1 - t / (epochs * batches)))
    )
    for _ in range(epochs):
        for batch in torch.randperm(len(x))[: batches * BATCH].split(BATCH):
            optimizer.zero_grad()
            nn.functional.cross_entropy(model(x[batch]), y[batch]).backward()
            optimizer.step()
            schedule.step()
    model.eval()


@torch.no_grad()
def cut(model: nn.Module, kept: float) -> None:
    """Zero the channels with the smallest scales, over the whole network."""
    scales = torch.cat([norm.weight.abs() for norm in norms(model)])
    least = scales.quantile(1 - kept)
    for norm in norms(model):
        gone = norm.weight.abs() < least
        norm.weight[gone] = norm.bias[gone] = 0


def finish(model: nn.Module, data: Any, tuning: int, **row: Any) -> dict[str, Any]:
    """Remove what is dead; tune, if wished; measure."""
    done = st.shrink(model, data[2][:100])
    raw = 100 * accuracy(model, data)
    if tuning:
        train(model.train(), data, "sgd", tuning, 0.02, prox=False)
    channels = sum(norm.num_features for norm in norms(model))
    row |= {"channels": channels, "parameters": done.after.parameters, "untuned": raw}
    macs = done.after.multiply_adds / done.before.multiply_adds
    return row | {"accuracy": 100 * accuracy(model, data), "multiply-adds": macs}


def one_seed(seed: int, epochs: int, count: int) -> list[dict[str, Any]]:
    """All methods from one initialisation."""
    torch.set_num_threads(1)
    data, rows = digits(seed), []
    for kind, rate in RATES.items():
        for strength in (0.0, *STRENGTHS[kind][:count]):
            torch.manual_seed(seed)
            model = residual()
            if strength:
                st.penalize_channels(model, "*", strength)
            train(model, data, kind, epochs, rate, prox=bool(strength))
            rows.append(finish(model, data, 0, method=kind, knob=strength))
    torch.manual_seed(seed)
    model = residual()
    st.penalize(model, "*", lambda n, w: "l1" if w.ndim == 1 and "weight" in n else None, SLIMMING)
    train(model, data, "sgd", epochs, RATES["sgd"], prox=True)
    for kept in KEPT[:count]:
        twin = copy.deepcopy(model)
        cut(twin, kept)
        rows.append(finish(twin, data, min(epochs, TUNING), method="slimming", knob=kept))
    return rows


def main() -> None:
    """Run everything; print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="one seed, one strength, 2 epochs")
    quick = parser.parse_args().quick
    if quick:
        rows = one_seed(0, 2, 1)
    else:
        with ProcessPoolExecutor(min(2, os.cpu_count() or 1), get_context("spawn")) as pool:
            jobs = [pool.submit(one_seed, seed, EPOCHS, 3) for seed in range(5)]
            rows = [row for job in jobs for row in job.result()]
    print("method    knob  channels   parameters   multiply-adds   accuracy, %    untuned")
    for method, knob in dict.fromkeys((r["method"], r["knob"]) for r in rows):
        own = [r for r in rows if (r["method"], r["knob"]) == (method, knob)]
        c, p, m, a, u = (
            np.array([r[k] for r in own])
            for k in ("channels", "parameters", "multiply-adds", "accuracy", "untuned")
        )
        print(
            f"{method:<8}  {knob:<5g} {c.mean():5.0f} ± {c.std():<3.0f} {p.mean():6.0f} ± "
            f"{p.std():<5.0f} {m.mean():9.0%} {a.mean():14.1f} ± {a.std():3.1f} {u.mean():9.1f}"
        )


if __name__ == "__main__":
    main()
