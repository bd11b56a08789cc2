"""A least-squares loss 1/2 |y - B z|^2, and what variable projection and descent ask of it."""

from functools import cached_property

import numpy as np
from scipy.linalg import cho_factor, cho_solve


class Quadratic:
    """1/2 |y - B z|^2 up to a constant: rows beyond the columns are rotated away (QR)."""

    def __init__(self, B: np.ndarray, y: np.ndarray) -> None:
        if B.shape[0] > B.shape[1]:
            rotation, B = np.linalg.qr(B)
            y = rotation.T @ y
        self.B, self.y, self._pull = B, y, B.T @ y

    @cached_property
    def _gram(self) -> np.ndarray | None:
        """B^T B, for as many as 2 n columns."""
        n, m = self.B.shape
        return self.B.T @ self.B if m <= 2 * n else None

    def bend(self, z: np.ndarray) -> np.ndarray:
        """B^T B z."""
        return self.B.T @ (self.B @ z) if self._gram is None else self._gram @ z

    def slope(self, z: np.ndarray) -> np.ndarray:
        """B^T (B z - y)."""
        return self.bend(z) - self._pull

    def value_and_slope(self, z: np.ndarray) -> tuple[float, np.ndarray]:
        """The loss at z and its gradient, by way of the residual: exact where it is small."""
        r = self.y - self.B @ z
        return 0.5 * float(r @ r), -(self.B.T @ r)

    def ridge(self, v: np.ndarray, strength: float) -> np.ndarray:
        """argmin_u 1/2 |y - B (v u)|^2 + strength/2 |u|^2, one Cholesky factorization.

        Raises LinAlgError where rounding leaves it none, ValueError for v that is not finite.
        """
        if self._gram is None:
            scaled = self.B * v
            system = scaled @ scaled.T
            system.flat[:: len(system) + 1] += strength
            return scaled.T @ cho_solve(cho_factor(system, overwrite_a=True), self.y)
        system = v[:, None] * self._gram * v
        system.flat[:: len(system) + 1] += strength
        return cho_solve(cho_factor(system, overwrite_a=True), v * self._pull)
