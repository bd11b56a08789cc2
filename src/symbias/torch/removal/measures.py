"""How large a model is, and how fast."""

import time
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._pytree import tree_leaves

from symbias.torch.removal.tracing import evaluating, fresh

LONG, ROUNDS = 0.3, 50  # seconds and forward passes that are timed, at most


@dataclass(frozen=True)
class Measures:
    """Of one forward pass on the example input.

    Attributes
    ----------
    parameters : int
        Those that several modules share count once.
    multiply_adds : int
        Of matrix products, convolutions and attention.
    milliseconds : float
        Of the fastest of several passes.
    """

    parameters: int
    multiply_adds: int
    milliseconds: float


@torch.no_grad()
def measure(
    model: nn.Module, inputs: tuple[Any, ...], keywords: dict[str, Any], multiply_adds: int
) -> tuple[Measures, Any]:
    """Of a model with so many multiply-adds; and its outputs."""
    with evaluating(model):
        times: list[float] = []
        while not times or (sum(times) < LONG and len(times) < ROUNDS):
            given, named = fresh((inputs, keywords))
            begun = time.perf_counter()
            out = model(*given, **named)
            _wait(out)
            times.append(time.perf_counter() - begun)
    size = sum(p.numel() for p in model.parameters())
    return Measures(size, multiply_adds, 1e3 * min(times)), out


def _wait(out: Any) -> None:
    leaves = [t for t in tree_leaves(out) if isinstance(t, Tensor)]
    if leaves and leaves[0].is_cuda:
        torch.cuda.synchronize()
