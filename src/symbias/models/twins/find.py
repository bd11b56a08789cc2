"""Bonds of a model that no family knows: found on small twins, lifted, confirmed on it."""

import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from symbias._core.extras import needed_by
from symbias.checkpoints import CheckpointError, shown
from symbias.models.claims import Claim
from symbias.models.twins.confirm import Function
from symbias.models.twins.draws import ModuleDraws
from symbias.models.twins.inputs import inputs_for, outputs_of
from symbias.models.twins.lift import Sized, lifted, partner
from symbias.models.twins.precision import generic, plainly, restored, without_eps
from symbias.models.twins.repeats import places
from symbias.models.twins.shrink import shrunken
from symbias.models.twins.sizes import sizes_of
from symbias.symmetry import Bond, Translation
from symbias.symmetry.discovery import Discovery, Unknowns, search

Run = Callable[[Any], Any]
Factory = Callable[[int], Any]
MOST_UNKNOWNS = 6_000  # the search takes 2 GB for so many
TRIES = 4  # sizes that a factory is asked for
STEP = 0.1  # of the log of a scale, over which the size of an approximate bond is measured


@dataclass(frozen=True)
class Approximate:
    """A bond that holds where no norm adds eps: the output moves by ``size`` of itself per unit of
    the log of its scale."""

    claim: Claim
    size: float


@dataclass(frozen=True)
class Account:
    """What is known of one twin's null space.

    ``directions`` are all independent ones (of generators on axes, and shifts), ``unnamed`` those
    without a name among them.
    """

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
        Exact bonds; translations among them (kind "dead") are directions that nothing reads.
    approximate
        Bonds that hold at eps = 0 only, with their size.
    unconfirmed
        Bonds of a twin that are not claimed of the model, with the reason.
    unread
        Arrays of a twin with entries that its inputs never read, such as rows of a table of
        positions: nothing is said about those.
    accounts
        One for each of the two twins.
    """

    claims: list[Claim] = field(default_factory=list)
    approximate: list[Approximate] = field(default_factory=list)
    unconfirmed: dict[str, str] = field(default_factory=dict)
    unread: list[str] = field(default_factory=list)
    accounts: list[Account] = field(default_factory=list)

    @property
    def complete(self) -> bool:
        """Whether all directions of both twins have a name, and all bonds were confirmed."""
        return not self.unconfirmed and not any(a.unnamed for a in self.accounts)


@dataclass(frozen=True)
class _Twin:
    sized: Sized
    discovery: Discovery


def find_bonds(
    model: Any,
    run: Run | None = None,
    *,
    factory: Factory | None = None,
    progress: Callable[[str], None] | None = None,
) -> Found:
    """Bonds of a PyTorch model that no family knows, each confirmed on its own function.

    Architectures do not change when they shrink. Two small twins are made, of sizes that tell the
    axes apart, in float64, with random parameters and norms that add no eps; `discover` finds all
    their linear symmetries on axes; what both have is lifted by the names of arrays and by where
    labels lie, repeated over layers, and claimed only if random elements of its group, near (0.1)
    and far (1.0), leave the output of ``model`` where it is, to 1e-10 in float64. Dropout is off,
    and what code casts to float32 stays in float64 meanwhile; the model is left as it was.

    Parameters
    ----------
    model
        A model of transformers, or any module if ``factory`` and ``run`` are given. It is run in
        float64: convert it first (``model.double()``).
    run
        From a module (the model or a twin) to its output, one tensor. By default random tokens,
        images or sounds, over all tokens and positions of a twin.
    factory
        ``factory(k)`` makes twin ``k = 0, 1, ...``: the same architecture at sizes as small and as
        different as they can be. Sizes that raise are passed over, four are tried. By default the
        model's config is shrunk.
    progress
        Called with a line on what goes on.

    Returns
    -------
    Found
        Exact bonds and dead directions, approximate ones with their size, and what was found on a
        twin but not confirmed.

    Raises
    ------
    CheckpointError
        If no two twins can be made, or they have too many unknowns.
    TypeError
        If the model is not in float64, or is of no kind that can be shrunk.

    Notes
    -----
    A twin with ``U`` unknowns, the sum of ``n^2`` over all axes of its arrays, costs ``O(U^3)``
    time and ``O(U^2)`` memory: 0.9 GB at ``U = 3,246``, 2.0 GB at ``U = 5,931``. Not searched: maps
    between arrays, maps that are not linear, permutations.
    """
    with needed_by("find_bonds"):
        import torch
    if any(p.dtype != torch.float64 for p in model.parameters() if p.is_floating_point()):
        raise TypeError("find_bonds compares outputs in float64: convert the model, model.double()")
    if factory is None and not hasattr(getattr(model, "config", None), "to_dict"):
        kind = type(model).__name__
        raise TypeError(f"{kind} has no config that could be shrunk: give factory and run")
    if factory is not None and run is None:
        raise TypeError("run is needed with a factory: a function from a module to its output")
    say = progress or (lambda line: None)
    with plainly(model):
        names = [name for name, _ in model.named_parameters()]
        twins: list[tuple[_Twin, Account]] = []
        for module in _twins(model, factory, names):
            say(f"searching twin {len(twins) + 1} of 2")
            twins.append(_searched(module, run))
            if len(twins) == 2:
                break
        found = Found(accounts=[account for _, account in twins])
        _lift(found, [twin for twin, _ in twins], model, run, say)
    return _named_apart(found)


def _twins(model: Any, factory: Factory | None, names: Sequence[str]) -> Iterator[Any]:
    """Modules at small sizes, two at least."""
    made, failed = 0, ""
    for number in range(2 if factory is None else TRIES):
        try:
            twin = _shrunk(model, number, names) if factory is None else factory(number)
        except Exception as error:  # whatever a constructor raises at sizes it was not made for
            failed = f"{type(error).__name__}: {shown(error, 200)}"
            continue
        twin = twin.double().eval()
        generic(twin)
        shapes = {name: tuple(p.shape) for name, p in twin.named_parameters()}
        if (count := Unknowns(shapes).count) > MOST_UNKNOWNS:
            failed = f"a twin has {count:,} unknowns, at most {MOST_UNKNOWNS:,} are searched"
            continue
        made += 1
        yield twin
    if made < 2:
        raise CheckpointError(f"{type(model).__name__}: no two small twins can be made ({failed})")


def _shrunk(model: Any, number: int, names: Sequence[str]) -> Any:
    """The twin with the fewest layers that stands for every array."""
    twin = None
    for layers in (1, 2, 3):
        twin = type(model)(shrunken(model.config, number, layers))
        if len(places([n for n, _ in twin.named_parameters()], names)) == len(names):
            break
    return twin


def _runner(module: Any, run: Run | None) -> Run:
    if run is not None:
        return run
    inputs = inputs_for(module)
    return lambda module: outputs_of(module, inputs)


def _searched(module: Any, run: Run | None) -> tuple[_Twin, Account]:
    start = time.perf_counter()
    own = _runner(module, run)
    with restored(module, without_eps(module)):
        discovery = search(ModuleDraws(module, own), between=False)
    left = len(discovery.unnamed) + len(discovery.unnamed_shifts)
    count = sum(p.numel() for p in module.parameters())
    account = Account(count, discovery.dim, left, time.perf_counter() - start)
    return _Twin(_sized(module), discovery), account


def _sized(model: Any) -> Sized:
    shapes = {name: tuple(p.shape) for name, p in model.named_parameters()}
    return Sized(shapes, sizes_of(model.config) if hasattr(model, "config") else {})


def _lift(
    found: Found, twins: Sequence[_Twin], model: Any, run: Run | None, say: Callable[[str], None]
) -> None:
    one, two = twins
    full = _sized(model)
    where = places(one.sized.shapes, full.shapes)
    own = _runner(model, run)
    exact = Function(model, own)
    with restored(model, without_eps(model)):
        nearly = Function(model, own)
    for number, bond in enumerate(one.discovery.symmetry, start=1):
        say(f"confirming bond {number} of {len(one.discovery.symmetry.bonds)}")
        if _is_unread(bond):
            found.unread += bond.arrays
            continue
        other = partner(bond, two.discovery.symmetry.bonds)
        readings = lifted(bond, other, (one.sized, two.sized), full, where)
        _confirm(found, bond, readings, exact, nearly)


def _is_unread(bond: Bond) -> bool:
    """Whether a bond shifts some entries of an array of several axes, one by one."""
    (end, *others) = (*bond.vectors, *bond.covectors)
    shifts = isinstance(bond.group, Translation) and not others
    return shifts and len(end) == 3 and end[1] is None and len(set(end[2])) > 2


def _confirm(
    found: Found, bond: Bond, readings: Iterator[list[Bond]], exact: Function, nearly: Function
) -> None:
    """Claim the first reading that the model's function confirms, or that without eps."""
    tried = 0
    for bonds in readings:
        tried += 1
        if exact.keeps(bonds):
            found.claims += map(_claim, bonds)
            return
        with restored(exact.module, without_eps(exact.module)):
            holds = nearly.keeps(bonds)
        if holds:
            size = exact.change_by(bonds, STEP) / STEP
            found.approximate += [Approximate(_claim(b), size) for b in bonds]
            return
    found.unconfirmed[bond.name] = (
        f"none of {tried} readings at full size keeps the model's output"
        if tried
        else "where its labels lie at full size is not known"
    )


def _named_apart(found: Found) -> Found:
    """The same, with a number behind names that are there already."""
    seen: Counter[str] = Counter()

    def apart(claim: Claim) -> Claim:
        seen[claim.bond.name] += 1
        again = f"{claim.bond.name} {seen[claim.bond.name]}"
        return (
            claim
            if seen[claim.bond.name] == 1
            else replace(claim, bond=replace(claim.bond, name=again))
        )

    claims = list(map(apart, found.claims))
    near = [replace(a, claim=apart(a.claim)) for a in found.approximate]
    return replace(found, claims=claims, approximate=near)


def _claim(bond: Bond) -> Claim:
    dead = isinstance(bond.group, Translation)
    return Claim(bond, "dead" if dead else "found", movable=not dead)


def as_yaml(claims: Sequence[Claim]) -> str:
    """The file of bonds that `read_bonds` reads: the next audit of the model needs no torch."""
    import yaml

    listed: list[Mapping[str, Any]] = []
    for claim in claims:
        bond = claim.bond
        item: dict[str, Any] = {"name": bond.name[:200], "group": _text(bond)}
        item |= {} if bond.heads is None else {"heads": bond.heads}
        for side, ends in (("vectors", bond.vectors), ("covectors", bond.covectors)):
            item[side] = [[*e[:2], *([list(map(int, e[2]))] if len(e) == 3 else [])] for e in ends]
        listed.append(item | {"kind": claim.kind, "movable": claim.movable})
    return yaml.safe_dump({"bonds": listed}, sort_keys=False, default_flow_style=None, width=10**6)


def _text(bond: Bond) -> str:
    """The group as the file has it."""
    group, name = bond.group, type(bond.group).__name__
    if name == "UniformScale":
        return name
    more = getattr(group, "layout", "") or ("signed" if getattr(group, "signed", False) else "")
    return f"{name}({group.size}, {more})" if more else f"{name}({group.size})"
