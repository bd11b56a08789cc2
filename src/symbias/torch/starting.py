"""Where factors start: they give the weight back, and training can move every entry of it."""

import torch
from torch import Tensor

from symbias.parameterizations import Parameterization
from symbias.torch.errors import Unreachable

_STEPS = 4  # after which a product of as many factors moves everywhere, or never


def check_start(name: str, p: Parameterization, theta: dict[str, Tensor], weight: Tensor) -> None:
    """The factors give the weight back, and each of its entries can move."""
    with torch.no_grad():
        error = float((p(theta) - weight).abs().max()) if weight.numel() else 0.0
        largest = float(weight.abs().max()) if weight.numel() else 1.0
        if not error <= 1e-7 * max(1e-30, largest):  # also nan
            raise Unreachable(f"{p!r} cannot represent {name!r}: off by {error:.3g}")
    # what moves in single precision moves in double: exact where it counts, and twice as fast
    if not _immovable(p, {n: t.float() for n, t in theta.items()}):
        return
    if dead := _immovable(p, theta):
        raise Unreachable(
            f"{dead} entries of {name!r} could never move under {p!r}: exact zeros of a design "
            "with one factor. Start them at small random values, or take two factors (sb.L1())"
        )


def _immovable(p: Parameterization, theta: dict[str, Tensor]) -> int:
    """How many entries of w stay at any order: at these factors, and after generic steps.

    A zero weight that is tall has entries that move once the others have: of P Q with Q = 0 only
    what lies in the span of P moves at first.
    """
    like = next(iter(theta.values()))
    generator = torch.Generator(device=like.device).manual_seed(0)

    def noise(t: Tensor) -> Tensor:
        return torch.randn(t.shape, generator=generator, dtype=t.dtype, device=t.device)

    dead = None
    for _ in range(_STEPS):
        with torch.enable_grad():
            leaves = {n: t.detach().requires_grad_() for n, t in theta.items()}
            w = p(leaves)
            probe = noise(w).requires_grad_()
            pulled = torch.autograd.grad(
                w, list(leaves.values()), probe, create_graph=True, allow_unused=True
            )
            slopes = [g for g in pulled if g is not None and g.requires_grad]
            along = sum((g * noise(g)).sum() for g in slopes)
            (moves,) = torch.autograd.grad(along, probe) if torch.is_tensor(along) else (w,)
        dead = (moves == 0) if dead is None else dead & (moves == 0)
        if not dead.any():
            return 0
        longest = max((float(g.detach().abs().max()) for g in slopes if g.numel()), default=0.0)
        if not longest > 0:
            break
        theta = {
            n: t if g is None else t.detach() + g.detach() / longest
            for (n, t), g in zip(leaves.items(), pulled, strict=True)
        }
    return int(dead.sum()) if dead is not None else 0
