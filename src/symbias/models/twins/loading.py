"""A checkpoint of transformers as a model that runs, for its bonds to be confirmed on."""

from pathlib import Path
from typing import Any

from symbias._core.extras import needed_by
from symbias.checkpoints import Checkpoint, CheckpointError, shown
from symbias.models.claims import Claim, Model, model_of
from symbias.models.families import check_fit
from symbias.models.twins.found import Found

MOST_BYTES = 8_000_000_000  # of parameters in float64


def load_model(source: Checkpoint) -> Any:
    """The model that the config names, with the arrays of the checkpoint, in float64.

    Raises
    ------
    CheckpointError
        If the config names none, or one with code of its own, which is not run; if it is too
        large, or does not load.
    """
    with needed_by("--discover"):
        import torch  # noqa: F401
        import transformers
    where, config = shown(source.path), source.config
    if config.get("auto_map"):
        raise CheckpointError(f"{where}: its config asks for code of its own, which is not run")
    named = config.get("architectures")
    name = named[0] if isinstance(named, list) and named else None
    kind = getattr(transformers, name, None) if isinstance(name, str) else None
    if kind is None or not source.path.is_dir():
        raise CheckpointError(
            f"{where}: discovery needs a folder whose config.json names a class of transformers "
            f"under architectures, got {shown(name)}"
        )
    if 8 * sum(e.size for e in source.entries.values()) > MOST_BYTES:
        raise CheckpointError(
            f"{where}: too large to be run in float64 ({MOST_BYTES / 1e9:.0f} GB of parameters at "
            "most): find the bonds of a smaller model of its kind, and give them with --bonds"
        )
    try:
        return kind.from_pretrained(
            Path(source.path), dtype="float64", local_files_only=True, attn_implementation="eager"
        ).eval()
    except (OSError, ValueError, RuntimeError, ImportError) as error:
        raise CheckpointError(f"{where}: {name} does not load: {shown(error, 300)}") from None


def claims_for(found: Found, source: Checkpoint) -> list[Claim]:
    """The claims on arrays that the file stores as the model has them, whose groups it can hold."""
    model = model_of(source)
    return [claim for claim in found.claims if _fits(model, claim)]


def _fits(model: Model, claim: Claim) -> bool:
    try:
        check_fit(model, claim)
    except (ValueError, TypeError):
        return False
    return all(len(leg.ends) == 1 and leg.power == 1 for leg in claim.bond.legs)
