"""Adapters stored at the rank that their products need."""

import json
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from symbias._core.numbers import is_whole
from symbias.adapters.config import config_for
from symbias.audit import rank_of
from symbias.checkpoints import (
    Checkpoint,
    CheckpointError,
    Numpy,
    check_out,
    draft,
    open_checkpoint,
    precision,
    shown,
    write_file,
)
from symbias.models import (
    Claim,
    model_of,
    module_of,
    rank_for,
    recognise,
    scale_of,
    taken_from_base,
)

CONFIG = "adapter_config.json"
WORK = 1e-13  # of float64 arithmetic


@dataclass(frozen=True)
class Cut:
    """One layer: its rank before and after, and the share of the energy that is kept."""

    layer: str
    size: int
    rank: int
    kept: float


@dataclass
class Truncated:
    """An adapter that was written at lower ranks; ``numbers`` are those of A and B."""

    out: str
    layers: list[Cut] = field(default_factory=list)
    numbers_before: int = 0
    numbers_after: int = 0
    notes: list[str] = field(default_factory=list)

    def to_dict(self) -> dict[str, Any]:
        """Plain values."""
        return asdict(self)


def truncate(
    adapter: Path | str,
    out: Path | str,
    *,
    energy: float = 0.999,
    rank: int | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> Truncated:
    r"""Write a LoRA adapter in which every product has the rank it needs.

    Of every layer the largest singular values of :math:`B A` are kept, the fewest with a share
    ``energy`` of the sum of squares: no product of that rank is nearer (Eckart and Young, 1936),
    and the change is :math:`\sqrt{1 - \text{kept}}` of its norm. Both sides are stored balanced.
    adapter_config.json gets the new ranks, and alphas that keep the scales; everything else in the
    folder is copied byte by byte. What was written is read back and compared, layer by layer.

    Parameters
    ----------
    adapter
        A folder with adapter_model.safetensors and adapter_config.json, as PEFT saves it.
    out
        A new folder.
    energy
        In (0, 1]. A product that is zero, as before training, is left as it is.
    rank
        One rank for all layers instead; those that have less keep what they have.
    progress
        Called with layers done and their number.

    Raises
    ------
    CheckpointError
        One line; then nothing was written.

    Notes
    -----
    Time O(n r^2) for a layer with n numbers a rank. The share of the energy is of the weights: what
    a layer's inputs make of it is not known here, so try the adapter on your own task.
    """
    source, target = open_checkpoint(adapter), Path(out)
    _check_wish(energy, rank)
    claims = _claims(source)
    check_out(source, target, overwrite=False)
    ranks = {c.bond.name: _rank(_svd(c, source)[1], energy, rank) for c in claims}
    if source.config.get("target_parameters"):  # PEFT has one rank for all of these
        ranks = dict.fromkeys(ranks, max(ranks.values()))
    result = Truncated(str(target))
    new: dict[str, Numpy] = {}
    rests: list[Numpy | float] = []
    for done, claim in enumerate(claims):
        k = ranks[claim.bond.name]
        x, s, y = _svd(claim, source)
        result.layers.append(_cut(claim, s, k))
        if not s.any():
            (x, y), s = _blocks(claim, source), np.ones_like(s)  # the side that is alive may learn
        arrays = _arrays(claim, source, x[:, :k], s[:, :k], y[:, :k])
        new |= arrays
        rests.append(_rest(claim, source, x[:, k:], s[:, k:], y[:, k:]))
        result.numbers_before += sum(source.entries[name].size for name in arrays)
        result.numbers_after += sum(a.size for a in arrays.values())
        if progress:
            progress(done + 1, len(claims))
    modules = {module_of(claim): ranks[claim.bond.name] for claim in claims}
    scales = {m: _scale(source, m, c.bond.group.size) for m, c in zip(modules, claims, strict=True)}
    with draft(source, target) as copy:
        (file,) = copy.checkpoint.files
        file.unlink()
        write_file(file, source, new, source.metadata)
        told = json.dumps(config_for(source.config, modules, scales), indent=2)
        (file.parent / CONFIG).write_text(told + "\n")
        written = open_checkpoint(copy.root)
        _confirm_config(written.config, modules, scales)
        for claim, rest in zip(claims, rests, strict=True):
            _confirm(claim, source, written, rest)
        result.notes += [f"{n}: other weights, copied as they are" for n in copy.unchanged]
    return result


def _check_wish(energy: float, rank: int | None) -> None:
    if not 0 < energy <= 1:
        raise CheckpointError(f"energy must be in (0, 1], got {energy}")
    if rank is not None and (not is_whole(rank) or rank < 1):
        raise CheckpointError(f"rank must be a positive integer, got {rank!r}")


def _claims(source: Checkpoint) -> list[Claim]:
    """The pairs of an adapter that may be truncated; why it may not as an error."""
    where = shown(source.path)
    if not source.path.is_dir() or "peft_type" not in source.config:
        raise CheckpointError(
            f"{where}: give the folder of an adapter, with its {CONFIG}: ranks are written there"
        )
    found = recognise(model_of(source), None, source.partial)
    claims = [claim for claim in found.claims if claim.thin]
    if not claims:
        why = f": {shown(found.notes[0])}" if found.notes else ""
        raise CheckpointError(f"{where}: no LoRA products to truncate{why}")
    if found.unsure:
        raise CheckpointError(f"{where}: {found.unsure}")
    if start := taken_from_base(source.config):
        raise CheckpointError(
            f"{where}: init_lora_weights={start!r} takes as much out of the base weights as the "
            "rank says; save it as plain LoRA first (PEFT: save_pretrained with "
            "path_initial_model_for_weight_conversion)"
        )
    return claims


def _svd(claim: Claim, source: Checkpoint) -> tuple[Numpy, Numpy, Numpy]:
    """Singular vectors and values of the product, by experts: ``(e, r, n), (e, r), (e, r, m)``."""
    sides = _blocks(claim, source)
    (qx, rx), (qy, ry) = (np.linalg.qr(np.swapaxes(side, 1, 2)) for side in sides)
    u, s, vt = np.linalg.svd(rx @ np.swapaxes(ry, 1, 2), full_matrices=False)
    return np.swapaxes(qx @ u, 1, 2), s, vt @ np.swapaxes(qy, 1, 2)


def _blocks(claim: Claim, source: Checkpoint) -> tuple[Numpy, Numpy]:
    params = {name: source.read(name) for name in claim.bond.arrays}
    return claim.bond.blocks(np, params)


def _rank(values: Numpy, energy: float, rank: int | None) -> int:
    """The rank of all experts of a layer; that which it has where its product is zero."""
    if rank is not None:
        return min(rank, values.shape[1])
    if not values.any():
        return values.shape[1]
    return int(np.max(rank_of(values, energy), initial=1))


def _arrays(claim: Claim, source: Checkpoint, x: Numpy, s: Numpy, y: Numpy) -> dict[str, Numpy]:
    """A and B from singular vectors: A by experts, B by ranks, as PEFT has them."""
    a, b = (end.name for end in claim.bond.ends)
    root = np.sqrt(s)[..., None]
    rows = len(x) * x.shape[1]
    first, second = root * x, np.swapaxes(root * y, 0, 1)
    shape_a, shape_b = source.entries[a].shape, source.entries[b].shape
    second = second.reshape(rows, shape_b[0], *shape_b[2:])
    return {a: first.reshape(rows, *shape_a[1:]), b: np.moveaxis(second, 0, 1)}


def _cut(claim: Claim, values: Numpy, k: int) -> Cut:
    total = np.sum(values**2)
    kept = float(np.sum(values[:, :k] ** 2) / total) if total else 1.0
    return Cut(module_of(claim), claim.bond.group.size, k, kept)


def _scale(source: Checkpoint, module: str, size: int) -> float:
    scale = scale_of(source.config, module, size)
    if scale is None:
        raise CheckpointError(f"{shown(source.path)}: {CONFIG} has no lora_alpha")
    return scale


def _confirm_config(
    config: Mapping[str, object], ranks: Mapping[str, int], scales: Mapping[str, float]
) -> None:
    """Raise unless every module has its rank and scale by the rule that PEFT reads them with."""
    for module, rank in ranks.items():
        scale = scale_of(config, module, rank)
        if rank_for(config, module) != rank or not np.isclose(scale or 0.0, scales[module]):
            raise CheckpointError(
                f"layer {shown(module)!r}: PEFT would read another rank or alpha for it than "
                f"{rank} and a scale of {scales[module]:.6g}; nothing was written"
            )


def _rest(claim: Claim, source: Checkpoint, x: Numpy, s: Numpy, y: Numpy) -> Numpy | float:
    """What the layer made of some inputs by that which is cut."""
    if not s.shape[1] or claim.witness is None:
        return 0.0
    return claim.witness(_arrays(claim, source, x, s, y))[0]


def _confirm(claim: Claim, source: Checkpoint, written: Checkpoint, rest: Numpy | float) -> None:
    """Raise unless the layer computes what it did, less what was cut, to rounding."""
    assert claim.witness is not None
    old, new = ({n: c.read(n) for n in claim.bond.arrays} for c in (source, written))
    before, size = claim.witness(old)
    after, size_after = claim.witness(new)
    eps = max(precision(source.entries[name].dtype) for name in claim.bond.arrays)
    bound = (2 * eps + WORK) * size_after + WORK * size
    off = float(np.linalg.norm(before - rest - after))
    if not off <= bound:
        raise CheckpointError(
            f"layer {shown(module_of(claim))!r}: its output would be off by {off:.3g}, where "
            f"rounding explains {bound:.3g}; nothing was written"
        )
