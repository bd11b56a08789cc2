"""What a linear synthesis w = A z is: the penalty acts on z, except on its first coordinates."""

import math
from abc import ABC, abstractmethod

import numpy as np
from array_api_compat import array_namespace

from symbias._core.arrays import Array, Shape, constant


class Transform(ABC):
    """A linear map z -> w along axis 0 whose first `free` coordinates are not penalised."""

    noun: str = "coordinates"  # for several of z
    free: int = 0
    mixes: bool = True  # whether an entry of w is made of several of z

    @abstractmethod
    def forward(self, z: Array) -> Array:
        """Synthesis: w = A z."""

    @abstractmethod
    def inverse(self, w: Array) -> Array:
        """Analysis: z with A z = w; of least penalty where there are several."""

    def rows(self, coordinates: int) -> int:
        """How many rows w has for so many of z: as many, for an invertible map."""
        return coordinates

    def dense(self, shape: Shape) -> np.ndarray:
        """The map on flattened coordinates z of this shape, (size of w, size of z)."""
        size = math.prod(shape)
        return np.asarray(self.forward(np.eye(size).reshape(*shape, size))).reshape(-1, size)


def apply(matrix: np.ndarray, z: Array) -> Array:
    """``matrix`` times z along axis 0."""
    if not z.shape[0]:
        return z
    xp = array_namespace(z)
    flat = xp.reshape(z, (z.shape[0], -1)) if z.ndim != 2 else z
    product = xp.matmul(constant(matrix, z), flat)
    return xp.reshape(product, (matrix.shape[0], *z.shape[1:]))
