"""One strength of any penalty: a descent if it is convex, the best of several if it is not."""

from collections.abc import Callable
from typing import TypeAlias

import numpy as np

from symbias.solvers.composite import Candidate, Composite
from symbias.solvers.proximal import Minimum
from symbias.solvers.starts import least_squares, local_minima

Follow: TypeAlias = Callable[[float, np.ndarray], tuple[np.ndarray, int]]

_CONTINUATION = np.geomspace(0.01, 1, 12)
_REFINED = 3  # minima of the model that a descent goes on from


def search(
    composite: Composite,
    strength: float,
    refine: Callable[[np.ndarray], Minimum],
    follow: Follow,
    *,
    start: np.ndarray | None = None,
    starts: int = 20,
) -> tuple[Minimum, np.ndarray]:
    """The best minimum, and the objectives of all that were found, in increasing order.

    Without convexity: from ``start`` alone where it is given; else by continuation from the least
    squares solution (the strength rises from 1% to all of it), from the best of ``starts``
    proximal descents and their neighbours, and c = 0, which is a minimum at every strength.
    ``refine`` descends at ``strength``; ``follow`` goes some way down at the strength that it is
    given, and counts it.
    """
    zero = np.zeros(composite.size)
    if composite.convex:
        found = refine(zero if start is None else start)
        return found, np.array([found.best.objective])
    nothing: Candidate = composite.certify(zero, strength)
    minima = [Minimum(nothing, 0, "converged")]
    if not composite.lipschitz > 0:
        return minima[0], np.array([nothing.objective])
    first, steps = (start, 0) if start is not None else _continued(composite, strength, follow)
    candidates = [first]
    if start is None and starts:
        candidates += list(local_minima(composite, strength, starts)[:_REFINED])
    minima += [refine(c) for c in candidates if np.any(c)]
    best = min(minima, key=lambda found: found.best.objective)
    steps += sum(found.n_iter for found in minima)
    values = np.sort([found.best.objective for found in minima[1:]] or [nothing.objective])
    values[0] = min(values[0], best.best.objective)
    return Minimum(best.best, steps, best.reason), values


def _continued(composite: Composite, strength: float, follow: Follow) -> tuple[np.ndarray, int]:
    """From the least-squares solution, as the strength rises to all of it."""
    c, steps = least_squares(composite), 0
    for fraction in _CONTINUATION:
        if not np.any(c):
            break
        c, made = follow(fraction * strength, c)
        steps += made
    return c, steps
