"""The audit itself: every bond measured, every other array with a reason."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from symbias.audit.advice import advice, place
from symbias.audit.joint import Joint, joint_volume, sharing
from symbias.audit.measure import Row, measure
from symbias.audit.products import Product, products_of
from symbias.audit.reading import reading_of, reasons_of
from symbias.audit.residual import measure_stream
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


@dataclass
class Audit:
    """What an audit found.

    Attributes
    ----------
    model, family
        What was audited, and as what.
    rows
        One per bond and head.
    reasons
        Array name to why it belongs to no bond.
    arrays, parameters
        How many.
    notes
        What a reader should know.
    spectra
        Bond name to singular values per head of what the bond leaves unchanged.
    products
        Of an adapter: what it adds to each layer.
    guess
        The family was read from array names alone.
    joint
        Sets of bonds that share arrays, each with its joint log volume.
    """

    model: str
    family: str
    rows: list[Row]
    reasons: dict[str, str]
    arrays: int
    parameters: int
    notes: list[str] = field(default_factory=list)
    spectra: dict[str, Numpy] = field(default_factory=dict)
    products: list[Product] = field(default_factory=list)
    guess: bool = False
    joint: list[Joint] = field(default_factory=list)

    def summary(self) -> dict[str, Any]:
        """Totals. Norms are those of the bonds that balancing acts on, one by one."""
        both = [r for r in self.rows if r.movable]
        uneven = [r.imbalance for r in self.rows if r.imbalance is not None]
        worst = max((r for r in self.rows if r.imbalance is not None),
                    key=lambda r: r.imbalance or 0.0, default=None)  # fmt: skip
        return {
            "model": self.model,
            "family": self.family,
            "guess": self.guess,
            "arrays": self.arrays,
            "parameters": self.parameters,
            "bonds": len(self.rows),
            "dimension": sum(r.dimension for r in self.rows),
            "stabilizers": sum(r.stabilizers for r in self.rows),
            "norm": sum(r.norm for r in both),
            "least_norm": sum(r.least_norm or 0.0 for r in both),
            "median_imbalance": float(np.median(uneven)) if uneven else None,
            "worst_imbalance": worst.imbalance if worst else None,
            "worst": place(worst) if worst else None,
            "dead": sum(r.dead or 0 for r in self.rows),
            **self._volumes(),
            "arrays_without_bond": len(self.reasons),
        }

    def _volumes(self) -> dict[str, float | None]:
        """Log volume of all bonds but the residual stream: each by itself, and together."""
        alone = sum(row.log_volume for row in self.rows if row.kind != "residual")
        values: dict[str, float | None] = {"log_volume_alone": alone}
        for side in ("lower", "upper"):
            bounds = [getattr(joint, side) for joint in self.joint]
            less = None if None in bounds else sum(j.alone for j in self.joint) - sum(bounds)
            values[f"log_volume_{side}"] = None if less is None else alone - less
        return values

    def to_dict(self) -> dict[str, Any]:
        """Summary, notes, rows and reasons as plain values."""
        return {
            "summary": self.summary(),
            "notes": self.notes,
            "bonds": [row.to_dict() | {"advice": advice(row)} for row in self.rows],
            "joint": [joint.to_dict() for joint in self.joint],
            "products": [product.to_dict() for product in self.products],
            "arrays": [{"array": k, "reason": v} for k, v in self.reasons.items()],
        }


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

    Reads the arrays of one bond at a time: the peak of memory follows the largest bond, not the
    file. A bond is measured by itself, with all others held where they are.

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
        Called with bonds done and their number.

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
    under = _base_of(found, base)
    squares = Squares(source, found.claims)
    measured = in_threads(lambda claim: _measured(claim, source, squares), found.claims)
    sets = sharing([claim.bond for claim in found.claims])
    coupled = {bond.name for bonds in sets for bond in bonds}
    blocks = {}
    total = len(found.claims) + len(sets) + len(found.streams)
    for done, (claim, (rows, spectrum, sides)) in enumerate(
        zip(found.claims, measured, strict=True)
    ):
        if claim.thin and not may_be_truncated(source.config, module_of(claim)):
            rows = [replace(row, truncatable=False) for row in rows]
        result.rows += rows
        result.spectra[claim.bond.name] = spectrum
        if claim.bond.name in coupled and not of_scales(claim.bond):
            blocks[claim.bond.name] = sides
        if claim.thin:
            result.products += products_of(claim, spectrum, source.shapes, source.config, under)
        if progress:
            progress(done + 1, total)
    if lost := sum(product.share is None for product in result.products) if under else 0:
        what = "has no weight of that name and size"
        result.notes.append(
            f"no share for {lost} of {len(result.products)} products: --base {what}"
        )
    own: dict[str, list[Row]] = {}
    for row in result.rows:
        own.setdefault(row.bond, []).append(row)

    def together(bonds: tuple[Bond, ...]) -> Joint:
        rows = [row for bond in bonds for row in own[bond.name]]
        return joint_volume(bonds, rows, source, squares, blocks)

    for done, joint in enumerate(in_threads(together, sets)):
        result.joint.append(joint)
        if progress:
            progress(len(found.claims) + done + 1, total)
    for stream in found.streams if residual else ():
        row, spectrum = measure_stream(stream, source)
        result.rows.append(row)
        result.spectra[row.bond] = spectrum
    return result


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
