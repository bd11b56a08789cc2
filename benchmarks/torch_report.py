"""What `report` costs, and `apply` of a nuclear norm: CPU time of one thread beside training.

A report every 100 steps, as a share of the time of those steps; a training step is forward,
backward and the optimizer. Medians of several turns in the same run.

    python benchmarks/torch_report.py [--quick]
"""

import argparse
import os
import runpy
import statistics
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

import symbias.torch as st

ConvNet = runpy.run_path(str(Path(__file__).parents[1] / "examples" / "networks.py"))["ConvNet"]
EVERY, TARGET = 100, 0.03  # steps between reports; share of their time


class Transformer(nn.Module):
    """Six layers of PyTorch's encoder: 10.7 million parameters."""

    def __init__(self) -> None:
        super().__init__()
        layer = nn.TransformerEncoderLayer(384, 6, 1536, batch_first=True)
        self.layers = nn.TransformerEncoder(layer, 6, enable_nested_tensor=False)
        self.head = nn.Linear(384, 10)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.layers(x).mean(1))


def images() -> tuple[nn.Module, Tensor]:
    return ConvNet(), torch.rand(128, 1, 8, 8)


def tokens() -> tuple[nn.Module, Tensor]:
    return Transformer(), torch.randn(8, 64, 384)


MODELS = {"conv net, batch 128": images, "transformer, 8 x 64": tokens}
WISHES: dict[str, Any] = {"input channels": st.slices(1), "l1": "l1", "nuclear": "nuclear"}


def matrices(wish: Any) -> Any:
    """The wish, of all that has two axes or more: of convolutions no nuclear norm."""
    least, most = 2, 2 if wish == "nuclear" else 9

    def of(name: str, weight: Tensor) -> Any:
        if not least <= weight.ndim <= most:
            return None
        return wish(name, weight) if callable(wish) else wish

    return of


def prepared(make: Any, wish: Any, designed: bool) -> tuple[nn.Module, Callable[[], None]]:
    """A model under a wish, and its training step."""
    torch.manual_seed(0)
    model, x = make()
    y = torch.randint(0, 10, (len(x),))
    if designed:
        st.apply_matching(model, "*weight", matrices(wish))
        optimizer = torch.optim.SGD(st.factor_parameters(model, 1e-3), lr=1e-3, momentum=0.9)
    else:
        st.penalize(model, "*weight", matrices(wish), 1e-3)
        optimizer = torch.optim.SGD(model.parameters(), lr=1e-3, momentum=0.9)
        st.ProximalStep(optimizer)

    def step() -> None:
        optimizer.zero_grad()
        nn.functional.cross_entropy(model(x), y).backward()
        optimizer.step()

    return model, step


def seconds(call: Callable[[], Any]) -> float:
    begun = time.process_time()
    call()
    return time.process_time() - begun


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true")
    quick = parser.parse_args().quick
    torch.set_num_threads(1)
    turns = 2 if quick else 5
    print(f"PyTorch {torch.__version__}, one thread, load {os.getloadavg()[0]:.1f}")
    print(f"model                wish                      step, ms  report, ms  of {EVERY} steps")
    for name, make in MODELS.items():
        for wish, given in WISHES.items():
            for designed in (True, False):
                if quick and (name.startswith("transformer") or not designed):
                    continue
                model, step = prepared(make, given, designed)
                for _ in range(2):
                    step()
                st.report(model)
                a = statistics.median(seconds(step) for _ in range(turns))
                b = statistics.median(seconds(lambda m=model: st.report(m)) for _ in range(turns))
                kind = f"{wish}, {'designed' if designed else 'penalised'}"
                share = b / (EVERY * a)
                print(
                    f"{name:<20} {kind:<25} {1e3 * a:8.1f}  {1e3 * b:10.1f}  {share:8.1%} "
                    f"{'' if share < TARGET else 'above the target of ' + format(TARGET, '.0%')}",
                    flush=True,
                )
    size = 256 if quick else 2048
    layer = nn.Linear(size, size)
    once = seconds(lambda: torch.linalg.svd(layer.weight.detach().double(), full_matrices=False))
    whole = seconds(lambda: st.apply(layer, "weight", "nuclear"))
    print(
        f"apply(nuclear) of a {size} x {size} weight: {whole:.1f} s, of which one singular value "
        f"decomposition in double precision {once:.1f} s"
    )


if __name__ == "__main__":
    main()
