"""A stationary law: a density that says against which measure it is one."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from math import prod
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from scipy.integrate import cumulative_trapezoid

from symbias._core.arrays import Array
from symbias._core.jax_only import written_in_jax

# log|w| is scanned this far; e^-160 leaves room for the squares of square roots in float64
LOG_SMALL, LOG_LARGE = -160.0, 60.0
COARSE = 4_000
WIDEST, STEEPEST = 0.01, 0.01  # of a cell of the final grid: in log|w|, and of the log density
SPLIT, DEEPEST = 8, 17  # parts of a cell that is refined, and how often: down to rounding
ROUNDS, MOST_ROUNDS, STEPS = 6, 60, 400  # of random-walk Metropolis
NEGLIGIBLE = 50.0  # below the maximum of the log density


@dataclass(frozen=True, eq=False)
class Law:
    """A stationary law, up to normalisation.

    Attributes
    ----------
    log_density : callable
        Of one point, in JAX: the effective parameter w where `reference` is "predictor", otherwise
        the parameter dict theta.
    reference : str
        The measure that the density refers to, without which it states no preference at all.
    shape : tuple
        Shape of w.
    assumptions : tuple of str
        What the law rests on.
    temperature : float
        T: the cost of w is -T log density.
    section : callable, optional
        From w to a theta of that predictor, where the density is one of theta.
    formula : str
        That cost without the loss, to be read.
    """

    log_density: Callable[[Any], Array]
    reference: str
    shape: tuple[int, ...] = ()
    assumptions: tuple[str, ...] = ()
    temperature: float = 1.0
    section: Callable[[Any], Any] | None = None
    formula: str = ""

    def __call__(self, w: Any) -> float:
        """-T log density at w, or at the section of w: what this law makes w cost."""
        with jax.enable_x64(True):
            return float(self._cost(jnp.asarray(np.asarray(w), jnp.float64)))

    def _density(self, point: Any) -> Array:
        with written_in_jax("log_density"):
            return self.log_density(point)

    @cached_property
    def _cost(self) -> Callable[[Any], Array]:
        def cost(w: Any) -> Array:
            point = w if self.section is None else self.section(w)
            return -self.temperature * self._density(point)

        return jax.jit(cost)

    def evaluate(self, points: Any) -> np.ndarray:
        """Log densities of many points, stacked along axis 0, in float64."""
        with jax.enable_x64(True):
            points = jax.tree.map(lambda a: jnp.asarray(np.asarray(a), jnp.float64), points)
            return np.asarray(self._many(points))

    def cdf(self, w: np.ndarray) -> np.ndarray:
        """Distribution function of a law of one number against dw, by quadrature in log|w|.

        Raises
        ------
        ValueError
            If the law is of more than one number or against another measure, or where it cannot
            be normalised: its mass piles up at 0 or escapes to infinity.
        """
        grid, values = self._distribution
        return np.interp(w, grid, values)

    def sample(self, size: int, key: int = 0) -> np.ndarray:
        """Independent draws, of shape (size, *shape).

        Exact for one number (inverse distribution function). Otherwise `size` independent chains
        of random-walk Metropolis (blackjax) from a wide start, in as many steps as make the
        start forgotten: each gives its last point.

        Raises
        ------
        ValueError
            For a law that is not against dw, or cannot be normalised.
        """
        if self.shape in ((), (1,)):
            grid, values = self._distribution
            u = np.random.default_rng(key).uniform(size=size)
            keep = np.append(True, np.diff(values) > 0)
            return np.interp(u, values[keep], grid[keep]).reshape(size, *self.shape)
        self._check_rays()
        return _metropolis(self, size, key)

    @cached_property
    def _many(self) -> Callable[[Any], Array]:
        return jax.jit(jax.vmap(self._density))

    @cached_property
    def _walk(self) -> Callable[..., Array]:
        return _walker(self, STEPS)

    def _on_line(self, w: np.ndarray) -> np.ndarray:
        full = np.resize(w, 2 ** max(12, (len(w) - 1).bit_length()))  # few programs to compile
        values = self.evaluate(full.reshape(-1, *self.shape))[: len(w)]
        return np.where(np.isfinite(values), values, -np.inf)

    @cached_property
    def _distribution(self) -> tuple[np.ndarray, np.ndarray]:
        self._check_reference()
        if self.shape not in ((), (1,)):
            raise ValueError(f"a law of shape {self.shape} has no distribution function; sample it")
        halves = [self._half(sign) for sign in (-1, 1)]
        top = max(np.max(log, initial=-np.inf) for _, log in halves)
        if top == -np.inf:
            raise ValueError("the law has no mass: its density is nowhere positive and finite")
        grids, masses = [], []
        for (t, log), sign in zip(halves, (-1, 1), strict=True):
            if len(t) == 0 or log.max() < top - NEGLIGIBLE:
                continue
            cumulated = cumulative_trapezoid(np.exp(log - top), t, initial=0)
            w = sign * np.exp(t)
            grids.append(w[::sign])
            masses.append(cumulated if sign > 0 else cumulated[-1] - cumulated[::-1])
        if len(masses) == 2:
            masses[1] = masses[1] + masses[0][-1]
        values = np.concatenate(masses)
        return np.concatenate(grids), values / values[-1]

    def _half(self, sign: int) -> tuple[np.ndarray, np.ndarray]:
        """log|w| where a half-line has mass, and the log density of log|w| there."""
        t = np.linspace(LOG_SMALL, LOG_LARGE, COARSE)
        log = self._on_line(sign * np.exp(t)) + t
        alive = np.flatnonzero(log > np.max(log, initial=-np.inf) - NEGLIGIBLE)
        if len(alive) == 0:
            return t[:0], log[:0]
        first, last = alive[0], alive[-1]
        if first == 0 and log[1] <= log[0]:
            raise ValueError("the law cannot be normalised: its mass piles up at w = 0")
        if last == COARSE - 1 and log[-1] >= log[-2]:
            raise ValueError("the law cannot be normalised: its mass escapes to infinity")
        for _ in range(DEEPEST):
            coarse = np.flatnonzero(_unresolved(t, log))
            if len(coarse) == 0:
                break
            inner = np.arange(1, SPLIT) / SPLIT
            new = (t[coarse, None] + np.diff(t)[coarse, None] * inner).ravel()
            values = self._on_line(sign * np.exp(new)) + new
            at = np.repeat(coarse + 1, SPLIT - 1)
            t, log = np.insert(t, at, new), np.insert(log, at, values)
        return t, log

    def _check_reference(self) -> None:
        if self.reference != "predictor":
            raise ValueError(
                f"this law is a density against the {self.reference} measure, not against dw: "
                "ask for reference='predictor'"
            )

    def _check_rays(self) -> None:
        """Mass must fall off along rays, towards 0 and towards infinity."""
        self._check_reference()
        size = prod(self.shape)
        rays = np.random.default_rng(0).normal(size=(8, size))
        for name, t in (
            ("piles up at w = 0", LOG_SMALL / 4),
            ("escapes to infinity", LOG_LARGE / 2),
        ):
            ends = np.exp([t, t + np.sign(t)])[:, None, None] * rays
            near, far = self.evaluate(ends.reshape(-1, *self.shape)).reshape(2, -1)
            if np.any(far + size * np.sign(t) >= near):
                raise ValueError(f"the law cannot be normalised: its mass {name}")


def _unresolved(t: np.ndarray, log: np.ndarray) -> np.ndarray:
    """Cells that matter and in which the log density is not yet known well.

    Beside a peak any cell may matter: a narrow one is higher between the points.
    """
    with np.errstate(invalid="ignore"):  # of two points without mass
        rise = np.diff(log, prepend=-np.inf, append=-np.inf)
    peak = (rise[:-1] >= 0) & (rise[1:] <= 0)
    matters = (log > log.max() - NEGLIGIBLE) | (peak & np.isfinite(log))
    steep = np.abs(rise[1:-1]) > STEEPEST
    steep |= np.append(steep[1:], False) | np.append(False, steep[:-1])  # a peak between equals
    wide = (np.diff(t) > WIDEST) & ((log > log.max() - NEGLIGIBLE)[:-1])
    return (matters[:-1] | matters[1:]) & (steep | wide)


def _walker(law: Law, steps: int) -> Callable[..., Array]:
    """Independent random walks of a number of steps, to their last points."""
    import blackjax

    def log_density(flat: Array) -> Array:
        value = law._density(flat.reshape(law.shape))
        return jnp.where(jnp.isfinite(value), value, -jnp.inf)

    def walk(key: Array, at: Array, root: Array) -> Array:
        move = blackjax.mcmc.random_walk.normal(root)
        walker = blackjax.additive_step_random_walk(log_density, move)

        def step(state: Any, key: Array) -> tuple[Any, None]:
            return walker.step(key, state)[0], None

        state, _ = jax.lax.scan(step, walker.init(at), jax.random.split(key, steps))
        return state.position

    return jax.jit(jax.vmap(walk, (0, 0, None)))


def _metropolis(law: Law, size: int, key: int) -> np.ndarray:
    """Last points of random walks; each round takes its steps from the spread of the last.

    Rounds go on while the spread shrinks, as it does from a wide start into a narrow law.
    """
    dim = prod(law.shape)
    with jax.enable_x64(True):
        keys = jax.random.split(jax.random.key(key), MOST_ROUNDS + 1)
        at = jax.random.normal(keys[0], (size, dim))
        root, widths = 0.5 * jnp.eye(dim), np.full(dim, np.inf)
        for done, k in enumerate(keys[1:], start=1):
            at = law._walk(jax.random.split(k, size), at, root)
            spread = jnp.cov(at.T).reshape(dim, dim) * 2.38**2 / dim
            root = jnp.linalg.cholesky(spread + 1e-12 * jnp.trace(spread) * jnp.eye(dim))
            before, widths = widths, np.sqrt(np.diag(spread))
            if done >= ROUNDS and np.all(widths > 0.8 * before):
                break
        return np.asarray(at).reshape(size, *law.shape)
