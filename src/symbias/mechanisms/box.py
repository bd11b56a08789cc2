"""A box of factors, and of the w that they reach."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from array_api_compat import array_namespace

from symbias._core.arrays import Array, Shape, check_dict, constant, effective
from symbias._core.extras import needed_by
from symbias._core.refusal import Refused
from symbias.parameterizations import Parameterization, jacobian


@dataclass(frozen=True, eq=False)
class Box:
    """0 for w whose coordinates z are from ``low`` to ``bound``, infinite for all others.

    Attributes
    ----------
    p : Parameterization
        w = A z behind a linear map, and otherwise z = w.
    bound, low : float, or array of one for each z
        `low` is -bound, or 0 where there are no others.
    formula : str
    whole : bool
        Whether factors in their own box reach every w of this one; otherwise w is contained in it.
    """

    p: Parameterization
    bound: float | np.ndarray
    low: float | np.ndarray
    formula: str
    whole: bool

    @property
    def shape(self) -> Shape:
        return self.p.shape

    def __call__(self, w: Array) -> Array:
        """0 or inf, a scalar; raises ValueError for another shape than `shape`."""
        z = self.p.flat_coordinates(effective(w, self.shape))
        xp = array_namespace(z)
        low, high = (constant(np.broadcast_to(a, z.shape), z) for a in (self.low, self.bound))
        inside = xp.all((low <= z) & (z <= high))
        zero = xp.zeros((), dtype=z.dtype)
        return xp.where(inside, zero, zero + math.inf)


def implied_box(p: Parameterization, wall: float) -> Box:
    """The w of factors with |theta_i| <= wall, through the coordinates of the normal form.

    Raises
    ------
    Refused
        For a core whose image is not known, and where w has more coordinates than entries.
    """
    form = p.normal_form()
    images = [core.design.box_image() for core in form.cores]
    free = form.linear.free.shape[1]
    sizes = [free, *(core.size for core in form.cores)]
    if sum(sizes) != math.prod(p.shape):
        raise Refused(
            f"{p!r}: one w has many coordinates, and the w that factors in a box reach are not "
            "known. Take AdamW.kkt to judge a run"
        )
    whole = all(image.whole for image in images)
    bound: float | np.ndarray
    low: float | np.ndarray
    if form.cores[0].design is p:
        bound = images[0].reach(wall)
        low = -bound * p.signed
        said = f"{'max |w_i|' if p.signed else '0 <= w_i'} <= {images[0].formula}"
    else:
        bound = np.repeat([wall, *(image.reach(wall) for image in images)], sizes)
        low = -bound * np.repeat([True, *(core.design.signed for core in form.cores)], sizes)
        each = dict.fromkeys([*(["1 / lam"] * bool(free)), *(image.formula for image in images)])
        said = f"w = A z and |z_i| <= {' or '.join(each)}"
    said = f"0 where {said}, else inf" if whole else f"contained in {said}"
    return Box(p, bound, low, said, whole)


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
    if not np.all(np.isfinite(gradient)):
        raise ValueError("gradient has entries that are not finite")
    check_dict(theta)
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
