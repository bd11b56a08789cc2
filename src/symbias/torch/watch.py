"""Decoupled weight decay on factors is noticed at the first gradient."""

from typing import Any

import torch

from symbias.torch.errors import warn_decoupled
from symbias.torch.factors import FactorList
from symbias.torch.owners import optimizers_with


def is_decoupled(optimizer: torch.optim.Optimizer, group: dict[str, Any]) -> bool:
    """Whether the weight decay of this group acts beside the gradient, as AdamW's does."""
    kinds = {kind.__name__ for kind in type(optimizer).__mro__}
    decoupled = group.get("decoupled_weight_decay", False) or kinds & {"AdamW", "Adafactor", "Muon"}
    return bool(decoupled) and group.get("weight_decay", 0) != 0


def warn_if_decoupled(optimizer: torch.optim.Optimizer, factors: set[int]) -> None:
    """Warn with `DecoupledDecay` if ``optimizer`` decays any of these tensors beside the loss."""
    for group in optimizer.param_groups:
        if is_decoupled(optimizer, group) and any(id(p) in factors for p in group["params"]):
            warn_decoupled(optimizer)
            return


def watch_for_decoupled_decay(factors: FactorList) -> None:
    """Look once, when the first gradient arrives and the optimizer surely exists."""
    decayed = [t for n, t in factors.named().items() if n not in factors.factors.design.free]
    if not decayed or not decayed[0].requires_grad:
        return

    def look(parameter: torch.Tensor) -> None:
        handle.remove()
        for optimizer in optimizers_with([parameter]):
            warn_if_decoupled(optimizer, {id(parameter)})

    handle = decayed[0].register_post_accumulate_grad_hook(look)
