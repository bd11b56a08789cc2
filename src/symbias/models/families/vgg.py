"""VGG and AlexNet in torchvision's names: convolutions and linear layers one after the other,
ReLU between them, with or without BatchNorm."""

import re
from dataclasses import replace

import numpy as np

from symbias.models.claims import Claim, Model, Reading
from symbias.models.families.resnet import EPS
from symbias.symmetry import Bond, EndSpec, Rescaling

TITLE, KINDS = "VGG", ()
_NAME = (
    r"(features|classifier)\.(\d{1,3})\.(weight|bias|running_mean|running_var|num_batches_tracked)"
)


def read(model: Model) -> Reading | None:
    """One ``Rescaling`` for every hidden layer, and scales of convolutions before a norm."""
    if model.kind or not all(re.fullmatch(_NAME, name) for name in model.shapes):
        return None
    names = [m.string.removesuffix(".weight") for m in model.matches(r"features\.\d{1,3}\.weight")]
    last = [m.string.removesuffix(".weight") for m in model.matches(r"classifier\.\d{1,3}\.weight")]
    if not names or not last or len(model.shapes[f"{names[0]}.weight"]) != 4:
        return None
    found = Reading(TITLE)
    writer = ""
    layers = [*names, *last]
    for i, name in enumerate(layers):
        if len(model.shapes[f"{name}.weight"]) < 2:
            if not {f"{name}.running_mean", f"{name}.running_var"} <= set(model.shapes):
                _doubt(model, found, layers, i)
                writer = ""
                continue
            # a norm: it writes what follows
            _scale(model, found, writer, name, i)
            writer = name
            continue
        if writer:
            found.claims.append(_between(model, writer, name, i))
        writer = name
    found.reasons = [
        (r".*running_(mean|var)", "a statistic of the data, not a parameter"),
        (r".*num_batches_tracked", "a counter"),
        (r".*bias", "removed by the norm after it, or read as it is at the output"),
    ]
    return found


def _doubt(model: Model, found: Reading, names: list[str], i: int) -> None:
    """What lies around a vector of unknown use has no bond with what is on its other side."""
    why = f"{names[i]}.weight is a vector, of a norm without statistics or of slopes: not known"
    for name in names[max(0, i - 1) : i + 2]:
        for end in ("weight", "bias"):
            found.misfits.setdefault(f"{name}.{end}", why)
    found.notes.append(f"no bond across it: {why}")


def _scale(model: Model, found: Reading, conv: str, norm: str, layer: int) -> None:
    if conv:
        channels = model.shapes[f"{conv}.weight"][0]
        bond = Bond(Rescaling(channels), model.ends(conv), name=f"{conv} scale")
        claim = Claim(bond, "before norm", layer, movable=False)
        found.claims.append(replace(claim, variance=f"{norm}.running_var", eps=EPS))


def _between(model: Model, writer: str, reader: str, layer: int) -> Claim:
    """Units of one layer and what reads them; a map of channels may be flattened in between."""
    units = model.shapes[f"{writer}.weight"][0]
    columns = model.shapes[f"{reader}.weight"][1]
    end: EndSpec = (f"{reader}.weight", 1)
    if columns != units and columns % units == 0:
        end = (f"{reader}.weight", 1, np.repeat(np.arange(units), columns // units))
    bond = Bond(Rescaling(units), model.ends(writer), [end], name=f"{writer} to {reader}")
    return Claim(bond, "units", layer)
