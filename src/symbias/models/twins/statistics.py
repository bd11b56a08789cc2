"""Statistics of batch norms as arrays: the scale of what a norm reads moves them as well."""

from collections.abc import Iterator
from contextlib import contextmanager
from types import MethodType
from typing import Any

KEYS = ("running_mean", "running_var")
POSITIVE = "running_var"


@contextmanager
def open_statistics(module: Any) -> Iterator[None]:
    """Running means and variances are parameters meanwhile, and buffers again in the end."""
    norms = opened(module)
    try:
        yield
    finally:
        for norm in norms:
            del norm.forward
            for key in KEYS:
                norm.register_buffer(key, norm._parameters.pop(key).detach())


def opened(module: Any) -> list[Any]:
    """The batch norms of a module, their statistics made parameters."""
    import torch

    kind = torch.nn.modules.batchnorm._BatchNorm
    parts: list[Any] = [part for part in module.modules() if isinstance(part, kind)]
    norms = [norm for norm in parts if norm._buffers.get(POSITIVE) is not None]
    for norm in norms:
        for key in KEYS:
            norm.register_parameter(key, torch.nn.Parameter(norm._buffers.pop(key)))
        norm.forward = MethodType(_normed, norm)
    return norms


def _normed(norm: Any, x: Any) -> Any:
    """What the norm computes in evaluation; PyTorch's own has no derivative by its statistics."""

    def wide(value: Any) -> Any:
        return value.reshape(-1, *[1] * (x.ndim - 2))

    found = (x - wide(norm.running_mean)) / (wide(norm.running_var) + norm.eps).sqrt()
    return found * wide(norm.weight) + wide(norm.bias) if norm.affine else found
