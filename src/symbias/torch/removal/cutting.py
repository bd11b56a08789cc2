"""Parameters without the positions that go, and what modules say of their own sizes."""

from collections.abc import Iterator
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from symbias.torch.removal.plan import Plan

HEAD_SIZES = ("head_dim", "attention_head_size", "key_value_proj_dim", "dim_head")
HEADS = ("num_heads", "num_attention_heads", "n_heads", "n_head", "heads")
WIDTHS = ("split_size", "all_head_size", "inner_dim")


def places_of(model: nn.Module) -> Iterator[tuple[nn.Module, str, Tensor]]:
    """Every parameter and buffer at every module that has it."""
    for module in model.modules():
        for kept in (module._parameters, module._buffers):
            for leaf, tensor in kept.items():
                if tensor is not None:
                    yield module, leaf, tensor


def biases_of(model: nn.Module) -> dict[int, Tensor | None]:
    """The bias of every module that has one or could, by the id of its weight."""
    return {
        id(module._parameters["weight"]): module._parameters["bias"]
        for module in model.modules()
        if module._parameters.get("weight") is not None and "bias" in module._parameters
    }


@torch.no_grad()
def cut(model: nn.Module, plan: Plan) -> set[tuple[int, int]]:
    """Carry out the plan; sizes and what they became, heads counted too."""
    _shift(model, plan)
    made: dict[int, Tensor] = {}
    changed, sizes = {}, set()
    for module, leaf, tensor in list(places_of(model)):
        new = made.setdefault(id(tensor), _without(tensor, plan))
        if new is not tensor:
            sizes |= {(a, b) for a, b in zip(tensor.shape, new.shape, strict=True) if a != b}
            kept = module._parameters if leaf in module._parameters else module._buffers
            kept[leaf] = new  # type: ignore[assignment]
            changed[id(module)] = module
    before = {key: _widths(module) for key, module in changed.items()}
    for module in changed.values():
        resize(module)
    for module in model.modules():
        sizes |= _recount(module, before)
    return sizes


def _without(tensor: Tensor, plan: Plan) -> Tensor:
    new = tensor.detach()
    for axis in range(tensor.ndim):
        mask = plan.gone.get((id(tensor), axis))
        if mask is not None and mask.any():
            new = new.index_select(axis, torch.from_numpy(np.flatnonzero(~mask)).to(new.device))
    if new.shape == tensor.shape:
        return tensor
    if isinstance(tensor, nn.Parameter):
        return nn.Parameter(new.clone(), requires_grad=tensor.requires_grad)
    return new.clone()


def _shift(model: nn.Module, plan: Plan) -> None:
    """New biases, with what removed constants added to the outputs."""
    owners = {id(m._parameters.get("weight")): m for m in model.modules()}
    for key, delta in plan.shifts:
        module = owners[key]
        weight, bias = module._parameters["weight"], module._parameters.get("bias")
        assert weight is not None
        old = torch.zeros_like(delta) if bias is None else bias.detach().double()
        trained = (weight if bias is None else bias).requires_grad
        module._parameters["bias"] = nn.Parameter((old + delta).to(weight.dtype), trained)
        cut_like = (id(weight if bias is None else bias), 0)
        if cut_like in plan.gone:
            plan.gone[id(module._parameters["bias"]), 0] = plan.gone[cut_like]


def resize(module: nn.Module) -> None:
    """Make a module's own numbers those of its arrays."""
    weight: Any = module._parameters.get("weight")
    if weight is None:
        return
    if isinstance(module, nn.Linear):
        module.out_features, module.in_features = weight.shape
    elif isinstance(module, nn.modules.conv._ConvNd):
        _resize_convolution(module, weight)
    elif isinstance(module, nn.modules.batchnorm._NormBase):
        module.num_features = len(weight)
    elif isinstance(module, nn.PReLU):
        module.num_parameters = len(weight)
    elif isinstance(module, nn.Embedding):
        module.num_embeddings, module.embedding_dim = weight.shape
    elif hasattr(module, "nf") and hasattr(module, "nx"):  # Conv1D of transformers
        module.nx, module.nf = weight.shape


def _widths(module: nn.Module) -> tuple[int, int]:
    """How many inputs and outputs a layer says that it has."""
    own = vars(module)
    into = own.get("in_features", own.get("nx", 0))
    return into, own.get("out_features", own.get("nf", 0))


def _recount(module: nn.Module, before: dict[int, tuple[int, int]]) -> set[tuple[int, int]]:
    """The heads that an attention module counts, by its layers: how many there were and are."""
    size = next((n for k in HEAD_SIZES if isinstance(n := getattr(module, k, None), int)), 0)
    counts = set()
    for child in module.children() if size else ():
        was_and_is = zip(before.get(id(child), ()), _widths(child), strict=False)
        for k, (old, new) in enumerate(was_and_is):
            if old == new or old % size or new % size:
                continue
            counts.add((old // size, new // size))
            for names, was, now in ((HEADS, old // size, new // size), (WIDTHS, old, new)):
                for name in names:  # what the output layer reads
                    if k == 0 and getattr(module, name, None) == was:
                        setattr(module, name, now)
    return counts


def _resize_convolution(module: Any, weight: Tensor) -> None:
    depthwise = module.groups == module.in_channels > 1
    out, into = (weight.shape[1], weight.shape[0]) if module.transposed else weight.shape[:2]
    if depthwise:
        module.groups = weight.shape[0] * module.in_channels // module.out_channels
    module.out_channels, module.in_channels = out, into * module.groups
