"""A parameterization of one's own: a function, and the shapes of its factors. Nothing else."""

import math
from collections.abc import Callable, Mapping
from functools import cached_property

import numpy as np
from array_api_compat import is_jax_array

from symbias._core.arrays import Array, Params, Shape, as_shape, concrete, from_host
from symbias.parameterizations.base import Parameterization
from symbias.parameterizations.charged import charged_factors
from symbias.parameterizations.checks import check_function
from symbias.parameterizations.fibre import Least, point_on_fibre
from symbias.parameterizations.flat import flat_map, unflatten
from symbias.parameterizations.followed import Followed
from symbias.parameterizations.general import least_norm, numerical_gradients, numerical_norm
from symbias.parameterizations.recognition import recognise
from symbias.penalties import Form, Piece
from symbias.symmetry import Symmetry, discover


class Own(Parameterization):
    """w = fn(theta), by `Parameterization.of`; see there."""

    balanced_section = True
    has_charges = False

    def __init__(self, fn: Callable[[Params], Array], shapes: Mapping[str, int | Shape]) -> None:
        if not callable(fn):
            raise TypeError(f"expected a function of a dict of arrays, got {fn!r}")
        if not isinstance(shapes, Mapping):
            raise TypeError(
                f"shapes must be a dict from the name of a factor to its shape, got {shapes!r}"
            )
        if not shapes:
            raise ValueError("shapes is empty: a parameterization needs factors")
        self.fn = fn
        self._shapes = {
            str(name): as_shape(shape, f"the shape of {name!r}") for name, shape in shapes.items()
        }
        self.size = sum(math.prod(shape) for shape in self._shapes.values())
        self.shape = check_function(fn, self._shapes)

    def __repr__(self) -> str:
        name = getattr(self.fn, "__name__", "fn").replace("<lambda>", "fn")
        return f"Parameterization.of({name}, {self._shapes})"

    @property
    def shapes(self) -> dict[str, Shape]:
        return dict(self._shapes)

    @cached_property
    def symmetry(self) -> Symmetry:
        """All linear symmetries that `sb.discover` finds.

        Raises
        ------
        Refused
            For factors too large to search: find the symmetry of the same map with small ones.
        """
        return discover(lambda theta, _: self.fn(theta), self._shapes, np.zeros(1)).symmetry

    def _effective(self, params: Params) -> Array:
        """NumPy for NumPy, in the precision of the factors whatever JAX is set to."""
        if not all(isinstance(a, np.ndarray) for a in params.values()):
            return self.fn(params)
        import jax

        with jax.enable_x64(True):
            return np.asarray(self.fn(params))

    def least_norm(self, w: np.ndarray) -> Least:
        """The least 1/2 |theta|^2 over all theta of w, with its error estimate.

        Cost a few hundred least-squares steps, O(parameters^3) each.

        Raises
        ------
        ValueError
            If no factors of w are found.
        """
        return least_norm(self, w)

    def _factors(self, w: np.ndarray, charge: float) -> list[np.ndarray]:
        flat = np.ravel(np.asarray(w, dtype=float))
        if charge == 0:
            start = self.least_norm(w).theta
        else:
            noise = np.random.default_rng(0).normal(size=self.size)
            start = math.sqrt(charge) * noise
        programs = flat_map(self)
        theta = point_on_fibre(programs.w, programs.jacobian, flat, start)
        off = float(np.linalg.norm(programs.w(theta) - flat))
        if off > 1e-9 * max(1.0, float(np.linalg.norm(flat))):
            raise ValueError(f"no factors of w were found: {off:.1e} from it")
        return list(unflatten(self, theta).values())

    def charged_section(self, w: Array, charge: float) -> dict[str, Array]:
        """Numerical, in float64."""
        return charged_factors(self, w, charge)

    def _section(self, w: Array, charge: float) -> dict[str, Array]:
        """Numerical: of least norm, or for a charge near random factors of scale sqrt(charge).

        NaN, instead of a refusal, where none are found while it is traced. Of one number, traced
        by JAX, it is read from tables.
        """
        traced = concrete(w) is None
        if traced and is_jax_array(w) and charge == 0 and math.prod(self.shape) == 1:
            return unflatten(self, self._followed(w.reshape()))

        def on_host(values: np.ndarray) -> list[np.ndarray]:
            try:
                return self._factors(values, charge)
            except ValueError:
                if not traced:
                    raise
                return [np.full(shape, np.nan) for shape in self._shapes.values()]

        found = from_host(on_host, list(self._shapes.values()), [w])
        return dict(zip(self._shapes, found, strict=True))

    @property
    def searched(self) -> bool:
        return math.prod(self.shape) != 1

    @cached_property
    def _followed(self) -> Followed:
        import jax

        with jax.ensure_compile_time_eval():
            return Followed.of(self)

    @cached_property
    def _recognised(self) -> Piece | None:
        return recognise(self.shape, lambda w: self.least_norm(w).value, self._degree())

    def _degree(self) -> float | None:
        """L where fn(a theta) = a^L fn(theta), or None."""
        rng, found = np.random.default_rng(1), []
        for _ in range(3):
            theta, a = rng.normal(size=self.size), float(rng.uniform(1.5, 3.0))
            one, other = flat_map(self).w(theta), flat_map(self).w(a * theta)
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
        return numerical_norm(self, w)

    def balanced_form(self) -> Form:
        if self._recognised is None:
            return super().balanced_form()
        return self._recognised

    def least_gradients(self, w: Array, inputs: Array) -> Array:
        """Numerically, over all theta of w."""
        return numerical_gradients(self, w, inputs)
