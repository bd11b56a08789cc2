"""What the solvers of series share: a solution's certificate, the strength, the loss's slack."""

from dataclasses import dataclass

import numpy as np

from symbias.solvers.losses import Loss, SquaredError


@dataclass(frozen=True, eq=False, kw_only=True)
class Found:
    """How far a solution is from optimal, and why it stopped.

    The gap is absolute; the violation is gap / max(objective, 1e-10 loss of the null fit);
    ``n_iter`` are rounds; ``reason`` is "converged", "max_iter" or "stalled: ...".
    """

    objective: float
    gap: float
    violation: float
    n_iter: int
    reason: str

    def __repr__(self) -> str:
        return (
            f"{type(self).__name__}(objective={self.objective:.6g}, gap={self.gap:.2g}, "
            f"n_iter={self.n_iter}, reason={self.reason!r})"
        )

    @property
    def converged(self) -> bool:
        return self.reason == "converged"


def check_strength(strength: float) -> None:
    """Raise ValueError for one that is not positive, or too small for double precision."""
    if not (np.finfo(float).tiny < strength < np.inf):
        raise ValueError(f"the strength must be positive, finite and normal, got {strength!r}")


def slack(loss: Loss, a: np.ndarray, y: np.ndarray, w: np.ndarray, value: float, t: float) -> float:
    """sum a (l(w) + l*(t l') - t l' w), where ``value`` is sum a l(w): zero at t = 1."""
    if isinstance(loss, SquaredError):
        return (1 - t) ** 2 * value
    slope = t * loss.gradient(w, y)
    each = loss.value(w, y) + loss.conjugate(slope, y)
    return float(np.vdot(a, each - slope * w))
