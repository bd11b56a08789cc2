"""Numbers of one bond: how much room it has, and where on its orbit the checkpoint sits."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from symbias.checkpoints import Numpy
from symbias.models import Claim, Shape
from symbias.symmetry import GeneralLinear
from symbias.symmetry.groups import Group, live_part

ENERGY = 0.999  # of the squared singular values of a product, that its rank holds


@dataclass(frozen=True)
class Row:
    """One bond of one head.

    Attributes
    ----------
    imbalance
        That of the group: ``|M - N| / |M + N|``, 0 when balanced; None on one side, or where every
        point of the orbit is balanced.
    norm, least_norm
        Half the squared norm of the ends, and the least one on the orbit (None if there is none).
    stabilizers
        Directions of the group that move nothing here.
    dead
        Dimensions of the bond that carry nothing: zero, or not to be told from the rounding of the
        stored dtype.
    condition
        Longest over shortest direction of the orbit that moves something.
    rank
        The fewest singular values of the product that hold 99.9% of its energy, the sum of their
        squares; None for groups of scales.
    size
        Dimensions of the bond.
    numbers
        Numbers that are stored for each of them, on both sides.
    movable
        Whether balancing acts on it.
    thin, truncatable
        Whether it is a product of an adapter, and may be stored at a rank of its own.
    """

    bond: str
    kind: str
    layer: int | None
    head: int | None
    group: str
    dimension: int
    log_volume: float
    imbalance: float | None
    norm: float
    least_norm: float | None
    stabilizers: int
    dead: int | None
    condition: float
    rank: int | None = None
    size: int = 0
    numbers: float = 0.0
    movable: bool = False
    thin: bool = False
    truncatable: bool = False
    note: str = ""

    def to_dict(self) -> dict[str, Any]:
        """Plain values."""
        return asdict(self)


def measure(
    claim: Claim, x: Numpy, y: Numpy, shapes: Mapping[str, Shape], grain: float = 0.0
) -> tuple[list[Row], Numpy]:
    """Rows of all heads of a bond, and the singular values of what it leaves unchanged.

    ``x`` and ``y`` are its blocks, compressed, of arrays of these ``shapes``; ``grain`` is the
    relative rounding of what was stored.

    Those are, per head, of the contraction ``X^T Y`` for ``GeneralLinear``, ``|x_i| |y_i|`` for
    scales with two sides, and of the stacked ends for all others.
    """
    bond = claim.bond
    group, heads = bond.group, bond.heads or 1
    spectrum, tolerance = group.spectrum(np, x, y)
    live, safe = live_part(np, spectrum, tolerance)
    volumes = np.sum(np.log(safe), axis=-1) / 2
    top = np.max(spectrum, axis=-1)
    bottom = np.min(np.where(live, spectrum, np.inf), axis=-1)
    norm = (np.sum(x * x, axis=(1, 2)) + np.sum(y * y, axis=(1, 2))) / 2
    two_sided = bool(bond.vectors and bond.covectors) or group.compact
    uneven = two_sided and not group.compact
    least = _listed(group.least(np, x, y) if two_sided else None, heads)
    dead = _listed(group.dead(x, y, grain) if uneven and group.linear else None, heads)
    imbalance = _listed(group.imbalance(x, y) if uneven else None, heads)
    product = contraction(group, x, y)
    matrices = isinstance(group, GeneralLinear) and uneven
    rank = _listed(rank_of(product) if matrices else None, heads)
    stored = sum(end.entries(shapes[end.name]) for end in bond.ends) / (heads * group.size)
    rows = [
        Row(
            bond=bond.name,
            kind=claim.kind,
            layer=claim.layer,
            head=h if bond.heads else None,
            group=name_of(group),
            dimension=group.dim,
            log_volume=float(volumes[h]),
            imbalance=imbalance[h],
            norm=float(norm[h]),
            least_norm=least[h],
            stabilizers=int(np.sum(~live[h])),
            dead=_whole(dead[h]),
            condition=float(np.sqrt(top[h] / bottom[h])) if live[h].any() else 1.0,
            rank=_whole(rank[h]),
            size=group.size,
            numbers=stored,
            movable=may_move(claim),
            thin=claim.thin,
            truncatable=claim.thin,
            note=claim.note,
        )
        for h in range(heads)
    ]
    return rows, product


def rank_of(product: Numpy, energy: float = ENERGY) -> Numpy:
    """The fewest singular values that hold this share of the sum of squares, ``(heads,)``."""
    squares = product * product
    left = np.cumsum(squares[:, ::-1], axis=1)  # what is lost with the smallest, one by one
    lost = np.sum(left <= (1 - energy) * left[:, -1:], axis=1)
    return product.shape[1] - lost


def _listed(values: Numpy | None, heads: int) -> list[float | None]:
    """Plain numbers, or None for every head."""
    return [None] * heads if values is None else [float(v) for v in values]


def _whole(value: float | None) -> int | None:
    return None if value is None else int(value)


def may_move(claim: Claim) -> bool:
    """Whether balancing acts on a bond: two sides, and a group that changes norms."""
    group = claim.bond.group
    two_sided = bool(claim.bond.vectors and claim.bond.covectors)
    return claim.movable and two_sided and group.linear and not group.compact


def contraction(group: Group, x: Numpy, y: Numpy) -> Numpy:
    """Singular values of the gauge-invariant part, largest first, ``(heads, n)``."""
    if isinstance(group, GeneralLinear) and x.shape[2] and y.shape[2]:
        return np.linalg.svd(np.swapaxes(x, 1, 2) @ y, compute_uv=False)
    sides = [np.sqrt(np.sum(s * s, axis=2)) for s in (x, y) if s.shape[2]]
    return -np.sort(-np.prod(sides, axis=0), axis=1)


def name_of(group: Group) -> str:
    """``GeneralLinear(32)``, ``UniformScale``, ..."""
    name = type(group).__name__
    return name if name == "UniformScale" else f"{name}({group.size})"
