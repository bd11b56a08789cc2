"""The norms that steepest descent may measure its steps in, by name, and their duals."""

from collections.abc import Callable
from typing import Any

from array_api_compat import array_namespace

from symbias._core.arrays import Array


def _l1(w: Array) -> Array:
    xp = array_namespace(w)
    return xp.sum(xp.abs(w))


def _l2(w: Array) -> Array:
    xp = array_namespace(w)
    return xp.sqrt(xp.sum(w * w))


def _linf(w: Array) -> Array:
    xp = array_namespace(w)
    return xp.max(xp.abs(w))


def _spectral(w: Array) -> Array:
    xp = array_namespace(w)
    return xp.max(xp.linalg.svdvals(w))


def _nuclear(w: Array) -> Array:
    xp = array_namespace(w)
    return xp.sum(xp.linalg.svdvals(w))


# in any array library; those of singular values of matrices
VALUES: dict[str, Callable[[Array], Array]] = {
    "l1": _l1,
    "l2": _l2,
    "linf": _linf,
    "spectral": _spectral,
    "nuclear": _nuclear,
}
DUALS = {"l1": "linf", "l2": "l2", "linf": "l1", "spectral": "nuclear"}
NORMS = tuple(DUALS)


def as_norm(norm: Any) -> str:
    """``norm`` itself; raises ValueError unless it is one of `NORMS`."""
    if norm not in NORMS:
        raise ValueError(f"norm must be one of {', '.join(NORMS)}, got {norm!r}")
    return str(norm)
