"""Random parameters, and the slopes of a predictor there: where its equations come from."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping
from typing import Any, ClassVar

import numpy as np

from symbias._core.extras import needed_by
from symbias._core.jax_only import traced_alike
from symbias.symmetry.discovery.equations import Numpy, Shapes

Named = dict[str, Numpy]


class Draws(ABC):
    """Random parameters with the gradients of every output there, ``outputs`` per draw."""

    BLOCK: ClassVar[int] = 16
    outputs: int

    def __init__(self, shapes: Shapes, seed: int) -> None:
        self.shapes = dict(shapes)
        self.rng = np.random.default_rng(seed)

    @abstractmethod
    def slopes(self, params: Named) -> tuple[Numpy, Named]:
        """Outputs ``(draws, outputs)`` and their gradients ``(draws, outputs, *shape)``, at
        parameters with a leading axis for draws."""

    @abstractmethod
    def values(self, params: Mapping[str, Numpy]) -> Numpy:
        """All outputs at one draw."""

    def draw(self) -> Named:
        """Parameters at random."""
        return {
            name: self.rng.standard_normal(shape) * max(shape, default=1) ** -0.5
            for name, shape in self.shapes.items()
        }

    def take(self, count: int) -> Iterator[tuple[Named, Named]]:
        """Gradients and parameters at ``count`` or more draws, one entry per output and draw."""
        for _ in range(0, count, self.BLOCK):
            rows = [self.draw() for _ in range(self.BLOCK)]
            params = {name: np.stack([row[name] for row in rows]) for name in self.shapes}
            values, found = self.slopes(params)
            if not np.isfinite(values).any():
                raise ValueError("the predictor is finite nowhere, at random parameters")
            gradients = {k: v.reshape(-1, *v.shape[2:]) for k, v in found.items()}
            if not all(np.isfinite(g).all() for g in gradients.values()):
                raise ValueError("the predictor's derivative is not finite at random parameters")
            yield gradients, {k: np.repeat(v, self.outputs, axis=0) for k, v in params.items()}

    def batches(self) -> Iterator[tuple[Named, Named]]:
        """Fresh draws without end, a block at a time."""
        while True:
            yield from self.take(1)

    def keeps(self, move: Callable[[Named], Mapping[str, Numpy]], tolerance: float = 1e-9) -> bool:
        """Whether a map of the parameters leaves the predictor where it is, at two draws."""
        for params in (self.draw(), self.draw()):
            here, there = self.values(params), self.values(dict(move(params)))
            if not np.allclose(here, there, rtol=0, atol=tolerance * np.max(np.abs(here))):
                return False
        return True


class TracedDraws(Draws):
    """Draws of a function that JAX can trace, in float64."""

    def __init__(self, predict: Callable[..., Any], shapes: Shapes, inputs: Any, seed: int) -> None:
        with needed_by("sb.discover"):
            import jax
            import jax.numpy as jnp

        super().__init__(shapes, seed)

        def flat(params: Any, inputs: Any) -> Any:
            values = predict(params, inputs)
            if not (hasattr(values, "dtype") and jnp.issubdtype(values.dtype, jnp.floating)):
                kind = getattr(values, "dtype", type(values).__name__)
                raise TypeError(f"predict must return one array of real numbers, got {kind}")
            return jnp.reshape(values, (-1,))

        def double(array: Any) -> Any:
            array = jnp.asarray(array)
            return array.astype(float) if jnp.issubdtype(array.dtype, jnp.floating) else array

        with jax.enable_x64(True):
            self.inputs = jax.tree.map(double, inputs)
            try:
                program = traced_alike("predict", flat, self.draw(), self.inputs)
            except KeyError as error:
                known = ", ".join(map(repr, self.shapes))
                raise ValueError(f"predict asks for {error}: the arrays are {known}") from error
            self.outputs = program.out_avals[0].shape[0]

        def both(params: Any, inputs: Any) -> Any:
            values = flat(params, inputs)
            return values, values

        self._values = jax.jit(flat)
        self._jacobian = jax.jit(jax.vmap(jax.jacrev(both, has_aux=True), in_axes=(0, None)))

    def slopes(self, params: Named) -> tuple[Numpy, Named]:
        import jax

        with jax.enable_x64(True):
            slopes, values = self._jacobian(params, self.inputs)
            return np.asarray(values), {k: np.asarray(v) for k, v in slopes.items()}

    def values(self, params: Mapping[str, Numpy]) -> Numpy:
        import jax

        with jax.enable_x64(True):
            return np.asarray(self._values(dict(params), self.inputs))
