"""Models in float64 throughout, whatever they cast to inside, and norms that add no eps."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any


@contextmanager
def in_double() -> Iterator[None]:
    """Every cast to float32 goes to float64: many norms, softmaxes and rotary tables have one."""
    import torch
    from torch.overrides import TorchFunctionMode

    def wide(value: Any) -> Any:
        return torch.float64 if value is torch.float32 else value

    class Double(TorchFunctionMode):
        def __torch_function__(self, func: Any, _: Any, args: Any = (), kwargs: Any = None) -> Any:
            if func is torch.Tensor.float:
                return args[0].double()
            return func(*map(wide, args), **{k: wide(v) for k, v in (kwargs or {}).items()})

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


@contextmanager
def restored(module: Any, kept: Mapping[str, float]) -> Iterator[None]:
    """Attributes as `without_eps` found them, in the end."""
    try:
        yield
    finally:
        for name, value in kept.items():
            path, _, key = name.rpartition(".")
            setattr(module.get_submodule(path), key, value)


@contextmanager
def one_thread() -> Iterator[None]:
    """Torch on one thread: arrays of a few entries wait for one another on two, 5 to 16 times."""
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)


@contextmanager
def plainly(model: Any) -> Iterator[None]:
    """Without dropout, and with attention and experts in plain code, which runs in float64."""
    was, config = model.training, getattr(model, "config", None)
    keys = ("_attn_implementation", "_experts_implementation")
    before = {key: getattr(config, key) for key in keys if hasattr(config, key)}
    try:
        model.eval()
        for key in before:
            setattr(config, key, "eager")
        yield
    finally:
        model.train(was)
        for key, value in before.items():
            setattr(config, key, value)


def generic(module: Any) -> None:
    """Give parameters and running statistics random values, as symmetries must not hold at special
    ones only, and let gradients reach the rows of padding tokens, which are read like others."""
    import torch

    random = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.normal_(std=max(parameter.shape, default=1) ** -0.5, generator=random)
        for part in module.modules():
            if isinstance(getattr(part, "running_var", None), torch.Tensor):
                part.running_mean.normal_(generator=random)
                part.running_var.uniform_(0.5, 2.0, generator=random)
            if isinstance(part, torch.nn.Embedding):
                part.padding_idx = None
