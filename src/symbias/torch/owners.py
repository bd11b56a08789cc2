"""Which modules own a parameter, and which are designed."""

import difflib
import gc
from collections.abc import Iterable, Iterator, Mapping
from fnmatch import fnmatchcase
from typing import NamedTuple

import torch.distributed
from torch import nn
from torch.nn.utils.parametrize import ParametrizationList, is_parametrized

from symbias.torch.errors import AlreadyDesigned, UnknownParameter, WrappedModel
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


def places_of(root: nn.Module, name: str) -> list[Owner]:
    """All places in ``root`` of a weight, plain or designed, that one first."""

    def held(module: nn.Module, leaf: str) -> object:
        inside = getattr(module, "parametrizations", {})
        return inside[leaf] if leaf in inside else module._parameters.get(leaf)

    path, _, leaf = name.rpartition(".")
    ours = held(root.get_submodule(path), leaf)
    places = [
        Owner(f"{inner}.{one}".lstrip("."), module, one)
        for inner, module in root.named_modules()
        if not isinstance(module, FactorList)
        for one in [*module._parameters, *getattr(module, "parametrizations", {})]
        if held(module, one) is ours
    ]
    return sorted(places, key=lambda owner: owner.name != name)


def as_patterns(pattern: str | list[str]) -> list[str]:
    """A list of them; ValueError where there is none."""
    patterns = [pattern] if isinstance(pattern, str) else list(pattern)
    if not patterns:
        raise ValueError("no pattern was given; '*' matches every parameter")
    return patterns


def matches(name: str, patterns: list[str]) -> bool:
    """Whether a name fits any of these, which are as for file names."""
    return any(fnmatchcase(name, one) for one in patterns)


def check_patterns(root: nn.Module, patterns: list[str], names: Iterable[str]) -> None:
    """Raise UnknownParameter for a pattern that none of these names fits."""
    known = list(names)
    for one in patterns:
        if not any(fnmatchcase(name, one) for name in known):
            raise unknown(root, one)


def find(root: nn.Module, name: str) -> list[Owner]:
    """All places in ``root`` of the parameter ``name``, that one first.

    Raises
    ------
    UnknownParameter, AlreadyDesigned
    """
    if not isinstance(name, str):
        raise TypeError(f"the name of a parameter is a str, got {type(name).__name__}")
    path, _, leaf = name.rpartition(".")
    _refuse_inside(root, name, path)
    try:
        module = root.get_submodule(path)
    except AttributeError:
        raise unknown(root, name) from None
    if is_parametrized(module, leaf):
        if isinstance(module.parametrizations[leaf], FactorList):  # type: ignore[index]
            raise AlreadyDesigned(f"{name!r} is designed already; collapse it first")
        raise unknown(root, name)
    parameter = module._parameters.get(leaf)
    if parameter is None:
        raise unknown(root, name)
    places = [owner for owner, p in owners(root) if p is parameter]
    return sorted(places, key=lambda owner: owner.name != name)


def _refuse_inside(root: nn.Module, name: str, path: str) -> None:
    """Raise where the module at ``path`` is not one whose parameters can be designed."""
    module: nn.Module | None = root
    for part in [None, *path.split(".")] if path else [None]:
        module = module if part is None or module is None else module._modules.get(part)
        if isinstance(module, ParametrizationList):
            raise AlreadyDesigned(f"{name!r} is part of a parametrization, not a weight")
        if isinstance(module, torch.jit.ScriptModule):
            raise TypeError(f"{name!r} is in a ScriptModule: take the module before scripting")


def unknown(root: nn.Module, name: str) -> ValueError:
    """The error for a name or pattern that no parameter has, or none has any more."""
    for path, module in root.named_modules():
        for leaf, what, off in _taken(module):
            if fnmatchcase(full := f"{path}.{leaf}".lstrip("."), name):
                return AlreadyDesigned(f"{full!r} {what}; take it off first, with {off}")
    names = [owner.name for owner, _ in owners(root)]
    near = difflib.get_close_matches(name, names, n=3, cutoff=0.0)
    return UnknownParameter(f"no parameter {name!r} in {type(root).__name__}; nearest: {near}")


def _taken(module: nn.Module) -> Iterator[tuple[str, str, str]]:
    """Weights that PyTorch has re-parametrized: the name, by what, and what takes that off."""
    utils = "torch.nn.utils"
    for leaf, factors in getattr(module, "parametrizations", {}).items():
        if not isinstance(factors, FactorList):
            yield (
                leaf,
                "has another parametrization",
                f"{utils}.parametrize.remove_parametrizations",
            )
    for name in module._parameters:
        leaf, _, end = name.rpartition("_")
        if end == "orig" and f"{leaf}_mask" in module._buffers:
            yield leaf, "is pruned by a mask", f"{utils}.prune.remove"
        elif end == "orig" and f"{leaf}_u" in module._buffers:
            yield leaf, "has a spectral_norm", f"{utils}.remove_spectral_norm"
        elif end == "g" and f"{leaf}_v" in module._parameters:
            yield leaf, "has a weight_norm", f"{utils}.remove_weight_norm"


_FIRST = "design it first"
SHARDED = (
    "load its full state dict into a model that is designed but not wrapped, and collapse that"
)
COLLAPSE = {
    "DistributedDataParallel": "collapse what it wraps, its .module, when training is over",
    "FullyShardedDataParallel": SHARDED,
}


def refuse_wrapped(root: nn.Module, advice: Mapping[str, str] | None = None) -> None:
    """Raise WrappedModel where a wrapper already holds the weights.

    ``advice`` says what to do instead, for each wrapper; by default to design first.
    """
    if not isinstance(root, nn.Module):
        raise TypeError(f"expected a torch.nn.Module, got {type(root).__name__}")
    for path, module in root.named_modules():
        kind = type(module).__name__
        if kind in COLLAPSE:
            what = (advice or {}).get(kind, _FIRST)
            raise WrappedModel(f"{path or 'the model'} is wrapped by {kind}: {what}")


def refuse_held(root: nn.Module) -> None:
    """Raise WrappedModel where a living DistributedDataParallel holds any of these modules.

    Without a process group there is none, and nothing is searched; else one sweep of the heap.
    """
    if not (torch.distributed.is_available() and torch.distributed.is_initialized()):
        return
    if _holds(root):
        gc.collect()
        if _holds(root):
            raise WrappedModel(
                f"a DistributedDataParallel holds {type(root).__name__} already: design it first"
            )


def _holds(root: nn.Module) -> bool:
    kind = torch.nn.parallel.DistributedDataParallel
    ours = set(map(id, root.modules()))
    found = [m for m in gc.get_referrers(kind) if isinstance(m, kind)]
    return any(not ours.isdisjoint(map(id, wrapper.modules())) for wrapper in found)
