"""What a design costs in a training step: the digits conv net, plain and designed, in turns.

A step is forward, backward and SGD with momentum and weight decay on a batch of digits. Both
models are timed in turns in the same run, in CPU time of one thread, and the median of the turns'
ratios counts, so that a busy machine disturbs both alike.

    python benchmarks/torch_overhead.py [--quick] [--no-compile] [--json FILE]
"""

import argparse
import copy
import itertools
import json
import os
import runpy
import statistics
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import nn

import symbias as sb
import symbias.torch as st

# the network of the worked example
ConvNet = runpy.run_path(str(Path(__file__).parents[1] / "examples" / "networks.py"))["ConvNet"]
TARGETS = {"eager": 1.25, "compiled": 1.1}
DESIGNS: dict[str, Any] = {
    "l1": "l1",
    "input channels": st.slices(1),
    "lq, q = 2/3": sb.Lq(2 / 3),
}


def stepper(model: nn.Module, groups: Any, batch: int, compiled: bool) -> Callable[[], None]:
    """One step of training on a fixed batch."""
    generator = torch.Generator().manual_seed(0)
    x = torch.rand(batch, 1, 8, 8, generator=generator)
    y = torch.randint(0, 10, (batch,), generator=generator)
    optimizer = torch.optim.SGD(groups, lr=1e-3, momentum=0.9)
    run = torch.compile(model) if compiled else model

    def step() -> None:
        optimizer.zero_grad()
        nn.functional.cross_entropy(run(x), y).backward()
        optimizer.step()

    return step


def seconds(step: Callable[[], None], steps: int) -> float:
    begun = time.process_time()
    for _ in range(steps):
        step()
    return (time.process_time() - begun) / steps


def ratio(wish: Any, batch: int, compiled: bool, turns: int, steps: int) -> dict[str, float]:
    """Designed over plain: the median over turns, and both times."""
    torch.manual_seed(0)
    plain = ConvNet()
    ours = copy.deepcopy(plain)
    st.apply_matching(ours, "*.weight", wish)
    groups = [{"params": plain.parameters(), "weight_decay": 1e-3}]
    other = stepper(plain, groups, batch, compiled)
    mine = stepper(ours, st.factor_parameters(ours, 1e-3), batch, compiled)
    for step in (other, mine):
        seconds(step, 5)
    times = [(seconds(mine, steps), seconds(other, steps)) for _ in range(turns)]
    return {
        "ratio": statistics.median(a / b for a, b in times),
        "designed_ms": 1e3 * min(a for a, _ in times),
        "plain_ms": 1e3 * min(b for _, b in times),
    }


def main() -> None:
    """Print the table; write it as JSON if asked."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--no-compile", action="store_true")
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    torch.set_num_threads(1)
    turns, steps = (5, 5) if options.quick else (40, 10)
    rows = []
    print(f"PyTorch {torch.__version__}, one thread, load {os.getloadavg()[0]:.1f}")
    print("design on all weights  mode      batch  plain ms  designed ms  ratio  (target)")
    modes = ("eager",) if options.no_compile else ("eager", "compiled")
    for mode, batch, name in itertools.product(modes, (128, 32), DESIGNS):
        torch._dynamo.reset()
        row = ratio(DESIGNS[name], batch, mode == "compiled", turns, steps)
        target = TARGETS[mode] if batch == 128 else "-"
        rows.append({"design": name, "mode": mode, "batch": batch, "target": target, **row})
        print(
            f"{name:<22} {mode:<9} {batch:5d}  {row['plain_ms']:8.2f}  {row['designed_ms']:11.2f}  "
            f"{row['ratio']:5.3f}  ({target})",
            flush=True,
        )
    if options.json:
        options.json.write_text(json.dumps(rows, indent=1))


if __name__ == "__main__":
    main()
