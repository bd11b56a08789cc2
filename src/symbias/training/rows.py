"""The measurements of an objective, one row each: X for one target, X (x) I for several."""

from functools import cached_property

import numpy as np

from symbias.training.objective import Objective
from symbias.training.problem import Reduction


class Rows:
    """Targets side by side: entry (i, k) of Y is one row, with a block (an intercept) per k."""

    def __init__(self, objective: Objective) -> None:
        self.objective = objective
        self._seen = (objective.weights > 0).ravel()

    @cached_property
    def _matrix(self) -> np.ndarray:
        model = self.objective.model
        if not model.joint:
            return model.X[self._seen]
        return np.kron(model.X, np.eye(self.objective.targets))[self._seen]

    def reduce(self, weights: np.ndarray) -> Reduction:
        """The least-squares problem of the rows under ``weights`` (n_samples, n_targets)."""
        n, K = weights.shape
        blocks = np.tile(np.arange(K), n)[self._seen]
        model = self.objective.model
        return Reduction(
            model.normal, self._matrix, self.flat(weights), model.fit_intercept, blocks
        )

    def flat(self, Y: np.ndarray) -> np.ndarray:
        """What belongs to each row."""
        return Y.ravel()[self._seen]
