"""The array libraries that every array-API function is tested with, in float64."""

from typing import Any

import jax
import numpy as np
import pytest
import torch

each = pytest.mark.parametrize("backend", ["numpy", "jax", "torch"])


def to(backend: str, array: Any) -> Any:
    """``array`` as a float64 array of ``backend``; JAX needs `x64` around it."""
    array = np.asarray(array, dtype=np.float64)
    if backend == "jax":
        return jax.numpy.asarray(array)
    return torch.asarray(array) if backend == "torch" else array


def x64() -> Any:
    return jax.enable_x64(True)


def back(array: Any) -> np.ndarray:
    return np.asarray(array)
