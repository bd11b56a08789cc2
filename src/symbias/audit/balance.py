"""A checkpoint moved along its orbit: the same function, another gauge."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from symbias.audit.gauge import apply, components, least
from symbias.audit.invariants import deviation, deviation_of_coupled
from symbias.audit.noise import Equilibrium
from symbias.audit.reading import reading_of
from symbias.audit.squares import compressed, working
from symbias.audit.threads import blas
from symbias.checkpoints import (
    Checkpoint,
    CheckpointError,
    Draft,
    Numpy,
    check_out,
    draft,
    leftovers,
    open_checkpoint,
    precision,
    shown,
)
from symbias.models import Claim, name_of
from symbias.symmetry import Bond, Gauge

Blocks = tuple[Numpy, Numpy]
WITNESS = 1e-10  # of the terms' size, in float64


@dataclass(frozen=True)
class Move:
    """What happened to one bond, all heads together.

    ``deviation`` is the change of its invariants over what rounding to the dtype explains.
    """

    bond: str
    kind: str
    layer: int | None
    heads: int
    norm_before: float
    norm_after: float
    imbalance_before: float
    imbalance_after: float
    deviation: float
    note: str = ""


@dataclass
class Rewritten:
    """A checkpoint that was written."""

    out: str
    target: str
    family: str
    moves: list[Move] = field(default_factory=list)
    changed: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    def to_dict(self) -> dict[str, Any]:
        """Plain values."""
        return asdict(self)


def balance_checkpoint(
    model: Path | str,
    out: Path | str,
    *,
    bonds: Iterable[Bond | Claim] | None = None,
    heads: int | None = None,
    family: str | None = None,
    equilibrium: Equilibrium | None = None,
    overwrite: bool = False,
    progress: Callable[[int, int], None] | None = None,
) -> Rewritten:
    """Write a checkpoint with the same function, balanced bond by bond.

    Every bond with two sides goes to its point of least norm, or, given ``equilibrium``, to where
    SGD noise and weight decay would settle it. What was written is read back and each bond's
    invariants are compared with the original's; unless all agree to the precision of their dtype,
    nothing is written. All other arrays, the metadata and all other files of a folder stay as
    they are, byte by byte. Bonds that share no array are moved one after the other, so memory
    follows the largest set of coupled bonds.

    The check is one of the invariants of each bond, not of the model's output: that a bond is a
    symmetry of this model rests on its family. A family guessed from array names is refused, and
    so is an adapter whose config holds a key that is not understood. Adapters are checked by what
    their layers compute too, in the layout their config names.

    Parameters
    ----------
    model, bonds, heads, family, progress
        As for `audit`.
    out
        A file if the model is a file, else a folder. Must not exist.
    equilibrium
        Gradients, learning rate and weight decay; see `Equilibrium`.
    overwrite
        Replace ``out`` if it is a file.

    Raises
    ------
    CheckpointError
        One line; then nothing was written.
    """
    source, target = open_checkpoint(model), Path(out)
    check_out(source, target, overwrite=overwrite)
    found = reading_of(source, bonds, heads, family)
    if found.unsure:
        raise CheckpointError(
            f"{shown(source.path)}: {found.unsure}; if you know its bonds, give them with --bonds"
        )
    if found.guess:
        raise CheckpointError(
            f"{shown(source.path)}: read as {found.family} from array names alone: if you know "
            f"that it is one, say so with --family {name_of(found)} (family= in Python)"
        )
    kinds = {claim.bond.name: claim for claim in found.claims}
    groups = components(found.claims)
    if not groups:
        why = "; ".join([found.family, *found.notes[:1]])
        raise CheckpointError(f"{shown(source.path)}: no bond to balance ({why})")
    scaled = set(source.parts.values())
    for name in (name for group in groups for bond in group for name in bond.arrays):
        if name in scaled:
            raise CheckpointError(
                f"{shown(source.path)}: array {shown(name)!r} is stored quantized "
                f"({source.entries[name].dtype} with scales): moved, it would have to be quantized "
                "anew; save the model as bfloat16 first (transformers: from_pretrained with "
                "dequantize=True in the quantization_config), and balance that"
            )
    result = Rewritten(str(target), "noise equilibrium" if equilibrium else "least norm",
                       found.family, notes=list(found.notes))  # fmt: skip
    if equilibrium is not None:
        equilibrium.check(source)
    with draft(source, target, overwrite=overwrite) as copy, blas().limit(limits=1):
        for done, group in enumerate(groups):
            moves = _move(group, kinds, source, copy, equilibrium)
            result.moves += moves
            if progress:
                progress(done + 1, len(groups))
        result.changed = list(dict.fromkeys(copy.changed))
        result.notes += [f"{n}: not a regular file, not copied" for n in copy.skipped]
        result.notes += [f"{n}: other weights, copied as they are" for n in copy.unchanged]
    result.notes += [f"{p}: left over from an interrupted run" for p in leftovers(target)]
    return result


def _move(
    group: Sequence[Bond],
    kinds: dict[str, Claim],
    source: Checkpoint,
    copy: Draft,
    equilibrium: Equilibrium | None,
) -> list[Move]:
    """Move one set of coupled bonds in the copy, and check what was written."""
    names = list(dict.fromkeys(name for bond in group for name in bond.arrays))
    written = copy.checkpoint  # other parts of a packed array may have moved already
    alone = len(group) == 1 and equilibrium is None and kinds[group[0].name].witness is None
    dtype = working(source, names) if alone else np.float64
    old = {name: written.read(name, dtype) for name in names}
    before = {bond.name: compressed(bond, old) for bond in group}
    gauge: Gauge = {}
    left: dict[str, str] = {}
    try:
        if equilibrium is None:
            grain = {name: precision(source.entries[name].dtype) for name in names}
            gauge, left = least(group, old, before, grain)
            moved = apply(group, gauge, old)
        else:
            moved = equilibrium.settle(group, old)
    except ValueError as error:
        raise CheckpointError(shown(error)) from None
    for bond in group:
        _confirm(kinds[bond.name], old, moved)
    for name in list(moved):
        copy.put(name, moved.pop(name))
    new = {name: written.read(name, dtype) for name in names}
    eps = max(precision(source.entries[name].dtype) for name in names)
    if len(group) == 1:
        off = deviation(group[0], old, new, eps)
    elif equilibrium is None:
        off = deviation_of_coupled(group, gauge, old, new, eps)
    else:
        raise CheckpointError(
            f"bonds {shown([b.name for b in group])} are coupled: no noise equilibrium is offered"
        )
    if not off <= 1:
        raise CheckpointError(
            f"bond {shown(group[0].name)!r}: its invariants would change by {off:.3g} times what "
            "rounding explains; nothing was written"
        )
    return [
        _report(kinds[b.name], before[b.name], compressed(b, new), off, left.get(b.name, ""))
        for b in group
    ]


def _confirm(claim: Claim, old: dict[str, Numpy], moved: dict[str, Numpy]) -> None:
    """Raise unless the layer still computes the same, before anything is rounded."""
    if claim.witness is None:
        return
    before, size = claim.witness(old)
    after, moved_size = claim.witness(old | moved)
    off = float(np.linalg.norm(after - before))
    if not off <= WITNESS * (size + moved_size):
        raise CheckpointError(
            f"bond {shown(claim.bond.name)!r} is no symmetry of its layer: the output would change "
            f"by {off / max(float(np.linalg.norm(before)), 1e-300):.2g} of itself; nothing was "
            "written"
        )


def _report(claim: Claim, before: Blocks, after: Blocks, off: float, note: str) -> Move:
    bond = claim.bond
    norms = [float(sum(np.sum(side * side) for side in blocks)) / 2 for blocks in (before, after)]
    uneven = [float(np.max(bond.group.imbalance(*blocks))) for blocks in (before, after)]
    return Move(
        bond=bond.name,
        kind=claim.kind,
        layer=claim.layer,
        heads=bond.heads or 1,
        norm_before=norms[0],
        norm_after=norms[1],
        imbalance_before=uneven[0],
        imbalance_after=uneven[1],
        deviation=off,
        note=note,
    )
