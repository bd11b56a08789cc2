"""What a design makes small in its weight: entries, groups, singular values, differences."""

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from symbias._core.refusal import Refused
from symbias.mechanisms import WeightDecay
from symbias.parameterizations import Parameterization
from symbias.penalties import Penalty
from symbias.torch.gaps import find_gap
from symbias.torch.proximal.maps import ProximalMap


@dataclass(frozen=True)
class Measured:
    """The sizes that the penalty of a design sums, sorted; ``noun`` says what they are."""

    wish: Penalty
    noun: str
    sizes: np.ndarray

    def cut(self, threshold: float, entries: str) -> str:
        """How many of the sizes a threshold takes, in words; and where it is below their gap."""
        zeros, count = int(np.sum(self.sizes <= threshold)), len(self.sizes)
        said = f"{zeros:,} of {count:,} {self.noun} are zero"
        if self.noun == "groups":
            said += f" ({entries})"
        elif self.noun == "singular values":
            said = f"rank {count - zeros:,} of {count:,}"
        gap = find_gap(self.sizes)
        if gap is None or gap.dead <= zeros:
            return said
        below, above = self.sizes[gap.dead - 1 : gap.dead + 1]
        return (
            f"{said}; {gap.dead:,} {self.noun} are small, the gap is between {below:.1g} and "
            f"{above:.1g}: threshold={gap.threshold:.1g}"
        )


def ascending(sizes: Tensor) -> np.ndarray:
    """In double precision; sorted before, which is faster."""
    return np.sort(sizes.cpu().numpy()).astype(float)


@torch.no_grad()
def measure_sizes(p: Parameterization, weight: Tensor) -> Measured:
    """The sizes at a weight of the design ``p``, in its units.

    Raises Refused for sums of designs: a minimum over splits of the weight has no sizes of its own.
    """
    wish = WeightDecay(1.0).induced(p)
    form = wish.form(p.shape)
    if form.mixes:
        exact = weight.to(torch.promote_types(weight.dtype, torch.float32))
        sizes = torch.cat([t.reshape(-1) for t in form.sizes_at(exact)])
    else:
        sizes = ProximalMap(wish, p.shape).sizes(weight)
    return Measured(wish, form.noun, ascending(sizes))


def said_of(p: Parameterization, weight: Tensor, plain: Tensor, threshold: float) -> str:
    """What a threshold did to a designed weight, which became ``plain``."""
    if not bool(torch.isfinite(plain).all()):
        return "not finite"
    entries = f"{int((plain == 0).sum()):,} of {plain.numel():,} entries"
    try:
        return measure_sizes(p, weight).cut(threshold, entries)
    except Refused:
        return f"{entries} are zero"
