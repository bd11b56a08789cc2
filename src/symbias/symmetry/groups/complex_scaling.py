"""One complex scale per plane."""

from dataclasses import dataclass
from functools import cached_property
from typing import Any, Literal

import numpy as np

from symbias._core.arrays import Array, constant
from symbias.symmetry.groups.base import Numpy, sqrt0, square_norm
from symbias.symmetry.groups.diagonal import balancing_scales, worst_scale
from symbias.symmetry.groups.matrix import MatrixGroup


@dataclass(frozen=True)
class ComplexScaling(MatrixGroup):
    """One complex scale per plane: the matrices that commute with rotary position embeddings.

    ``layout="interleaved"`` pairs components ``(2i, 2i + 1)``, ``"half"`` pairs ``(i, i + r/2)``.
    Orbit Gram: ``k / 2`` twice per plane, ``k`` the plane's share of ``tr(M + N)``. Charge: the
    plane's share of ``tr(M - N)``.
    """

    layout: Literal["interleaved", "half"] = "interleaved"

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.size % 2:
            raise ValueError(f"ComplexScaling needs an even size, got {self.size}")
        if self.layout not in ("interleaved", "half"):
            raise ValueError(f"layout must be 'interleaved' or 'half', got {self.layout!r}")

    @cached_property
    def planes(self) -> Numpy:
        """The two components of each plane, ``(r / 2, 2)``."""
        index = np.arange(self.size)
        if self.layout == "half":
            return index.reshape(2, -1).T
        return index.reshape(-1, 2)

    def _terms(self) -> tuple[Numpy, Numpy]:
        a, b = self.planes.T
        scale = np.stack([a * self.size + a, b * self.size + b], axis=1)
        turn = np.stack([b * self.size + a, a * self.size + b], axis=1)
        signs = np.ones((self.size, 2))
        signs[len(a) :, 1] = -1
        return np.concat([scale, turn]), signs

    def _shares(self, xp: Any, x: Array) -> Array:
        rows = xp.take(square_norm(xp, x), constant(self.planes.reshape(-1), x, index=True), axis=1)
        return xp.sum(xp.reshape(rows, (x.shape[0], -1, 2)), axis=-1)

    def charge(self, xp: Any, x: Array, y: Array) -> Array:
        return self._shares(xp, x) - self._shares(xp, y)

    def spectrum(self, xp: Any, x: Array, y: Array) -> tuple[Array, float]:
        half = (self._shares(xp, x) + self._shares(xp, y)) / 2
        return xp.concat([half, half], axis=-1), 0.0

    def least(self, xp: Any, x: Array, y: Array) -> Array:
        roots = sqrt0(xp, self._shares(xp, x)) * sqrt0(xp, self._shares(xp, y))
        return xp.sum(roots, axis=-1)

    def balancing(self, x: Numpy, y: Numpy) -> tuple[Numpy, Numpy]:
        g, h = balancing_scales(self._shares(np, x), self._shares(np, y))
        both = np.zeros((2, len(x), self.size))
        both[..., self.planes] = np.stack([g, h])[..., None]
        eye = both[..., None] * np.eye(self.size)
        return eye[0], eye[1]

    def residual(self, x: Numpy, y: Numpy) -> Numpy:
        return worst_scale(self._shares(np, x), self._shares(np, y))

    def dead(self, x: Numpy, y: Numpy, grain: float = 0.0) -> Numpy:
        return 2 * np.sum((self._shares(np, x) == 0) | (self._shares(np, y) == 0), axis=-1)
