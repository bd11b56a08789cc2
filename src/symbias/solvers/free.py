"""Free coordinates: the best of them for any loss, by Newton's method with halvings."""

import numpy as np

from symbias.solvers.losses import Loss

_SHORTEST = 1e-15  # share of a step: exponentials may be many powers of ten away
_ROUNDING = 1e-28


def weighted(a: np.ndarray, terms: np.ndarray) -> np.ndarray:
    """a_i times the terms, which may be infinite where a_i is zero."""
    return np.where(a > 0, a * terms, 0.0)


def newton(
    loss: Loss,
    E: np.ndarray,
    a: np.ndarray,
    y: np.ndarray,
    eta: np.ndarray,
    g: np.ndarray,
    steps: int = 50,
) -> np.ndarray:
    """Minimise sum_i a_i l((eta + E g)_i, y_i) over g (k,), from this g; E (n, k) of full rank."""

    def value(g: np.ndarray) -> float:
        return float(np.sum(weighted(a, loss.value(eta + E @ g, y))))

    with np.errstate(over="ignore", invalid="ignore"):  # of trial steps
        now = value(g)
        for _ in range(steps):
            at = eta + E @ g
            slope = E.T @ weighted(a, loss.gradient(at, y))
            hessian = (E * (a * loss.bend(at, y, a))[:, None]).T @ E
            if len(g) == 1 and hessian[0, 0] > 0:
                step = -slope / hessian[0]
            else:
                step = -np.linalg.lstsq(hessian, slope)[0]
            decrease, size = float(slope @ step), 1.0
            if not decrease < -1e-30 * now:
                break
            while size > _SHORTEST:
                new = value(g + size * step)
                if new <= now + 1e-4 * size * decrease + 1e-15 * now:
                    break
                size /= 2
            else:
                break
            g, now = g + size * step, min(new, now)
            if -decrease <= _ROUNDING * max(now, 1e-300):
                break
    return g
