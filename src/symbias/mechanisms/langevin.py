r"""Where Langevin training settles: stationary laws on theta, on its orbits, on the predictor.

For :math:`d\theta = -\nabla L\,dt + \sqrt{2T}(P_\perp + \sqrt\rho P_\mathrm{orbit})\,dW` the same
process has three densities, one for each measure it may be held against; none of them is "the"
preference of training.

References
----------
Menon, Stromme, Vacher, COLT 2026, for compact groups; Aladrah, Ballarin, Biagetti, Ansuini,
d'Onofrio, Anselmi, "Understanding and inverse design of implicit bias in stochastic learning",
arXiv 2601.06597, for the effective loss.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from math import prod
from typing import Any, ClassVar, Protocol

import jax
import jax.numpy as jnp
import numpy as np
from jax.flatten_util import ravel_pytree

from symbias import dynamics
from symbias._core.arrays import Array
from symbias._core.arrays import Params as AnyParams
from symbias._core.jax_only import written_in_jax
from symbias._core.refusal import Refused
from symbias.mechanisms.base import Mechanism
from symbias.mechanisms.law import Law
from symbias.mechanisms.potentials import synthesis_matrix
from symbias.parameterizations import Parameterization as FullParameterization
from symbias.parameterizations import jacobian
from symbias.symmetry import (
    Bond,
    GeneralLinear,
    Orthogonal,
    Rescaling,
    Symmetry,
    charges,
    gram,
    horizontal,
    log_volume,
)

PROBES, TRIES = 3, 100  # random points at which the assumptions of a law are checked
INVERSE = 1e-8  # relative, to which a section is one
COMPACT = ("ambient", "quotient", "predictor")
OPEN = ("slice", "quotient", "predictor", "conditioned")

_DRIFT = 1e-6  # of charges, relative to the temperature: sections may be numerical


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


def noise_drift(
    symmetry: Symmetry, params: Mapping[str, Array], temperature: float
) -> dict[str, np.ndarray]:
    r"""Drift of the charges under noise without a component along orbits.

    The Ito term :math:`T\,\mathrm{tr}(P_\perp \nabla^2 Q) = 2T \sum_k Q(P_\perp e_k)`, over a basis
    of all parameters: P projections for P parameters.
    """
    with jax.enable_x64(True):
        params = {k: jnp.asarray(np.asarray(v), jnp.float64) for k, v in params.items()}
        flat, unravel = ravel_pytree(params)

        def one(e: Array) -> dict[str, Array]:
            return charges(symmetry, horizontal(symmetry, params, unravel(e)))

        parts = jax.jit(lambda basis: jax.lax.map(one, basis))(jnp.eye(flat.size))
        return {k: 2 * temperature * np.asarray(v).sum(axis=0) for k, v in parts.items()}


@dataclass(frozen=True)
class Langevin(dynamics.Langevin, Mechanism):
    """Langevin training, as a rule to simulate and as a mechanism with a law.

    Parameters and errors are those of `symbias.dynamics.Langevin`; in addition

    reference : str
        The measure that `law` and `sb.design` refer to unless told otherwise.
    """

    reference: str = "predictor"

    name: ClassVar[str] = "Langevin"
    status: ClassVar[str] = "exact in the limit of small steps"
    assumptions: ClassVar[tuple[str, ...]] = (
        "small steps: the law of the stochastic differential equation",
        "stationary: run long after the loss has settled",
        "away from singular orbits, where the symmetry gains stabilizers",
    )
    exactness: ClassVar[str] = "exact in the limit of small steps"

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.reference not in (known := dict.fromkeys(COMPACT + OPEN)):
            names = ", ".join(known)
            raise ValueError(f"reference must be one of {names}, got {self.reference!r}")

    @property
    def label(self) -> str:
        against = "against dw" if self.reference == "predictor" else self.reference
        return f"{self.name}, {against}"

    @property
    def note(self) -> str:
        if self.reference == "predictor":
            return "noise without a component along orbits"
        return "on theta, against its own measure: no preference on w (see the row against dw)"

    def induced(
        self,
        p: FullParameterization,
        *,
        inputs: Array | None = None,
        loss: Callable[[Array], Array] | None = None,
    ) -> Law:
        """The law against `reference`; without a ``loss`` that of a flat one."""
        return self.law(p, (lambda w: 0.0 * w.sum()) if loss is None else loss)

    def law(
        self,
        p: Parameterization,
        loss: Callable[[Array], Array],
        reference: str | None = None,
    ) -> Law:
        r"""The stationary law of this training, for parameters theta of w = p(theta).

        ============  ==============================================================  ============
        reference     log density                                                     of
        ============  ==============================================================  ============
        "ambient"     :math:`-l/T + (\rho - 1)\log\mathrm{vol}`                       theta
        "quotient"    :math:`-l/T + \rho\log\mathrm{vol}`                             theta
        "predictor"   :math:`-l/T + \rho\log\mathrm{vol} - \frac12\log\det JJ^T`      w
        "slice"       :math:`-l/T - \log\mathrm{vol}` of what is compact of the group  theta
        "conditioned" :math:`-l/T - \frac12\log\det(\nabla Q\,\nabla Q^T)`            theta
        ============  ==============================================================  ============

        Compact groups have the first three, for every rho. For others (rescalings, general linear)
        isotropic noise has no stationary law. With rho = 0 charges relax and the law lives on the
        balanced slice, if the noise does not itself drive the charges there; it has a density
        against the quotient of the slice (flat), dw, and the volume of the slice. "conditioned"
        is not a law of the dynamics: it is exp(-L/T) d theta conditioned on Q = 0 by a delta
        function, against the volume of the slice, given for comparison. Compact bonds beside
        others have no charge: they take their own log vol from "slice" and "conditioned" alike.

        Against dw the density is 0 outside of the range of w: where `section` gives no factors of
        w.

        Parameters
        ----------
        p : parameterization
            A map theta -> w with ``symmetry``, ``section`` and ``shape``, for JAX arrays.
        loss : callable
            ``loss(w)``, in JAX.
        reference : str, optional
            ``self.reference`` by default.

        Raises
        ------
        ValueError
            Where no such law is known, with the reason.
        """
        reference = reference or self.reference
        groups = [bond.group for bond in p.symmetry]
        open_bonds = [bond for bond in p.symmetry if not bond.group.compact]
        known: tuple[str, ...] = OPEN if open_bonds else COMPACT
        if open_bonds:
            self._check_open(p, open_bonds)
        if reference not in known:
            names = ", ".join(sorted({type(g).__name__ for g in groups})) or "a trivial group"
            raise ValueError(f"no law against {reference!r} for {names}: choose from {known}")
        _check_loss(p, loss)
        _check_fibres(p, reference)
        return Law(
            _log_density(self, p, loss, reference),
            reference,
            p.shape,
            _assume(open_bonds),
            self.temperature,
            None if reference == "predictor" else partial(_section, p),
            _formula(p, reference, self.orbital),
            _coordinates(p),
            p.within_tables if isinstance(p, FullParameterization) else None,
        )

    def _check_open(self, p: Parameterization, bonds: list[Bond]) -> None:
        for bond in bonds:
            if not bond.vectors or not bond.covectors or not _balances(bond):
                raise Refused(f"bond {bond.name!r}: no law is known for {bond.group}")
        if self.orbital > 0:
            raise Refused(
                f"noise along the orbits of {bonds[0].group} (orbital = {self.orbital}) has no "
                "stationary law without weight decay: they are not compact"
            )
        for params in _probes(p):
            size = sum(float(np.sum(np.square(v))) for v in params.values())
            for name, drift in noise_drift(p.symmetry, params, self.temperature).items():
                if np.abs(drift).max(initial=0) > _DRIFT * max(1.0, size) * self.temperature:
                    raise Refused(
                        f"bond {name!r}: the noise drives the charge at rate "
                        f"{np.ravel(drift)[0]:.3g} off the balanced slice (ends of different "
                        "widths), so the law does not live there"
                    )


def _balances(bond: Bond) -> bool:
    return isinstance(bond.group, Rescaling | GeneralLinear)


def _formula(p: Parameterization, reference: str, orbital: float) -> str:
    if reference == "predictor":
        ratio = f" - {orbital:g} T log volume of the orbit" if orbital and p.symmetry.dim else ""
        return getattr(p, "law_formula", "numerical") + ratio
    if reference == "ambient":
        return "(1 - rho) T log volume of the orbit"
    return "-T log density on theta"


def _assume(open_bonds: list[Bond]) -> tuple[str, ...]:
    if not open_bonds:
        return Langevin.assumptions
    return (*Langevin.assumptions, "charges have relaxed: all bonds are balanced")


def _probes(p: Parameterization) -> list[dict[str, Array]]:
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
            if bool(_is_right_inverse(p, w, theta)):
                found.append(theta)
            if len(found) == PROBES:
                return found
    raise Refused(f"{p!r}: its section gives factors of w for {len(found)} of {TRIES} random w")


def _is_right_inverse(p: Parameterization, w: Array, theta: dict[str, Array]) -> Array:
    """Whether theta are finite factors of w: outside of its range a section has none."""
    off = jnp.abs(p(theta) - w)
    return jnp.all(off <= INVERSE * jnp.max(jnp.abs(w), initial=0.0))  # False for NaN


def _section(p: Parameterization, w: Array) -> dict[str, Array]:
    """`section`, or NaN outside of the range."""
    theta = p.section(w)
    inside = _is_right_inverse(p, w, theta)
    return {name: jnp.where(inside, a, jnp.nan) for name, a in theta.items()}


def _coordinates(p: Parameterization) -> np.ndarray | None:
    """The matrix from the coordinates that p makes to w, where it is square."""
    if not isinstance(p, FullParameterization):
        return None
    matrix = synthesis_matrix(p)
    return matrix if matrix.shape[0] == matrix.shape[1] else None


def _check_loss(p: Parameterization, loss: Callable[[Array], Array]) -> None:
    if not callable(loss):
        raise TypeError(f"loss must be a function of w, got {loss!r}")
    with written_in_jax("loss"):
        value = jax.eval_shape(lambda w: jnp.asarray(loss(w)), jax.ShapeDtypeStruct(p.shape, float))
    if value.shape != ():
        raise ValueError(f"loss(w) must be one number, it has shape {value.shape}")


def _check_fibres(p: Parameterization, reference: str) -> None:
    """The orbits must be all of the equals of theta, and w free to move in all directions."""
    with jax.enable_x64(True):
        for params in _probes(p):
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


def _log_density(
    rule: Langevin, p: Parameterization, loss: Callable[[Array], Array], reference: str
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
        stretch = jnp.sum(jnp.log(jnp.linalg.svd(jacobian(p, params), compute_uv=False)))
        value = -loss(w) / temperature + volume(params, rule.orbital if compact else 0.0) - stretch
        return jnp.where(_is_right_inverse(p, w, params), value, -jnp.inf)

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
