"""Twins: small modules of the same architecture, and what is found on one."""

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

from symbias.checkpoints import CheckpointError, shown
from symbias.models.twins.confirm import Function
from symbias.models.twins.draws import ModuleDraws
from symbias.models.twins.found import Account
from symbias.models.twins.inputs import inputs_for, outputs_of
from symbias.models.twins.lift import Sized
from symbias.models.twins.precision import generic, one_thread, restored, without_eps
from symbias.models.twins.repeats import places
from symbias.models.twins.shrink import most_layers, shrunken
from symbias.models.twins.sizes import sizes_of
from symbias.models.twins.statistics import opened
from symbias.symmetry import Bond
from symbias.symmetry.discovery import Rates, Unknowns, search, search_scales, search_shifts

Run = Callable[[Any], Any]
Factory = Callable[[int], Any]
MOST_UNKNOWNS = 7_000  # the search takes 2.8 GB for so many
MOST_RATES = 6_000
MOST_SHIFTED = 5_000  # parameters of a twin too large for matrices, whose shifts are searched
TRIES = 4  # sizes that a factory is asked for
DEEP = 3  # layers that tell the first, the last and those between


@dataclass(frozen=True)
class Twin:
    """A small module, its sizes, the bonds found on it, and which of them its own eps keeps."""

    sized: Sized
    bonds: Sequence[Bond]
    exact: Sequence[bool]


def twins_of(model: Any, factory: Factory | None, names: Sequence[str]) -> Iterator[Any]:
    """Modules at small sizes, two at least."""
    made, failed = 0, ""
    for number in range(2 if factory is None else TRIES):
        try:
            twin = _shrunk(model, number, names) if factory is None else factory(number)
        except Exception as error:  # whatever a constructor raises at sizes it was not made for
            failed = f"{type(error).__name__}: {shown(error, 200)}"
            continue
        twin = _prepared(twin)
        if (count := _unknowns(twin)) > MOST_UNKNOWNS and _rates(twin) > MOST_RATES:
            failed = f"a twin has {count:,} unknowns, at most {MOST_UNKNOWNS:,} are searched"
            continue
        made += 1
        yield twin
    if made < 2:
        raise CheckpointError(f"{type(model).__name__}: no two small twins can be made ({failed})")


def deep_twin(model: Any, number: int, than: Sized) -> Any | None:
    """A twin of more layers, up to three; None if it has no more arrays, or too many."""
    layers = min(DEEP, most_layers(model.config))
    twin = _prepared(type(model)(shrunken(model.config, number, layers)))
    deeper = len(shapes_of(twin)) > len(than.shapes)
    return twin if deeper and _rates(twin) <= MOST_RATES else None


def _unknowns(module: Any) -> int:
    return Unknowns(shapes_of(module)).count


def _rates(module: Any) -> int:
    return Rates(shapes_of(module)).count


def _prepared(module: Any) -> Any:
    module = module.double().eval().requires_grad_(True)  # frozen arrays too
    generic(module)
    opened(module)
    return module


def _shrunk(model: Any, number: int, names: Sequence[str]) -> Any:
    """The twin with the fewest layers that stands for every array."""
    twin = None
    for layers in (1, 2, 3):
        twin = type(model)(shrunken(model.config, number, layers))
        opened(twin)
        if len(places([n for n, _ in twin.named_parameters()], names)) == len(names):
            break
    return twin


def runner(module: Any, run: Run | None) -> Run:
    if run is not None:
        return run
    inputs = inputs_for(module)
    return lambda module: outputs_of(module, inputs)


def searched(module: Any, run: Run | None) -> tuple[Twin, Account]:
    """All linear symmetries of a twin on axes, where norms add no eps; of a large one scales and
    shifts, of the largest scales alone."""
    start = time.perf_counter()
    if _unknowns(module) > MOST_UNKNOWNS:
        twin, account = searched_for_scales(module, [], run)
        account = replace(account, scales_only=True)
        if _count(module) > MOST_SHIFTED:
            return twin, account
        with one_thread(), restored(module, without_eps(module)):
            shifts, dim, left = search_shifts(ModuleDraws(module, runner(module, run)))
        account = replace(
            account,
            directions=account.directions + dim,
            unnamed=account.unnamed + left,
            seconds=time.perf_counter() - start,
        )
        return _twin(module, run, [*twin.bonds, *shifts]), account
    with one_thread(), restored(module, without_eps(module)):
        found = search(ModuleDraws(module, runner(module, run)), between=False)
    left = len(found.unnamed) + len(found.unnamed_shifts)
    account = Account(_count(module), found.dim, left, time.perf_counter() - start)
    return _twin(module, run, found.symmetry.bonds), account


def searched_for_scales(
    module: Any, known: Sequence[Bond], run: Run | None = None
) -> tuple[Twin, Account]:
    """The scales of a deep twin that known bonds do not contain."""
    start = time.perf_counter()
    with one_thread(), restored(module, without_eps(module)):
        found = search_scales(ModuleDraws(module, runner(module, run)), known)
    account = Account(_count(module), found.dim, found.unnamed, time.perf_counter() - start)
    return _twin(module, run, found.bonds), account


def _twin(module: Any, run: Run | None, bonds: Sequence[Bond]) -> Twin:
    with one_thread():
        function = Function(module, runner(module, run))
        return Twin(sized(module), bonds, [function.keeps([bond]) for bond in bonds])


def _count(module: Any) -> int:
    return sum(p.numel() for p in module.parameters())


def shapes_of(module: Any) -> dict[str, tuple[int, ...]]:
    return {name: tuple(p.shape) for name, p in module.named_parameters()}


def sized(module: Any) -> Sized:
    """Its shapes, and the sizes that its config names."""
    return Sized(shapes_of(module), sizes_of(module.config) if hasattr(module, "config") else {})
