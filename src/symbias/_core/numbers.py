"""Numbers that a user gave: checked, with the name of what was wrong."""

import math
from typing import Any

import numpy as np


def number(name: str, value: Any) -> float:
    """``value`` as a float.

    Raises
    ------
    TypeError
        For what is not one real number; True and False are not.
    """
    try:
        if isinstance(value, bool | str | bytes):
            raise TypeError
        return float(value)
    except (TypeError, ValueError):
        raise TypeError(f"{name} must be a number, got {type(value).__name__} {value!r}") from None


def whole(name: str, value: Any, least: int) -> int:
    """``value`` as an int; raises TypeError unless it is one, ValueError below ``least``."""
    if not is_whole(value):
        raise TypeError(f"{name} must be a whole number, got {type(value).__name__} {value!r}")
    if value < least:
        raise ValueError(f"{name} must be at least {least}, got {value}")
    return int(value)


def is_whole(value: Any) -> bool:
    """Whether ``value`` is an integer of Python or NumPy; True and False are not."""
    return isinstance(value, int | np.integer) and not isinstance(value, bool)


def positive(name: str, value: Any) -> float:
    """``value`` as a float; raises ValueError unless it is positive and finite."""
    if not (0 < (checked := number(name, value)) < math.inf):
        raise ValueError(f"{name} must be positive and finite, got {value!r}")
    return checked


def non_negative(name: str, value: Any) -> float:
    """``value`` as a float; raises ValueError unless it is finite and at least 0."""
    if not (0 <= (checked := number(name, value)) < math.inf):
        raise ValueError(f"{name} must be finite and at least 0, got {value!r}")
    return checked
