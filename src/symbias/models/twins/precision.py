"""Models run in float64 throughout, whatever they cast to inside, and with norms that add no eps."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any


@contextmanager
def in_double() -> Iterator[None]:
    """Every cast to float32 goes to float64: many norms, softmaxes and rotary tables have one."""
    import torch
    from torch.overrides import TorchFunctionMode

    class Double(TorchFunctionMode):
        def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
            if func is torch.Tensor.float:
                return args[0].double()
            wide = [torch.float64 if a is torch.float32 else a for a in args]
            named = {k: torch.float64 if v is torch.float32 else v for k, v in (kwargs or {}).items()}
            return func(*wide, **named)

    with Double():
        yield


def without_eps(module: Any) -> dict[str, float]:
    """Set every eps inside a module to zero; returns what they were, by submodule and attribute."""
    found = {}
    for name, part in module.named_modules():
        for key, value in list(vars(part).items()):
            if "eps" in key.lower() and isinstance(value, float) and 0 < value < 0.1:
                found[f"{name}.{key}"] = value
                setattr(part, key, 0.0)
    return found


def rows_alive(module: Any) -> None:
    """Let gradients reach the rows of padding tokens, which are read like all others."""
    import torch

    for part in module.modules():
        if isinstance(part, torch.nn.Embedding):
            part.padding_idx = None
