"""The same arrays in every library the engine runs on."""

from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from typing import Any

import array_api_strict
import jax
import jax.numpy as jnp
import numpy as np
import torch

BACKENDS = ["numpy", "jax", "torch", "strict"]


@contextmanager
def backend(name: str) -> Iterator[Any]:
    """A function that turns float64 NumPy arrays into this library's, without losing bits."""
    makers = {
        "numpy": np.asarray,
        "jax": jnp.asarray,
        "torch": torch.as_tensor,
        "strict": array_api_strict.asarray,
    }
    with jax.enable_x64(True) if name == "jax" else nullcontext():
        yield lambda params: {k: makers[name](v) for k, v in params.items()}


def host(array: Any) -> np.ndarray:
    return np.asarray(array.detach() if isinstance(array, torch.Tensor) else array)
