r"""Log volumes of bonds that share arrays, together: computed where that is cheap, or bounded.

The orbit Gram of coupled bonds has those of each bond on its diagonal. With them taken out it is
``1 + E``, with ``E`` zero on the diagonal blocks, so the joint log volume is that of all bonds by
themselves, added, plus ``1/2 log det(1 + E)``, and ``tr E = 0``. Since ``f(e) = (e - log(1 + e)) /
e^2`` falls with ``e``, eigenvalues within ``-rho ... rho``, ``rho < 1``, give

.. math:: f(\rho) |E|^2 \le -\log\det(1 + E) \le f(-\rho) |E|^2.

``|E|^2`` is a sum over pairs of bonds in closed form. With ``s_ab(i)`` the share of direction ``i``
of bond ``a`` that lies in arrays of ``b``, and any ``v > 0``, ``rho = max over a, i of
sum_b s_ab(i) v_b / v_a`` will do: in arrays that both have, ``2 <t_a, t_b>`` is at most
``|t_a|^2 v_b / v_a + |t_b|^2 v_a / v_b``. That ``rho < 1`` proves that no directions of several
bonds cancel: where some do, the product of the determinants of the diagonal blocks (Fischer's
inequality) bounds no pseudo-determinant.
"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from itertools import combinations
from math import log1p, prod
from typing import Any

import numpy as np

from symbias.audit.couplings import Blocks, Matrices, part_of
from symbias.audit.measure import Row
from symbias.audit.squares import Squares
from symbias.checkpoints import Numpy, Source
from symbias.symmetry import Bond, Symmetry, volume

SWEEPS = 50
CHEAP = 2e7  # dim^2 times numbers, up to which the joint volume is computed


@dataclass(frozen=True)
class Joint:
    """Bonds that share arrays, together.

    Attributes
    ----------
    alone
        The sum of their log volumes, each with all others held where they are.
    lower, upper
        Bounds of their joint log volume; equal where it was computed, None where none is known.
    exact
        Whether it was computed.
    """

    bonds: tuple[str, ...]
    dimension: int
    alone: float
    lower: float | None
    upper: float | None
    exact: bool

    def to_dict(self) -> dict[str, Any]:
        """Plain values."""
        return asdict(self)


def sharing(bonds: Sequence[Bond]) -> list[tuple[Bond, ...]]:
    """Sets of two bonds or more that are connected by the arrays they have in common."""
    group: dict[str, list[Bond]] = {}
    for bond in bonds:
        met = {id(g): g for g in (group.get(name, []) for name in bond.arrays)}
        joined = [b for g in met.values() for b in g] + [bond]
        for name in {name for b in joined for name in b.arrays}:
            group[name] = joined
    order = {bond.name: i for i, bond in enumerate(bonds)}
    found = {id(g): tuple(sorted(g, key=lambda b: order[b.name])) for g in group.values()}
    return sorted((g for g in found.values() if len(g) > 1), key=lambda g: order[g[0].name])


def joint_volume(
    bonds: Sequence[Bond], rows: Sequence[Row], source: Source, squares: Squares, blocks: Blocks
) -> Joint:
    """The joint log volume of one set; ``rows`` are theirs, ``blocks`` those of matrix groups."""
    names = list(dict.fromkeys(name for bond in bonds for name in bond.arrays))
    dim, numbers = sum(bond.dim for bond in bonds), sum(prod(source.shapes[n]) for n in names)
    alone = float(sum(row.log_volume for row in rows))
    set_of = tuple(bond.name for bond in bonds)
    if dim * dim * numbers <= CHEAP:
        value = volume(Symmetry(bonds), {name: source.read(name) for name in names})
        exact = float(value.log_volume)
        return Joint(set_of, dim, alone, exact, exact, exact=True)
    found = coupling(bonds, source, squares, blocks)
    if found is None or found[0] >= 1:
        return Joint(set_of, dim, alone, None, None, exact=False)
    rho, square = found
    lower, upper = (alone - _loss(e) * square / 2 for e in (-rho, rho))
    return Joint(set_of, dim, alone, lower, upper, exact=False)


def coupling(
    bonds: Sequence[Bond], source: Source, squares: Squares, blocks: Blocks
) -> tuple[float, float] | None:
    """``rho`` and ``|E|^2``, None for bonds on the same axis and groups that are not known here."""
    parts = [part_of(bond, squares, blocks) for bond in bonds]
    shares: list[dict[int, Numpy]] = [{} for _ in parts]
    square = 0.0
    for i, j in combinations(range(len(parts)), 2):
        a, b = parts[i], parts[j]
        if a is None or b is None:
            return None
        if isinstance(b, Matrices):
            a, b, i, j = b, a, j, i
        pairs = [
            (e, f) for e in a.bond.ends for f in b.bond.ends if e.name == f.name and e.meets(f)
        ]
        if not pairs:
            continue
        if isinstance(b, Matrices) or any(e.axis in (None, f.axis) for e, f in pairs):
            return None
        found = a.coupled(b, pairs, source)
        if found is None:
            return None
        entry, shares[i][j], shares[j][i] = found
        square += 2 * entry
    return _radius(shares) * (1 + 1e-6), square


def _radius(shares: Sequence[Mapping[int, Numpy]]) -> float:
    """``rho``, with the ``v`` that makes it least: what iterations of the right side find."""
    v = np.ones(len(shares))
    for _ in range(SWEEPS):
        sums = np.array([np.max(sum(s * v[b] for b, s in of.items())) for of in shares])
        rho = float(np.max(sums / v))
        v = (sums + v) / np.max(sums + v)
    return rho


def _loss(e: float) -> float:
    """``(e - log(1 + e)) / e^2``."""
    return (e - log1p(e)) / e**2 if abs(e) > 1e-4 else 0.5 - e / 3
