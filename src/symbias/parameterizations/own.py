"""A parameterization of one's own: a function, and the shapes of its factors. Nothing else."""

import math
from collections.abc import Callable, Mapping
from functools import cached_property
from typing import Any

import numpy as np

from symbias._core.arrays import Array, Params, Shape, concrete, constant, from_host
from symbias._core.refusal import Refused
from symbias.parameterizations.base import Parameterization, as_shape
from symbias.parameterizations.checks import check_function
from symbias.parameterizations.fibre import Least, least_on_fibre, point_on_fibre
from symbias.parameterizations.inputs import compressed, measurements
from symbias.parameterizations.recognition import recognise
from symbias.penalties import Form, Piece
from symbias.symmetry import Symmetry, discover

MOST_UNKNOWNS = 3_000  # of a discovery, whose cost is their cube


class Own(Parameterization):
    """w = fn(theta), by `Parameterization.of`; see there."""

    def __init__(self, fn: Callable[[Params], Array], shapes: Mapping[str, int | Shape]) -> None:
        if not callable(fn):
            raise TypeError(f"expected a function of a dict of arrays, got {fn!r}")
        if not shapes:
            raise ValueError("shapes is empty: a parameterization needs factors")
        self.fn = fn
        self._shapes = {str(name): as_shape(shape) for name, shape in shapes.items()}
        self._sizes = [math.prod(shape) for shape in self._shapes.values()]
        self.size = sum(self._sizes)
        self.shape = check_function(fn, self._shapes)

    def __repr__(self) -> str:
        name = getattr(self.fn, "__name__", "fn").replace("<lambda>", "fn")
        return f"Parameterization.of({name}, {self._shapes})"

    @property
    def shapes(self) -> dict[str, Shape]:
        return dict(self._shapes)

    def _named(self, flat: Any) -> dict[str, Any]:
        """Flat factors (NumPy or JAX) under their names."""
        stops = np.cumsum([0, *self._sizes])
        return {
            name: flat[a:b].reshape(shape)
            for (name, shape), a, b in zip(self._shapes.items(), stops[:-1], stops[1:], strict=True)
        }

    def _flat(self, theta: Mapping[str, Array]) -> np.ndarray:
        return np.concatenate([np.ravel(np.asarray(theta[n], float)) for n in self._shapes])

    @cached_property
    def _programs(self) -> dict[str, Callable[..., np.ndarray]]:
        """w, its Jacobian, and its gradients weighted by rows, compiled; flat, in float64."""
        import jax
        import jax.numpy as jnp

        def w(flat: Any) -> Any:
            return jnp.ravel(self.fn(self._named(flat)))

        def gradients(flat: Any, rows: Any) -> Any:
            return jnp.ravel(rows @ jax.jacrev(w)(flat))

        programs: dict[str, Callable[..., Any]] = {
            "w": w,
            "jacobian": jax.jacrev(w),
            "gradients": gradients,
            "curvature": jax.jacfwd(gradients),
        }

        def on_host(program: Callable[..., Any]) -> Callable[..., np.ndarray]:
            compiled = jax.jit(program)

            def call(*arrays: np.ndarray) -> np.ndarray:
                with jax.enable_x64(True):
                    return np.asarray(compiled(*(jnp.asarray(a, jnp.float64) for a in arrays)))

            return call

        return {name: on_host(program) for name, program in programs.items()}

    @cached_property
    def symmetry(self) -> Symmetry:
        """All linear symmetries that `sb.discover` finds.

        Raises
        ------
        Refused
            For factors too large to search: find the symmetry of the same map with small ones.
        """
        unknowns = sum(n * n for shape in self._shapes.values() for n in shape)
        if unknowns > MOST_UNKNOWNS:
            raise Refused(
                f"{self!r}: discovery would have {unknowns} unknowns, at most {MOST_UNKNOWNS} are "
                "searched; take the same function with smaller factors"
            )
        return discover(lambda theta, _: self.fn(theta), self._shapes, np.zeros(1)).symmetry

    def _effective(self, params: Params) -> Array:
        return self.fn(params)

    def least_norm(self, w: np.ndarray) -> Least:
        """The least 1/2 |theta|^2 over all theta of w, with its error estimate.

        Cost a few hundred least-squares steps, O(parameters^3) each.

        Raises
        ------
        ValueError
            If no factors of w are found.
        """
        programs = self._programs
        flat = np.ravel(np.asarray(w, dtype=float))
        eye = np.eye(self.size)
        return least_on_fibre(
            programs["w"], programs["jacobian"], lambda t: t, lambda t: eye, flat, self.size
        )

    def _factors(self, w: np.ndarray, charge: float) -> list[np.ndarray]:
        flat = np.ravel(np.asarray(w, dtype=float))
        if charge == 0:
            start = self.least_norm(w).theta
        else:
            noise = np.random.default_rng(0).normal(size=self.size)
            start = math.sqrt(charge) * noise
        theta = point_on_fibre(self._programs["w"], self._programs["jacobian"], flat, start)
        off = float(np.linalg.norm(self._programs["w"](theta) - flat))
        if off > 1e-9 * max(1.0, float(np.linalg.norm(flat))):
            raise ValueError(f"no factors of w were found: {off:.1e} from it")
        return list(self._named(theta).values())

    def _section(self, w: Array, charge: float) -> dict[str, Array]:
        """Numerical: of least norm, or for a charge near random factors of scale sqrt(charge)."""
        found = from_host(
            lambda values: self._factors(values, charge), list(self._shapes.values()), [w]
        )
        return dict(zip(self._shapes, found, strict=True))

    @cached_property
    def _recognised(self) -> Piece | None:
        return recognise(self.shape, lambda w: self.least_norm(w).value, self._degree())

    def _degree(self) -> float | None:
        """L where fn(a theta) = a^L fn(theta), or None."""
        rng, found = np.random.default_rng(1), []
        for _ in range(3):
            theta, a = rng.normal(size=self.size), float(rng.uniform(1.5, 3.0))
            one, other = self._programs["w"](theta), self._programs["w"](a * theta)
            if not np.any(one):
                return None
            ratio = float(one @ other) / float(one @ one)
            if ratio <= 0 or not np.allclose(other, ratio * one, rtol=1e-9, atol=1e-12):
                return None
            found.append(math.log(ratio) / math.log(a))
        return found[0] if np.ptp(found) < 1e-9 and found[0] > 0 else None

    def balanced_norm(self, w: Array) -> Array:
        """In closed form where one passes a numerical test; else numerically, not traceable."""
        if self._recognised is not None:
            return self._recognised.total(w)
        seen = concrete(w)
        if seen is None:
            raise Refused(f"no closed form is known for {self!r}: its penalty cannot be traced")
        return constant(self.least_norm(seen).value, w)

    def balanced_form(self) -> Form:
        if self._recognised is None:
            return super().balanced_form()
        return self._recognised

    def least_gradients(self, w: Array, inputs: Array) -> Array:
        """Numerically, over all theta of w."""
        seen, data = concrete(w), concrete(inputs)
        if seen is None or data is None:
            raise Refused(f"no closed form is known for {self!r}: its penalty cannot be traced")
        rows = compressed(measurements(compressed(np.asarray(data, float)), self.shape))
        programs = self._programs
        found = least_on_fibre(
            programs["w"],
            programs["jacobian"],
            lambda t: programs["gradients"](t, rows),
            lambda t: programs["curvature"](t, rows),
            np.ravel(np.asarray(seen, dtype=float)),
            self.size,
        )
        return constant(2 * found.value, w)

    def resized(self, shape: Shape) -> "Own":
        return self
