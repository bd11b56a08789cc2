"""A layer of low rank becomes two thin ones, where that is smaller."""

import torch
from torch import Tensor, nn

PROBES = 8  # random vectors more than the rank that is asked for


@torch.no_grad()
def thinned(layer: nn.Linear) -> nn.Sequential | None:
    """Two layers that compute what ``layer`` does with fewer weights; None where there are none.

    The rank is that of the weight to the rounding of its dtype. Cost: one product with random
    vectors for layers of larger rank, one singular value decomposition for the others.
    """
    weight = layer.weight
    out, into = weight.shape
    most = (out * into - 1) // (out + into)
    if most < 1:
        return None
    exact = weight.float() if weight.dtype.itemsize < 4 else weight
    rounding = torch.finfo(weight.dtype).eps * max(out, into)
    if not _may_have_rank(exact, most, rounding):
        return None
    u, s, vt = torch.linalg.svd(exact, full_matrices=False)
    rank = int((s > rounding * s[0]).sum())
    if not 0 < rank <= most:
        return None
    root = s[:rank].sqrt()
    like = {"device": weight.device, "dtype": weight.dtype}
    first = nn.Linear(into, rank, bias=False, **like)
    second = nn.Linear(rank, out, bias=layer.bias is not None, **like)
    first.weight.copy_(root[:, None] * vt[:rank])
    second.weight.copy_(u[:, :rank] * root)
    if layer.bias is not None:
        second.bias = layer.bias
    for thin in (first, second):
        thin.weight.requires_grad_(weight.requires_grad)
    return nn.Sequential(first, second).train(layer.training)


def _may_have_rank(weight: Tensor, rank: int, rounding: float) -> bool:
    """Whether a few more random vectors than ``rank`` span all columns."""
    generator = torch.Generator(weight.device).manual_seed(0)
    count = min(rank + PROBES, min(weight.shape))
    probes = torch.randn(
        weight.shape[1], count, generator=generator, device=weight.device, dtype=weight.dtype
    )
    basis = torch.linalg.qr(weight @ probes)[0]
    rest = weight - basis @ (basis.T @ weight)
    return float(rest.norm()) <= 10 * rounding * float(weight.norm())


def thin_layers(model: nn.Module) -> list[tuple[str, int]]:
    """Replace what can be: names and ranks. Layers that share their weight stay."""
    seen: dict[int, int] = {}
    for module in model.modules():
        for parameter in module._parameters.values():
            seen[id(parameter)] = seen.get(id(parameter), 0) + 1
    found: list[tuple[str, int]] = []
    for path, module in list(model.named_modules()):
        for name, child in list(module.named_children()):
            if type(child) is not nn.Linear or seen[id(child.weight)] > 1:
                continue
            if (new := thinned(child)) is not None:
                setattr(module, name, new)
                found.append((f"{path}.{name}".lstrip("."), len(next(new.parameters()))))
    return found
