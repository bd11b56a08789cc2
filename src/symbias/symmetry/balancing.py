"""The balanced gauge: the point of least norm on an orbit, where all charges vanish."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from array_api_compat import is_torch_array

from symbias._core.arrays import Array, Params, constant
from symbias.symmetry.bonds import Bond, Symmetry
from symbias.symmetry.elimination import Elimination
from symbias.symmetry.groups import Group
from symbias.symmetry.scales import Term, laplacian, marginal, terms

Numpy = np.ndarray[Any, Any]
Gauge = dict[str, tuple[Numpy, Numpy]]  # what vector and covector ends are moved by


@dataclass(frozen=True)
class Balanced:
    """What :func:`balance` found.

    Attributes
    ----------
    params
        All parameters, at the balanced point.
    residual
        The largest charge left, relative to the squared norm it belongs to.
    sweeps
        Sweeps over the bonds, or Newton steps, of the component that needed most.
    dead
        Bond name to the number of its dimensions that carry nothing, per head.
    """

    params: dict[str, Array]
    residual: float
    sweeps: int
    dead: dict[str, Any]


def balance(
    symmetry: Symmetry, params: Params, *, tolerance: float = 1e-12, max_sweeps: int = 10_000
) -> Balanced:
    """Move the parameters to the point of least norm on their orbit.

    The balanced point is where ``Q = M - N`` vanishes (Kempf and Ness). A ``GeneralLinear`` bond
    with ``X^T Y = U s V^T`` goes to ``s^1/2 U^T, s^1/2 V^T``, a ``Rescaling`` by
    ``(N_ii / M_ii)^1/4``. Where no point of least norm exists, because one side of a direction is
    zero, the dead side goes to zero, which keeps the predictor. Coupled bonds take sweeps, chains
    of ``Rescaling`` Newton's method on the log scales; the norm is geodesically convex along the
    group, so both find its minimum. Compact bonds are balanced everywhere.

    Eager: computed in float64 NumPy, handed back in the library and dtype of the arrays.

    Raises
    ------
    ValueError, TypeError
        If arrays do not fit or are not finite, or where a least norm cannot keep the predictor:
        scales with one side only, such as weights before a normalisation.

    References
    ----------
    Kempf, Ness, "The length of vectors in representation spaces", 1979.
    """
    symmetry.check(params)
    check_balanceable(symmetry)
    work = {name: to_numpy(name, params[name]) for name in symmetry.arrays}
    sweeps = 0
    for bonds in symmetry.components:
        sweeps = max(sweeps, least_norm(bonds, work, tolerance, max_sweeps)[1])
    residual, dead = 0.0, {}
    for bond in symmetry:
        if not bond.group.compact:
            x, y = bond.blocks(np, work)
            residual = max(residual, float(np.max(bond.group.residual(x, y))))
            count = bond.group.dead(x, y)
            dead[bond.name] = int(count[0]) if bond.heads is None else count
    moved = {name: constant(array, params[name]) for name, array in work.items()}
    return Balanced({**params, **moved}, residual, sweeps, dead)


def least_norm(
    bonds: Sequence[Bond], work: dict[str, Numpy], tolerance: float, max_sweeps: int
) -> tuple[Gauge, int]:
    """Balance one set of coupled bonds in place.

    Returns what moved the ends of each bond, and the number of sweeps or Newton steps.
    """
    bonds = [bond for bond in bonds if not bond.group.compact]
    network = terms(np, bonds, work)
    loops = any(bond.loops for bond in bonds)
    coupled = loops or (len(bonds) > 1 and any(t.weights.ndim > 1 for t in network or ()))
    if network is not None and coupled:
        return _newton(bonds, network, work, tolerance)
    for bond in bonds:
        if bond.loops:
            raise ValueError(f"bond {bond.name!r} acts twice on one array: no balance is known")
    return _sweep(bonds, work, tolerance, max_sweeps)


def balancing_of_blocks(
    group: Group, x: Numpy, y: Numpy, tolerance: float, max_sweeps: int
) -> tuple[Numpy, Numpy] | None:
    """What moves one bond, coupled to none, to least norm, from blocks with its ``M`` and ``N``.

    None where it is there already.
    """
    done = None
    for _ in range(max_sweeps):
        if group.residual(x, y).max() <= tolerance:
            break
        g, h = group.balancing(x, y)
        x, y = group.apply(np, g, x), group.apply(np, h, y)
        done = (g, h) if done is None else group.compose((g, h), done)
    return done


def check_balanceable(symmetry: Symmetry) -> None:
    """Raise where a least norm on the orbit would not keep the predictor."""
    for bond in symmetry:
        if bond.group.two_sided and (not bond.vectors or not bond.covectors):
            raise ValueError(
                f"bond {bond.name!r}: {bond.group} acts on one side only, so its orbit has no "
                "point of least norm; leave it out of the symmetry to balance the rest"
            )


def to_numpy(name: str, array: Array) -> Numpy:
    """A float64 copy, checked to be finite."""
    array = array.detach().cpu().double() if is_torch_array(array) else array
    copy = np.asarray(array).astype(np.float64)
    if not np.isfinite(copy).all():
        raise ValueError(f"array {name!r} holds values that are not finite")
    return copy


def _sweep(
    bonds: Sequence[Bond], work: dict[str, Numpy], tolerance: float, max_sweeps: int
) -> tuple[Gauge, int]:
    """Balance bond after bond until all are: the norm falls at every step."""
    gauge: Gauge = {}
    for sweep in range(max_sweeps):
        left = (bond.group.residual(*bond.blocks(np, work)).max() for bond in bonds)
        if all(value <= tolerance for value in left):
            return gauge, sweep
        for bond in bonds:
            step = bond.group.balancing(*bond.blocks(np, work))
            work.update(bond.moved(np, step, work))
            done = gauge.get(bond.name)
            gauge[bond.name] = step if done is None else bond.group.compose(step, done)
    return gauge, max_sweeps


def _newton(
    bonds: Sequence[Bond], network: list[Term], work: dict[str, Numpy], tolerance: float
) -> tuple[Gauge, int]:
    """Newton's method on the log scales: gradient ``Q``, Hessian twice the orbit Gram."""
    logs: list[Numpy] = [np.zeros((b.heads or 1) * b.group.size) for b in bonds]
    network, live = _peel(network, len(bonds))
    for _ in range(2):  # sweeps first: they repair what is far out of balance
        for a in range(len(bonds)):
            p, q = (np.where(live[a], side[a], 1.0) for side in _sides(network, len(bonds)))
            logs, network = _shift(logs, {a: np.log(q / p) / 4}, network)
    steps = 2
    while steps < 200:
        m, n = _sides(network, len(bonds))
        charge = {a: m[a] - n[a] for a in range(len(bonds))}
        if all(np.all(np.abs(q) <= tolerance * (m[a] + n[a])) for a, q in charge.items()):
            break
        half = Elimination(np, *laplacian(np, network), charge, ridge=1e-13).solution()
        logs, network = _descend(logs, {a: -s / 2 for a, s in half.items()}, network)
        steps += 1
    gauge: Gauge = {}
    for a, bond in enumerate(bonds):
        scales = np.stack([np.exp(logs[a]), np.exp(-logs[a])]) * live[a]
        g, h = scales.reshape(2, *bond.element_shape)
        work.update(bond.moved(np, (g, h), work))
        gauge[bond.name] = g, h
    return gauge, steps


def _sides(network: list[Term], count: int) -> tuple[list[Numpy], list[Numpy]]:
    """``M_ii`` and ``N_ii`` of every bond."""
    sides: dict[int, list[Any]] = {1: [0.0] * count, -1: [0.0] * count}
    for term in network:
        for a, sign, p in term.scales:
            sides[sign][a] = sides[sign][a] + marginal(np, term, p)
    return sides[1], sides[-1]


def _multiply(term: Term, factors: dict[tuple[int, int], Numpy]) -> Term:
    weights = term.weights
    for a, sign, p in term.scales:
        if (a, sign) in factors:
            shape = [-1 if i == p else 1 for i in range(weights.ndim)]
            weights = weights * factors[a, sign].reshape(shape)
    return replace(term, weights=weights)


def _peel(network: list[Term], count: int) -> tuple[list[Term], list[Numpy]]:
    """Set to zero whatever has a partner of zero, until nothing dead is left."""
    while True:
        m, n = _sides(network, count)
        live = [(p > 0) & (q > 0) for p, q in zip(m, n, strict=True)]
        if all(np.all(alive | (p + q == 0)) for alive, p, q in zip(live, m, n, strict=True)):
            return network, live
        mask = {(a, sign): alive for a, alive in enumerate(live) for sign in (1, -1)}
        network = [_multiply(term, mask) for term in network]


def _shift(
    logs: list[Numpy], step: dict[int, Numpy], network: list[Term]
) -> tuple[list[Numpy], list[Term]]:
    factors = {(a, sign): np.exp(2 * sign * s) for a, s in step.items() for sign in (1, -1)}
    moved = [log + step[a] if a in step else log for a, log in enumerate(logs)]
    return moved, [_multiply(term, factors) for term in network]


def _descend(
    logs: list[Numpy], step: dict[int, Numpy], network: list[Term]
) -> tuple[list[Numpy], list[Term]]:
    """The step, halved until the norm does not grow."""
    norm = sum(np.sum(term.weights) for term in network)
    with np.errstate(over="ignore", invalid="ignore"):
        for _ in range(60):
            moved, scaled = _shift(logs, step, network)
            if sum(np.sum(term.weights) for term in scaled) <= norm * (1 + 1e-12):
                return moved, scaled
            step = {a: s / 2 for a, s in step.items()}
    return logs, network
