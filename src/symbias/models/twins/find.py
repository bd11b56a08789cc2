"""Bonds of a model that no family knows: found on small twins, lifted, confirmed on it."""

from collections.abc import Callable, Iterator, Sequence
from typing import Any

from symbias._core.extras import needed_by
from symbias.models.twins.confirm import Function
from symbias.models.twins.found import Approximate, Found, claim_of, named_apart
from symbias.models.twins.lift import lifted, partner, repeated
from symbias.models.twins.make import (
    Factory,
    Run,
    Twin,
    deep_twin,
    runner,
    searched,
    searched_for_scales,
    sized,
    twins_of,
)
from symbias.models.twins.precision import plainly, restored, without_eps
from symbias.models.twins.repeats import groupings, instances, places
from symbias.models.twins.statistics import open_statistics
from symbias.symmetry import Bond, Rescaling, Translation, UniformScale, WeightedRescaling

Say = Callable[[str], None]
STEP = 0.1  # of the log of a scale, over which the size of an approximate bond is measured


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
        judge = _Judge(model, run, progress or (lambda line: None))
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


class _Judge:
    """The model's own function, with its eps and without: what becomes of readings of a bond."""

    def __init__(self, model: Any, run: Run | None, say: Say) -> None:
        self.model, self.run, self.say = model, run, say
        self.found, self.sized = Found(), sized(model)
        self.seen: set[object] = set()

    def look(self) -> None:
        """The outputs that no bond may move."""
        own = runner(self.model, self.run)
        self.exact = Function(self.model, own)
        with restored(self.model, without_eps(self.model)):
            self.nearly = Function(self.model, own)

    def confirm(self, bond: Bond, readings: Iterator[list[Bond]]) -> None:
        """Claim the first reading that the model's function confirms, or that without eps."""
        tried = 0
        for every in readings:
            tried += 1
            bonds = [b for b in every if _key(b) not in self.seen]
            if not bonds or self._claimed(bonds):
                self.seen |= set(map(_key, bonds))
                return
        self.found.unconfirmed[bond.name] = (
            f"none of {tried} readings at full size keeps the model's output"
            if tried
            else "where its labels lie at full size is not known"
        )

    def _claimed(self, bonds: list[Bond]) -> bool:
        if self.exact.keeps(bonds):
            self.found.claims += map(claim_of, bonds)
            return True
        with restored(self.model, without_eps(self.model)):
            holds = self.nearly.keeps(bonds)
        if holds:
            size = self.exact.change_by(bonds, STEP) / STEP
            self.found.approximate += [Approximate(claim_of(b), size) for b in bonds]
        return holds


def _key(bond: Bond) -> object:
    return bond.group, frozenset(
        (e.name, e.axis, e.dual, None if e.rows is None else e.rows.tobytes()) for e in bond.ends
    )


def _lift(judge: _Judge, twins: Sequence[Twin], scales: bool) -> None:
    """Bonds of a layer, for all layers; scales only where no deeper twin shows them in full."""
    one, two = twins
    where = places(one.sized.shapes, judge.sized.shapes)
    for number, bond in enumerate(one.bonds, start=1):
        judge.say(f"confirming bond {number} of {len(one.bonds)}")
        if _is_unread(bond):
            judge.found.unread += bond.arrays
            continue
        groups = instances(bond.arrays, where)
        readings = lifted(
            bond, partner(bond, two.bonds), (one.sized, two.sized), judge.sized, [groups]
        )
        judge.confirm(bond, readings)
        if not scales and isinstance(bond.group, Rescaling | UniformScale | WeightedRescaling):
            judge.found.unconfirmed.pop(bond.name, None)


def _lift_deep(judge: _Judge, twins: Sequence[Twin], module: Any) -> None:
    """Scales that tie some layers to others, as from one norm of the stream to the next."""
    judge.say("searching the scales of a deeper twin")
    one, account = searched_for_scales(module, _on(module, twins[0]))
    judge.found.accounts.append(account)
    other = deep_twin(judge.model, 1, twins[1].sized) if one.bonds else None
    if other is None:
        return
    two, _ = searched_for_scales(other, _on(other, twins[1]))
    for number, bond in enumerate(one.bonds, start=1):
        judge.say(f"confirming scale {number} of {len(one.bonds)}")
        choices = groupings(bond.arrays, one.sized.shapes, judge.sized.shapes)
        readings = lifted(
            bond, partner(bond, two.bonds), (one.sized, two.sized), judge.sized, choices
        )
        judge.confirm(bond, readings)


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
