"""What the array API standard leaves to each library, in one place."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
from array_api_compat import array_namespace, is_jax_array, is_torch_array

Array = Any
Params = Mapping[str, Array]
Shape = tuple[int, ...]


def namespace(params: Params) -> Any:
    """The array namespace shared by all arrays of a parameter dict.

    Raises
    ------
    TypeError
        If the dict is empty, or holds non-arrays or arrays of different libraries.
    """
    if not params:
        raise TypeError("the parameter dict is empty")
    try:
        return array_namespace(*params.values())
    except TypeError as error:
        kinds = ", ".join(f"{k}: {type(v).__module__}" for k, v in params.items())
        raise TypeError(f"parameters must be arrays of one library, got {kinds}") from error


def constant(value: Any, like: Array, *, index: bool = False) -> Array:
    """``value`` as an array of the library and device of ``like``, of its dtype unless an index."""
    xp = array_namespace(like)
    where = {"device": like.device} if is_torch_array(like) else {}
    return xp.asarray(value, dtype=None if index else like.dtype, **where)


def normals(key: Any, shapes: Mapping[str, Shape], scale: float) -> dict[str, Array]:
    """Independent N(0, scale^2) arrays, in the library that ``key`` belongs to.

    ``key`` is a JAX key, a ``torch.Generator``, a ``numpy.random.Generator`` or an integer seed
    (NumPy arrays). One key gives the same arrays whatever else the caller draws.
    """
    kind = type(key).__module__.partition(".")[0]
    if kind == "torch":
        import torch

        return {
            n: scale * torch.randn(s, generator=key, device=key.device) for n, s in shapes.items()
        }
    if kind in ("jax", "jaxlib"):
        import jax

        keys = jax.random.split(key, max(len(shapes), 1))
        return {
            n: scale * jax.random.normal(k, s)
            for k, (n, s) in zip(keys, shapes.items(), strict=False)
        }
    generator = np.random.default_rng(key)
    return {n: scale * generator.standard_normal(s) for n, s in shapes.items()}


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
        from symbias._torch_host import call_on_host

        return list(call_on_host(function, *arrays))
    return [constant(result, like) for result in function(*map(np.asarray, arrays))]
