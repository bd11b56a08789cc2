"""The distribution function of a law of one number, by quadrature in log |w|.

Beyond the ends of the quadrature a density is taken for a power of |w|.

The wells of a loss are as wide as the loss makes them, those of a density as narrow as the
temperature: maxima are found on a grid that sees the first, then followed to their top, and each
gets a grid of its own.
"""

from collections.abc import Callable

import numpy as np
from scipy.integrate import cumulative_trapezoid

# log|w| is scanned this far; e^-160 leaves room for the squares of square roots in float64
LOG_SMALL, LOG_LARGE = -160.0, 60.0
COARSE, FINE, NEAR = 4_000, 60_000, 2_000
NEGLIGIBLE = 50.0  # below the maximum of the log density
TOP = 8.0  # what a maximum's own grid reaches down
LEAST_POWER = 1e-3  # of |w|: less, and most of the mass is beyond floating point
LOST = 1e-6  # part of the mass that may lie beyond the largest |w|
STEPS = 60  # of ternary search and of bisection
INWARD = (1e-4, 1e-6)  # of an end of the range of w, relative: where it is looked for piles
PILED = -0.99  # power of the distance to it: -1 and below has infinite mass
STEEP = (1e-14, 1e-2)  # distances of the grid of an end at which the density is infinite

Function = Callable[[np.ndarray], np.ndarray]


def distribution(log_density: Function, unknown: Function) -> tuple[np.ndarray, np.ndarray]:
    """Points w and the distribution function there.

    ``log_density`` maps an array of w to log densities, -inf or NaN where there is no mass;
    ``unknown`` says where it cannot be told.

    Raises
    ------
    ValueError
        Where it cannot be normalised, or has mass beyond the largest |w| or next to where it is
        not known.
    """
    halves = [_half(log_density, unknown, sign) for sign in (-1, 1)]
    top = max(np.max(log, initial=-np.inf) for _, log in halves)
    if top == -np.inf:
        raise ValueError("the law has no mass: its density is nowhere positive and finite")
    grids, masses, total, lost = [], [], 0.0, 0.0
    for (t, log), sign in zip(halves, (-1, 1), strict=True):
        if sign > 0:
            grids.append(np.zeros(1))
            masses.append(np.full(1, total))
        if len(t) == 0:
            continue
        log = log - top
        below = _outside(t, log, "piles up at w = 0") if t[0] == LOG_SMALL else 0.0
        if t[-1] == LOG_LARGE:
            lost += _outside(-t[::-1], log[::-1], "escapes to infinity")
        cumulated = below + cumulative_trapezoid(np.exp(log), t, initial=0)
        grids.append(sign * np.exp(t)[::sign])
        masses.append(total + (cumulated if sign > 0 else cumulated[-1] - cumulated[::-1]))
        total += cumulated[-1]
    if lost > LOST * total:
        raise ValueError(
            f"{lost / (total + lost):.2g} of the mass of the law lies beyond |w| = "
            f"e^{LOG_LARGE:g}, where its quadrature ends"
        )
    return np.concatenate(grids), np.concatenate(masses) / total


def _outside(t: np.ndarray, log: np.ndarray, name: str) -> float:
    """Mass beyond the end t[0] of the scan, where the density goes on as a power of |w|."""
    power = np.interp(t[0] + 1, t, log) - log[0]
    if power <= LEAST_POWER:
        raise ValueError(f"the law cannot be normalised: its mass {name}")
    return float(np.exp(log[0]) / power)


def power_at_end(f: Function, edge: float, inward: int) -> float:
    """The power of the distance that a density goes like, next to an end of the range of w.

    0 where ``edge`` is no end. ``f`` is the log density on a line along which w goes like exp(t),
    and ``inward`` the sign of the way into the range. At `PILED` and below the mass is infinite.
    """
    outer, near, far = f(edge + inward * np.array([-INWARD[1], INWARD[1], INWARD[0]]))
    if outer > -np.inf or not np.isfinite(near) or not np.isfinite(far):
        return 0.0
    return float((far - near) / np.log(INWARD[0] / INWARD[1]))


def _half(log_density: Function, unknown: Function, sign: int) -> tuple[np.ndarray, np.ndarray]:
    """log|w| where a half-line has mass, and the log density of log|w| there."""

    def f(t: np.ndarray) -> np.ndarray:
        values = log_density(sign * np.exp(t)) + t
        return np.where(np.isnan(values), -np.inf, values)

    t = np.linspace(LOG_SMALL, LOG_LARGE, COARSE)
    log = f(t)
    at = _maxima(log)
    if len(at) == 0:
        return t[:0], log[:0]
    before, after = t[np.maximum(at - 1, 0)], t[np.minimum(at + 1, COARSE - 1)]
    peaks = _climb(f, before, after)
    heights = np.maximum(f(peaks), log[at])
    peaks = np.where(heights > log[at], peaks, t[at])
    floor = heights.max() - NEGLIGIBLE
    if floor == heights.max():
        w = sign * np.exp(peaks[heights.argmax()])
        raise ValueError(
            f"the law cannot be normalised: its log density is {floor:.3g} at w = {w:.3g}, where "
            "floating point ends"
        )
    alive = log > floor
    beyond = unknown(sign * np.exp(t))
    if np.any(alive & (np.append(beyond[1:], False) | np.append(False, beyond[:-1]))):
        raise ValueError(
            f"the law has mass at |w| = {np.exp(t[alive].max()):.3g}, beyond which its "
            "density is not known (the table of a link ends)"
        )
    kept = heights > floor
    at, peaks, heights = at[kept], peaks[kept], heights[kept]
    left, right = _edges(f, t, log, peaks, floor)
    steep = []
    for end, inward in [*((e, 1) for e in left), *((e, -1) for e in right)]:
        power = power_at_end(f, end, inward)
        if power <= PILED:
            raise ValueError(
                f"the law cannot be normalised: its mass piles up at w = "
                f"{sign * np.exp(end):.6g}, an end of the range of w"
            )
        if power < 0:
            steep.append(end + inward * np.geomspace(*STEEP, NEAR))
    near = [crossing(f, peaks, end[kept], heights - TOP) for end in (before, after)]
    parts = [
        *(np.linspace(a, b, FINE // len(left)) for a, b in zip(left, right, strict=True)),
        *(np.linspace(a, b, NEAR) for a, b in zip(*near, strict=True)),
        *steep,
        peaks,
    ]
    grid = np.unique(np.concatenate(parts))
    return grid, f(grid)


def _maxima(log: np.ndarray) -> np.ndarray:
    """Where no neighbour is larger and one is smaller."""
    padded = np.concatenate([[-np.inf], log, [-np.inf]])
    lower, upper = padded[:-2], padded[2:]
    top = (log >= lower) & (log >= upper) & ((log > lower) | (log > upper))
    return np.flatnonzero(top & (log > -np.inf))


def _climb(f: Function, low: np.ndarray, high: np.ndarray) -> np.ndarray:
    """The maximum of f on every interval, by ternary search."""
    for _ in range(STEPS):
        one, two = low + (high - low) / 3, high - (high - low) / 3
        rising = f(one) < f(two)
        low, high = np.where(rising, one, low), np.where(rising, high, two)
    return (low + high) / 2


def crossing(
    f: Function, inside: np.ndarray, outside: np.ndarray, level: np.ndarray | float
) -> np.ndarray:
    """Where f falls to the level on the way out, or the outer end where it does not."""
    beyond = f(outside) <= level
    near, far = inside, outside
    for _ in range(STEPS):
        middle = (near + far) / 2
        above = f(middle) > level
        near, far = np.where(above, middle, near), np.where(above, far, middle)
    return np.where(beyond, far, outside)


def _edges(
    f: Function, t: np.ndarray, log: np.ndarray, peaks: np.ndarray, floor: float
) -> tuple[np.ndarray, np.ndarray]:
    """Disjoint intervals around the peaks outside of which f is below the floor."""
    dead = np.concatenate([[-1], np.flatnonzero(log <= floor), [len(t)]])
    k = np.searchsorted(np.concatenate([[-np.inf], t, [np.inf]])[dead + 1], peaks)
    ends = []
    for index, step, inward in ((dead[k - 1], 1, np.minimum), (dead[k], -1, np.maximum)):
        outer, inner = (t[np.clip(i, 0, len(t) - 1)] for i in (index, index + step))
        ends.append(crossing(f, inward(inner, peaks), outer, np.full(len(peaks), floor)))
    order = np.argsort(ends[0])
    left, right = ends[0][order], np.maximum.accumulate(ends[1][order])
    new = np.append(True, left[1:] > right[:-1])
    last = np.append(np.flatnonzero(new)[1:] - 1, len(right) - 1)
    return left[new], right[last]
