"""What still holds parameters that a model has no more: said when it is used, not before.

An optimizer that is dropped after `collapse` or `shrink` is as it should be; one that steps on, or
a wrapper for distributed training that runs on, trains nothing, or fails in PyTorch's words.
"""

import warnings
import weakref
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel
from torch.optim.swa_utils import AveragedModel

from symbias.torch.errors import AveragedFactors, NothingTrains, WrappedModel
from symbias.torch.optimizers import held, living

# of each optimizer: what it holds for nothing, and a way to find out whether it still does
_left: weakref.WeakKeyDictionary[torch.optim.Optimizer, list[tuple[int, Callable[[], bool]]]]
_left = weakref.WeakKeyDictionary()


def watch_optimizers(
    gone: Sequence[Tensor], verb: str, *, kept: Callable[[Tensor], bool] = lambda p: False
) -> None:
    """Warn with `NothingTrains` at the next step of optimizers that hold any of these tensors.

    ``kept``: whether a tensor has a place in some model after all, asked at that step.
    """
    refs = {id(p): weakref.ref(p) for p in gone}

    def lost(key: int) -> Callable[[], bool]:
        return lambda: (p := refs[key]()) is not None and not kept(p)

    for optimizer in living(torch.optim.Optimizer) if gone else ():
        ours = held(optimizer) & refs.keys()
        if not ours:
            continue
        if optimizer not in _left:
            optimizer.register_step_pre_hook(_warner(verb))
        _left.setdefault(optimizer, []).extend((key, lost(key)) for key in sorted(ours))


def _warner(verb: str) -> Callable[..., None]:
    def hook(optimizer: torch.optim.Optimizer, *_: Any) -> None:
        now, waiting = held(optimizer), _left.get(optimizer, [])
        count = sum(key in now and lost() for key, lost in waiting)
        waiting.clear()  # once
        if count:
            warnings.warn(
                f"{count} of the {len(now)} parameters that {type(optimizer).__name__} steps are "
                f"in no model since {verb}: the weights in their place do not train, and have no "
                "decay and no penalty from it. Build a new optimizer, from model.parameters()",
                NothingTrains,
                stacklevel=3,
            )

    return hook


def watch_wrappers(modules: Iterable[nn.Module]) -> None:
    """Have a DistributedDataParallel around any of these raise `WrappedModel` where it must fail.

    Without a process group there is none, and nothing is searched.
    """
    if not (torch.distributed.is_available() and torch.distributed.is_initialized()):
        return
    ours = set(map(id, modules))
    for wrapper in living(DistributedDataParallel):
        if not ours.isdisjoint(map(id, wrapper.modules())):
            wrapper.register_forward_pre_hook(_refuse_wrapper)


def _refuse_wrapper(wrapper: Any, *_: Any) -> None:
    """PyTorch waits for gradients of factors that are gone, and broadcasts their constants."""
    empty = wrapper.will_sync_module_buffers() and next(wrapper.module.buffers(), None) is None
    if empty or (wrapper.training and torch.is_grad_enabled()):
        raise WrappedModel(
            f"{type(wrapper).__name__} wrapped factors that are collapsed: it does not know the "
            "weights in their place, and cannot average their gradients. Wrap the model again"
        )


def warn_averaged(factors: Iterable[nn.Module], stacklevel: int) -> None:
    """Warn with `AveragedFactors` of factors inside an ``AveragedModel`` of two models or more.

    The first update is a copy, whose product is that of its model.
    """
    ours = set(map(id, factors))
    for average in living(AveragedModel):
        count = int(average.n_averaged)
        if count > 1 and not ours.isdisjoint(map(id, average.modules())):
            warnings.warn(
                f"AveragedModel has averaged the factors of {count} models, and the product of "
                "averages is not the average of the weights. Average collapsed copies instead: "
                "plain = copy.deepcopy(model); symbias.torch.collapse(plain); "
                "average.update_parameters(plain)",
                AveragedFactors,
                stacklevel=stacklevel,
            )
