"""Continuous piecewise linear functions of one number, and two-layer ReLU networks as such."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from array_api_compat import array_namespace

from symbias._core.arrays import Array, check_dict


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
    xp = array_namespace(theta["u"])
    hidden = x[:, None] * theta["u"] + theta["b"]
    active = xp.where(hidden > 0, hidden, xp.zeros_like(hidden))
    out = xp.sum(active * theta["v"], axis=1) + theta["c"]
    return out + theta["a"] * x if "a" in theta else out


@dataclass(frozen=True, eq=False)
class PiecewiseLinear:
    """A continuous piecewise linear function: call it with an array of points.

    Parameters
    ----------
    knots, changes : array (k,)
        Increasing points, and by how much the slope changes there.
    left : float
        Slope before the first knot.
    value, origin : float
        f(origin) = value.

    Raises
    ------
    ValueError
        For knots that do not increase, other shapes, or numbers that are not finite.
    """

    knots: np.ndarray
    changes: np.ndarray
    left: float = 0.0
    value: float = 0.0
    origin: float = 0.0

    def __post_init__(self) -> None:
        knots, changes = (np.asarray(a, dtype=float) for a in (self.knots, self.changes))
        if knots.ndim != 1 or changes.shape != knots.shape:
            raise ValueError(
                f"knots and changes must be of one shape (k,), got {knots.shape}, {changes.shape}"
            )
        if not np.all(np.isfinite([*knots, *changes, self.left, self.value, self.origin])):
            raise ValueError("knots, changes, slope, value and origin must be finite")
        if not np.all(np.diff(knots) > 0):
            raise ValueError("knots must increase, each given once")
        object.__setattr__(self, "knots", knots)
        object.__setattr__(self, "changes", changes)

    @classmethod
    def through(cls, x: np.ndarray, values: np.ndarray) -> "PiecewiseLinear":
        """The chords between points, with x increasing, and the first and last of them extended."""
        slopes = np.diff(values) / np.diff(x)
        return cls(x[1:-1], np.diff(slopes), float(slopes[0]), float(values[0]), float(x[0]))

    @classmethod
    def of_network(cls, theta: Mapping[str, Any]) -> "PiecewiseLinear":
        """The function of a `network`, exactly: its slope changes by v |u| at -b/u.

        Raises
        ------
        TypeError, ValueError
            For what is no dict of its arrays, of other shapes, or not finite.
        """
        theta = _checked(theta)
        u, v, b = (theta[k] for k in "uvb")
        with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
            at = -b / u
        bent = np.isfinite(at)
        knots, of = np.unique(at[bent], return_inverse=True)
        changes = np.bincount(of, (v * np.abs(u))[bent], len(knots))
        left = float(theta.get("a", 0.0)) + float(np.sum((u * v)[bent & (u < 0)]))
        return cls(knots, changes, left, float(network(theta, np.zeros(1))[0]))

    def __call__(self, x: Any) -> np.ndarray:
        away = np.asarray(x, dtype=float) - self.origin
        before = self.knots <= self.origin
        slope = self.left + float(self.changes[before].sum())
        after = _bent(away, self.knots[~before] - self.origin, self.changes[~before])
        back = (self.origin - self.knots[before])[::-1]
        return self.value + slope * away + after + _bent(-away, back, self.changes[before][::-1])

    @property
    def right(self) -> float:
        """Slope after the last knot."""
        return self.left + float(self.changes.sum())


def _checked(theta: Any) -> dict[str, np.ndarray]:
    """The arrays of a network, of shapes that fit each other and finite."""
    check_dict(theta)
    found = {k: np.asarray(v, dtype=float) for k, v in theta.items()}
    if not {"u", "v", "b", "c"} <= found.keys() <= {"u", "v", "b", "c", "a"}:
        raise ValueError(f"a network has the arrays u, v, b, c and with a skip a, got {[*found]}")
    shapes = {k: a.shape for k, a in found.items()}
    hidden = {shapes[k] for k in "uvb"}
    if len(hidden) > 1 or len(shapes["u"]) != 1 or any(shapes[k] for k in "ca" if k in shapes):
        raise ValueError(f"u, v and b must be of one shape (width,), c and a of (), got {shapes}")
    if bad := [k for k, a in found.items() if not np.all(np.isfinite(a))]:
        raise ValueError(f"{bad[0]} of the network has values that are not finite")
    return found


def _bent(away: np.ndarray, distances: np.ndarray, changes: np.ndarray) -> np.ndarray:
    """sum of changes (away - distances)_+, with distances that increase: far knots count last."""
    first, second = (np.concatenate([[0.0], np.cumsum(c)]) for c in (changes, changes * distances))
    passed = np.searchsorted(distances, away)
    return away * first[passed] - second[passed]
