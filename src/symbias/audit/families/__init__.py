"""One file per family of architectures: names, shapes and config to bonds."""

import re
from collections.abc import Callable
from types import ModuleType

import numpy as np

from symbias.audit.claims import Claim, Model, Reading
from symbias.audit.families import bart, bert, gpt2, llama, lora, neox, resnet, vgg, vit
from symbias.audit.headers import CheckpointError, shown
from symbias.symmetry import Symmetry

MOST_NOTES = 5
FAMILIES: dict[str, ModuleType] = {
    "lora": lora, "bert": bert, "gpt2": gpt2, "llama": llama, "gpt_neox": neox, "vit": vit,
    "bart": bart, "resnet": resnet, "vgg": vgg,
}  # fmt: skip
ASSUMED = "its activation, block order and rotary layout are assumed, not known"
# what a linear layer, a convolution or a norm holds; anything else may change what it computes
_LEAVES = {"weight", "bias", "running_mean", "running_var", "num_batches_tracked"}


def recognise(model: Model, family: str | None = None) -> Reading:
    """What the first family that knows the model says; nothing but a reason if none does.

    Given ``family``, only that one is asked, and its answer is no guess.

    Raises
    ------
    CheckpointError
        If the config contradicts the arrays or the family.
    """
    for name in FAMILIES if family is None else [_known(model, family)]:
        try:
            found: Reading | None = FAMILIES[name].read(model)
        except KeyError as error:
            raise CheckpointError(f"array {shown(error.args[0])!r} is missing") from None
        except IndexError:
            raise CheckpointError("an array of the model has too few axes") from None
        if found is not None:
            told = bool(model.config.get("peft_type") if name == "lora" else model.kind)
            if not told:
                found.guess = family is None
                why = "from array names alone" if found.guess else "because you say so"
                found.notes.insert(0, f"read as {found.family} {why}: {ASSUMED}")
            return checked(model, found)
    if family is not None:
        hint = "" if model.kind else ", or its model_type in config.json is needed"
        raise CheckpointError(f"these arrays cannot be read as family {family}{hint}")
    kind = f"model_type {shown(model.kind)!r}" if model.kind else "a model without a model_type"
    return Reading("unknown", notes=[f"{kind} with these array names is not known: give --bonds"])


def _known(model: Model, family: str) -> str:
    if family not in FAMILIES:
        raise CheckpointError(f"no family {shown(family)!r}; there are {', '.join(FAMILIES)}")
    kinds = FAMILIES[family].KINDS
    if model.kind and kinds is not None and model.kind not in kinds:
        raise CheckpointError(
            f"family {family} contradicts the model_type {shown(model.kind)!r} of config.json"
        )
    return family


def name_of(found: Reading) -> str:
    """The name under which a family is asked for."""
    return next(name for name, family in FAMILIES.items() if found.family == family.TITLE)


def checked(model: Model, found: Reading) -> Reading:
    """The reading, without claims that do not fit the arrays; what did not fit is said."""
    fits: dict[str, Claim] = {}
    left_out: list[str] = []
    doubt, pruned = doubts(model, found), model.pruned
    for claim in found.claims:
        try:
            if claim.bond.name in fits:
                raise ValueError("a bond of this name is there already")
            check_fit(model, claim)
            if why := next(filter(None, map(doubt, claim.bond.arrays)), ""):
                raise ValueError(why)
            if claim.layer in pruned and claim.kind in ("qk", "qk free", "vo"):
                raise ValueError("heads of this layer were pruned")
        except (ValueError, TypeError) as error:
            left_out.append(f"bond {shown(claim.bond.name)!r} left out: {shown(error)}")
            for name in claim.bond.arrays:
                found.misfits.setdefault(name, f"does not fit: {shown(error)}")
        else:
            fits[claim.bond.name] = claim
    found.claims = list(fits.values())
    for stream in list(found.streams):
        names = [name for name, _ in (*stream.readers, *stream.writers)]
        if why := next(filter(None, map(doubt, names)), ""):
            found.streams.remove(stream)
            left_out.append(f"residual stream left out: {why}")
    found.notes += left_out[:MOST_NOTES]
    if len(left_out) > MOST_NOTES:
        found.notes.append(f"{len(left_out) - MOST_NOTES} more bonds left out")
    return found


def doubts(model: Model, found: Reading) -> Callable[[str], str]:
    """Array name to why no bond on it can be trusted; empty if nothing speaks against it."""
    beside: dict[str, str] = {}
    inside: dict[str, str] = {}
    for name in (*model.shapes, *model.unmeasured):
        module, _, leaf = name.rpartition(".")
        lost = name in model.unmeasured and leaf != "num_batches_tracked"
        if found.family != lora.TITLE and (lost or leaf not in _LEAVES):
            what = "cannot be measured" if lost else "is not known"
            beside.setdefault(module, f"array {shown(name)!r} beside it {what}")
        parts = name.split(".")
        for scope in (".".join(parts[:i]) for i in range(1, len(parts))):
            known = found.scopes.get(scope)
            if known is not None and not re.fullmatch(known, name[len(scope) + 1 :]):
                inside[scope] = f"array {shown(name)!r} in its module is not known"

    def doubt(name: str) -> str:
        parts = name.split(".")
        modules = [".".join(parts[:i]) for i in range(1, len(parts))]
        own = beside.get(modules[-1], "") if modules else ""
        return own or next((inside[m] for m in modules if m in inside), "")

    return doubt


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
