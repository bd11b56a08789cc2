"""What may be wished of a weight, and of which weights."""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.nn.parameter import UninitializedParameter

from symbias.parameterizations import Parameterization
from symbias.penalties import L1, ElasticNet, GroupLasso, Penalty, Ridge, TotalVariation, as_penalty
from symbias.torch.errors import ShapeMismatch, UnsupportedTensor

Design = Parameterization | Penalty | str | Callable[[str, Tensor], Any]


def wished(name: str, weight: Tensor, wish: Design) -> Parameterization | Penalty | None:
    """What is wished of a weight of this name, if anything."""
    if callable(wish) and not isinstance(wish, Parameterization | Penalty):
        wish = wish(name, weight.detach())
    if isinstance(wish, Penalty | str):
        wish = as_penalty(wish)
        _check_penalty(name, weight, wish)
    if wish is None or isinstance(wish, Parameterization | Penalty):
        return wish
    raise TypeError(f"expected a design or a penalty for {name!r}, got {type(wish).__name__}")


def _check_penalty(name: str, weight: Tensor, penalty: Penalty) -> None:
    """A penalty whose defaults are for vectors says what it is on this weight."""
    if weight.ndim == 0 and not isinstance(penalty, L1 | ElasticNet | Ridge):
        raise ShapeMismatch(
            f"{name!r} is a single number, which {type(penalty).__name__} has no design for; "
            "sb.L1(), sb.ElasticNet() and sb.Ridge() have"
        )
    if isinstance(penalty, GroupLasso) and penalty.trivial:
        raise ValueError(
            f"groups of one entry of {name!r} are l1: write symbias.torch.slices(0) for its "
            "slices, sb.GroupLasso(labels) for other groups, or 'l1'"
        )
    if not isinstance(penalty, TotalVariation) or penalty.tree is not None or weight.ndim <= 2:
        return
    if penalty.axis != 0 and not (penalty.joint and penalty.axis is None):
        raise ValueError(
            f"{name!r} has {weight.ndim} axes: total variation is along the first one, "
            "sb.TotalVariation(axis=0), line by line, or (joint=True), all lines together"
        )


def check_tensor(name: str, weight: Tensor) -> None:
    """Raise UnsupportedTensor for what cannot be trained under a penalty."""
    if isinstance(weight, UninitializedParameter) or weight.is_meta:
        raise UnsupportedTensor(f"{name!r} has no values yet")
    if type(weight.detach()) is not Tensor:
        raise UnsupportedTensor(f"{name!r} is a {type(weight).__name__}: a plain tensor is needed")
    if weight.layout != torch.strided:
        raise UnsupportedTensor(f"{name!r} is sparse ({weight.layout}): it needs dense values")
    if not trainable(weight.dtype):
        raise UnsupportedTensor(f"{name!r} is of {weight.dtype}: real floating-point is needed")
    if not bool(torch.isfinite(weight).all()):
        raise UnsupportedTensor(f"{name!r} has values that are not finite")


def trainable(dtype: torch.dtype) -> bool:
    """Real floating-point of at least 16 bits."""
    return dtype.is_floating_point and torch.finfo(dtype).bits >= 16
