"""Moving parameters along their orbit, and what gradient flow conserves there."""

from collections.abc import Mapping

import numpy as np

from symbias._core.arrays import Array, Params, at_least_single, constant, namespace
from symbias.symmetry.bonds import Symmetry

Element = Mapping[str, Array]


def act(symmetry: Symmetry, element: Element, params: Params) -> dict[str, Array]:
    """Apply a group element to the parameters: same predictor, other point of the orbit.

    Parameters
    ----------
    symmetry
        The bonds, applied in their order.
    element
        Bond name to group element: ``(heads, r, r)`` for matrix groups, ``(heads, r)`` for
        ``Rescaling``, ``UniformScale`` and ``Translation``. Bonds left out stay as they are.
    params
        Named arrays of one library.

    Returns
    -------
    dict
        All parameters, moved. Vector ends become ``g x``, covector ends ``g^-T y``.

    Raises
    ------
    ValueError, TypeError
        If the arrays do not fit the bonds, or an element is of the wrong shape or unknown.
    """
    xp = symmetry.check(params)
    unknown = set(element) - {bond.name for bond in symmetry}
    if unknown:
        raise ValueError(f"no bond named {sorted(unknown)[0]!r} in the symmetry")
    moved = dict(params)
    for bond in symmetry:
        if bond.name not in element:
            continue
        g = constant(element[bond.name], moved[bond.ends[0].name])
        wanted = bond.element_shape
        if tuple(g.shape) != wanted:
            raise ValueError(f"element of {bond.name!r}: shape {g.shape}, wanted {wanted}")
        moved = bond.moved(xp, (g, bond.group.dual(xp, g)), moved)
    return moved


def act_on(symmetry: Symmetry, element: Element, name: str, array: Array) -> Array:
    """One array of `act`, for arrays that are not held together.

    Raises
    ------
    ValueError
        If a bond acts on a block that is spread over this array and others.
    """
    params: Params = {name: array}
    xp = namespace(params)
    for bond in symmetry:
        legs = [leg for leg in bond.legs if any(end.name == name for end in leg.ends)]
        if any(len(leg.ends) > 1 for leg in legs):
            raise ValueError(f"{bond.name!r} acts on {name!r} and others together")
        if legs and bond.name in element:
            g = constant(element[bond.name], array)
            pair = g, bond.group.dual(xp, g)
            for leg in legs:
                params = {**params, **leg.moved(xp, bond.group, pair, params)}
    return params[name]


def random_element(
    symmetry: Symmetry, seed: int | np.random.Generator, scale: float = 1.0
) -> dict[str, np.ndarray]:
    """A random element of the group, for every bond; the identity at ``scale = 0``.

    Elements are ``exp(scale * A)`` with a standard normal ``A`` in the Lie algebra (divided by the
    root of the size for matrix groups), so ``scale`` sets how far from the identity they lie.
    """
    rng = np.random.default_rng(seed)
    return {b.name: b.group.random(rng, b.heads or 1, scale) for b in symmetry}


def charges(symmetry: Symmetry, params: Params) -> dict[str, Array]:
    """The quantities gradient flow conserves, for every bond.

    ``Q = M - N`` with ``M = X X^T`` over the stacked vector ends and ``N = Y Y^T`` over the
    covector ends, on the symmetric generators of the group: an ``(r, r)`` matrix for
    ``GeneralLinear``, its diagonal ``(r,)`` for ``Rescaling``, the plane sums ``(r / 2,)`` for
    ``ComplexScaling``, ``(1,)`` for ``UniformScale``, the column sums ``(r,)`` for ``Translation``
    and nothing, ``(0,)``, for ``Orthogonal``. Bonds with ``heads`` have a leading axis for them.

    Cost ``O(r^2 k)`` for ends with ``k`` columns. Differentiable, jittable.

    References
    ----------
    Du, Hu, Lee, "Algorithmic regularization in learning deep homogeneous models", NeurIPS 2018.
    """
    xp = symmetry.check(params)
    params = at_least_single(xp, params)
    result = {}
    for bond in symmetry:
        q = bond.group.charge(xp, *bond.blocks(xp, params))
        result[bond.name] = q[0, ...] if bond.heads is None else q
    return result
