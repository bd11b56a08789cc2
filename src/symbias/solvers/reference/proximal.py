"""Penalties that are not convex: the best of many proximal gradient descents in w itself."""

from collections.abc import Callable

import numpy as np

from symbias.penalties import L1, Elementwise, Penalty, Schatten, scalar_prox, tabulated_prox
from symbias.solvers.reference.convex import Reference, centred, measured

Scalar = Callable[[np.ndarray], np.ndarray]


def proximal_reference(
    penalty: Penalty,
    strength: float,
    X: np.ndarray,
    y: np.ndarray,
    fit_intercept: bool = True,
    *,
    starts: int = 20,
    seed: int = 0,
) -> Reference:
    """The best of so many proximal gradient descents on the same objective, convex or not.

    From zero, the least-squares solution, and normal random numbers of several sizes. For
    penalties that are a sum over entries, or over singular values. Cost O(starts n p) per step,
    5,000 steps with a tabulated proximal map and 100 with the exact one.

    Raises
    ------
    ValueError
        For another penalty.
    """
    R = _scalar(penalty)
    Xc, yc, _ = centred(X, y, fit_intercept)
    n, shape = len(y), (X.shape[1], *y.shape[1:])
    lipschitz = float(np.linalg.norm(Xc, 2)) ** 2 / n
    full = np.linalg.lstsq(Xc, yc)[0]
    rng = np.random.default_rng(seed)
    sizes = np.abs(full).mean() * np.geomspace(0.1, 3, starts)
    rows = sizes.reshape(-1, *[1] * len(shape)) * rng.standard_normal((starts, *shape))
    rows[:2] = np.stack([np.zeros(shape), full])[:starts]

    def gradient(w: np.ndarray) -> np.ndarray:
        each = w.reshape(len(w), shape[0], -1)
        return (Xc.T @ (Xc @ each - yc.reshape(n, -1)) / n).reshape(w.shape)

    def with_map(shrink: Scalar) -> Scalar:
        def prox(w: np.ndarray) -> np.ndarray:
            if isinstance(penalty, Schatten):
                u, s, vt = np.linalg.svd(w, full_matrices=False)
                return (u * shrink(s.ravel()).reshape(s.shape)[:, None, :]) @ vt
            return np.sign(w) * shrink(np.abs(w).ravel()).reshape(w.shape)

        return prox

    tau = strength / lipschitz
    largest = 10 * float(np.abs(rows).max() + np.abs(full).max()) * (1 + shape[0] ** 0.5)

    def exact(t: np.ndarray) -> np.ndarray:
        return scalar_prox(R, t, tau)

    rough = tabulated_prox(exact, largest)
    rows = _descend(gradient, with_map(rough), rows, 1 / lipschitz, 5_000)
    rows = _descend(gradient, with_map(exact), rows, 1 / lipschitz, 100)
    name = f"proximal gradient, best of {starts}"
    found = [measured(name, penalty, strength, w, X, y, fit_intercept) for w in rows]
    return min(found, key=lambda reference: reference.objective)


def _descend(
    gradient: Callable[[np.ndarray], np.ndarray],
    prox: Callable[[np.ndarray], np.ndarray],
    starts: np.ndarray,
    step: float,
    steps: int,
) -> np.ndarray:
    """Proximal gradient from every row of ``starts``: c <- prox(c - step gradient(c))."""
    c = starts
    for k in range(steps):
        new = prox(c - step * gradient(c))
        if k % 10 == 9 and np.abs(new - c).max() <= 1e-12 * max(np.abs(c).max(), 1e-300):
            return new
        c = new
    return c


def _scalar(penalty: Penalty) -> Scalar:
    if isinstance(penalty, Schatten):
        return lambda t: t**penalty.p
    if isinstance(penalty, L1) and penalty.weights is not None:
        raise ValueError("L1 with weights has no proximal reference; it is convex")
    if isinstance(penalty, Elementwise):
        return penalty.scalar
    raise ValueError(f"{type(penalty).__name__} has no proximal reference")
