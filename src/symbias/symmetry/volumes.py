"""The volume of an orbit: half the log pseudo-determinant of its Gram matrix."""

from collections.abc import Sequence
from dataclasses import dataclass
from math import prod
from typing import Any, Literal

import numpy as np

from symbias._core.arrays import Array, Params, at_least_single, concrete, constant
from symbias.symmetry.bonds import Bond, Symmetry
from symbias.symmetry.checks import decomposing
from symbias.symmetry.elimination import network_log_det
from symbias.symmetry.generators import generator_matrix
from symbias.symmetry.groups.base import live_part, sqrt0
from symbias.symmetry.groups.matrix import rounding
from symbias.symmetry.lanczos import lanczos_log_det
from symbias.symmetry.scales import Term, terms

Method = Literal["auto", "dense", "lanczos"]
DENSE_COST = 2e9  # dim^2 P up to which a dense singular value decomposition is taken


@dataclass(frozen=True)
class Component:
    """The part of a :class:`Volume` that one set of coupled bonds contributes.

    ``method`` is ``closed`` (one bond, from its group's formula), ``aligned`` (scales coupled
    component by component), ``elimination`` (a network of scales), ``dense`` or ``lanczos``.
    """

    bonds: tuple[str, ...]
    method: str
    dim: int
    log_volume: Array
    stabilizers: Array
    standard_error: float


@dataclass(frozen=True)
class Volume:
    """Log volume of an orbit, with how it was found.

    Attributes
    ----------
    log_volume
        ``1/2 log pdet`` of the orbit Gram, a scalar array.
    stabilizers
        Directions of the algebra that move nothing here, left out of the pseudo-determinant.
    standard_error
        Of the stochastic part; zero if every component was computed exactly.
    components
        One entry per set of coupled bonds.
    """

    log_volume: Array
    stabilizers: Array
    standard_error: float
    components: tuple[Component, ...]


def log_volume(symmetry: Symmetry, params: Params, *, method: Method = "auto") -> Array:
    """Half the log pseudo-determinant of the orbit Gram matrix, a scalar array.

    ``1/2 sum log lambda`` over the eigenvalues of ``<xi_a, xi_b>`` that are not zero. Bonds that
    share no array add. One ``GeneralLinear(r)`` bond costs ``O(r^2 k)`` time and ``O(r k + r^2)``
    memory for ends with ``k`` columns; a chain of ``L`` ``Rescaling(n)`` bonds ``O(L n^3)`` time
    and ``O(L n^2)`` memory. Other coupled bonds take a dense singular value decomposition, or
    stochastic Lanczos quadrature where that would cost too much: see :func:`volume`.

    Works under ``jax.jit``, ``jax.grad``, ``jax.vmap`` and ``torch.func``, except for Lanczos. At a
    singular orbit the derivative is that of the eigenvalues that stay. Large networks of scales
    assume under tracing that no set of units is cut off from both ends of the network.

    Parameters
    ----------
    symmetry, params
        The bonds and the named arrays they act on.
    method
        ``"dense"`` or ``"lanczos"`` force that path for coupled and uncoupled bonds alike.

    Raises
    ------
    ValueError, TypeError
        If the arrays do not fit the bonds.
    """
    return volume(symmetry, params, method=method).log_volume


def volume(
    symmetry: Symmetry,
    params: Params,
    *,
    method: Method = "auto",
    probes: int = 32,
    seed: int = 0,
) -> Volume:
    """:func:`log_volume` with its stabilizers, methods and standard error.

    Parameters
    ----------
    symmetry, params, method
        As in :func:`log_volume`.
    probes, seed
        Random vectors of the stochastic path.

    Raises
    ------
    ValueError, TypeError
        If the arrays do not fit the bonds, or the Gram is singular to working precision and too
        large for the dense path.
    """
    if method not in ("auto", "dense", "lanczos"):
        raise ValueError(f"method must be 'auto', 'dense' or 'lanczos', got {method!r}")
    xp = symmetry.check(params)
    params = at_least_single(xp, params)
    with decomposing(symmetry, params):
        parts = [
            _component(xp, bonds, params, method, probes, seed) for bonds in symmetry.components
        ]
    none = constant(0.0, next(iter(params.values())))
    return Volume(
        sum((part.log_volume for part in parts), none),
        sum((part.stabilizers for part in parts), xp.astype(none, xp.int32)),
        float(np.sqrt(sum(part.standard_error**2 for part in parts))),
        tuple(parts),
    )


def _component(
    xp: Any, bonds: tuple[Bond, ...], params: Params, method: str, probes: int, seed: int
) -> Component:
    """One set of coupled bonds, with its arrays in units of their size: squares do not underflow.

    Generators of linear groups are linear in the arrays: in units of c the volume is without
    log(c) for every direction that moves something.
    """
    params, unit = in_units(xp, bonds, params)
    chosen, network = _choose(xp, bonds, params, method)
    error = 0.0
    if chosen == "lanczos":
        value, zeros, error = lanczos_log_det(xp, bonds, params, probes, seed)
    elif chosen == "elimination":
        assert network is not None
        value, zeros, exact = network_log_det(xp, bonds, network)
        if not exact and _cost(bonds, params) <= DENSE_COST:
            chosen = "dense"  # nearly singular: pivots lose digits that singular values keep
        elif not exact and np.isnan(float(value)):
            raise ValueError(
                f"the orbit Gram of {[b.name for b in bonds]} is singular to working precision "
                "and too large for the dense path"
            )
    if chosen not in ("lanczos", "elimination"):
        spectrum, tolerance = _spectrum(xp, chosen, bonds, network, params)
        live, safe = live_part(xp, spectrum, tolerance)
        value = xp.sum(xp.log(safe)) / 2
        zeros = xp.sum(xp.astype(~live, xp.int32))
    names = tuple(bond.name for bond in bonds)
    dim = sum(bond.dim for bond in bonds)
    rank: Any = dim - zeros
    whole = isinstance(rank, int | np.integer)
    moving = constant(rank, unit) if whole else xp.astype(rank, unit.dtype)
    return Component(names, chosen, dim, value + moving * xp.log(unit), zeros, error)


def in_units(xp: Any, bonds: Sequence[Bond], params: Params) -> tuple[Params, Array]:
    """The arrays of linear bonds over a power of two near the largest entry, and that number."""
    names = list(dict.fromkeys(name for bond in bonds for name in bond.arrays))
    one = constant(1.0, params[names[0]])
    if not all(bond.group.linear for bond in bonds):
        return params, one
    sizes = [xp.max(xp.abs(params[name])) for name in names if 0 not in params[name].shape]
    largest = xp.max(xp.stack(sizes)) if sizes else one
    usable = xp.logical_and(largest > 0, xp.isfinite(largest))
    unit = xp.pow(2 * one, xp.floor(xp.log2(xp.where(usable, largest, one))))
    return {**params, **{name: params[name] / unit for name in names}}, unit


def _cost(bonds: tuple[Bond, ...], params: Params) -> float:
    names = dict.fromkeys(name for bond in bonds for name in bond.arrays)
    return sum(b.dim for b in bonds) ** 2 * sum(prod(params[name].shape) for name in names)


def _choose(
    xp: Any, bonds: tuple[Bond, ...], params: Params, method: str
) -> tuple[str, list[Term] | None]:
    if method != "auto":
        return method, None
    if len(bonds) == 1 and not bonds[0].loops:
        return "closed", None
    cost = _cost(bonds, params)
    network = terms(xp, bonds, params)
    if network is not None:
        if all(term.weights.ndim == 1 for term in network):
            return "aligned", network
        eager = all(concrete(term.weights) is not None for term in network)
        grounded = eager or (cost > DENSE_COST and any(len(t.scales) == 1 for t in network))
        if grounded and all(len(term.scales) <= 2 for term in network):
            return "elimination", network
    return "dense" if cost <= DENSE_COST else "lanczos", None


def _spectrum(
    xp: Any, method: str, bonds: tuple[Bond, ...], network: list[Term] | None, params: Params
) -> tuple[Array, float]:
    if method == "closed":
        return bonds[0].group.spectrum(xp, *bonds[0].blocks(xp, params))
    if method == "dense":
        matrix = generator_matrix(xp, bonds, params)[None, ...]
    else:
        assert network is not None
        matrix = _aligned(xp, len(bonds), network)
    s = xp.linalg.svdvals(matrix)
    missing = matrix.shape[1] - s.shape[1]  # more generators than parameters
    if missing > 0:
        s = xp.concat([s, constant(np.zeros((s.shape[0], missing)), s)], axis=-1)
    return s * s, rounding(xp, matrix)


def _aligned(xp: Any, count: int, network: Sequence[Term]) -> Array:
    """Generators of scales that are coupled component by component, ``(n, bonds, arrays)``."""
    roots = [sqrt0(xp, term.weights) for term in network]
    signs = np.zeros((count, len(network)))
    for t, term in enumerate(network):
        for a, sign, _ in term.scales:
            signs[a, t] += sign
    columns = xp.stack(roots, axis=-1)
    return columns[:, None, :] * constant(signs, columns)
