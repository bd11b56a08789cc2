"""What the array API standard leaves to each library, in one place."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
from array_api_compat import array_namespace, is_jax_array, is_torch_array

from symbias._core.numbers import is_whole

Array = Any
Params = Mapping[str, Array]
Shape = tuple[int, ...]


def as_shape(shape: int | Shape, name: str = "shape") -> Shape:
    """``shape`` as a tuple of non-negative integers."""
    sizes = tuple(shape) if isinstance(shape, tuple | list) else (shape,)
    if not all(is_whole(n) and n >= 0 for n in sizes):
        raise ValueError(f"{name} must be non-negative integers, got {shape!r}")
    return tuple(int(n) for n in sizes)


def check_dict(params: Any) -> None:
    """Raise TypeError for what has no names of arrays."""
    if not hasattr(params, "keys"):
        raise TypeError(f"expected a dict of arrays by name, got {type(params).__name__}")


def namespace(params: Params) -> Any:
    """The array namespace shared by all arrays of a parameter dict.

    Raises
    ------
    TypeError
        If the dict is empty, or holds non-arrays or arrays of different libraries.
    """
    check_dict(params)
    if not params:
        raise TypeError("the parameter dict is empty")
    try:
        return array_namespace(*params.values())
    except TypeError as error:
        kinds = ", ".join(f"{k}: {type(v).__module__}" for k, v in params.items())
        raise TypeError(f"parameters must be arrays of one library, got {kinds}") from error


def effective(w: Any, shape: Shape) -> Array:
    """``w`` as a real floating-point array of this shape; NumPy for lists and numbers.

    Raises
    ------
    TypeError
        For what is not an array of real floating-point numbers.
    ValueError
        For another shape.
    """
    if not (hasattr(w, "shape") and hasattr(w, "dtype")):
        try:
            w = np.asarray(w, dtype=float) if isinstance(w, list | tuple | int | float) else None
        except (TypeError, ValueError):
            w = None
        if w is None:
            raise TypeError(f"w must be an array of numbers of shape {shape}")
    if tuple(w.shape) != shape:
        raise ValueError(f"w has shape {tuple(w.shape)}, expected {shape}")
    if not array_namespace(w).isdtype(w.dtype, "real floating"):
        raise TypeError(f"w must be a real floating-point array, got {w.dtype}")
    return w


def constant(value: Any, like: Array, *, index: bool = False) -> Array:
    """``value`` as an array of the library and device of ``like``, of its dtype unless an index."""
    xp = array_namespace(like)
    where = {"device": like.device} if is_torch_array(like) else {}
    return xp.asarray(value, dtype=None if index else like.dtype, **where)


def at_least_single(xp: Any, params: Params) -> dict[str, Array]:
    """The same arrays, those of half precision in single: libraries have no spectra for half."""

    def widen(a: Array) -> Array:
        half = xp.isdtype(a.dtype, "real floating") and xp.finfo(a.dtype).bits < 32
        return xp.astype(a, xp.float32) if half else a

    return {name: widen(a) for name, a in params.items()}


def concrete(array: Array) -> np.ndarray | None:
    """A NumPy view of an array, or None while JAX or torch.func traces it."""
    try:
        return np.asarray(array.detach().cpu() if is_torch_array(array) else array)
    except (TypeError, RuntimeError):
        return None


def from_host(
    function: Callable[..., Sequence[np.ndarray]],
    shapes: Sequence[tuple[int, ...]],
    arrays: Sequence[Array],
) -> list[Array]:
    """Results of a NumPy function of these arrays, held constant under differentiation.

    Works while JAX or torch.func traces ``arrays``; results have their dtype and device.
    """
    like = arrays[0]
    if is_jax_array(like):
        import jax

        out = [jax.ShapeDtypeStruct(shape, like.dtype) for shape in shapes]
        fixed = [jax.lax.stop_gradient(a) for a in arrays]

        def host(*values: Any) -> list[np.ndarray]:
            return [np.asarray(r, dtype=like.dtype) for r in function(*map(np.asarray, values))]

        return list(jax.pure_callback(host, out, *fixed, vmap_method="sequential"))
    if is_torch_array(like):
        from symbias._core.torch_host import call_on_host

        return list(call_on_host(function, *arrays))
    return [constant(result, like) for result in function(*map(np.asarray, arrays))]


def as_columns(y: np.ndarray) -> np.ndarray:
    """``y`` of shape (n,) or (n, columns) with one column at least."""
    return y[:, None] if y.ndim == 1 else y
