"""The audit itself: every bond measured, every other array with a reason."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
from numpy.typing import ArrayLike

from symbias.audit.joint import Joint, joint_volume, sharing
from symbias.audit.measure import Row, measure
from symbias.audit.products import products_of
from symbias.audit.reading import reading_of, reasons_of
from symbias.audit.residual import measure_stream
from symbias.audit.result import Audit
from symbias.audit.squares import Squares, compressed, of_scales, working
from symbias.audit.threads import in_threads
from symbias.checkpoints import (
    Arrays,
    Checkpoint,
    CheckpointError,
    Numpy,
    Source,
    open_checkpoint,
    precision,
    shown,
)
from symbias.models import (
    Claim,
    Reading,
    may_be_truncated,
    module_of,
)
from symbias.symmetry import Bond


def audit(
    model: Path | str | Mapping[str, ArrayLike],
    *,
    bonds: Iterable[Bond | Claim] | None = None,
    heads: int | None = None,
    family: str | None = None,
    base: Path | str | None = None,
    residual: bool = True,
    progress: Callable[[int, int], None] | None = None,
) -> Audit:
    """Audit the gauge freedom of a model.

    Reads the arrays of one bond at a time and core, four at most: the peak of memory follows the
    largest bonds, not the file. A bond is measured by itself, with all others held where they are;
    those that share arrays also have a joint log volume, or bounds of it. Arrays of two bytes a
    number or less are squared in single precision: no column is off by more than 1e-6.

    Parameters
    ----------
    model
        A safetensors file, a folder with shards, or a dict of named arrays.
    bonds
        Bonds of a model that no family knows, such as those of `symbias.discover`; the family is
        recognised from names and config if not given.
    heads
        Number of attention heads, where no config.json tells it.
    family
        Read the arrays as this family (bert, gpt2, llama, ...), where no config.json tells it.
    base
        The model that an adapter is for: its norms are then given as shares of those of its
        weights too.
    residual
        Measure the residual stream of RMSNorm models too: it takes most of the time of large ones.
    progress
        Called with how many bonds, sets of them and residual streams are done, and of how many.

    Raises
    ------
    CheckpointError
        One line: the file or array and what is wrong with it.
    """
    source: Source = Arrays(model) if isinstance(model, Mapping) else open_checkpoint(model)
    found = reading_of(source, bonds, heads, family)
    result = Audit(
        model=shown(source.path.name or source.path),
        family=found.family,
        rows=[],
        reasons=reasons_of(source, found),
        arrays=len(source.entries) + len(source.parts),
        parameters=sum(e.size for e in source.entries.values()),
        notes=list(found.notes),
        guess=found.guess,
    )
    squares = Squares(source, found.claims)
    sets = sharing([claim.bond for claim in found.claims])
    steps = _steps(len(found.claims) + len(sets) + len(found.streams), progress)
    blocks = _measure_bonds(result, found, source, squares, _base_of(found, base), steps)
    _measure_sets(result, sets, source, squares, blocks, steps)
    for stream in found.streams if residual else ():
        row, spectrum = measure_stream(stream, source)
        result.rows.append(row)
        result.spectra[row.bond] = spectrum
        next(steps)
    return result


def _steps(total: int, progress: Callable[[int, int], None] | None) -> Iterator[None]:
    """Each ``next`` reports one more of ``total``."""
    for done in range(total):
        if progress:
            progress(done + 1, total)
        yield


def _measure_bonds(
    result: Audit,
    found: Reading,
    source: Source,
    squares: Squares,
    base: Checkpoint | None,
    steps: Iterator[None],
) -> dict[str, tuple[Numpy, Numpy]]:
    """Rows, spectra and products of all bonds; returns the compressed blocks of matrix groups."""
    blocks = {}
    measured = in_threads(lambda claim: _measured(claim, source, squares), found.claims)
    for claim, (rows, spectrum, sides) in zip(found.claims, measured, strict=True):
        if claim.thin and not may_be_truncated(source.config, module_of(claim)):
            rows = [replace(row, truncatable=False) for row in rows]
        result.rows += rows
        result.spectra[claim.bond.name] = spectrum
        if claim.thin:
            result.products += products_of(claim, spectrum, source.shapes, source.config, base)
        elif not of_scales(claim.bond):
            blocks[claim.bond.name] = sides
        next(steps)
    if lost := sum(product.share is None for product in result.products) if base else 0:
        what = "has no weight of that name and size"
        result.notes.append(
            f"no share for {lost} of {len(result.products)} products: --base {what}"
        )
    return blocks


def _measure_sets(
    result: Audit,
    sets: Sequence[tuple[Bond, ...]],
    source: Source,
    squares: Squares,
    blocks: Mapping[str, tuple[Numpy, Numpy]],
    steps: Iterator[None],
) -> None:
    """The joint log volume of every set of bonds that share arrays."""
    own: dict[str, list[Row]] = {}
    for row in result.rows:
        own.setdefault(row.bond, []).append(row)

    def together(bonds: tuple[Bond, ...]) -> Joint:
        rows = [row for bond in bonds for row in own[bond.name]]
        return joint_volume(bonds, rows, source, squares, blocks)

    for joint in in_threads(together, sets):
        result.joint.append(joint)
        next(steps)


def _measured(
    claim: Claim, source: Source, squares: Squares
) -> tuple[list[Row], Numpy, tuple[Numpy, Numpy]]:
    """Rows, spectrum and compressed blocks of one bond."""
    if of_scales(claim.bond):
        x, y = squares.blocks(claim.bond)
    else:
        dtype = working(source, claim.bond.arrays)
        x, y = compressed(claim.bond, {n: source.read(n, dtype) for n in claim.bond.arrays})
    rows, spectrum = measure(_with_eps(claim, source), x, y, source.shapes, _grain(claim, source))
    return rows, spectrum, (x, y)


def _base_of(found: Reading, base: Path | str | None) -> Checkpoint | None:
    """The model under an adapter, opened."""
    if base is None:
        return None
    if not any(claim.thin for claim in found.claims):
        why = found.notes[0] if found.notes else f"this is read as {found.family}"
        raise CheckpointError(f"a base model is for LoRA adapters: {why}")
    return open_checkpoint(base)


def _grain(claim: Claim, source: Source) -> float:
    """The coarsest rounding of the arrays of a bond."""
    return max(precision(source.entries[name].dtype) for name in claim.bond.arrays)


def _with_eps(claim: Claim, source: Source) -> Claim:
    """The claim, with how far eps keeps it from being exact."""
    if not claim.variance:
        return claim
    note = "exact at eps = 0 only"
    if claim.variance in source.shapes:
        least = float(np.min(source.read(claim.variance), initial=np.inf))
        off = claim.eps / (least + claim.eps) if least + claim.eps > 0 else 1.0
        note += f": a unit of log scale changes the normalised channel by {off:.2g} at most"
    return replace(claim, note=note)
