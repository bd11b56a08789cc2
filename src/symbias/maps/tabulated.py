"""A link from any increasing function: its inverse as piecewise polynomials in log coordinates."""

from collections.abc import Callable

import numpy as np
from array_api_compat import array_namespace

from symbias._core.arrays import Array, concrete, constant
from symbias.maps.links import Link

_DEGREE = 7
_INTERVALS = 48
_ACCURACY = 2e-12  # of log|w| and log|z|
_BISECTIONS = 60
_KINKS = 64
_ROUNDS = 45  # of refinement: an interval around a kink shrinks to rounding

Function = Callable[[np.ndarray], np.ndarray]


class TabulatedLink(Link):
    """The link whose inverse is z = sgn(w) G(|w|), for an increasing G with G(0) = 0.

    Both directions are piecewise polynomials of degree 7 in log|z| and log|w|, refined until they
    are accurate to 1e-10 relative to the value for |w| in [low, high], kinks included (or to what
    rounding in G leaves). The inverse of a larger |w| is refused, or NaN while it is traced;
    training may pass through there: `forward` goes on as the power that it ends with. Derivatives
    are those of the polynomials. Works in every array library, under jit and grad; G itself is
    called on NumPy arrays, here only.

    Parameters
    ----------
    function : callable
        G, for NumPy arrays of positive numbers.
    low, high : float
        The range of |w| on which the accuracy holds.
    """

    def __init__(self, function: Function, low: float = 1e-9, high: float = 1e6) -> None:
        self.function, self.low, self.high = function, low, high
        s = np.linspace(np.log(low), np.log(high), _INTERVALS + 1)
        self._s, self._t, self._to_s, self._to_t = _tabulate(function, s)

    def __repr__(self) -> str:
        name = getattr(self.function, "__name__", repr(self.function))
        return f"TabulatedLink({name}, {self.low:g}, {self.high:g})"

    def forward(self, z: Array) -> Array:
        return _odd(z, self._t, self._to_s)

    def inverse(self, w: Array) -> Array:
        """z, for |w| up to `high`; raises ValueError beyond, or gives NaN while it is traced."""
        seen, end = concrete(w), self.high * (1 + 1e-6)
        if seen is not None and np.abs(seen).max(initial=0.0) > end:
            raise ValueError(
                f"|w| goes up to {np.abs(seen).max():.4g}, beyond {self.high:.4g} where the table "
                f"of {self!r} ends: rescale, or give the penalty a larger `high`"
            )
        z = _odd(w, self._s, self._to_t)
        xp = array_namespace(w)
        return z if seen is not None else xp.where(xp.abs(w) > end, xp.full_like(z, xp.nan), z)

    def slope(self, z: Array) -> Array:
        return _odd_slope(z, self._t, self._to_s)


def _tabulate(
    function: Function, s: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Breaks in log w and log z, and the polynomials of one in terms of the other."""
    nodes = np.cos(np.pi * (np.arange(_DEGREE + 1) + 0.5) / (_DEGREE + 1))
    checks = np.linspace(-0.95, 0.95, 9)
    fit = np.linalg.inv(np.vander(nodes, _DEGREE + 1, increasing=True)).T
    powers = np.vander(checks, _DEGREE + 1, increasing=True).T

    def g(x: np.ndarray) -> np.ndarray:
        return np.log(function(np.exp(x)))

    for level in range(_ROUNDS):
        t = g(s)
        forward = _inverse_at(g, s, t, nodes) @ fit
        backward = g(_local(s, nodes)) @ fit
        off = np.abs(forward @ powers - _inverse_at(g, s, t, checks)).max(axis=1)
        off = np.maximum(off, np.abs(backward @ powers - g(_local(s, checks))).max(axis=1))
        split = (off > _ACCURACY) & (np.diff(s) > 1e-12)
        # a kink is a few intervals; where many are left, G itself is not smooth to this accuracy
        if not split.any() or (level > 8 and split.sum() > _KINKS):
            break
        s = np.sort(np.concatenate([s, (s[1:] + s[:-1])[split] / 2]))
    return s, t, forward, backward


def _local(breaks: np.ndarray, points: np.ndarray) -> np.ndarray:
    """Points of [-1, 1] in every interval, shape (intervals, points)."""
    middle, half = (breaks[1:] + breaks[:-1]) / 2, np.diff(breaks) / 2
    return middle[:, None] + half[:, None] * points


def _inverse_at(g: Function, s: np.ndarray, t: np.ndarray, points: np.ndarray) -> np.ndarray:
    """s with g(s) = t at points of every interval of t, by bisection."""
    wanted = _local(t, points)
    low, high = (np.broadcast_to(a[:, None], wanted.shape) for a in (s[:-1], s[1:]))
    for _ in range(_BISECTIONS):
        middle = (low + high) / 2
        above = g(middle) > wanted
        low, high = np.where(above, low, middle), np.where(above, middle, high)
    return (low + high) / 2


def _odd(x: Array, breaks: np.ndarray, table: np.ndarray) -> Array:
    """sgn(x) exp(polynomial(log|x|)), and a power beyond the ends; right derivatives at 0."""
    xp = array_namespace(x)
    flat = xp.reshape(x, (-1,))
    tiny = xp.finfo(x.dtype).smallest_normal
    zero = xp.abs(flat) < tiny
    t = xp.log(xp.where(zero, xp.ones_like(flat), xp.abs(flat)))
    edges, coefficients = constant(breaks, x), constant(table, x)
    inside = xp.clip(t, float(breaks[0]), float(breaks[-1]))
    cell = xp.searchsorted(edges, inside)
    cell = xp.clip(cell - 1, 0, len(breaks) - 2)
    left, right = xp.take(edges, cell, axis=0), xp.take(edges, cell + 1, axis=0)
    local = (2 * inside - left - right) / (right - left)
    value = xp.zeros_like(t)
    for k in range(_DEGREE, -1, -1):
        value = value * local + xp.take(coefficients[:, k], cell, axis=0)
    slopes = [_slope(table, breaks, end) for end in (0, -1)]
    # clip passes no derivative outside: these two terms carry it
    below, above = float(breaks[0]), float(breaks[-1])
    value = value + xp.where(t < below, slopes[0] * (t - below), xp.zeros_like(t))
    value = value + xp.where(t > above, slopes[1] * (t - above), xp.zeros_like(t))
    size = xp.sign(flat) * xp.exp(value)
    # a corner of G at 0 has a tangent there
    start = float(np.exp(table[0] @ (-1.0) ** np.arange(_DEGREE + 1) - slopes[0] * below))
    tangent = flat * start if abs(slopes[0] - 1) < 1e-6 else xp.zeros_like(flat)
    return xp.reshape(xp.where(zero, tangent, size), x.shape)


def _odd_slope(x: Array, breaks: np.ndarray, table: np.ndarray) -> Array:
    """Derivative of `_odd`: its value over x, times the slope in log coordinates."""
    xp = array_namespace(x)
    tiny = 1e-300
    zero = xp.abs(x) <= tiny
    at = xp.where(zero, xp.full_like(x, float(np.exp(breaks[0] - 30))), x)
    t = xp.log(xp.abs(at))
    edges, coefficients = constant(breaks, x), constant(table, x)
    inside = xp.clip(t, float(breaks[0]), float(breaks[-1]))
    flat = xp.reshape(inside, (-1,))
    cell = xp.clip(xp.searchsorted(edges, flat) - 1, 0, len(breaks) - 2)
    left, right = xp.take(edges, cell, axis=0), xp.take(edges, cell + 1, axis=0)
    local = (2 * flat - left - right) / (right - left)
    rate = xp.zeros_like(flat)
    for k in range(_DEGREE, 0, -1):
        rate = rate * local + k * xp.take(coefficients[:, k], cell, axis=0)
    rate = xp.reshape(rate * 2 / (right - left), t.shape)
    return _odd(at, breaks, table) / at * rate


def _slope(table: np.ndarray, breaks: np.ndarray, end: int) -> float:
    """Derivative of the first or last polynomial at its outer end."""
    side = -1.0 if end == 0 else 1.0
    powers = np.arange(1, _DEGREE + 1)
    cell = (breaks[1:] - breaks[:-1])[end]
    return float(np.sum(table[end, 1:] * powers * side ** (powers - 1)) * 2 / cell)
