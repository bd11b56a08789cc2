"""One file per family of architectures: names, shapes and config to bonds."""

import re

import numpy as np

from symbias.audit.claims import Claim, Model, Reading
from symbias.audit.families import bart, bert, gpt2, llama, lora, neox, resnet, vgg, vit
from symbias.audit.headers import CheckpointError, shown
from symbias.symmetry import Symmetry

MOST_NOTES = 5
BY_NAME = (lora, resnet, vgg)  # come without a config
FAMILIES = (lora, bert, gpt2, llama, neox, vit, bart, resnet, vgg)


def recognise(model: Model) -> Reading:
    """What the first family that knows the model says; nothing but a reason if none does.

    Raises
    ------
    CheckpointError
        If the config contradicts the arrays.
    """
    for family in FAMILIES:
        try:
            found = family.read(model)
        except KeyError as error:
            raise CheckpointError(f"array {shown(error.args[0])!r} is missing") from None
        except IndexError:
            raise CheckpointError("an array of the model has too few axes") from None
        if found is not None:
            if not model.kind and family not in BY_NAME:
                found.notes.append("no model_type in a config.json: read by array names alone")
            return checked(model, found)
    kind = f"model_type {shown(model.kind)!r}" if model.kind else "a model without a model_type"
    return Reading("unknown", notes=[f"{kind} with these array names is not known: give --bonds"])


def checked(model: Model, found: Reading) -> Reading:
    """The reading, without claims that do not fit the arrays; what did not fit is said."""
    fits: dict[str, Claim] = {}
    left_out: list[str] = []
    for claim in found.claims:
        try:
            if claim.bond.name in fits:
                raise ValueError("a bond of this name is there already")
            check_fit(model, claim)
        except (ValueError, TypeError) as error:
            left_out.append(f"bond {shown(claim.bond.name)!r} left out: {shown(error)}")
            for name in claim.bond.arrays:
                found.misfits.setdefault(name, f"does not fit: {shown(error)}")
        else:
            fits[claim.bond.name] = claim
    found.claims = list(fits.values())
    found.notes += left_out[:MOST_NOTES]
    if len(left_out) > MOST_NOTES:
        found.notes.append(f"{len(left_out) - MOST_NOTES} more bonds left out")
    return found


def check_fit(model: Model, claim: Claim) -> None:
    """Raise unless every array of the bond is there, is not empty, and has the axis it needs."""
    for end in claim.bond.ends:
        if end.name in model.shapes and 0 in model.shapes[end.name]:
            raise ValueError(f"array {end.name!r} is empty")
    names = [n for n in claim.bond.arrays if n in model.shapes]
    # arrays of the right shape that take no memory
    blank = {n: np.broadcast_to(np.float32(0), model.shapes[n]) for n in names}
    Symmetry([claim.bond]).check(blank or {"": np.zeros(1)})


def reason_for(found: Reading, name: str) -> str:
    """Why an array belongs to no bond."""
    if name in found.misfits:
        return found.misfits[name]
    for pattern, reason in found.reasons:
        if re.fullmatch(pattern, name):
            return reason
    return f"no bond of the family {found.family} names it" if found.claims else "not recognised"
