"""What adapters add to the weights of a model: the product B A of every layer."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from math import prod
from typing import Any

import numpy as np

from symbias.audit.measure import rank_of
from symbias.checkpoints import Checkpoint, Numpy
from symbias.models import Claim, Shape, module_of, scale_of


@dataclass(frozen=True)
class Product:
    """The product of one adapted layer, as it is added to the weight W.

    Attributes
    ----------
    layer
        The module that is adapted, with the number of the expert where it has several.
    size, rank
        The rank that is stored, and the fewest singular values with 99.9% of the energy.
    effective
        The exponential of the entropy of the singular values over their sum (Roy and Vetterli,
        EUSIPCO 2007): between 1 and ``size``, 0 where the product is zero.
    scale
        What B A is multiplied by, alpha / r; None if the config does not say, and then the norms
        are those of B A itself.
    norm, largest
        Frobenius norm and largest singular value.
    share
        ``norm`` over the Frobenius norm of the base weight, where that is given.
    """

    layer: str
    size: int
    rank: int
    effective: float
    scale: float | None
    norm: float
    largest: float
    share: float | None = None

    def to_dict(self) -> dict[str, Any]:
        """Plain values."""
        return asdict(self)


def products_of(
    claim: Claim,
    spectrum: Numpy,
    shapes: Mapping[str, Shape],
    config: Mapping[str, object],
    base: Checkpoint | None,
) -> list[Product]:
    """The products of a layer, one for each expert, from the singular values of B A.

    ``shapes`` are those of A and B.
    """
    module, size = module_of(claim), claim.bond.group.size
    scale = scale_of(config, module, size)
    weight = None if base is None else _norm_of(base, module, _count(claim, shapes))
    values = np.zeros((len(spectrum), size))
    values[:, : spectrum.shape[1]] = spectrum * (1.0 if scale is None else abs(scale))
    norms, ranks = np.linalg.norm(values, axis=1), rank_of(values)
    return [
        Product(
            layer=module if len(values) == 1 else f"{module} expert {e}",
            size=size,
            rank=int(ranks[e]),
            effective=_effective(values[e]),
            scale=scale,
            norm=float(norms[e]),
            largest=float(values[e, 0]),
            share=float(norms[e]) / weight if weight else None,
        )
        for e in range(len(values))
    ]


def _effective(values: Numpy) -> float:
    live = values[values > 0]
    if not live.size:
        return 0.0
    p = live / live.sum()
    return float(np.exp(-np.sum(p * np.log(p))))


def _count(claim: Claim, shapes: Mapping[str, Shape]) -> int:
    """How many numbers the product of a layer has."""
    a, b = (shapes[end.name] for end in claim.bond.ends)
    return prod(a[1:]) * b[0] * prod(b[2:])


def _norm_of(base: Checkpoint, module: str, count: int) -> float | None:
    """The Frobenius norm of a module's weight, by the one name that ends as the module's does."""
    parts = f"{module.removesuffix('.base_layer')}.weight".split(".")
    for first in range(len(parts) - 1):
        name = ".".join(parts[first:])
        found = [n for n in base.shapes if n == name or n.endswith(f".{name}")]
        if len(found) == 1 and prod(base.shapes[found[0]]) == count:
            return float(np.sqrt(sum(np.sum(r * r) for r in base.rows(found[0], np.float64))))
    return None
