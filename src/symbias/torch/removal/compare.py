"""Whether two runs of a model have the same outputs."""

from typing import Any

import torch
from torch import Tensor

from symbias.torch.removal.rules import tensors_in
from symbias.torch.removal.tracing import plain

CLOSE, ROUNDINGS = 1e-5, 64  # relative difference: at most, or this often the rounding of the dtype
SPREAD = 1e5  # so much larger than small entries are masks, which are compared by themselves


def outputs_of(out: Any) -> list[Tensor]:
    return [t for t in tensors_in(plain(out)) if t.is_floating_point()]


def compare(wanted: Any, found: Any) -> None:
    """Raise ValueError where an output differs by more than 1e-5 of the largest ordinary entry.

    An entry may differ by 1e-5 of itself too, so that a mask of -1e9 hides nothing and is not
    held to the size of the others. Equal infinities are equal.
    """
    for a, b in zip(outputs_of(wanted), outputs_of(found), strict=True):
        if a.shape != b.shape:
            raise ValueError(f"an output of shape {tuple(a.shape)} has become {tuple(b.shape)}")
        x, y = a.detach().double().reshape(-1), b.detach().double().reshape(-1)
        differ = x != y
        if not bool(differ.any()):
            continue
        sizes = x[torch.isfinite(x) & (x != 0)].abs()
        ordinary = x.new_zeros(())
        if len(sizes):
            small = sizes.sort().values[int(0.01 * len(sizes))]
            ordinary = sizes[sizes <= SPREAD * small].max()
        close = max(CLOSE, ROUNDINGS * torch.finfo(a.dtype).eps)
        off = (x - y).abs()
        wrong = differ & ~(off <= close * torch.maximum(x.abs(), ordinary))
        if bool(wrong.any()):
            raise ValueError(f"an output is off by {float(off[wrong].max()):.3g} of {ordinary:.3g}")
