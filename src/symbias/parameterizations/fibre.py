r"""The least of a quantity over all theta of one w, for a map that one only has as a function.

For a small :math:`\epsilon` a minimiser :math:`\theta_\epsilon` of
:math:`\frac{\epsilon^2}2 |q(\theta)|^2 + \frac12 |f(\theta) - w|^2` has the least
:math:`\frac12|q|^2` of all theta with the same :math:`w' = f(\theta_\epsilon)`, exactly: the value
at w' is known, its slope there is :math:`\nu = (w - w')/\epsilon^2`, and
:math:`R(w) = \frac12 |q(\theta_\epsilon)|^2 + \langle\nu, w - w'\rangle` up to the second order in
:math:`w - w' = O(\epsilon^2)`.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np
import scipy

Function = Callable[[np.ndarray], np.ndarray]

EPSILONS = (1e-2, 1e-3)
STARTS = 6
REACH = 1e-4  # of w, beyond which no theta of w was found


@dataclass(frozen=True)
class Least:
    """One minimum over all theta of one w.

    Attributes
    ----------
    theta : array
        Flat; f(theta) = w up to `miss`.
    value : float
        1/2 |q|^2, extrapolated to w.
    error : float
        Estimate: the last change of the value with epsilon, or what the starts that ended within a
        thousandth of the best differ by.
    miss : float
        |f(theta) - w|, relative to |w| or 1.
    """

    theta: np.ndarray
    value: float
    error: float
    miss: float


def minima_on_fibre(
    f: Function,
    jacobian: Function,
    q: Function,
    q_jacobian: Function,
    w: np.ndarray,
    size: int,
    known: Sequence[np.ndarray] = (),
) -> list[Least]:
    """Minima of 1/2 |q(theta)|^2 subject to f(theta) = w: where every start that reaches w ends.

    Parameters
    ----------
    f, q : callable
        From theta, flat of length ``size``, to flat arrays.
    jacobian, q_jacobian : callable
        Their derivatives.
    w : array, flat
    known : list of arrays, optional
        Starts to try besides random ones.

    Raises
    ------
    ValueError
        If no start reaches w: it may lie outside of the range of f.
    """
    scale = max(1.0, float(np.linalg.norm(w)))
    starts = [*known, *np.random.default_rng(0).normal(size=(STARTS, size))]
    found = [_one(f, jacobian, q, q_jacobian, w, start) for start in starts]
    found = [replace(one, miss=one.miss / scale) for one in found if one.miss <= REACH * scale]
    if not found:
        raise ValueError(
            f"no factors of w were found from {len(starts)} starts: w may lie outside of the range "
            "of the parameterization"
        )
    return found


def best_of(found: Sequence[Least]) -> Least:
    """The least of several minima; its error is also what those as good differ by."""
    best = min(found, key=lambda one: one.value)
    near = [one.value for one in found if one.value <= best.value * (1 + 1e-3) + 1e-12]
    return replace(best, error=max(best.error, max(near) - best.value))


def _one(
    f: Function,
    jacobian: Function,
    q: Function,
    q_jacobian: Function,
    w: np.ndarray,
    at: np.ndarray,
) -> Least:
    """From ``at``, first moved to w: larger epsilons could leave factors stuck at zero."""
    with np.errstate(all="ignore"):
        start = at = point_on_fibre(f, jacobian, w, at)
    value, change = np.inf, np.inf
    for epsilon in EPSILONS:

        def residuals(theta: np.ndarray, epsilon: float = epsilon) -> np.ndarray:
            return np.concatenate([epsilon * q(theta), f(theta) - w])

        def slopes(theta: np.ndarray, epsilon: float = epsilon) -> np.ndarray:
            return np.concatenate([epsilon * q_jacobian(theta), jacobian(theta)])

        with np.errstate(all="ignore"):
            end = scipy.optimize.least_squares(
                residuals, at, slopes, xtol=1e-15, ftol=1e-15, gtol=1e-15, max_nfev=2000
            )
        at, off = end.x, w - f(end.x)
        size = q(at)
        before, value = value, 0.5 * float(size @ size) + float(off @ off) / epsilon**2
        change = abs(value - before)
        if epsilon > EPSILONS[-1] and np.linalg.norm(off) > epsilon:  # collapsed: begin anew
            at = start
    return Least(at, value, change, float(np.linalg.norm(off)))


def point_on_fibre(f: Function, jacobian: Function, w: np.ndarray, at: np.ndarray) -> np.ndarray:
    """A theta with f(theta) = w near ``at``, or as close as Gauss-Newton steps come."""
    scale = max(1.0, float(np.linalg.norm(w)))
    for _ in range(100):
        off = w - f(at)
        if np.linalg.norm(off) <= 1e-13 * scale:
            break
        slopes = jacobian(at)
        if not (np.all(np.isfinite(slopes)) and np.all(np.isfinite(off))):
            break
        step = np.linalg.lstsq(slopes, off, rcond=1e-10)[0]
        size = 1.0
        while size > 1e-6 and np.linalg.norm(w - f(at + size * step)) > np.linalg.norm(off):
            size /= 2
        if size <= 1e-6:
            break
        at = at + size * step
    return at
