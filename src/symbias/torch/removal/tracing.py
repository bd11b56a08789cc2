"""One run of a network, operation by operation, with the units of every tensor."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_map
from torch.utils.flop_counter import flop_registry

from symbias.torch.removal import contractions  # noqa: F401  (registers rules)
from symbias.torch.removal.rules import RULES, Run, pointwise, tensors_in, unknown
from symbias.torch.removal.values import Value

# what computes nothing, and is left out where sizes are one
MOVES = {
    *("view", "_unsafe_view", "reshape", "_reshape_copy", "flatten", "expand", "unsqueeze"),
    *("squeeze", "t", "transpose", "permute", "clone", "alias", "detach", "contiguous"),
    *("_to_copy", "lift_fresh", "split", "split_with_sizes", "chunk", "slice", "select"),
}


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
        run = self.run
        run.used.update(map(id, tensors_in(args, kwargs)))
        if (count := flop_registry.get(func.overloadpacket)) is not None:
            run.multiply_adds += count(*args, **kwargs, out_val=out) // 2
        if made := tensors_in(out):
            rule(run, name or str(func), args, kwargs, out)
            if name not in MOVES:
                first = made[0]  # others are indices, statistics
                step = "mm" if name == "addmm" else name  # a reader may get a bias
                run.log.append((step, tuple(first.shape), list(run[first].axes)))
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
    inputs, keywords = fresh((inputs, keywords))
    with evaluating(model), _Follow(run):
        out = model(*inputs, **keywords)
    for tensor in tensors_in(plain(out)):
        for labels in run[tensor].axes:
            run.atoms.fix(labels, "an output of the model")
    return run, out


def arguments(example: Any) -> tuple[tuple[Any, ...], dict[str, Any]]:
    """Positional and keyword arguments: an example is one, a tuple of them, or a dict."""
    if hasattr(example, "keys"):
        return (), dict(example)
    return (tuple(example) if isinstance(example, tuple | list) else (example,)), {}


def fresh(given: Any) -> Any:
    """Copies of tensors: a model may write into its inputs."""
    return tree_map(lambda x: x.clone() if isinstance(x, Tensor) else x, given)


def plain(out: Any) -> Any:
    """Outputs of transformers are ordered dicts; what they keep for later is no output."""
    if not isinstance(out, dict):
        return out
    return {k: v for k, v in out.items() if k != "past_key_values"}


@contextmanager
def evaluating(model: nn.Module) -> Iterator[None]:
    """The model in evaluation mode; modes and buffers are as they were afterwards."""
    training = {module: module.training for module in model.modules()}
    buffers = [(buffer, buffer.clone()) for buffer in model.buffers()]
    fast = torch.backends.mha.get_fastpath_enabled()
    torch.backends.mha.set_fastpath_enabled(False)
    model.eval()
    try:
        yield
    finally:
        torch.backends.mha.set_fastpath_enabled(fast)
        for module, was in training.items():
            module.training = was
        with torch.no_grad():
            for buffer, was_there in buffers:
                buffer.copy_(was_there)
