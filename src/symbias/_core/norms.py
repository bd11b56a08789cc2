"""The norms that steepest descent may measure its steps in, by name."""

from typing import Any

NORMS = ("l1", "l2", "linf", "spectral")


def as_norm(norm: Any) -> str:
    """``norm`` itself; raises ValueError unless it is one of `NORMS`."""
    if norm not in NORMS:
        raise ValueError(f"norm must be one of {', '.join(NORMS)}, got {norm!r}")
    return str(norm)
