"""A stationary law: a density that says against which measure it is one."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from math import prod
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from symbias._core.arrays import Array, effective
from symbias._core.jax_only import written_in_jax
from symbias._core.refusal import Refused
from symbias.mechanisms.line import distribution
from symbias.mechanisms.normalisable import check_mass

ROUNDS, MOST_ROUNDS, STEPS = 6, 60, 400  # of random-walk Metropolis
CHUNKS = (256, 4_000)  # points that are evaluated at once: two programs, whatever their number
CANDIDATES = 50  # for every start
CHAINS = 20  # at least, for every dimension: their spread makes the steps
SEARCH = 0.1  # seconds for the factors of one w


@dataclass(frozen=True, eq=False)
class Law:
    """A stationary law, up to normalisation.

    Attributes
    ----------
    log_density : callable
        Of one point, in JAX: the effective parameter w where `reference` is "predictor", otherwise
        the parameter dict theta. -inf or NaN where there is no mass, as outside of the range of w.
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
    coordinates : array, optional
        w = coordinates @ z, z the numbers that the parameterization makes; w itself by default.
    known : callable, optional
        Whether the density at w is known, in JAX; it is not beyond the table of a link.
    searched : bool
        Whether the factors of every w are searched numerically: a tenth of a second for a point.
    """

    log_density: Callable[[Any], Array]
    reference: str
    shape: tuple[int, ...] = ()
    assumptions: tuple[str, ...] = ()
    temperature: float = 1.0
    section: Callable[[Any], Any] | None = None
    formula: str = ""
    coordinates: np.ndarray | None = None
    known: Callable[[Any], Array] | None = None
    searched: bool = False

    def __call__(self, w: Any) -> float:
        """-T log density at w, or at the section of w: what this law makes w cost.

        Infinite where there is no mass. Raises ValueError where the density is not known.
        """
        w = effective(w, self.shape)
        self._check_known(np.asarray(w, dtype=float)[None])
        with jax.enable_x64(True):
            cost = float(self._cost(jnp.asarray(np.asarray(w), jnp.float64)))
        return np.inf if np.isnan(cost) else cost

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
        """Log densities of many points, stacked along axis 0, in float64.

        Raises ValueError for points of another shape than (n, *shape), and where the density is
        not known.
        """
        if self.reference == "predictor":
            points = np.asarray(points, dtype=float)
            if points.ndim == 0 or points.shape[1:] != self.shape:
                wanted = ", ".join(map(str, ("n", *self.shape)))
                raise ValueError(
                    f"points have shape {points.shape}, expected ({wanted}): n points along axis 0"
                )
            self._check_known(points)
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
            For a law that is not against dw, or cannot be normalised, or has mass next to where
            it is not known.
        Refused
            For several numbers whose factors are searched numerically (a map of one's own): random
            walks would take hours.
        """
        if self.shape in ((), (1,)):
            grid, values = self._distribution
            u = np.random.default_rng(key).uniform(size=size)
            keep = np.append(True, np.diff(values) > 0)
            return np.interp(u, values[keep], grid[keep]).reshape(size, *self.shape)
        self._check_cost(size)
        self._check_mass()
        return _metropolis(self, size, key)

    @cached_property
    def _many(self) -> Callable[[Any], Array]:
        return jax.jit(jax.vmap(self._density))

    @cached_property
    def _walk(self) -> Callable[..., Array]:
        return _walker(self, STEPS)

    def _values(self, w: np.ndarray) -> np.ndarray:
        """Log densities of many w, flat, in chunks of a fixed size."""
        return self._in_chunks(self._many, w)

    def _unknown(self, w: np.ndarray) -> np.ndarray:
        if self.known is None:
            return np.zeros(len(w), dtype=bool)
        return ~self._in_chunks(jax.jit(jax.vmap(self.known)), w)

    def _check_known(self, w: np.ndarray) -> None:
        if np.any(self._unknown(w)):
            raise ValueError(
                f"the density is not known up to |w| = {np.abs(w).max():.4g}: the table of a link "
                "ends before"
            )

    def _in_chunks(self, program: Callable[[Any], Array], w: np.ndarray) -> np.ndarray:
        count = len(w)
        chunk = CHUNKS[0] if count <= CHUNKS[0] else CHUNKS[1]
        padded = np.concatenate([w, np.repeat(w[:1], -count % chunk, axis=0)])
        with jax.enable_x64(True):
            parts = [
                np.asarray(program(jnp.asarray(part.reshape(-1, *self.shape), jnp.float64)))
                for part in np.split(padded, len(padded) // chunk)
            ]
        return np.concatenate(parts)[:count]

    @cached_property
    def _distribution(self) -> tuple[np.ndarray, np.ndarray]:
        self._check_reference()
        if self.shape not in ((), (1,)):
            raise ValueError(f"a law of shape {self.shape} has no distribution function; sample it")
        return distribution(self._values, self._unknown)

    def _check_reference(self) -> None:
        if self.reference != "predictor":
            raise ValueError(
                f"this law is a density against the {self.reference} measure, not against dw: "
                "ask for reference='predictor'"
            )

    def _check_cost(self, size: int) -> None:
        self._check_reference()
        if self.searched:
            steps = max(size, CHAINS * prod(self.shape)) * ROUNDS * STEPS
            raise Refused(
                f"{size} draws of {prod(self.shape)} numbers are the ends of random walks of "
                f"{steps:,} steps in all, and the factors of w are searched numerically at each of "
                f"them: about {max(1, round(steps * SEARCH / 3600)):,} hours. Simulated training "
                "gives samples, and single points can be evaluated"
            )

    def _check_mass(self) -> None:
        self._check_reference()
        size = prod(self.shape)
        check_mass(
            self._values, size, np.eye(size) if self.coordinates is None else self.coordinates
        )

    def _starts(self, size: int, key: int) -> np.ndarray:
        """Standard normal points, those where the density is positive."""
        rng, dim = np.random.default_rng(key), prod(self.shape)
        points = rng.normal(size=(size, dim))
        alive = np.isfinite(self._values(points))
        if alive.all():
            return points
        more = rng.normal(size=(CANDIDATES * size, dim)) * np.exp(
            rng.normal(size=(CANDIDATES * size, 1))
        )
        good = np.concatenate([points[alive], more[np.isfinite(self._values(more))]])
        if len(good) == 0:
            raise ValueError("no w was found at which the law has a positive density")
        return good[rng.integers(len(good), size=size)] if len(good) < size else good[:size]


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
    chains = max(size, CHAINS * dim)
    with jax.enable_x64(True):
        keys = jax.random.split(jax.random.key(key), MOST_ROUNDS + 1)
        at = jnp.asarray(law._starts(chains, key))
        root, widths = 0.5 * jnp.eye(dim), np.full(dim, np.inf)
        for done, k in enumerate(keys[1:], start=1):
            at = law._walk(jax.random.split(k, chains), at, root)
            spread = jnp.cov(at.T).reshape(dim, dim) * 2.38**2 / dim
            root = jnp.linalg.cholesky(spread + 1e-12 * jnp.trace(spread) * jnp.eye(dim))
            before, widths = widths, np.sqrt(np.diag(spread))
            if done >= ROUNDS and np.all(widths > 0.8 * before):
                break
        ahead = at + jax.random.normal(keys[0], at.shape) @ root.T
        law._check_known(np.asarray(ahead))
        return np.asarray(at[:size]).reshape(size, *law.shape)
