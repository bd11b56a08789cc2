"""A box of factors, and of the w that they reach."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from array_api_compat import array_namespace

from symbias._core.arrays import Array, Shape, effective
from symbias._core.extras import needed_by
from symbias.parameterizations import Parameterization, jacobian


@dataclass(frozen=True, eq=False)
class Box:
    """0 for w with entries of at most ``bound``, infinite for all others.

    Attributes
    ----------
    bound : float
    shape : tuple
        Of w.
    formula : str
    whole : bool
        Whether factors in their own box reach every w of this one; otherwise w is contained in it.
    """

    bound: float
    shape: Shape
    formula: str
    whole: bool

    def __call__(self, w: Array) -> Array:
        """0 or inf, a scalar; raises ValueError for another shape than `shape`."""
        w = effective(w, self.shape)
        xp = array_namespace(w)
        zero = xp.zeros((), dtype=w.dtype)
        return xp.where(xp.max(xp.abs(w)) <= self.bound, zero, zero + math.inf)


@dataclass(frozen=True)
class BoxPoint:
    """How far factors are from a KKT point of the loss in the box max |theta| <= bound.

    Attributes
    ----------
    largest : float
        max |theta|.
    residual : float
        max |theta - clip(theta - g, -bound, bound)|, g the gradient of the loss: zero exactly at
        KKT points, where g = 0 inside and -g points outwards on the walls.
    gap : float
        bound |g|_1 + <theta, g>: zero there too. Where the loss is convex in theta, no point of
        the box has a loss that is smaller by more.
    """

    largest: float
    residual: float
    gap: float


def box_point(
    p: Parameterization, theta: Mapping[str, np.ndarray], gradient: Any, bound: float
) -> BoxPoint:
    """How far factors are from a KKT point of a loss in max |theta| <= bound; see `AdamW.kkt`."""
    gradient = np.asarray(gradient, dtype=float)
    if gradient.shape != p.shape:
        raise ValueError(f"gradient has shape {gradient.shape}, expected dL/dw: {p.shape}")
    p(dict(theta))
    slopes = _slopes(p, theta, gradient)
    flat = np.concatenate([np.asarray(theta[name], dtype=float).ravel() for name in sorted(theta)])
    moved = np.clip(flat - slopes, -bound, bound)
    return BoxPoint(
        float(np.abs(flat).max()),
        float(np.abs(flat - moved).max()),
        float(bound * np.abs(slopes).sum() + flat @ slopes),
    )


def _slopes(
    p: Parameterization, theta: Mapping[str, np.ndarray], gradient: np.ndarray
) -> np.ndarray:
    """dL/dtheta, factors in sorted order."""
    if p.is_identity:
        return gradient.ravel()
    with needed_by("AdamW.kkt of factors"):
        import jax
        import jax.numpy as jnp

    with jax.enable_x64(True):
        arrays = {name: jnp.asarray(np.asarray(a, dtype=float)) for name, a in theta.items()}
        return gradient.ravel() @ np.asarray(jacobian(p, arrays))
