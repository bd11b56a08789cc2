"""Bonds of a model that no family knows: found on small twins, lifted, confirmed on it."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any

from symbias._core.extras import needed_by
from symbias.models.twins.confirm import Function
from symbias.models.twins.found import Found, named_apart
from symbias.models.twins.judge import Candidate, Judge
from symbias.models.twins.lift import Group, lifted, partner, repeated
from symbias.models.twins.make import (
    Factory,
    Run,
    Twin,
    deep_twin,
    runner,
    searched,
    searched_for_scales,
    twins_of,
)
from symbias.models.twins.precision import plainly, restored, without_eps
from symbias.models.twins.repeats import groupings, instances, places
from symbias.models.twins.statistics import open_statistics
from symbias.symmetry import Bond, Rescaling, Translation, UniformScale, WeightedRescaling


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
    time and ``O(U^2)`` memory: 0.9 GB at ``U = 3,246``, 2.0 GB at ``U = 5,931``. Of one with more
    than 7,000 the scales alone are searched. A third twin, of three layers, is searched for scales
    that tie one layer to the next. Not searched: maps between arrays, maps that are not linear,
    permutations.
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
    with plainly(model), open_statistics(model):
        judge = Judge(model, run, progress or (lambda line: None))
        names = [name for name, _ in model.named_parameters()]
        twins: list[Twin] = []
        for module in twins_of(model, factory, names):
            judge.say(f"searching twin {len(twins) + 1} of 2")
            twin, account = searched(module, run)
            twins.append(twin)
            judge.found.accounts.append(account)
            if len(twins) == 2:
                break
        judge.look()
        deep = deep_twin(model, 0, twins[0].sized) if factory is None else None
        _lift(judge, twins, scales=deep is None)
        if deep is not None:
            _lift_deep(judge, twins, deep)
    return named_apart(judge.found)


def _lift(judge: Judge, twins: Sequence[Twin], scales: bool) -> None:
    """Bonds of a layer, for all layers; scales only where no deeper twin shows them in full."""
    where = places(twins[0].sized.shapes, judge.sized.shapes)
    candidates = []
    for bond, exact in zip(twins[0].bonds, twins[0].exact, strict=True):
        if _is_unread(bond):
            judge.found.unread += bond.arrays
            continue
        choices = [instances(bond.arrays, where)]
        candidates.append(Candidate(bond, _readings(judge, bond, twins, choices), exact))
    judge.settle(candidates)
    for bond in twins[0].bonds:
        if not scales and isinstance(bond.group, Rescaling | UniformScale | WeightedRescaling):
            judge.found.unconfirmed.pop(bond.name, None)


def _readings(
    judge: Judge, bond: Bond, twins: Sequence[Twin], choices: Iterable[Sequence[Group]]
) -> Iterator[list[Bond]]:
    one, two = twins
    return lifted(bond, partner(bond, two.bonds), (one.sized, two.sized), judge.sized, choices)


def _lift_deep(judge: Judge, twins: Sequence[Twin], module: Any) -> None:
    """Scales that tie some layers to others, as from one norm of the stream to the next."""
    judge.say("searching the scales of a deeper twin")
    one, account = searched_for_scales(module, _on(module, twins[0]))
    judge.found.accounts.append(account)
    other = deep_twin(judge.model, 1, twins[1].sized) if one.bonds else None
    if other is None:
        return
    two, _ = searched_for_scales(other, _on(other, twins[1]))
    candidates = []
    for bond, exact in zip(one.bonds, one.exact, strict=True):
        choices = groupings(bond.arrays, one.sized.shapes, judge.sized.shapes)
        candidates.append(Candidate(bond, _readings(judge, bond, [one, two], choices), exact))
    judge.settle(candidates)


def _on(module: Any, twin: Twin) -> list[Bond]:
    """The bonds of a shallow twin in every layer of a deep one, those that keep its function."""
    found: list[Bond] = []
    with restored(module, without_eps(module)):
        function = Function(module, runner(module, None))
        where = places(twin.sized.shapes, function.shapes)
        for bond in twin.bonds:
            if not isinstance(bond.group, Translation):
                bonds = repeated(bond, instances(bond.arrays, where))
                found += bonds if bonds and function.keeps(bonds) else []
    return found


def _is_unread(bond: Bond) -> bool:
    """Whether a bond shifts some entries of an array of several axes, one by one."""
    (end, *others) = (*bond.vectors, *bond.covectors)
    shifts = isinstance(bond.group, Translation) and not others
    return shifts and len(end) == 3 and end[1] is None and len({*end[2], -1}) == len({*end[2]}) > 2
