"""Layers that store their weight as (in, out), the transpose of ``nn.Linear``."""

import warnings
from collections.abc import Iterable

import numpy as np
from torch import nn

from symbias.penalties import Form
from symbias.torch.errors import TransposedWeight
from symbias.torch.owners import Owner


def is_transposed(module: nn.Module) -> bool:
    """Whether its weight is (in, out, ...): of GPT-2's Conv1D and of transposed convolutions."""
    kinds = {kind.__name__ for kind in type(module).__mro__}
    return ("Conv1D" in kinds and hasattr(module, "nf")) or isinstance(
        module, nn.modules.conv._ConvTransposeNd
    )


def warn_transposed(wishes: Iterable[tuple[Owner, Form]], stacklevel: int) -> None:
    """Warn once with `TransposedWeight` of groups that are slices of such a weight.

    ``wishes``: a place of each weight, and the form of what is wished of it.
    """
    found: dict[tuple[int, bool], list[Owner]] = {}
    for place, form in wishes:
        axis, groups = sliced_axis(form), getattr(place.module, "groups", 1)
        depthwise = groups > 1 and groups == getattr(place.module, "in_channels", None)
        if axis is not None and not (axis == 0 and depthwise):  # inputs, and what they make
            found.setdefault((axis, groups > 1), []).append(place)
    for (axis, grouped), places in sorted(found.items()):
        names = ", ".join(repr(place.name) for place in places[:3])
        more = f" and {len(places) - 3} more" if len(places) > 3 else ""
        kind = next(k.__name__ for k in type(places[0].module).__mro__ if "Conv" in k.__name__)
        kind = kind.removeprefix("Parametrized")
        are = "is" if len(places) == 1 else "are"
        here = {0: "inputs, and outputs are axis 1", 1: "outputs, and inputs are axis 0"}
        if grouped:
            one = "one output of each of its groups"
            here = {0: f"inputs, and a slice of axis 1 is {one}", 1: f"outputs, {one} in a slice"}
        warnings.warn(
            f"{names}{more} of {kind} {are} stored as (in, out), the transpose of nn.Linear and "
            f"nn.Conv: slices along axis {axis} are its {here.get(axis, 'offsets')}",
            TransposedWeight,
            stacklevel=stacklevel,
        )


def sliced_axis(form: Form) -> int | None:
    """The axis along which all groups of a form are slices, or unions of slices."""
    piece = form.pieces[0]
    shape = piece.shape
    if form.mixes or form.shape != shape or piece.sizes.labels is None or piece.sizes.elementwise:
        return None
    labels = piece.sizes.labels.reshape(shape)
    for axis in range(len(shape)):
        lines = np.moveaxis(labels, axis, 0).reshape(shape[axis], -1)
        if bool(np.all(lines == lines[:, :1])):
            return axis
    return None
