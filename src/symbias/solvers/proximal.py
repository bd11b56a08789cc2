"""Any penalty in normal form: proximal steps find what is zero, smooth steps solve for the rest."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from symbias.solvers.composite import Candidate, Composite
from symbias.solvers.manifold import polish

MAX_ITER = 100
_FIRST, _MOST = 10, 640  # proximal steps of a round
_ALL, _COSTLY = 20_000, 1_200  # of all rounds; with another loss than squares, that are polished
_PATIENCE = 8
_KEPT = 0.5


@dataclass(frozen=True, eq=False)
class Minimum:
    """Where a descent ended: the best point, how many rounds it took, and the reason it stopped."""

    best: Candidate
    n_iter: int
    reason: str


def minimise(
    composite: Composite,
    strength: float,
    c: np.ndarray,
    *,
    tol: float = 1e-10,
    max_iter: int = MAX_ITER,
    callback: Callable[[int, float], None] | None = None,
) -> Minimum:
    """Descend from c to a relative duality gap (not convex: a stationarity) of ``tol``.

    A round is a few proximal gradient steps, accelerated where the problem is convex, and then a
    minimisation over what they left different from zero. It ends on the certificate, or when no
    round makes it better.

    Cost: two products with B a proximal step; a Newton step O(n s^2 + s^3) with s numbers live.
    """
    best = composite.certify(c, strength)
    lipschitz, steps, waited, rounds = composite.lipschitz, _FIRST, 0, 0
    made, budget = 0, _ALL if composite.problem.quadratic else _COSTLY
    if not lipschitz > 0:
        return Minimum(composite.certify(np.zeros_like(c), strength), 0, "converged")
    while best.violation > tol:
        if rounds >= max_iter or made >= budget:
            return Minimum(best, rounds, "max_iter")
        if waited > _PATIENCE:
            return Minimum(best, rounds, "stalled: rounding hides what is left")
        rounds, made = rounds + 1, made + steps
        c, lipschitz = descend(composite, strength, best.c, steps, lipschitz)
        before = best
        for candidate in (c, polish(composite, c, strength)):
            found = composite.certify(candidate, strength)
            lower = found.objective < best.objective * (1 - 1e-13)
            level = found.objective <= best.objective * (1 + 1e-13)
            if lower or (level and found.violation < best.violation):
                best = found
        better = best.violation < _KEPT * before.violation
        fell = best.objective < before.objective * (1 - 1e-9)
        waited = 0 if better or fell else waited + 1
        steps = min(2 * steps, _MOST)
        if callback:
            callback(rounds, best.objective)
    return Minimum(best, rounds, "converged")


def descend(
    composite: Composite, strength: float, c: np.ndarray, steps: int, lipschitz: float
) -> tuple[np.ndarray, float]:
    """Proximal gradient steps from c, and the Lipschitz constant that they were found to need.

    Where the problem is convex, with Nesterov's momentum, restarted when it points uphill
    (O'Donoghue and Candes, "Adaptive restart for accelerated gradient schemes", 2015).
    """
    problem = composite.problem
    z, momentum, g = c, 1.0, None
    for _ in range(steps):
        eta, g = composite.fitted(z, g)
        loss, pull = problem.value(eta), problem.inputs.pull(problem.gradient(eta))
        while True:
            new = composite.prox(z - pull / lipschitz, strength / lipschitz)
            move = new - z
            most = loss + float(pull @ move) + 0.5 * lipschitz * float(move @ move)
            found = problem.value(composite.fitted(new, g)[0])
            if found <= most + 1e-12 * abs(loss) or not lipschitz < 1e200:
                break
            lipschitz *= 2
        still = np.abs(move).max(initial=0.0) <= 1e-15 * np.abs(new).max(initial=0.0)
        if not composite.convex or float((z - new) @ (new - c)) > 0:
            momentum, z = 1.0, new
        else:
            further = (1 + np.sqrt(1 + 4 * momentum**2)) / 2
            z = new + (momentum - 1) / further * (new - c)
            momentum = further
        c = new
        if still:
            break
    return c, lipschitz
