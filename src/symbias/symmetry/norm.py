"""The norm that weight decay on redundant parameters puts on the predictor."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from symbias._core.arrays import Array, Params, at_least_single, from_host
from symbias.symmetry.balancing import check_balanceable, least_norm
from symbias.symmetry.bonds import Bond, Symmetry
from symbias.symmetry.checks import decomposing


def induced_norm(symmetry: Symmetry, params: Params) -> Array:
    """Half the least squared norm on the orbit, ``1/2 |balanced|^2``, a scalar array.

    This is what coupled weight decay on the parameters charges the predictor for. Over all arrays
    of ``params``. One ``GeneralLinear`` bond with ends ``X, Y`` gives the nuclear norm of
    ``X^T Y``, one ``Rescaling`` the sum of ``|x_i| |y_i|``. Coupled bonds are balanced, in float64
    on the host; the derivative is exact, because the balanced point is stationary.

    A predictor may have parameters on other orbits too, which cost less: of the functions of
    two-layer ReLU networks `FunctionSpace` has the least over all of them.

    Works under ``jax.jit``, ``jax.grad``, ``jax.vmap`` and ``torch.func``. First derivatives only.

    Raises
    ------
    ValueError, TypeError
        If arrays do not fit the bonds, or where :func:`balance` refuses.
    """
    xp = symmetry.check(params)
    check_balanceable(symmetry)
    params = at_least_single(xp, params)
    rest = {k: v for k, v in params.items() if xp.isdtype(v.dtype, "real floating")}
    total: Any = 0.0
    for bonds in symmetry.components:
        if len(bonds) == 1 and not bonds[0].loops:
            with decomposing(symmetry, params):
                total = total + xp.sum(bonds[0].group.least(xp, *bonds[0].blocks(xp, params)))
            for leg in bonds[0].legs:
                rest.update(leg.write(xp, xp.zeros_like(leg.read(xp, rest)), rest))
        else:
            rest.update(_balanced(xp, bonds, rest))
    return total + sum(xp.sum(array * array) for array in rest.values()) / 2


def _balanced(xp: Any, bonds: Sequence[Bond], params: Params) -> dict[str, Array]:
    """Coupled bonds at their balanced point, with the group element held constant."""
    bonds = [bond for bond in bonds if not bond.group.compact]
    names = list(dict.fromkeys(name for bond in bonds for name in bond.arrays))
    if any(not bond.group.linear for bond in bonds) and len(bonds) > 1:
        raise ValueError("induced_norm is not available for translations coupled to other bonds")

    def gauge(*arrays: np.ndarray) -> list[np.ndarray]:
        if not all(np.isfinite(a).all() for a in arrays):  # shows in the norm
            return [g for bond in bonds for g in _identity(bond)]
        work = {name: np.array(a, dtype=float) for name, a in zip(names, arrays, strict=True)}
        found, _ = least_norm(bonds, work, 1e-12, 10_000)
        return [g for bond in bonds for g in found.get(bond.name, _identity(bond))]

    shapes = [bond.element_shape for bond in bonds for _ in range(2)]
    pairs = from_host(gauge, shapes, [params[name] for name in names])
    moved = {name: params[name] for name in names}
    for i, bond in enumerate(bonds):
        moved = bond.moved(xp, pairs[2 * i : 2 * i + 2], moved)
    return moved


def _identity(bond: Bond) -> tuple[np.ndarray, np.ndarray]:
    g = bond.group.random(np.random.default_rng(0), bond.heads or 1, 0.0)
    return g, g
