"""What every parameterization answers, numerically, when its closed forms are not known.

Least norms and least gradients over all theta of one w, whatever its symmetry.
"""

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from symbias._core.arrays import Array, concrete, constant, from_host
from symbias._core.refusal import Refused
from symbias.parameterizations.fibre import Least, best_of, minima_on_fibre
from symbias.parameterizations.flat import flat_map, flatten
from symbias.parameterizations.inputs import compressed, measurements
from symbias.symmetry import Symmetry, balance, check_balanceable, induced_norm

if TYPE_CHECKING:
    from symbias.parameterizations.base import Parameterization

LARGEST = 600  # factors, whose dense least squares are solved a few hundred times
PROBES, AGREEMENT = 2, 1e-6


def least_norm(p: "Parameterization", w: Array, known: Sequence[np.ndarray] = ()) -> Least:
    """The least 1/2 |theta|^2 over all theta of w, free factors left out, with its error estimate.

    Cost a few hundred least-squares steps, O(parameters^3) each.

    Raises
    ------
    ValueError
        If no factors of w are found.
    Refused
        For more factors than dense least squares take.
    """
    programs, decays = flat_map(p), _decays(p)
    chosen = np.eye(len(decays))[decays]
    found = minima_on_fibre(
        programs.w,
        programs.jacobian,
        lambda t: t[decays],
        lambda t: chosen,
        _flat(w),
        len(decays),
        known,
    )
    return best_of(found)


def numerical_norm(p: "Parameterization", w: Array) -> Array:
    """The value of `least_norm`, in the library of w."""
    seen = concrete(w)
    if seen is None:
        raise Refused(f"no closed form is known for {p!r}: its penalty cannot be traced")
    return constant(least_norm(p, seen, _section(p, seen)).value, w)


def _section(p: "Parameterization", w: np.ndarray) -> list[np.ndarray]:
    """Factors that the parameterization has without a search."""
    if p.balanced_section:  # that of a function, found by the same search
        return []
    try:
        return [flatten(p, p.section(np.asarray(w, dtype=float)))]
    except ValueError:
        return []


def numerical_gradients(p: "Parameterization", w: Array, inputs: Array) -> Array:
    """The least sum of |d <a_i, w> / d theta|^2 over all theta of w, free factors left out."""
    seen, data = concrete(w), concrete(inputs)
    if seen is None or data is None:
        raise Refused(f"no closed form is known for {p!r}: its penalty cannot be traced")
    programs, decays = flat_map(p), _decays(p)
    rows = compressed(measurements(compressed(np.asarray(data, float)), p.shape))
    kept = np.tile(decays, len(rows))
    found = minima_on_fibre(
        programs.w,
        programs.jacobian,
        lambda t: programs.gradients(t, rows)[kept],
        lambda t: programs.curvature(t, rows)[kept],
        _flat(seen),
        len(decays),
        _section(p, seen),
    )
    return constant(2 * best_of(found).value, w)


def orbits_are_all(p: "Parameterization") -> bool:
    """Whether the least norm on the orbit of a section is the least over all theta, at random w.

    The stated symmetry may not be all there is.
    """
    rng = np.random.default_rng(0)
    if not _keeps_predictor(p.symmetry):
        return False
    for _ in range(PROBES):
        sizes = {n: rng.uniform(0.6, 1.4, s) * rng.choice([-1, 1], s) for n, s in p.shapes.items()}
        w = p(sizes)
        theta = p._section(w, 0.0)
        check_section(p, theta, w)
        value, least = float(norm_on_orbit(p, theta)), least_norm(p, w, [flatten(p, theta)])
        if abs(value - least.value) > max(AGREEMENT * value, 2 * least.error):
            return False
    return True


def check_section(p: "Parameterization", theta: dict[str, Array], w: Array) -> None:
    """Raise ValueError unless theta, where it is not traced, are factors of w."""
    seen, wanted = concrete(p(theta)), concrete(w)
    if seen is None or wanted is None or not wanted.size:
        return
    off = float(np.abs(np.asarray(seen, float) - wanted).max())
    if not off <= float(np.finfo(wanted.dtype).eps) ** 0.5 * max(1.0, float(np.abs(wanted).max())):
        raise ValueError(f"{p!r}: its section has factors of another w, {off:.2g} from it")


def norm_on_orbit(p: "Parameterization", theta: dict[str, Array]) -> Array:
    """The least 1/2 |theta|^2 on the orbit of these factors, free ones left out."""
    decays = {name: a for name, a in theta.items() if name not in p.free}
    return induced_norm(p.symmetry, decays)


def can_balance(symmetry: Symmetry) -> bool:
    """Whether there are bonds to balance, and a point of least norm keeps the predictor."""
    return _keeps_predictor(symmetry) and any(not bond.group.compact for bond in symmetry)


def _keeps_predictor(symmetry: Symmetry) -> bool:
    try:
        check_balanceable(symmetry)
    except ValueError:
        return False
    return True


def balanced(p: "Parameterization", theta: dict[str, Array]) -> dict[str, Array]:
    """The point of least norm on the orbit of these factors, constant under differentiation."""
    names = list(theta)

    def on_host(*arrays: np.ndarray) -> list[np.ndarray]:
        moved = balance(p.symmetry, dict(zip(names, arrays, strict=True))).params
        return [moved[name] for name in names]

    found = from_host(on_host, [p.shapes[name] for name in names], [theta[n] for n in names])
    return {name: constant(a, theta[name]) for name, a in zip(names, found, strict=True)}


def _flat(w: Array) -> np.ndarray:
    return np.ravel(np.asarray(w, dtype=float))


def _decays(p: "Parameterization") -> np.ndarray:
    """Which of the flat factors decay; raises Refused for too many."""
    decays = [np.full(int(np.prod(s)), name not in p.free) for name, s in p.shapes.items()]
    if (size := sum(map(len, decays))) > LARGEST:
        raise Refused(
            f"{p!r} has {size} factors and no closed form: least norms are found numerically for "
            f"up to {LARGEST}. If its section is balanced, say so: balanced_section = True"
        )
    return np.concatenate(decays)
