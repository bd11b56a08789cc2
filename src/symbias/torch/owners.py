"""Who holds what: modules that own a parameter, and optimizers that update it."""

import difflib
import gc
from collections.abc import Iterable, Iterator
from typing import Any, NamedTuple

import torch
from torch import nn
from torch.nn.utils.parametrize import is_parametrized

from symbias.torch.errors import AlreadyDesigned, StaleOptimizer, UnknownParameter, WrappedModel
from symbias.torch.factors import FactorList


class Owner(NamedTuple):
    """One place where a parameter lives."""

    name: str  # from the root
    module: nn.Module
    leaf: str


def owners(root: nn.Module) -> Iterator[tuple[Owner, nn.Parameter]]:
    """Every place of every plain parameter, tied ones at each of theirs, in state-dict order."""
    for path, module in root.named_modules(remove_duplicate=True):
        if isinstance(module, FactorList):
            continue
        for leaf, parameter in module._parameters.items():
            if parameter is not None:
                yield Owner(f"{path}.{leaf}".lstrip("."), module, leaf), parameter


def designed(root: nn.Module) -> dict[str, FactorList]:
    """The designed weights by name; a tied one under its first name only."""
    found: dict[str, FactorList] = {}
    seen: set[int] = set()
    for path, module in root.named_modules():
        for leaf, factors in getattr(module, "parametrizations", {}).items():
            if isinstance(factors, FactorList) and id(factors) not in seen:
                seen.add(id(factors))
                found[f"{path}.{leaf}".lstrip(".")] = factors
    return found


def find(root: nn.Module, name: str) -> list[Owner]:
    """All places in ``root`` of the parameter ``name``, that one first.

    Raises
    ------
    UnknownParameter, AlreadyDesigned
    """
    path, _, leaf = name.rpartition(".")
    try:
        module = root.get_submodule(path)
    except AttributeError:
        raise unknown(root, name) from None
    if is_parametrized(module, leaf):
        raise AlreadyDesigned(f"{name!r} already has a parametrization; collapse it first")
    parameter = module._parameters.get(leaf)
    if parameter is None:
        raise unknown(root, name)
    places = [owner for owner, p in owners(root) if p is parameter]
    return sorted(places, key=lambda owner: owner.name != name)


def unknown(root: nn.Module, name: str) -> UnknownParameter:
    """The error for a name or pattern that no parameter has."""
    names = [owner.name for owner, _ in owners(root)]
    near = difflib.get_close_matches(name, names, n=3, cutoff=0.0)
    return UnknownParameter(f"no parameter {name!r} in {type(root).__name__}; nearest: {near}")


def refuse_wrapped(root: nn.Module) -> None:
    """Raise WrappedModel where a wrapper already holds the weights."""
    for path, module in root.named_modules():
        kind = type(module).__name__
        if kind in ("DistributedDataParallel", "FullyShardedDataParallel"):
            raise WrappedModel(f"{path or 'the model'} is wrapped by {kind}: design it first")


def optimizers_with(parameters: Iterable[torch.Tensor]) -> list[torch.optim.Optimizer]:
    """The living optimizers that hold any of these tensors; the cost of a few sweeps of the heap.

    An optimizer refers to a list of groups, a group to a list of tensors: the way back up.
    """

    def scan() -> list[torch.optim.Optimizer]:
        level: list[Any] = list(parameters)
        for kind in (list, dict, list):
            level = [o for o in gc.get_referrers(*level) if type(o) is kind] if level else []
        above = gc.get_referrers(*level) if level else []
        spaces = [o for o in above if type(o) is dict]  # an instance's __dict__
        above += gc.get_referrers(*spaces) if spaces else []
        found = {id(o): o for o in above if issubclass(type(o), torch.optim.Optimizer)}
        return [o for o in found.values() if any(id(p) in wanted for p in _held(o))]

    parameters = list(parameters)
    wanted = {id(p) for p in parameters}
    if not scan():
        return []
    gc.collect()  # one that nobody can reach any more does not count
    return scan()


def _held(optimizer: torch.optim.Optimizer) -> list[torch.Tensor]:
    return [p for group in optimizer.param_groups for p in group["params"]]


def refuse_stale(parameters: dict[str, torch.Tensor]) -> None:
    """Raise StaleOptimizer if an optimizer holds any of these weights."""
    if found := optimizers_with(parameters.values()):
        held = {id(p) for o in found for p in _held(o)}
        names = [name for name, p in parameters.items() if id(p) in held]
        raise StaleOptimizer(
            f"{type(found[0]).__name__} holds the weight {', '.join(map(repr, names))}, which "
            "factors replace: it would train nothing. Build the optimizer after the design, from "
            "symbias.torch.factor_parameters(model)"
        )
