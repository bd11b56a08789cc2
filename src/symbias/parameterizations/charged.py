r"""Where training begins on a map of one's own: factors of w with a charge on every bond.

w and the charges :math:`\pm c` (which end of a bond is the first is a matter of naming) determine a
start if all theta that have them are equal up to isometries of the map. That is held against theta
from several places: they must agree in :math:`J J^T`, J = dw/d theta, which isometries keep and
which says how w begins to move.
"""

from typing import TYPE_CHECKING

import numpy as np

from symbias._core.arrays import Array
from symbias._core.refusal import Refused
from symbias.parameterizations.fibre import Function, point_on_fibre
from symbias.parameterizations.flat import flat_map, on_host, unflatten
from symbias.symmetry import Symmetry, charges

if TYPE_CHECKING:
    from symbias.parameterizations.base import Parameterization

STARTS = 8
MISS, SAME, STILL = 1e-9, 1e-9, 1e-6  # relative


def charged_factors(p: "Parameterization", w: np.ndarray, charge: float) -> dict[str, np.ndarray]:
    """Factors of w with the charge ``charge`` (times the identity) on every bond, in float64.

    Raises
    ------
    Refused
        Where they are not determined, or entries of w never move from them.
    """
    programs, flat = flat_map(p), np.ravel(np.asarray(w, dtype=float))
    held, slopes, unit = _charges(p)
    rng, ends, usual = np.random.default_rng(0), [], 0.0
    for k in range(STARTS):
        start = charge**0.5 * rng.normal(size=sum(int(np.prod(s)) for s in p.shapes.values()))
        usual = max(usual, float(np.max(np.sum(programs.jacobian(start) ** 2, axis=1))))
        size = max(float(np.linalg.norm(flat)), float(np.linalg.norm(programs.w(start))))

        def both(at: np.ndarray, size: float = size) -> np.ndarray:
            return np.concatenate([programs.w(at) / size, held(at) / charge])

        def jacobian(at: np.ndarray, size: float = size) -> np.ndarray:
            return np.concatenate([programs.jacobian(at) / size, slopes(at) / charge])

        target = np.concatenate([flat / size, unit * (-1) ** k])
        end = point_on_fibre(both, jacobian, target, start)
        if np.linalg.norm(both(end) - target) <= MISS * max(1.0, float(np.linalg.norm(target))):
            ends.append(end)
    speeds = [programs.jacobian(end) @ programs.jacobian(end).T for end in ends]
    if not ends:
        reason = "no factors of w were found with such a charge on every bond"
    elif min(np.diagonal(speed).min(initial=np.inf) for speed in speeds) <= STILL * usual:
        reason = "from some factors of w with such charges it never moves: dw/d theta vanishes"
    elif np.ptp(speeds, axis=0).max(initial=0.0) > SAME * np.max(np.abs(speeds)):
        reason = "factors of w with such charges move it in different ways"
    else:
        return unflatten(p, ends[0])
    raise Refused(
        f"{p!r}: init_scale, a charge of init_scale^2 = {charge:.3g}, does not determine a start "
        f"({reason}): give factors as start={{name: array, ...}}"
    )


def _charges(p: "Parameterization") -> tuple[Function, Function, np.ndarray]:
    """The charges of p as a function of flat factors, its Jacobian, and charges of 1."""
    import jax
    import jax.numpy as jnp

    bonds = Symmetry([bond for bond in p.symmetry if not bond.group.compact])

    def held(at: Array) -> Array:
        found = charges(bonds, unflatten(p, at))
        return jnp.concatenate([jnp.zeros(0), *(jnp.ravel(q) for q in found.values())])

    units = [np.zeros(0)]
    for bond in bonds:
        shape = charges(bonds, {k: np.zeros(s) for k, s in p.shapes.items()})[bond.name].shape
        diagonal = len(bond.group.element_shape) == 1
        one = np.ones(shape) if diagonal else np.broadcast_to(np.eye(*shape[-2:]), shape)
        units.append(one.ravel())
    return on_host(held), on_host(jax.jacfwd(held)), np.concatenate(units)
