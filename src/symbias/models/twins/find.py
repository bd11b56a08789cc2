"""Bonds of a model that no family knows: found on small twins, lifted, confirmed on its function."""

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from symbias.models.claims import Claim
from symbias.models.twins.confirm import Function
from symbias.models.twins.draws import ModuleDraws
from symbias.models.twins.inputs import inputs_for, outputs_of
from symbias.models.twins.lift import Sized, lifted, partner
from symbias.models.twins.precision import rows_alive, without_eps
from symbias.models.twins.repeats import Place, places
from symbias.models.twins.shrink import shrunken
from symbias.models.twins.sizes import sizes_of
from symbias.symmetry import Bond, Translation
from symbias.symmetry.discovery import Discovery, search


@dataclass(frozen=True)
class Approximate:
    """A bond that holds at eps = 0 only: how far the output moves, relative, per unit of its log."""

    claim: Claim
    size: float


@dataclass(frozen=True)
class Account:
    """What the null space of one twin holds: all of its directions, and those that have a name."""

    layers: int
    parameters: int
    directions: int
    unnamed: int
    seconds: float


@dataclass
class Found:
    """Bonds found on twins and confirmed on the model.

    Attributes
    ----------
    claims
        Exact bonds, translations among them: dead directions.
    approximate
        Bonds that hold at eps = 0 only, with their size.
    unconfirmed
        Bonds of the twin that could not be lifted, or move the model, with the reason.
    accounts
        For each twin, whether all of its null space has a name.
    """

    claims: list[Claim] = field(default_factory=list)
    approximate: list[Approximate] = field(default_factory=list)
    unconfirmed: dict[str, str] = field(default_factory=dict)
    accounts: list[Account] = field(default_factory=list)


def find_bonds(model: Any, *, layers: int | None = None) -> Found:
    """Bonds of a model of transformers."""
    kind, config = type(model), model.config
    names = [name for name, _ in model.named_parameters()]
    found = Found()
    twins: list[tuple[Any, Discovery]] = []
    for number in (0, 1):
        start = time.perf_counter()
        twin = _twin(kind, config, number, names, layers)
        discovery = _discover(twin)
        found.accounts.append(_account(twin, discovery, time.perf_counter() - start))
        twins.append((twin, discovery))
    _lift(found, twins, model)
    return found


def _twin(kind: Any, config: Any, number: int, names: Sequence[str], layers: int | None) -> Any:
    """The smallest twin that stands for every array."""
    for count in (layers,) if layers else (1, 2, 3):
        twin = kind(shrunken(config, number, count)).double().eval()
        rows_alive(twin)
        if len(places([n for n, _ in twin.named_parameters()], names)) == len(names):
            return twin
    return twin


def _discover(twin: Any) -> Discovery:
    inputs = inputs_for(twin)
    kept = without_eps(twin)
    try:
        return search(ModuleDraws(twin, lambda module: outputs_of(module, inputs)))
    finally:
        for name, value in kept.items():
            path, _, key = name.rpartition(".")
            setattr(twin.get_submodule(path), key, value)


def _account(twin: Any, discovery: Discovery, seconds: float) -> Account:
    left = len(discovery.unnamed) + len(discovery.unnamed_shifts)
    count = sum(p.numel() for p in twin.parameters())
    return Account(twin.config.num_hidden_layers, count, discovery.dim, left, seconds)


def _sized(model: Any) -> Sized:
    shapes = {name: tuple(p.shape) for name, p in model.named_parameters()}
    return Sized(shapes, sizes_of(model.config))


def _lift(found: Found, twins: Sequence[tuple[Any, Discovery]], model: Any) -> None:
    (one, first), (two, second) = twins
    sized, full = (_sized(one), _sized(two)), _sized(model)
    where = places(sized[0].shapes, full.shapes)
    inputs = inputs_for(model)
    function = Function(model, lambda module: outputs_of(module, inputs))
    kept = without_eps(model)
    flat = Function(model, lambda module: outputs_of(module, inputs))
    _restore(model, kept)
    for bond in first.symmetry:
        other = partner(bond, list(second.symmetry))
        _confirm(found, bond, lifted(bond, other, sized, full, where), function, flat, kept)


def _restore(model: Any, kept: Mapping[str, float]) -> None:
    for name, value in kept.items():
        path, _, key = name.rpartition(".")
        setattr(model.get_submodule(path), key, value)


def _confirm(
    found: Found, bond: Bond, candidates: Any, function: Function, flat: Function,
    kept: Mapping[str, float],
) -> None:  # fmt: skip
    tried = 0
    for bonds in candidates:
        tried += 1
        if function.keeps(bonds):
            found.claims += [_claim(b) for b in bonds]
            return
        without_eps(function.module)
        exact = flat.keeps(bonds)
        _restore(function.module, kept)
        if exact:
            size = function.change_by(bonds, 0.1) / 0.1
            found.approximate += [Approximate(_claim(b), size) for b in bonds]
            return
    found.unconfirmed[bond.name] = f"{tried} readings tried" if tried else "could not be lifted"


def _claim(bond: Bond) -> Claim:
    kind = "dead" if isinstance(bond.group, Translation) else "found"
    return Claim(bond, kind, movable=kind == "found")
