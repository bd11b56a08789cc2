"""Log densities of stationary laws against their measures, and the geometry that they assume."""

from collections.abc import Callable
from math import prod
from typing import Any, Protocol

import jax
import jax.numpy as jnp
import numpy as np
from jax.flatten_util import ravel_pytree

from symbias import dynamics
from symbias._core.arrays import Array
from symbias._core.arrays import Params as AnyParams
from symbias._core.refusal import Refused
from symbias.parameterizations import Parameterization as FullParameterization
from symbias.parameterizations import jacobian
from symbias.symmetry import (
    Bond,
    GeneralLinear,
    Orthogonal,
    Symmetry,
    charges,
    gram,
    log_volume,
)

PROBES, TRIES = 3, 100  # random points at which the assumptions of a law are checked
INVERSE = 1e-8  # relative, to which a section is one


class Parameterization(Protocol):
    """What a law asks of theta -> w."""

    shape: tuple[int, ...]

    @property
    def symmetry(self) -> Symmetry: ...
    def __call__(self, params: Any, /) -> Array: ...
    def section(self, w: Array, /) -> dict[str, Array]: ...


def effective_loss(
    loss: Callable[[AnyParams], Array],
    symmetry: Symmetry,
    temperature: float,
    orbital: float = 0.0,
) -> Callable[[AnyParams], Array]:
    r"""The loss whose Gibbs density is the ambient law: :math:`L + (1 - \rho)\,T \log\mathrm{vol}`.

    ``rho = 0`` is :math:`L + \tfrac T2 \log\det\mathrm{Gram}`. A law for compact groups that act by
    isometries (rotations) only: about others, such as rescalings, see `Langevin.law`. The term by
    itself is `log_volume`. Differentiable in any library.

    Raises
    ------
    ValueError
        For a temperature that is not positive or a ratio outside [0, 1].
    Refused
        For a group that is not compact, where exp(-(L + T log vol)/T) is no law of the dynamics:
        noise along its orbits has no stationary law, and without any (rho = 0) charges relax and
        the law lives on the balanced slice.

    References
    ----------
    Menon, Stromme, Vacher, COLT 2026.
    """
    rule = dynamics.Langevin(temperature, orbital)  # checks both
    if open_bonds := [bond for bond in symmetry if not bond.group.compact]:
        raise Refused(
            f"bond {open_bonds[0].name!r}: the effective loss is the ambient law of compact groups "
            f"only, not of {open_bonds[0].group}: ask Langevin.law, or log_volume for the term"
        )

    def value(params: AnyParams) -> Array:
        weight = (1 - rule.orbital) * rule.temperature
        return loss(params) + weight * log_volume(symmetry, params)

    return value


def log_density(
    rule: dynamics.Langevin, p: Parameterization, loss: Callable[[Array], Array], reference: str
) -> Callable[[Any], Array]:
    symmetry, temperature = p.symmetry, rule.temperature
    compact = all(bond.group.compact for bond in symmetry)

    def volume(params: Any, power: float) -> Array:
        return power * log_volume(symmetry, params) if power and symmetry.dim else 0.0

    def ambient(params: Any) -> Array:
        return -loss(p(params)) / temperature + volume(params, rule.orbital - 1)

    def quotient(params: Any) -> Array:
        return -loss(p(params)) / temperature + volume(params, rule.orbital if compact else 0.0)

    def predictor(w: Array) -> Array:
        params = p.section(w)
        inside = is_right_inverse(p, w, params)
        params = {k: jnp.where(inside, a, 0.0) for k, a in params.items()}  # no NaN into an SVD
        stretch = jnp.sum(jnp.log(jnp.linalg.svd(jacobian(p, params), compute_uv=False)))
        value = -loss(w) / temperature + volume(params, rule.orbital if compact else 0.0) - stretch
        return jnp.where(inside, value, -jnp.inf)

    def on_slice(params: Any) -> Array:
        turns = _turns(symmetry)
        value = -loss(p(params)) / temperature
        return value - log_volume(turns, params) if turns.dim else value

    def conditioned(params: Any) -> Array:
        turns = Symmetry([bond for bond in symmetry if bond.group.compact])
        scales = Symmetry([bond for bond in symmetry if not bond.group.compact])
        count = sum(_symmetric_dim(bond) for bond in scales)
        flat, unravel = ravel_pytree(dict(params))
        slopes = jax.jacobian(lambda v: ravel_pytree(charges(scales, unravel(v)))[0])(flat)
        s = jnp.linalg.svd(slopes, compute_uv=False)[:count]
        value = -loss(p(params)) / temperature - jnp.sum(jnp.log(s))
        return value - log_volume(turns, params) if turns.dim else value

    return {
        "ambient": ambient,
        "quotient": quotient,
        "predictor": predictor,
        "slice": on_slice,
        "conditioned": conditioned,
    }[reference]


def _turns(symmetry: Symmetry) -> Symmetry:
    """What maps the balanced slice to itself: compact bonds, and the rotations of the others."""
    bonds = []
    for b in symmetry:
        if b.group.compact:
            bonds.append(b)
        elif isinstance(b.group, GeneralLinear) and b.group.size > 1:
            group = Orthogonal(b.group.size)
            bonds.append(Bond(group, b.vectors, b.covectors, heads=b.heads, name=b.name))
    return Symmetry(bonds)


def _symmetric_dim(bond: Bond) -> int:
    r = bond.group.size
    each = r * (r + 1) // 2 if isinstance(bond.group, GeneralLinear) else r
    return (bond.heads or 1) * each


def probes(p: Parameterization) -> list[dict[str, Array]]:
    """Points theta over random predictors in range, balanced where the group is not compact."""
    rng, found = np.random.default_rng(0), []
    with jax.enable_x64(True):
        for _ in range(TRIES):
            if isinstance(p, FullParameterization):
                w = p({k: jnp.asarray(v) for k, v in p.init(rng).items()})
            else:
                w = p(p.section(jnp.asarray(np.abs(rng.normal(size=p.shape)) + 0.1)))
            try:
                theta = p.section(w)
            except ValueError:
                continue
            if bool(is_right_inverse(p, w, theta)):
                found.append(theta)
            if len(found) == PROBES:
                return found
    raise Refused(f"{p!r}: its section gives factors of w for {len(found)} of {TRIES} random w")


def is_right_inverse(p: Parameterization, w: Array, theta: dict[str, Array]) -> Array:
    """Whether theta are finite factors of w: outside of its range a section has none."""
    off = jnp.abs(p(theta) - w)
    return jnp.all(off <= INVERSE * jnp.max(jnp.abs(w), initial=0.0))  # False for NaN


def section_in_range(p: Parameterization, w: Array) -> dict[str, Array]:
    """`section`, or NaN outside of the range."""
    theta = p.section(w)
    inside = is_right_inverse(p, w, theta)
    return {name: jnp.where(inside, a, jnp.nan) for name, a in theta.items()}


def check_fibres(p: Parameterization, reference: str) -> None:
    """The orbits must be all of the equals of theta, and w free to move in all directions."""
    with jax.enable_x64(True):
        for params in probes(p):
            size = sum(v.size for v in params.values())
            orbit = 0
            if p.symmetry.dim:
                orbit = np.linalg.matrix_rank(np.asarray(gram(p.symmetry, params)))
            rank = np.linalg.matrix_rank(np.asarray(jacobian(p, params)))
            if orbit + rank != size:
                raise ValueError(
                    f"{size} parameters, orbits of dimension {orbit} and a predictor of dimension "
                    f"{rank} do not add up: the symmetry is not all there is"
                )
            if reference == "predictor" and rank != prod(p.shape):
                raise ValueError(
                    f"w has {prod(p.shape)} numbers of which {rank} are free: no density "
                    "against dw; ask for the quotient"
                )
