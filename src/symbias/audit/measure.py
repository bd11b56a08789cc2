"""Numbers of one bond: how much room it has, and where on its orbit the checkpoint sits."""

from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from symbias.audit.checkpoint import Numpy
from symbias.audit.claims import Claim
from symbias.symmetry import GeneralLinear, Translation
from symbias.symmetry.groups.base import Group, live_part


@dataclass(frozen=True)
class Row:
    """One bond of one head.

    Attributes
    ----------
    imbalance
        ``|M - N| / |M + N|`` in the Frobenius norm, of the charge of the group; 0 when balanced.
    norm, least_norm
        Half the squared norm of the ends, and the least one on the orbit (None if there is none).
    stabilizers
        Directions of the group that move nothing here.
    dead
        Dimensions of the bond that carry nothing.
    movable
        Whether balancing acts on it.
    condition
        Longest over shortest direction of the orbit that moves something.
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
    movable: bool = False
    note: str = ""

    def to_dict(self) -> dict[str, Any]:
        """Plain values."""
        return asdict(self)


def measure(claim: Claim, x: Numpy, y: Numpy) -> tuple[list[Row], Numpy]:
    """Rows of all heads of a bond, and the singular values of what it leaves unchanged.

    ``x`` and ``y`` are its blocks, compressed.

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
    nothing: list[Any] = [None] * heads
    least: Any = group.least(np, x, y) if two_sided else nothing
    dead: Any = group.dead(x, y) if two_sided and not group.compact else nothing
    imbalance: Any = _imbalance(group, x, y) if two_sided else nothing
    rows = [
        Row(
            bond=bond.name,
            kind=claim.kind,
            layer=claim.layer,
            head=h if bond.heads else None,
            group=name_of(group),
            dimension=group.dim,
            log_volume=float(volumes[h]),
            imbalance=None if imbalance[h] is None else float(imbalance[h]),
            norm=float(norm[h]),
            least_norm=None if least[h] is None else float(least[h]),
            stabilizers=int(np.sum(~live[h])),
            dead=None if dead[h] is None else int(dead[h]),
            condition=float(np.sqrt(top[h] / bottom[h])) if live[h].any() else 1.0,
            movable=may_move(claim),
            note=claim.note,
        )
        for h in range(heads)
    ]
    return rows, contraction(group, x, y)


def may_move(claim: Claim) -> bool:
    """Whether balancing acts on a bond: two sides, and a group that changes norms."""
    group = claim.bond.group
    two_sided = bool(claim.bond.vectors and claim.bond.covectors)
    return claim.movable and two_sided and group.linear and not group.compact


def _imbalance(group: Group, x: Numpy, y: Numpy) -> Any:
    if group.compact or isinstance(group, Translation):
        return [None] * len(x)
    nothing = x[..., :0]
    m, n = group.charge(np, x, nothing), group.charge(np, y, nothing)
    axes = tuple(range(1, m.ndim))
    size = np.sqrt(np.sum((m + n) ** 2, axis=axes))
    return np.sqrt(np.sum((m - n) ** 2, axis=axes)) / np.where(size > 0, size, 1)


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
