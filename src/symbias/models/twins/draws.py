"""Draws of a PyTorch module: its arrays at random, and the slopes of its outputs there."""

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from symbias.checkpoints import Numpy
from symbias.models.twins.statistics import POSITIVE
from symbias.symmetry.discovery import Draws

MOST_OUTPUTS = 64
Named = dict[str, Numpy]


class ModuleDraws(Draws):
    """Random parameters of a module in float64, with slopes by its own backward pass.

    Of many outputs, ``MOST_OUTPUTS`` random combinations.
    """

    def __init__(self, module: Any, run: Callable[[Any], Any], seed: int = 0) -> None:
        import torch

        self.module, self.run = module, run
        self.params = dict(module.named_parameters())
        super().__init__({name: tuple(p.shape) for name, p in self.params.items()}, seed)
        self._set(self.draw())
        with torch.no_grad():
            size = run(module).numel()
        self.outputs = min(size, MOST_OUTPUTS)
        whole = self.outputs == size
        mix = np.eye(size) if whole else self.rng.standard_normal((self.outputs, size))
        self._mix = torch.from_numpy(mix)

    def draw(self) -> Named:
        drawn = super().draw()
        return {k: np.abs(v) + 0.1 if k.endswith(POSITIVE) else v for k, v in drawn.items()}

    def slopes(self, params: Named) -> tuple[Numpy, Named]:
        import torch

        values: list[Numpy] = []
        found: dict[str, list[Numpy]] = {name: [] for name in self.shapes}
        every = torch.eye(self.outputs, dtype=torch.float64)
        for k in range(len(next(iter(params.values())))):
            self._set({name: stack[k] for name, stack in params.items()})
            out = self._mix @ self.run(self.module).reshape(-1)
            slopes = torch.autograd.grad(
                out, list(self.params.values()), every, is_grads_batched=True, allow_unused=True
            )
            values.append(out.detach().numpy())
            for (name, leaf), slope in zip(self.params.items(), slopes, strict=True):
                none = np.zeros((self.outputs, *leaf.shape))
                found[name].append(none if slope is None else slope.numpy())
        return np.stack(values), {name: np.stack(parts) for name, parts in found.items()}

    def values(self, params: Mapping[str, Numpy]) -> Numpy:
        import torch

        self._set(params)
        with torch.no_grad():
            found: Numpy = self.run(self.module).reshape(-1).numpy()
        return found

    def _set(self, params: Mapping[str, Numpy]) -> None:
        import torch

        with torch.no_grad():
            for name, value in params.items():
                self.params[name].copy_(torch.from_numpy(np.asarray(value)))
