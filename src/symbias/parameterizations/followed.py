r"""The section of a map to one number, tabulated along the line.

:math:`d\theta / dt = f J^T / |J|^2` with J = df/d theta moves f = w(theta) along t = log |w| and
theta across its orbits alone: it is a gradient flow run at another speed, so charges stay what they
are, and factors of least norm stay of least norm. As errors of charges stay too and w shrinks, the
descent of the norm along the fibre, which is zero at the least, is added. A Runge-Kutta method
follows it from one point; its steps shrink where the range of f ends.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

import numpy as np
import scipy

from symbias._core.arrays import Array
from symbias._core.refusal import Refused
from symbias.parameterizations.fibre import minima_on_fibre, point_on_fibre
from symbias.parameterizations.flat import FlatMap, flat_map

if TYPE_CHECKING:
    from scipy.interpolate import CubicHermiteSpline

    from symbias.parameterizations.base import Parameterization

LOG_SMALL, LOG_LARGE = -165.0, 65.0  # of |w|
RTOL, SHORTEST, MOST = 1e-9, 1e-13, 4000
KNOTS = 16  # of the table, in a step of the method
SCALES = (0.1, 1.0, 10.0)  # of random factors that tell the signs that f has
DRAWS = 50
PULL = 2.0  # rate, in log |w|, at which errors of theta along the fibre are forgotten
CHECKS = np.array([-3.0, -1.5, 1.5, 3.0])  # of log |w|, from the start, where searches are exact
SAME = 1e-4  # relative, of norms on one fibre


@dataclass(frozen=True, eq=False)
class Followed:
    """theta on either half of the line of w, from tables of theta and d theta / d log |w|.

    Attributes
    ----------
    map : FlatMap
    halves : dict
        By the sign of w: theta of log |w|; without a sign that f does not have.
    size : int
        Of theta.
    """

    map: FlatMap
    halves: dict[int, "CubicHermiteSpline"]
    size: int

    @classmethod
    def of(cls, p: "Parameterization") -> "Followed":
        """Tables of p.

        Raises
        ------
        Refused
            Where a w has factors on orbits apart, of different norms.
        """
        programs, size = flat_map(p), sum(int(np.prod(s)) for s in p.shapes.values())
        rng, halves = np.random.default_rng(0), {}
        draws = np.concatenate([s * rng.normal(size=(DRAWS, size)) for s in SCALES])
        values = np.array([programs.w(theta).item() for theta in draws])
        for sign in (-1, 1):
            if np.any(there := sign * values > 0):
                begin = sign * float(np.median(sign * values[there]))
                halves[sign] = _half(repr(p), programs, begin, size)
        return cls(programs, halves, size)

    def __call__(self, w: Array) -> Array:
        """theta of w, one number, in JAX; NaN out of range."""
        import jax.numpy as jnp

        theta = jnp.full(self.size, jnp.nan)
        t = jnp.log(jnp.abs(w))
        for sign, half in self.halves.items():
            k = jnp.clip(jnp.searchsorted(half.x, t) - 1, 0, len(half.x) - 2)
            at = t - jnp.asarray(half.x)[k]
            cubic = jnp.polyval(jnp.asarray(half.c)[:, k], at)
            inside = (jnp.sign(w) == sign) & (half.x[0] <= t) & (t <= half.x[-1])
            theta = jnp.where(inside, cubic, theta)
        return theta + self._newton(theta, w)

    def _newton(self, theta: Array, w: Array) -> Array:
        import jax
        import jax.numpy as jnp

        value, slope = jax.value_and_grad(lambda at: self.map.traced(at)[0])(theta)
        return slope * ((w - value) / jnp.sum(slope**2))


def _half(name: str, programs: FlatMap, begin: float, size: int) -> "CubicHermiteSpline":
    import jax

    ends = _minima(programs, begin, size)
    if not ends:
        raise Refused(f"{name}: no factors of w = {begin:.3g} were found")
    start = min(ends, key=lambda end: float(np.linalg.norm(end)))
    _check_same(name, begin, ends, start)
    t0 = float(np.log(abs(begin)))
    speed = jax.jit(partial(_speed, programs.traced))
    with jax.enable_x64(True):
        down, up = (_follow(speed, t0, start, end) for end in (LOG_SMALL, LOG_LARGE))
    knots = np.concatenate([down[0][::-1], up[0][1:]])
    values = np.concatenate([down[1][::-1], up[1][1:]])
    for k in np.searchsorted(knots, np.clip(t0 + CHECKS, knots[1], knots[-2])):
        w = np.sign(begin) * np.exp(knots[k])
        _check_same(name, w, [*_minima(programs, w, size), values[k]], start)
    with jax.enable_x64(True):
        slopes = np.asarray(jax.vmap(lambda theta: speed(theta, 0.0))(values))
    return scipy.interpolate.CubicHermiteSpline(knots, values, slopes)


def _minima(programs: FlatMap, w: float, size: int) -> list[np.ndarray]:
    """The factors of w to which a descent of the norm leads from several starts."""
    f, jacobian, target, unit = programs.w, programs.jacobian, np.array([w]), np.eye(size)
    try:
        found = minima_on_fibre(f, jacobian, lambda theta: theta, lambda _: unit, target, size)
    except ValueError:  # next to the end of the range
        return []
    return [point_on_fibre(f, jacobian, target, one.theta) for one in found]


def _check_same(name: str, w: float, ends: list[np.ndarray], like: np.ndarray) -> None:
    """Raise Refused where factors of w differ in norm, by more than a part of that of ``like``."""
    norms = np.linalg.norm(ends, axis=1)
    if np.ptp(norms) > SAME * max(norms.max(), float(np.linalg.norm(like))):
        raise Refused(
            f"{name} has factors of w = {w:.3g} on orbits apart, of norms {norms.min():.6g} and "
            f"{norms.max():.6g}: its law is a sum over orbits, which is not known"
        )


def _speed(f: Callable[[Array], Array], theta: Array, pull: float) -> Array:
    """d theta / d log |w|, with the norm's descent along the fibre, in JAX."""
    import jax
    import jax.numpy as jnp

    value, slope = jax.value_and_grad(lambda at: f(at)[0])(theta)
    length = jnp.linalg.norm(slope)
    unit = slope / length
    return unit * (value / length) - pull * (theta - unit * (unit @ theta))


def _follow(
    speed: Callable[..., Array], t0: float, start: np.ndarray, end: float
) -> tuple[np.ndarray, np.ndarray]:
    """Knots from t0 on toward ``end``, or to where the range of f ends, and theta there."""
    knots, values = [np.array([t0])], [start[None]]
    with np.errstate(all="ignore"):
        pull = PULL * np.sign(end - t0)
        method = scipy.integrate.DOP853(
            lambda _, y: np.asarray(speed(y, pull)), t0, start, end, rtol=RTOL
        )
        for _ in range(MOST):
            method.atol = RTOL * float(np.abs(method.y).max()) / KNOTS
            method.step()
            if method.status == "failed" or not np.all(np.isfinite(method.y)):
                break
            inside = np.linspace(method.t_old, method.t, KNOTS + 1)[1:]
            knots.append(inside)
            values.append(method.dense_output()(inside).T)
            if method.status == "finished" or method.step_size < SHORTEST:
                break
    return np.concatenate(knots), np.concatenate(values)
