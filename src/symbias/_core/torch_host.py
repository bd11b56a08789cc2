"""Calls from PyTorch to NumPy that torch.func can differentiate around and map over."""

from collections.abc import Callable
from typing import Any

import torch


class _OnHost(torch.autograd.Function):
    """A NumPy function as a constant of its inputs: no gradient flows back."""

    @staticmethod
    def forward(function: Callable[..., Any], *arrays: torch.Tensor) -> tuple[torch.Tensor, ...]:
        values = function(*(a.detach().cpu().numpy() for a in arrays))
        return tuple(torch.as_tensor(v).to(arrays[0]) for v in values)

    @staticmethod
    def setup_context(ctx: Any, inputs: Any, output: Any) -> None:
        ctx.mark_non_differentiable(*output)

    @staticmethod
    def backward(ctx: Any, *grads: Any) -> tuple[None, ...]:
        return (None,) * len(ctx.needs_input_grad)

    @staticmethod
    def vmap(info: Any, in_dims: Any, function: Any, *arrays: torch.Tensor) -> Any:
        rows = []
        for i in range(info.batch_size):
            pairs = zip(arrays, in_dims[1:], strict=True)
            rows.append(
                _OnHost.apply(function, *(a if d is None else a.select(d, i) for a, d in pairs))
            )
        stacked = tuple(torch.stack(column) for column in zip(*rows, strict=True))
        return stacked, (0,) * len(stacked)


def call_on_host(function: Callable[..., Any], *arrays: torch.Tensor) -> tuple[torch.Tensor, ...]:
    """``function`` of the arrays as NumPy, back as tensors of the first one's dtype and device."""
    return _OnHost.apply(function, *arrays)
