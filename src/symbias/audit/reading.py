"""What a checkpoint is read as: its bonds, and why other arrays have none."""

from collections.abc import Iterable

from symbias.checkpoints import CheckpointError, Source, shown
from symbias.models import Claim, Reading, check_fit, model_of, reason_for, recognise
from symbias.symmetry import Bond

# where configs say how many attention heads there are
HEADS = ("num_attention_heads", "n_head", "n_heads", "num_heads")


def reading_of(
    source: Source,
    bonds: Iterable[Bond | Claim] | None,
    heads: int | None = None,
    family: str | None = None,
) -> Reading:
    """The claims on a source: given ones, or those of its family."""
    config = dict(source.config)
    if heads is not None:
        for key in (*HEADS, "encoder_attention_heads", "decoder_attention_heads"):
            if config.get(key) not in (None, heads):
                raise CheckpointError(
                    f"{heads} heads were given; config.json says {key} is {shown(config[key])}"
                )
        config |= dict.fromkeys(HEADS, heads)
    model = model_of(source, config)
    if bonds is None:
        found = recognise(model, family, source.partial)
        found.notes = [*source.notes, *found.notes]
        return found
    if family is not None:
        raise CheckpointError("give bonds or a family, not both")
    claims = [b if isinstance(b, Claim) else Claim(b, "given") for b in bonds]
    names: set[str] = set()
    for claim in claims:
        if claim.bond.name in names:
            raise CheckpointError(f"two bonds are named {shown(claim.bond.name)!r}")
        names.add(claim.bond.name)
        if any(len(leg.ends) > 1 or leg.power != 1 for leg in claim.bond.legs):
            raise CheckpointError(
                f"bond {shown(claim.bond.name)!r}: ends over several arrays and weighted scales "
                "are not audited"
            )
        try:
            check_fit(model, claim)
        except (ValueError, TypeError) as error:
            raise CheckpointError(shown(error)) from None
    reasons = [(".*", "no given bond names it")]
    return Reading("given bonds", claims, reasons=reasons, notes=list(source.notes))


def reasons_of(source: Source, found: Reading) -> dict[str, str]:
    """Arrays that belong to no bond, each with why."""
    held = {name for claim in found.claims for name in claim.bond.arrays}
    held |= {name for s in found.streams for name, _ in (*s.readers, *s.writers)}
    reasons = {}
    for name, entry in source.entries.items():
        if name not in held:
            dtype = f"{entry.dtype} is not a floating dtype that can be measured"
            reasons[name] = reason_for(found, name) if entry.floating else dtype
    parts = {name: f"a part of the quantized weight {of}" for name, of in source.parts.items()}
    return reasons | parts | found.missing
