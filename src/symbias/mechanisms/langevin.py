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
from typing import ClassVar

import jax
import jax.numpy as jnp
import numpy as np
from jax.flatten_util import ravel_pytree

from symbias import dynamics
from symbias._core.arrays import Array
from symbias._core.jax_only import written_in_jax
from symbias._core.refusal import Refused
from symbias.mechanisms.base import Mechanism
from symbias.mechanisms.densities import (
    Parameterization,
    check_fibres,
    log_density,
    probes,
    section_in_range,
)
from symbias.mechanisms.law import Law
from symbias.mechanisms.potentials import synthesis_matrix
from symbias.parameterizations import Parameterization as FullParameterization
from symbias.symmetry import (
    Bond,
    GeneralLinear,
    Rescaling,
    Symmetry,
    charges,
    horizontal,
)

COMPACT = ("ambient", "quotient", "predictor")
OPEN = ("slice", "quotient", "predictor", "conditioned")

_DRIFT = 1e-6  # of charges, relative to the temperature: sections may be numerical


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
        check_fibres(p, reference)
        return Law(
            log_density(self, p, loss, reference),
            reference,
            p.shape,
            _assume(open_bonds),
            self.temperature,
            None if reference == "predictor" else partial(section_in_range, p),
            _formula(p, reference, self.orbital),
            _coordinates(p),
            p.within_tables if isinstance(p, FullParameterization) else None,
            isinstance(p, FullParameterization) and p.searched,
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
        for params in probes(p):
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
    return (
        *Langevin.assumptions,
        "charges have relaxed: all bonds are balanced",
        "started off the balanced slice, with any charge: exactly on it signs are frozen",
    )


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
