"""One run of a network, operation by operation, with the units of every tensor."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import nn
from torch.utils._python_dispatch import TorchDispatchMode

from symbias.torch.removal import contractions  # noqa: F401  (registers rules)
from symbias.torch.removal.rules import RULES, Run, pointwise, tensors_in, unknown
from symbias.torch.removal.values import Value


class _Follow(TorchDispatchMode):
    def __init__(self, run: Run) -> None:
        super().__init__()
        self.run = run

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        out = func(*args, **kwargs)
        name = func.overloadpacket.__name__.removesuffix("_") if func.namespace == "aten" else ""
        rule = RULES.get(func.overloadpacket.__name__) or RULES.get(name)
        if rule is None:
            rule = pointwise if torch.Tag.pointwise in func.tags else unknown
        if tensors_in(out):
            rule(self.run, name or str(func), args, kwargs, out)
        return out


@torch.no_grad()
def follow(model: nn.Module, inputs: tuple[Any, ...], keywords: dict[str, Any]) -> tuple[Run, Any]:
    """The units of every parameter, and the outputs, which have none that can go.

    The model runs in evaluation mode.
    """
    run = Run()
    for tensor in [*model.parameters(), *model.buffers()]:
        if not run.known(tensor):
            axes = [run.atoms.new(size) for size in tensor.shape]
            run[tensor] = Value(tensor, list(axes), fixed=True, origin=tensor)
    with evaluating(model), _Follow(run):
        out = model(*inputs, **keywords)
    for tensor in tensors_in(plain(out)):
        for labels in run[tensor].axes:
            run.atoms.fix(labels, "an output of the model")
    return run, out


def plain(out: Any) -> Any:
    """Outputs of transformers are ordered dicts; what they keep for later is no output."""
    if not isinstance(out, dict):
        return out
    return {k: v for k, v in out.items() if k != "past_key_values"}


@contextmanager
def evaluating(model: nn.Module) -> Iterator[None]:
    """The model in evaluation mode, every module as it was afterwards."""
    training = {module: module.training for module in model.modules()}
    fast = torch.backends.mha.get_fastpath_enabled()
    torch.backends.mha.set_fastpath_enabled(False)
    model.eval()
    try:
        yield
    finally:
        torch.backends.mha.set_fastpath_enabled(fast)
        for module, was in training.items():
            module.training = was
