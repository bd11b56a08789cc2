"""Optimizers that hold what they should not, or decay it beside the loss."""

import gc
from collections.abc import Iterable, Sequence
from typing import Any
from weakref import WeakKeyDictionary

import torch
from torch import nn

from symbias.torch.errors import StaleOptimizer, warn_decoupled

# Adam, NAdam and RAdam say so in their groups; these do not
DECOUPLED = {"AdamW", "Adafactor", "Muon", "Lion"}


def optimizers_with(parameters: Iterable[torch.Tensor]) -> list[torch.optim.Optimizer]:
    """The living optimizers that hold any of these tensors; the cost of one sweep of the heap.

    Objects refer to their class. Some of those found may be garbage that waits for `gc.collect`.
    """
    wanted = {id(p) for p in parameters}
    kinds = _kinds(torch.optim.Optimizer)
    found = [o for o in gc.get_referrers(*kinds) if type(o) in kinds]
    return [o for o in found if not wanted.isdisjoint(_held(o))]


def _kinds(kind: type) -> set[type]:
    return {kind}.union(*map(_kinds, kind.__subclasses__()))


def _held(optimizer: torch.optim.Optimizer) -> set[int]:
    groups = getattr(optimizer, "param_groups", ())  # one that is half-built has none
    return {id(p) for group in groups for p in group["params"]}


def refuse_stale(parameters: dict[str, torch.Tensor]) -> None:
    """Raise StaleOptimizer if an optimizer holds any of these weights."""
    if not optimizers_with(parameters.values()):
        return
    gc.collect()
    if found := optimizers_with(parameters.values()):
        held = set().union(*map(_held, found))
        names = [name for name, p in parameters.items() if id(p) in held]
        raise StaleOptimizer(
            f"{type(found[0]).__name__} holds the weight {', '.join(map(repr, names))}, which "
            "factors replace: it would train nothing. Build the optimizer after the design, from "
            "symbias.torch.factor_parameters(model)"
        )


def decays_beside_the_loss(optimizer: torch.optim.Optimizer, tensors: set[int]) -> bool:
    """Whether ``optimizer`` applies decoupled weight decay, as AdamW, to any of these ids."""
    kinds = {kind.__name__ for kind in type(optimizer).__mro__}
    for group in optimizer.param_groups:
        beside = group.get("decoupled_weight_decay", False) or kinds & DECOUPLED
        ours = not tensors.isdisjoint(map(id, group["params"]))
        if beside and ours and group.get("weight_decay", 0) != 0:
            return True
    return False


def watch(module: nn.Module, decayed: Sequence[torch.Tensor]) -> None:
    """Warn of decoupled decay when the first gradient arrives and the optimizer surely exists."""
    if decayed and decayed[0].requires_grad:
        hook = decayed[0].register_post_accumulate_grad_hook(_look)
        _waiting[module] = decayed[0], {id(t) for t in decayed}, hook


# modules whose factors were not seen in an optimizer yet: (the hooked one, ids of all, the hook)
_waiting: WeakKeyDictionary[nn.Module, tuple[torch.Tensor, set[int], Any]] = WeakKeyDictionary()


def _look(parameter: torch.Tensor) -> None:
    """Judge the optimizers of this parameter, for everything else that they hold as well."""
    found = optimizers_with([parameter])
    held: set[int] = set().union(*map(_held, found))
    factors: set[int] = set()
    for module, (hooked, ids, hook) in list(_waiting.items()):
        factors |= ids
        if hooked is parameter or id(hooked) in held:
            hook.remove()
            del _waiting[module]
    if any(decays_beside_the_loss(o, factors) for o in found):
        del found
        gc.collect()
        for optimizer in optimizers_with([parameter]):
            if decays_beside_the_loss(optimizer, factors):
                warn_decoupled(optimizer)
