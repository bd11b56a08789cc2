"""Two small networks for 8 x 8 digits, and which of their weights are one unit."""

from dataclasses import dataclass

import numpy as np
import torch
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split
from torch import Tensor, nn

HEAD = 8  # size of an attention head


@dataclass(frozen=True)
class Units:
    """Units by who reads them: ``size`` neighbouring inputs of ``reader`` are one unit.

    ``makers`` compute them: ``rows`` neighbouring outputs of each belong to one unit.
    """

    reader: str
    size: int
    makers: tuple[str, ...]
    rows: int = 1


class ConvNet(nn.Sequential):
    """Two convolutions and two linear layers."""

    units = (
        Units("2", 1, ("0",)),
        Units("6", 16, ("2",)),  # 4 x 4 pixels of a channel
        Units("8", 1, ("6",)),
    )

    def __init__(self) -> None:
        super().__init__(
            nn.Conv2d(1, 16, 3, padding=1),
            nn.ReLU(),
            nn.Conv2d(16, 32, 3, padding=1),
            nn.ReLU(),
            nn.MaxPool2d(2),
            nn.Flatten(),
            nn.Linear(512, 64),
            nn.ReLU(),
            nn.Linear(64, 10),
        )


class Block(nn.Module):
    """Attention and a ReLU layer, each on normed inputs and with a residual; some heads may go."""

    def __init__(self, width: int, hidden: int) -> None:
        super().__init__()
        self.norm1, self.norm2 = nn.LayerNorm(width), nn.LayerNorm(width)
        self.q, self.k, self.v = (nn.Linear(width, width) for _ in range(3))
        self.o = nn.Linear(width, width)
        self.up, self.down = nn.Linear(width, hidden), nn.Linear(hidden, width)

    def forward(self, x: Tensor) -> Tensor:
        y = self.norm1(x)
        split = (*x.shape[:2], -1, HEAD)
        q, k, v = (layer(y).view(split).transpose(1, 2) for layer in (self.q, self.k, self.v))
        heads = nn.functional.scaled_dot_product_attention(q, k, v)
        x = x + self.o(heads.transpose(1, 2).flatten(2))
        return x + self.down(torch.relu(self.up(self.norm2(x))))


class Transformer(nn.Module):
    """Two blocks with four heads; the eight rows of an image are the tokens."""

    units = tuple(
        unit
        for b in ("blocks.0.", "blocks.1.")
        for unit in (
            Units(b + "o", HEAD, (b + "q", b + "k", b + "v"), HEAD),
            Units(b + "down", 1, (b + "up",)),
        )
    )

    def __init__(self, width: int = 32, hidden: int = 64) -> None:
        super().__init__()
        self.embed = nn.Linear(8, width)
        self.position = nn.Parameter(0.1 * torch.randn(8, width))
        self.blocks = nn.ModuleList(Block(width, hidden) for _ in range(2))
        self.norm = nn.LayerNorm(width)
        self.head = nn.Linear(width, 10)

    def forward(self, x: Tensor) -> Tensor:
        x = self.embed(x.squeeze(1)) + self.position
        for block in self.blocks:
            x = block(x)
        return self.head(self.norm(x).mean(dim=1))


NETWORKS: dict[str, type[nn.Module]] = {"conv net": ConvNet, "transformer": Transformer}


def digits(seed: int) -> list[Tensor]:
    """Training images and labels, test images and labels."""
    x, y = load_digits(return_X_y=True)
    images = (x.reshape(-1, 1, 8, 8) / 16 - 0.3).astype(np.float32)
    a, b, c, d = train_test_split(images, y, test_size=0.25, random_state=seed, stratify=y)
    return [torch.as_tensor(t) for t in (a, c, b, d)]


@torch.no_grad()
def accuracy(model: nn.Module, data: list[Tensor]) -> float:
    """Fraction of test images that are read right."""
    return float((model(data[2]).argmax(1) == data[3]).float().mean())


def unit_norms(model: nn.Module, unit: Units) -> Tensor:
    """|weights that read the unit|, one number for each."""
    weight = model.get_submodule(unit.reader).weight.detach()
    return weight.transpose(0, 1).reshape(weight.shape[1] // unit.size, -1).norm(dim=1)


def unit_scores(model: nn.Module, unit: Units) -> Tensor:
    """|weights that make the unit| times |weights that read it|: no rescaling changes it."""
    maker = model.get_submodule(unit.makers[-1])  # of a head: its values
    rows = torch.cat([maker.weight.flatten(1), maker.bias[:, None]], 1).detach()
    return rows.reshape(len(rows) // unit.rows, -1).norm(dim=1) * unit_norms(model, unit)


def size(model: nn.Module) -> int:
    """Number of parameters."""
    return sum(p.numel() for p in model.parameters())
