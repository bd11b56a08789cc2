"""Continuous piecewise linear functions of one number, and two-layer ReLU networks as such."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from array_api_compat import array_namespace

from symbias._core.arrays import Array


def network(theta: Mapping[str, Array], x: Array) -> Array:
    r"""The two-layer ReLU network :math:`\sum_k v_k (u_k x + b_k)_+ + c + a x` at points x.

    In NumPy, JAX and PyTorch.

    Parameters
    ----------
    theta : dict
        "u", "v", "b" of shape (width,), "c" of shape (), and "a" of shape () where there is a skip.
    x : array (n,)

    Returns
    -------
    array (n,)
    """
    xp = array_namespace(x)
    hidden = x[:, None] * theta["u"] + theta["b"]
    active = xp.where(hidden > 0, hidden, xp.zeros_like(hidden))
    out = xp.sum(active * theta["v"], axis=1) + theta["c"]
    return out + theta["a"] * x if "a" in theta else out


@dataclass(frozen=True, eq=False)
class PiecewiseLinear:
    """A continuous piecewise linear function: call it with an array of points.

    Parameters
    ----------
    knots : array (k,)
        Increasing; at least one.
    values : array (k,)
        Of the function at the knots.
    left, right : float
        Slopes before the first knot and after the last.

    Raises
    ------
    ValueError
        For knots that do not increase, other shapes, or numbers that are not finite.
    """

    knots: np.ndarray
    values: np.ndarray
    left: float
    right: float

    def __post_init__(self) -> None:
        knots, values = (np.asarray(a, dtype=float) for a in (self.knots, self.values))
        if knots.ndim != 1 or not knots.size or values.shape != knots.shape:
            raise ValueError(
                f"knots and values must be of one shape (k,), got {knots.shape}, {values.shape}"
            )
        if not np.all(np.isfinite([*knots, *values, self.left, self.right])):
            raise ValueError("knots, values and slopes must be finite")
        if not np.all(np.diff(knots) > 0):
            raise ValueError("knots must increase, each given once")
        object.__setattr__(self, "knots", knots)
        object.__setattr__(self, "values", values)

    @classmethod
    def of_network(cls, theta: Mapping[str, Any]) -> "PiecewiseLinear":
        """The function of a `network`, exactly: its knots are -b/u."""
        theta = {k: np.asarray(v, dtype=float) for k, v in theta.items()}
        u, v, b = (theta[k] for k in "uvb")
        with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
            knots = np.unique(-b / u)
        knots = knots[np.isfinite(knots)]
        knots = knots if knots.size else np.zeros(1)
        skip = float(theta.get("a", 0.0))
        left, right = (skip + float(np.sum((u * v)[side])) for side in (u < 0, u > 0))
        return cls(knots, network(theta, knots), left, right)

    def __call__(self, x: Any) -> np.ndarray:
        x = np.asarray(x, dtype=float)
        inside = np.interp(x, self.knots, self.values)
        before, after = x - self.knots[0], x - self.knots[-1]
        return inside + self.left * np.minimum(before, 0) + self.right * np.maximum(after, 0)

    @property
    def slopes(self) -> np.ndarray:
        """Of the pieces from left to right, shape (k + 1,)."""
        between = np.diff(self.values) / np.diff(self.knots)
        return np.concatenate([[self.left], between, [self.right]])

    @property
    def changes(self) -> np.ndarray:
        """f'' at the knots: the changes of slope, shape (k,)."""
        return np.diff(self.slopes)
