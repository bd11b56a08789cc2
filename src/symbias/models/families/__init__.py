"""One file per family of architectures: names, shapes and config to bonds."""

import re
from collections.abc import Callable, Iterable
from types import ModuleType

import numpy as np

from symbias.checkpoints import CheckpointError, shown
from symbias.models.claims import Claim, Model, Reading, Stream
from symbias.models.families import bart, bert, gpt2, llama, lora, neox, resnet, vgg, vit
from symbias.models.families.quantized import packed, quantized, times_scale
from symbias.symmetry import Symmetry

MOST_NOTES = 5
FAMILIES: dict[str, ModuleType] = {
    "lora": lora, "bert": bert, "gpt2": gpt2, "llama": llama, "gpt_neox": neox, "vit": vit,
    "bart": bart, "resnet": resnet, "vgg": vgg,
}  # fmt: skip
ASSUMED = "its activation, block order and rotary layout are assumed, not known"
# what a linear layer, a convolution or a norm holds; anything else may change what it computes
_LEAVES = {"weight", "bias", "running_mean", "running_var", "num_batches_tracked"}


def recognise(model: Model, family: str | None = None, partial: str = "") -> Reading:
    """What the first family that knows the model says; nothing but a reason if none does.

    Given ``family``, only that one is asked, and its answer is no guess. ``partial`` says why not
    all arrays of the model are here.

    Raises
    ------
    CheckpointError
        If the config contradicts the arrays or the family.
    """
    for name in FAMILIES if family is None else [_known(model, family)]:
        try:
            found: Reading | None = FAMILIES[name].read(model)
        except KeyError as error:  # a shape that was asked for
            title, lost = FAMILIES[name].TITLE, shown(error.args[0])
            why = f"the family {title} needs array {lost!r}, which is not in the file"
            found = Reading(title, notes=[why], reasons=[(".*", why)], missing={lost: why})
        except CheckpointError:
            raise
        except (IndexError, ValueError, TypeError, ArithmeticError) as error:
            title = FAMILIES[name].TITLE
            raise CheckpointError(
                f"an array has a shape that the family {title} cannot have: {shown(error)}"
            ) from None
        if found is not None:
            told = bool(model.config.get("peft_type") if name == "lora" else model.kind)
            own = name != "lora" and "auto_map" in model.config
            if own or not told:
                found.guess = family is None
                why = "though its code is its own (auto_map)" if own else "from array names alone"
                why = why if found.guess else "because you say so"
                found.notes.insert(0, f"read as {found.family} {why}: {ASSUMED}")
            if model.scaled:
                found.notes.insert(0, times_scale(model))
            if scheme := quantized(model):
                scheme = f"config.json says that its weights are quantized ({scheme})"
            found.unsure = found.unsure or partial or scheme
            if found.unsure:
                found.guess = True
                found.notes.insert(0, f"no copy can rest on these bonds: {found.unsure}")
            return checked(model, found)
    if family is not None:
        hint = "" if model.kind else ", or its model_type in config.json is needed"
        raise CheckpointError(f"these arrays cannot be read as family {family}{hint}")
    if reasons := packed(model):
        return Reading("unknown", notes=[reasons[-1][1]], reasons=reasons)
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
            if lost := [name for name in claim.bond.arrays if name not in model]:
                found.expects(model, *lost)
                raise ValueError(f"array {shown(lost[0])!r} is missing or cannot be measured")
            check_fit(model, claim)
            if why := doubt(claim.bond.arrays, claim.kind == "gain"):
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
        if why := doubt(names, True) or _misshapen(model, stream):
            found.streams.remove(stream)
            left_out.append(f"residual stream left out: {why}")
    found.notes += left_out[:MOST_NOTES]
    if len(left_out) > MOST_NOTES:
        found.notes.append(f"{len(left_out) - MOST_NOTES} more bonds left out")
    return found


def _misshapen(model: Model, stream: Stream) -> str:
    """Why an array cannot be an end of a stream, all of which are there; empty if all can."""
    ends = [(name, 1, {2}) for name, _ in stream.readers]
    ends += [(gain, 0, {1}) for _, gain in stream.readers if gain]
    ends += [(name, axis, {2} if axis else {1, 2}) for name, axis in stream.writers]
    for name, axis, axes in ends:
        shape = model.shapes[name]
        if len(shape) not in axes or shape[axis] != stream.size or 0 in shape:
            return f"array {shown(name)!r} of shape {shape} does not fit {stream.size} channels"
    return ""


def doubts(model: Model, found: Reading) -> Callable[[Iterable[str], bool], str]:
    """Why no bond on some arrays can be trusted; empty if nothing speaks against it.

    The second argument asks for those that must know every reader of a stream.
    """
    beside: dict[str, str] = {}
    inside: dict[str, str] = {}
    around: dict[str, str] = {}
    for name in (*model.shapes, *model.unmeasured):
        module, _, leaf = name.rpartition(".")
        lost = name in model.unmeasured and leaf != "num_batches_tracked"
        if found.family != lora.TITLE and (lost or leaf not in _LEAVES):
            what = "cannot be measured" if lost else "is not known"
            beside.setdefault(module, f"array {shown(name)!r} beside it {what}")
        parts = name.split(".")
        for scope in (".".join(parts[:i]) for i in range(1, len(parts))):
            for told, strange in ((found.scopes, inside), (found.blocks, around)):
                known = told.get(scope)
                if known is not None and not re.fullmatch(known, name[len(scope) + 1 :]):
                    strange[scope] = f"array {shown(name)!r} in its module is not known"

    def doubt(names: Iterable[str], stream: bool) -> str:
        for name in names:
            parts = name.split(".")
            modules = [".".join(parts[:i]) for i in range(1, len(parts))]
            if modules and modules[-1] in beside:
                return beside[modules[-1]]
            for strange in (inside, around) if stream else (inside,):
                if why := next((strange[m] for m in modules if m in strange), ""):
                    return why
        return ""

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
