"""Draws of a PyTorch module: its arrays at random, and the slopes of its outputs there."""

from collections.abc import Callable, Iterable, Mapping
from typing import Any

import numpy as np

from symbias.checkpoints import Numpy
from symbias.symmetry.discovery import Draws

MOST_OUTPUTS = 64
Named = dict[str, Numpy]


class ModuleDraws(Draws):
    """Random parameters of a module in float64, with slopes by its own backward pass.

    Of many outputs, ``MOST_OUTPUTS`` random combinations. Parameters of other names than ``free``
    are drawn as well, once for every draw, but are not among the unknowns.
    """

    def __init__(
        self,
        module: Any,
        run: Callable[[Any], Any],
        free: Iterable[str] | None = None,
        fixed: Mapping[str, float] | None = None,
        seed: int = 0,
    ) -> None:
        import torch

        self.module, self.run = module, run
        self.params = dict(module.named_parameters())
        names = list(self.params) if free is None else list(free)
        self.fixed = dict(fixed or {})
        super().__init__({n: tuple(self.params[n].shape) for n in names if n not in self.fixed}, seed)
        self.rest = {n: tuple(p.shape) for n, p in self.params.items() if n not in self.shapes}
        self._set(self.draw())
        with torch.no_grad():
            size = run(module).numel()
        count = min(size, MOST_OUTPUTS)
        mix = np.eye(size) if count == size else self.rng.standard_normal((count, size))
        self._mix, self.outputs = torch.from_numpy(mix), count

    def slopes(self, params: Named) -> tuple[Numpy, Named]:
        import torch

        values: list[Numpy] = []
        found: dict[str, list[Numpy]] = {name: [] for name in self.shapes}
        leaves = [self.params[name] for name in self.shapes]
        for k in range(len(next(iter(params.values())))):
            self._set({name: stack[k] for name, stack in params.items()})
            out = self._mix @ self.run(self.module).reshape(-1)
            slopes = torch.autograd.grad(
                out, leaves, torch.eye(self.outputs, dtype=out.dtype),
                is_grads_batched=True, allow_unused=True,
            )  # fmt: skip
            values.append(out.detach().numpy())
            for name, leaf, slope in zip(self.shapes, leaves, slopes, strict=True):
                none = np.zeros((self.outputs, *leaf.shape))
                found[name].append(none if slope is None else slope.numpy())
        return np.stack(values), {name: np.stack(parts) for name, parts in found.items()}

    def values(self, params: Mapping[str, Numpy]) -> Numpy:
        import torch

        self._set(params, rest=False)
        with torch.no_grad():
            return self.run(self.module).reshape(-1).numpy()

    def draw(self) -> Named:
        return super().draw()

    def _set(self, params: Mapping[str, Numpy], *, rest: bool = True) -> None:
        import torch

        with torch.no_grad():
            for name, value in params.items():
                self.params[name].copy_(torch.from_numpy(np.asarray(value)))
            for name, shape in self.rest.items() if rest else ():
                if name in self.fixed:
                    self.params[name].fill_(self.fixed[name])
                else:
                    scale = max(shape, default=1) ** -0.5
                    value = self.rng.standard_normal(shape) * scale
                    self.params[name].copy_(torch.from_numpy(np.asarray(value)))
