r"""Whether a law of several numbers has finite mass.

Toward infinity it can only fail where the loss is flat. For a quadratic loss with the null space N
and a set S of coordinates let :math:`N_S` be the vectors of N that vanish outside of S. Near
:math:`N_S`, at the distance R, the coordinates in S are of the size of R and all others stay: if
the density falls like :math:`R^{-k_S}` there, the mass within R grows like
:math:`\int R^{\dim N_S - 1 - k_S} dR`. It is finite where

.. math:: \dim N_S < k_S \quad\text{for every S with}\quad N_S \ne 0.

For products of depth L, :math:`k_S = (1 - 1/L) |S|`. Here k_S is measured on the density.
"""

from collections.abc import Callable
from itertools import combinations

import numpy as np

from symbias.mechanisms.line import PILED, crossing, power_at_end

Function = Callable[[np.ndarray], np.ndarray]

RAYS = 8
NEAR, FAR = -40.0, 30.0  # log distances of the ends of rays
FLAT = 14.0  # log distance at which flatness is measured
NULL = 1e-9  # relative curvature
MARGIN = 1e-3  # of a slope
BETWEEN = np.linspace(-8.0, 8.0, 65)  # log distances between which an end of the range is sought
MOST = 14  # coordinates, whose subsets are listed


def check_mass(log_density: Function, size: int, coordinates: np.ndarray) -> None:
    """Raise ValueError where the mass piles up at 0, at the ends of the range or at infinity.

    Parameters
    ----------
    log_density : callable
        Of points (n, size): -inf or NaN where there is no mass.
    size : int
    coordinates : array (size, size)
        w = coordinates @ z, z what the parameterization makes small or large by itself.
    """
    _check_rays(log_density, size)
    flat = _flat_subspace(lambda z: log_density(z @ coordinates.T), size)
    if flat.shape[1] == 0:
        return
    if size > MOST:
        raise ValueError(
            f"the loss does not hold {flat.shape[1]} directions of {size} numbers: whether the law "
            f"can be normalised is decided for up to {MOST}"
        )
    base = np.random.default_rng(1).normal(size=size)
    for inside, dim, ray in _strata(flat):
        ends = base + np.exp([[FLAT], [FLAT + 1]]) * ray
        near, far = log_density(ends @ coordinates.T)
        if np.isfinite(far) and near - far <= dim + MARGIN:
            which = ", ".join(map(str, inside))
            raise ValueError(
                f"the law cannot be normalised: its mass escapes to infinity along {dim} "
                f"direction(s) of the coordinates {which}, which the loss does not hold: the "
                f"density falls like R^-{near - far:.3g}, and must fall faster than R^-{dim}"
            )


def _check_rays(log_density: Function, size: int) -> None:
    """Along random rays, toward 0 and toward infinity."""
    rays = np.random.default_rng(0).normal(size=(RAYS, size))
    for name, t in (("piles up at w = 0", NEAR), ("escapes to infinity", FAR)):
        ends = np.exp([t, t + np.sign(t)])[:, None, None] * rays
        near, far = log_density(ends.reshape(-1, size)).reshape(2, -1)
        there = np.isfinite(near) & np.isfinite(far)
        if np.any(far[there] + size * np.sign(t) > near[there] - MARGIN):
            raise ValueError(f"the law cannot be normalised: its mass {name}")
    for ray in rays:
        _check_ends(log_density, ray)


def _check_ends(log_density: Function, ray: np.ndarray) -> None:
    """Where a ray leaves or enters the range of w."""

    def f(t: np.ndarray) -> np.ndarray:
        values = log_density(np.exp(t)[:, None] * ray)
        return np.where(np.isnan(values), -np.inf, values)

    outside = f(BETWEEN) == -np.inf
    for k in np.flatnonzero(outside[1:] != outside[:-1]):
        inside, beyond = BETWEEN[[k, k + 1]] if outside[k + 1] else BETWEEN[[k + 1, k]]
        (edge,) = crossing(f, np.array([inside]), np.array([beyond]), -np.inf)
        if power_at_end(f, edge, int(np.sign(inside - beyond))) <= PILED:
            end = ", ".join(f"{x:.4g}" for x in np.exp(edge) * ray)
            raise ValueError(
                f"the law cannot be normalised: its mass piles up at w = ({end}), an end of the "
                "range of w"
            )


def _flat_subspace(log_density: Function, size: int) -> np.ndarray:
    """A basis, in columns, of the null space of the quadratic part of the log density far out."""
    turn = np.linalg.qr(np.random.default_rng(3).normal(size=(size, size)))[0]  # no zeros
    pairs = list(combinations(range(size), 2))
    ends = np.exp(FLAT) * np.array([*turn, *(turn[i] + turn[j] for i, j in pairs)])
    sides = np.stack([log_density(ends), log_density(-ends)])
    if not np.all(np.isfinite(sides)):  # bounded on some side: no subspace lies in it
        return np.zeros((size, 0))
    values = -sides.sum(axis=0) / np.exp(2 * FLAT)
    form = np.diag(values[:size])
    for (i, j), value in zip(pairs, values[size:], strict=True):
        form[i, j] = form[j, i] = (value - values[i] - values[j]) / 2
    spectrum, vectors = np.linalg.eigh(turn.T @ form @ turn)
    return vectors[:, np.abs(spectrum) <= max(NULL * np.abs(spectrum).max(), NULL)]


def _strata(flat: np.ndarray) -> list[tuple[list[int], int, np.ndarray]]:
    """Every support of vectors of a subspace, the dimension there, and one such vector."""
    rng, size = np.random.default_rng(2), len(flat)
    found = []
    for bits in range(1, 2**size):
        inside = np.array([bool(bits >> i & 1) for i in range(size)])
        _, s, vt = np.linalg.svd(flat[~inside, :])
        free = vt[np.count_nonzero(s > 1e-7) :]
        if len(free) == 0:
            continue
        ray = flat @ (free.T @ rng.normal(size=len(free)))
        ray = np.where(inside, ray, 0.0)
        if np.all(np.abs(ray[inside]) > 1e-7):
            found.append((np.flatnonzero(inside).tolist(), len(free), ray))
    return found
