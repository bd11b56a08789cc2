"""A training problem: what is predicted, from which parameters, on which data, at what cost."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from array_api_compat import is_torch_array

from symbias._core.arrays import concrete
from symbias._core.jax_only import written_in_jax

Array = Any
Params = dict[str, Array]
Batch = tuple[Array, Array] | None


def squared_error(prediction: Array, target: Array) -> Array:
    """Half the squared error, summed over outputs and averaged over the samples of axis 0.

    Raises
    ------
    ValueError
        If the two shapes differ: broadcasting would average over pairs that do not belong together.
    """
    if prediction.shape != target.shape:
        raise ValueError(f"predictions {prediction.shape} and targets {target.shape} differ")
    samples = prediction.shape[0] if prediction.ndim else 1
    return 0.5 * jnp.sum((prediction - target) ** 2) / samples


@dataclass(frozen=True, eq=False)
class Problem:
    """What training minimises: ``loss(predict(params, x), y)`` over data or fresh samples.

    Parameters
    ----------
    predict : callable
        ``predict(params, x)`` for a batch ``x`` of shape (samples, ...), written in JAX. Without
        data and sampler it is called as ``predict(params)`` and gives the effective parameter.
    params : dict of arrays, or callable
        The start of every replica; a callable ``params(key)`` draws one for each replica.
    loss : callable
        ``loss(prediction, y)``, a scalar; ``loss(w)`` where there is no data.
    data : (x, y), optional
        A finite data set with samples along axis 0 of both arrays.
    sampler : callable, optional
        ``sampler(key, size) -> (x, y)``: fresh samples for every batch.
    symmetry : Symmetry, optional
        The symmetry of `predict` in `params`; Langevin noise and the equilibrium of SGD need it.
    x64 : bool, optional
        Whether to work in float64; by default where `params` holds float64 arrays.

    Raises
    ------
    TypeError, ValueError
        For both data and sampler, arrays of different lengths or with values that are not finite,
        parameters that are not a flat dict of floating-point NumPy or JAX arrays, or a symmetry
        that does not fit them.
    """

    predict: Callable[..., Array]
    params: Params | Callable[[Array], Params]
    loss: Callable[..., Array] = squared_error
    data: tuple[Array, Array] | None = None
    sampler: Callable[[Array, int], tuple[Array, Array]] | None = None
    symmetry: Any = None
    x64: bool | None = None

    def __post_init__(self) -> None:
        if self.data is not None and self.sampler is not None:
            raise ValueError("a problem has data or a sampler, not both")
        if self.data is not None:
            x, y = (np.asarray(part) for part in self.data)
            if x.ndim == 0 or y.ndim == 0 or len(x) != len(y) or len(x) == 0:
                raise ValueError(
                    f"data: x {x.shape} and y {y.shape} need the same non-zero length along axis 0"
                )
            for name, part in (("x", x), ("y", y)):
                _check_finite(f"data: {name}", part)
        if not callable(self.params):
            if not isinstance(self.params, dict) or not self.params:
                raise TypeError("params must be a non-empty flat dict of arrays, or a callable")
            for name, leaf in self.params.items():
                if is_torch_array(leaf):
                    raise TypeError(f"params[{name!r}] is a torch tensor: give NumPy or JAX arrays")
                if not jnp.issubdtype(getattr(leaf, "dtype", np.object_), jnp.floating):
                    raise TypeError(f"params[{name!r}] must be a floating-point array")
                _check_finite(f"params[{name!r}]", leaf)
            if self.symmetry is not None:
                self.symmetry.check(self.params)
        if self.x64 is None:
            double = not callable(self.params) and any(
                leaf.dtype == np.float64 for leaf in self.params.values()
            )
            object.__setattr__(self, "x64", double)

    @property
    def samples(self) -> int | None:
        """Length of the data set; None for fresh samples or none at all."""
        return None if self.data is None else len(self.data[0])

    def precision(self) -> Any:
        """The context in which this problem is traced and run: JAX with or without float64."""
        return jax.enable_x64(bool(self.x64))

    def shapes(self) -> dict[str, jax.ShapeDtypeStruct]:
        """Shapes and dtypes of the parameters of one replica."""
        with self.precision(), written_in_jax("params of a Problem"):
            return jax.eval_shape(lambda: self.initial(jax.random.key(0)))

    def initial(self, key: Array) -> Params:
        """The start of one replica."""
        params = self.params(key) if callable(self.params) else self.params
        return {name: jnp.asarray(value) for name, value in params.items()}

    def arrays(self) -> Batch:
        """The data in the precision of the run, or None."""
        if self.data is None:
            return None
        x, y = (_floats_as(np.asarray(part), bool(self.x64)) for part in self.data)
        return x, y

    def objective(self, params: Params, batch: Batch) -> Array:
        """Loss of one batch; of the parameters alone where `batch` is None."""
        if batch is None:
            return self.loss(self.predict(params))
        x, y = batch
        return self.loss(self.predict(params, x), y)


def _check_finite(name: str, array: Array) -> None:
    seen = concrete(array)
    if seen is None or not jnp.issubdtype(seen.dtype, jnp.inexact):
        return
    if bad := seen.size - np.count_nonzero(np.isfinite(seen)):
        raise ValueError(f"{name} has {bad} of {seen.size} values that are not finite")


def _floats_as(array: np.ndarray, x64: bool) -> np.ndarray:
    if not np.issubdtype(array.dtype, np.floating):
        return array
    return array.astype(np.float64 if x64 else np.float32)
