"""Optimizers that hold what they should not, decay it beside the loss, or not at all."""

import gc
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import count
from typing import Any, TypeVar
from weakref import WeakKeyDictionary, WeakSet

import torch
from torch import nn

from symbias.torch.errors import StaleOptimizer, warn_count, warn_missed

T = TypeVar("T")
# Adam, NAdam and RAdam say so in their groups; these do not
DECOUPLED = {"AdamW", "Adafactor", "Muon", "Lion"}


def optimizers_with(parameters: Iterable[torch.Tensor]) -> list[torch.optim.Optimizer]:
    """The `living` optimizers that hold any of these tensors."""
    wanted = {id(p) for p in parameters}
    return [o for o in living(torch.optim.Optimizer) if not wanted.isdisjoint(held(o))]


def living(kind: type[T]) -> list[T]:
    """All objects of a class or of one below it; the cost of one sweep of the heap.

    Objects refer to their class. Some of those found may be garbage that waits for `gc.collect`.
    """
    kinds = _kinds(kind)
    found = [o for o in gc.get_referrers(*kinds) if type(o) in kinds]
    if kind is torch.optim.Optimizer:
        _seen.update(o for o in found if hasattr(o, "param_groups"))
    return found


_seen: WeakSet[Any] = WeakSet()  # optimizers that a sweep found


def _kinds(kind: type) -> set[type]:
    return {kind}.union(*map(_kinds, kind.__subclasses__()))


def held(optimizer: torch.optim.Optimizer) -> set[int]:
    """The ids of the tensors that it steps."""
    groups = getattr(optimizer, "param_groups", ())  # one that is half-built has none
    return {id(p) for group in groups for p in group["params"]}


def refuse_stale(parameters: dict[str, torch.Tensor]) -> None:
    """Raise StaleOptimizer if an optimizer holds any of these weights."""
    if not optimizers_with(parameters.values()):
        return
    gc.collect()
    if found := optimizers_with(parameters.values()):
        ids = set().union(*map(held, found))
        names = [name for name, p in parameters.items() if id(p) in ids]
        raise StaleOptimizer(
            f"{type(found[0]).__name__} holds the weight {', '.join(map(repr, names))}, which "
            "factors replace: it would train nothing. Build the optimizer after the design, from "
            "symbias.torch.factor_parameters(model)"
        )


def misses_the_penalty(
    optimizer: torch.optim.Optimizer, tensors: set[int], *, ever: bool = False
) -> bool:
    """Whether ``optimizer`` decays any of these ids as AdamW does, or ignores their weight decay.

    ``ever``: whatever the decay is now.
    """
    kinds = {kind.__name__ for kind in type(optimizer).__mro__}
    for group in optimizer.param_groups:
        coupled = "weight_decay" in optimizer.defaults and not kinds & DECOUPLED
        coupled = coupled and not group.get("decoupled_weight_decay", False)
        ours = not tensors.isdisjoint(map(id, group["params"]))
        if ours and not coupled and (ever or group.get("weight_decay", 0) != 0):
            return True
    return False


def watch(module: nn.Module, decayed: Sequence[torch.Tensor]) -> None:
    """Warn of a missed penalty when gradients arrive and an optimizer of these tensors exists."""
    if decayed and decayed[0].requires_grad and module not in _waiting:
        hook = decayed[0].register_post_accumulate_grad_hook(_look)
        _waiting[module] = decayed[0], {id(t) for t in decayed}, hook, count(1)


# modules whose factors were not seen in an optimizer yet: (the hooked one, ids of all, the hook,
# the gradients that came)
_waiting: WeakKeyDictionary[nn.Module, tuple[torch.Tensor, set[int], Any, Iterator[int]]]
_waiting = WeakKeyDictionary()


def _look(parameter: torch.Tensor) -> None:
    """Judge the optimizers of this parameter, for everything else that they hold as well."""
    gradients = next((next(n) for p, _, _, n in _waiting.values() if p is parameter), 0)
    if gradients & (gradients - 1):  # a look sweeps the heap: at gradient 1, 2, 4, 8, ...
        return
    found = optimizers_with([parameter])
    if not found:
        return
    beside: set[int] = set().union(*map(held, found))
    factors: set[int] = set()
    ours: list[tuple[nn.Module, set[int]]] = []
    for module, (hooked, ids, hook, _) in list(_waiting.items()):
        factors |= ids
        if hooked is parameter or id(hooked) in beside:
            hook.remove()
            del _waiting[module]
            ours.append((module, ids))
    if any(misses_the_penalty(o, factors) for o in found):
        del found
        gc.collect()
        for optimizer in optimizers_with([parameter]):
            if misses_the_penalty(optimizer, factors):
                warn_missed(optimizer)
        return
    _count_penalties(found, ours)


def _count_penalties(
    optimizers: list[torch.optim.Optimizer], ours: list[tuple[nn.Module, set[int]]]
) -> None:
    """Warn where factors have no penalty, or have it twice: in the decay and in the loss."""
    for module, ids in ours:
        stepped = [o for o in optimizers if not ids.isdisjoint(held(o))]
        decayed, in_loss = decays(stepped, ids), bool(getattr(module, "in_loss", False))
        if stepped and decayed == in_loss:
            warn_count(type(stepped[0]).__name__, twice=decayed)
            return


def undecayed_by(
    tensors: Sequence[torch.Tensor], sweep: Callable[[], list[torch.optim.Optimizer]]
) -> str | None:
    """The class of an optimizer that steps these and does not decay them, if none does.

    The heap is swept only if no optimizer that was found before decays them.
    """
    ids = set(map(id, tensors))
    if decays(_seen, ids):
        return None
    found = [o for o in sweep() if not ids.isdisjoint(held(o))]
    return type(found[0]).__name__ if found and not decays(found, ids) else None


def decays(optimizers: Iterable[torch.optim.Optimizer], tensors: set[int]) -> bool:
    """Whether any of these ids has weight decay, or will have by a schedule."""
    return any(
        group.get("weight_decay", 0) != 0 or group.get("scheduled", False)
        for optimizer in optimizers
        for group in optimizer.param_groups
        if not tensors.isdisjoint(map(id, group["params"]))
    )
