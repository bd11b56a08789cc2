"""Models and designs that every test of the PyTorch face shares."""

from typing import Any

import numpy as np
import torch
from torch import nn

import symbias as sb

torch.set_num_threads(1)
SHAPE = (8, 6)
DECAY = sb.WeightDecay(1.0)


def designed(wish: Any) -> sb.Parameterization:
    return sb.design(wish, DECAY, shape=SHAPE)


# every family of parameterizations, for a weight of SHAPE
DESIGNS: dict[str, sb.Parameterization] = {
    "hadamard": sb.Hadamard(SHAPE),
    "depth 3": sb.Hadamard(SHAPE, 3),
    "rows": sb.GroupProduct(SHAPE, axis=0),
    "columns": sb.GroupProduct(SHAPE, axis=1),
    "labels": designed(sb.GroupLasso(np.arange(48).reshape(SHAPE) % 5)),
    "nuclear": designed(sb.Nuclear()),
    "schatten": designed(sb.Schatten(0.5)),
    "series": designed(sb.TotalVariation(axis=0)),
    "across": designed(sb.TotalVariation(axis=1)),
    "trend": designed(sb.TrendFilter()),
    "haar": designed(sb.Spectral("haar")),
    "cosine": designed(sb.Spectral()),
    "log": designed(sb.LogSum()),
    "elastic": designed(sb.ElasticNet()),
    "custom": designed(sb.Custom(lambda w: w + w**2)),
    "sum": sb.Sum([sb.Hadamard(SHAPE), sb.MatrixProduct(*SHAPE)]),
}


def network(seed: int = 0) -> nn.Sequential:
    torch.manual_seed(seed)
    return nn.Sequential(nn.Linear(6, 8), nn.ReLU(), nn.Linear(8, 3))


class Tied(nn.Module):
    """An embedding whose weight is the output layer's too."""

    def __init__(self) -> None:
        super().__init__()
        self.embed = nn.Embedding(8, 6)
        self.mix = nn.Linear(6, 6)
        self.head = nn.Linear(6, 8, bias=False)
        self.head.weight = self.embed.weight

    def forward(self, tokens: torch.Tensor) -> torch.Tensor:
        return self.head(torch.tanh(self.mix(self.embed(tokens))))


def inputs(rows: int = 5, seed: int = 1) -> torch.Tensor:
    return torch.randn(rows, 6, generator=torch.Generator().manual_seed(seed))


def values(model: nn.Module) -> dict[str, torch.Tensor]:
    return {k: v.clone() for k, v in model.state_dict().items()}


def same(a: dict[str, torch.Tensor], b: dict[str, torch.Tensor]) -> bool:
    return list(a) == list(b) and all(torch.equal(a[k], b[k]) for k in a)
