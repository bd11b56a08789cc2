"""What the array API standard leaves to each library, in one place."""

from collections.abc import Mapping
from typing import Any

from array_api_compat import array_namespace, is_torch_array

Array = Any
Params = Mapping[str, Array]


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
