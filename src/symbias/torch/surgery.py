"""Putting factors in the place of a parameter, and taking them out: the module's class and order.

PyTorch injects one class into a parametrized module. Here every module, and every copy of one, has
a class of its own, so that what is done to one never reaches another, and modules can be pickled.
"""

import copy
from collections.abc import Iterable, Mapping
from typing import Any

from torch import Tensor, nn
from torch.nn.utils import parametrize

from symbias.torch.errors import AlreadyDesigned
from symbias.torch.factors import FactorList, refusal


def attach(module: nn.Module, name: str, factors: FactorList) -> None:
    """Make ``module.name`` the weight of ``factors``, which may serve several modules."""
    order = tuple(module._parameters)
    del module._parameters[name]
    if parametrize.is_parametrized(module):
        module.__class__ = base_class(module)
    else:
        module.parametrizations = nn.ModuleDict().train(module.training)
    designed: Any = module.parametrizations
    if not hasattr(designed, "symbias_order"):
        designed.symbias_order = order
    designed[name] = factors
    factors.place = f"{name!r} of {type(module).__name__}"
    _hold(module, module._parameters)
    _specialise(module, designed)


def detach(module: nn.Module, name: str, weight: nn.Parameter) -> None:
    """Put ``weight`` back as a plain parameter, with the class and order that were."""
    designed: Any = module.parametrizations
    order = getattr(designed, "symbias_order", ())
    del designed[name]
    module.__class__ = base_class(module)
    if len(designed):
        _specialise(module, designed)
    else:
        del module.parametrizations
    module.register_parameter(name, weight)
    known = [n for n in order if n in module._parameters]
    rest = [n for n in module._parameters if n not in known]
    parameters = {n: module._parameters[n] for n in [*known, *rest]}
    _hold(module, parameters)


def _hold(module: nn.Module, parameters: Mapping[str, Any]) -> None:
    """Give a module its parameters, beside the designs that it has."""
    lists = getattr(module, "parametrizations", {}).items()
    places = {name: one.place for name, one in lists if isinstance(one, FactorList)}
    module._parameters = _Parameters(parameters, places) if places else dict(parameters)


class _Parameters(dict[str, Any]):
    """Those of a module with designs; PyTorch's old norms look here for what they replace."""

    def __init__(self, parameters: Mapping[str, Any], places: dict[str, str]) -> None:
        super().__init__(parameters)
        self.places = places  # of designed weights, in words

    def __missing__(self, name: str) -> Any:
        raise self._refusal(name, "spectral_norm")

    def __delitem__(self, name: str) -> None:
        if name not in self:
            raise self._refusal(name, "weight_norm")
        super().__delitem__(name)

    def __reduce__(self) -> Any:
        return _Parameters, (dict(self), self.places)

    def _refusal(self, name: str, kind: str) -> Exception:
        return refusal(self.places[name], kind) if name in self.places else KeyError(name)


def base_class(module: nn.Module) -> type[nn.Module]:
    """The class of a parametrized module before."""
    return type(module).__bases__[0]


def _specialise(module: nn.Module, names: Iterable[str]) -> None:
    """A parametrized class for this module alone."""
    parametrize._inject_new_class(module)
    cls: Any = type(module)
    for name in names:
        setattr(cls, name, _property(name))
    cls.__reduce_ex__, cls.__deepcopy__ = _reduce, _deepcopy
    cls.register_parameter = _registrar(cls.__bases__[0])


def _property(name: str) -> property:
    """PyTorch's own property, with its cache."""
    probe = nn.Module()
    parametrize._inject_new_class(probe)
    parametrize._inject_property(probe, name)
    return vars(type(probe))[name]


def _reduce(module: Any, protocol: int) -> Any:
    base = base_class(module)
    return _rebuild, (base, list(module.parametrizations)), base.__getstate__(module)


def _rebuild(cls: type[nn.Module], names: list[str]) -> nn.Module:
    module = cls.__new__(cls)
    _specialise(module, names)
    return module


def _deepcopy(module: Any, memo: dict[int, Any]) -> nn.Module:
    twin = _rebuild(base_class(module), list(module.parametrizations))
    memo[id(module)] = twin
    for value in module.__dict__.values():  # an RNN keeps the weights it computed last
        for item in value if isinstance(value, list | tuple) else [value]:
            if isinstance(item, Tensor) and not item.is_leaf:
                memo[id(item)] = item.detach().clone()
    twin.__dict__.update(copy.deepcopy(module.__dict__, memo))
    return twin


def _registrar(base: type[nn.Module]) -> Any:
    """``module.weight = nn.Parameter(t)`` on a designed weight is ``module.weight = t``.

    `torch.nn.utils.prune` registers the weight itself under another name, and is refused.
    """

    def register_parameter(module: Any, name: str, parameter: nn.Parameter | None) -> None:
        known = name.removesuffix("_orig")
        if parameter is not None and name in module.parametrizations:
            setattr(module, name, parameter.detach())
        elif name != known and known in module.parametrizations:
            raise AlreadyDesigned(
                f"{known!r} of {base.__name__} is designed, and its factors would not be pruned: "
                "collapse it first (the threshold of collapse prunes as well)"
            )
        else:
            base.register_parameter(module, name, parameter)

    return register_parameter
