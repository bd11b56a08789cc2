r"""Total variation and trend filtering of a series in O(n): a set of knots that grows as needed.

.. math:: \min_w \sum_i a_i\, l(w_i, y_i) + s \sum_j |(Dw)_j|_2

with Dw the jumps (order 1) or the changes of slope (order 2), and norms over the channels of a
joint series. Restricted to signals that change at the knots alone this is a banded problem in as
many unknowns a channel (`Restricted`, `Joint`). Its residual gives the dual variable u with
:math:`D^T u = -a\, l'(w)` by one cumulative sum (two for slopes); where :math:`|u| > s` the worst
point of each stretch becomes a knot, knots without a change go, and the gap of the scaled u says
when to stop. Working sets as in l1 trend filtering (Kim, Koh, Boyd, Gorinevsky, SIAM Review 2009),
whose solutions change at few points.
"""

from collections.abc import Callable

import numpy as np

from symbias.solvers.series.found import check_strength
from symbias.solvers.series.joint import Joint
from symbias.solvers.series.observations import Observations, SeriesSolution
from symbias.solvers.series.search import search
from symbias.solvers.series.stretches import Stretches

_ROUNDS = 100
_LEAST = 1e-9  # of the size of G: what changes cost in a refit over gaps


class Series(Observations):
    __doc__ = Observations.__doc__

    def solve(
        self,
        strength: float,
        knots: np.ndarray | None = None,
        *,
        tol: float = 1e-10,
        max_iter: int = _ROUNDS,
        callback: Callable[[int, float], None] | None = None,
    ) -> SeriesSolution:
        """Fit at one strength, from scratch or from the knots of a solution nearby.

        Cost O(n) a round, about as many rounds as the logarithm of the number of changes, and
        O(knots) a step of the restricted problem.

        Raises
        ------
        ValueError
            For a strength that is not positive, or too small for double precision.
        """
        check_strength(strength)
        if self.n <= self.order or strength >= self.strength_max:
            return SeriesSolution(
                signal=self.null,
                knots=np.zeros(0, dtype=int),
                objective=self.null_loss,
                gap=0.0,
                violation=0.0,
                n_iter=0,
                reason="converged",
            )
        return search(self, strength, knots, tol, max_iter, callback)

    def refit(self, knots: np.ndarray) -> np.ndarray:
        """The signal of least squares that changes at these knots alone, of the shape of y.

        Where a channel with gaps leaves it open, the one that changes least.
        """
        stretches = Stretches(self.order, self.t, knots)
        gram, b = stretches.project(self.a, self.y)
        rows = b.shape[-1]
        problem = Joint(gram.reshape(self.order, -1, rows), b.reshape(-1, rows), stretches.stencil)
        least = 0.0 if np.all(self.a > 0) else _LEAST * float(gram[0].mean())
        c = problem.factor(least * problem.even)(problem.target)
        return stretches.signal(c.reshape(b.shape))
