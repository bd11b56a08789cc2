"""Working sets: the columns in use, and the problem restricted to them, solved."""

from abc import ABC, abstractmethod

import numpy as np

from symbias.solvers.blocks import Blocks
from symbias.solvers.certificate import Point
from symbias.solvers.entries import Entries
from symbias.solvers.groups import GramGroups
from symbias.solvers.inputs import Columns
from symbias.solvers.problem import Problem
from symbias.solvers.quadratic import Quadratic, minimise
from symbias.solvers.wide_groups import WideGroups


class WorkingSet(ABC):
    """Some groups of a problem: their gathered columns and the problem restricted to them."""

    columns: Columns

    def __init__(self, problem: Problem) -> None:
        self.problem = problem
        self.inside = np.zeros(problem.blocks.count, dtype=bool)
        self.groups = np.zeros(0, dtype=np.intp)
        self.index = np.zeros(0, dtype=np.intp)
        self.local = Blocks(0)

    @property
    def complete(self) -> bool:
        return len(self.groups) == len(self.inside)

    def extend(self, groups: np.ndarray) -> None:
        """Gather the columns of more groups."""
        if not len(groups):
            return
        new = self.problem.blocks.coordinates(groups)
        fresh = self.problem.inputs.gather(new)
        self.columns = self.columns.append(fresh) if len(self.index) else fresh
        self.groups = np.concatenate([self.groups, groups])
        self.index = np.concatenate([self.index, new])
        self.inside[groups] = True
        self.local = self.problem.blocks.subset(self.groups)
        self.extended(fresh, new)

    def extended(self, fresh: Columns, new: np.ndarray) -> None:  # noqa: B027
        """Prepare for columns that were just gathered."""

    @abstractmethod
    def minimise(self, strength: float, c: np.ndarray, gap: float) -> np.ndarray:
        """Solve in the coordinates of the set from c, to about this duality gap."""

    @abstractmethod
    def point(self, c: np.ndarray) -> Point:
        """What the certificate asks at c, zero outside the set."""

    @property
    def single(self) -> bool:
        """Whether sizes are those of single coordinates."""
        return self.local.starts is None

    @property
    def wide(self) -> bool:
        """Whether groups have more columns than there are rows: their Gram matrix costs more."""
        return not self.single and len(self.index) > len(self.problem.y)

    def on_gram(self, q: np.ndarray, square: float, gram: np.ndarray, l2: float) -> Quadratic:
        """The quadratic model with this Gram matrix, to which l2 is added."""
        if l2 > 0:
            gram = gram.copy()
            gram[np.diag_indices_from(gram)] += l2
        if self.local.starts is None:
            return Entries(q, square, gram)
        return GramGroups(q, square, self.local.starts, gram)

    def on_rows(self, q: np.ndarray, square: float, rows: np.ndarray, l2: float) -> Quadratic:
        """The quadratic model of groups with these columns, (s, n)."""
        assert self.local.starts is not None
        return WideGroups(q, square, self.local.starts, rows, l2)

    def full(self, c: np.ndarray) -> np.ndarray:
        """c in all m coordinates."""
        result = np.zeros(self.problem.inputs.shape[1])
        result[self.index] = c
        return result

    def offset(self, c: np.ndarray) -> np.ndarray:
        """The best free coordinates, in `Problem.basis`."""
        return self.problem.polish(self._push(c))

    def _push(self, c: np.ndarray) -> np.ndarray:
        return self.columns.push(c) if len(c) else np.zeros(len(self.problem.y))


class LeastSquaresSet(WorkingSet):
    """Squared loss: one Gram matrix, less its part in F, grown with the set and kept.

    Groups that have more columns than there are rows stay columns, less their part in F.
    """

    def __init__(self, problem: Problem) -> None:
        super().__init__(problem)
        self.gram = self._room = np.zeros((0, 0))
        self.rows = np.zeros((0, len(problem.y)))

    def extended(self, fresh: Columns, new: np.ndarray) -> None:
        if self.wide:
            self._widen()
            return
        problem = self.problem
        cross = self.columns.gram(problem.weights, 1 / len(problem.y), fresh)
        if problem.basis.shape[1]:
            cross -= problem.along[self.index] @ problem.along[new].T
        old, count = len(self.gram), len(self.index)
        if self.single or count > len(self._room):  # sweeps over entries take no strides
            self._room = np.empty((count, count) if self.single else (int(1.4 * count),) * 2)
            self._room[:old, :old] = self.gram
        gram = self._room[:count, :count]
        gram[:, old:], gram[old:, :old] = cross, cross[:old].T
        self.gram = gram

    def _widen(self) -> None:
        problem, done = self.problem, len(self.rows)
        root = np.sqrt(problem.a)
        rows = self.columns.dense()[done:] * root
        if problem.basis.shape[1]:
            rows -= problem.along[self.index[done:]] @ (problem.basis.T * root)
        self.rows = np.concatenate([self.rows, rows])
        self.gram = self._room = np.zeros((0, 0))

    def minimise(self, strength: float, c: np.ndarray, gap: float) -> np.ndarray:
        problem, l2 = self.problem, strength * self.problem.l2
        q, square = -problem.null.pull[self.index], 2 * problem.null.loss
        if self.wide:
            model = self.on_rows(q, square, self.rows, l2)
        else:
            model = self.on_gram(q, square, self.gram, l2)
        return minimise(model, strength * problem.l1, c, gap)

    def point(self, c: np.ndarray) -> Point:
        problem, full = self.problem, self.full(c)
        if not np.any(c):
            return problem.null
        if self.wide or not self.complete:
            eta = self._push(c)
            return problem.point(full, eta + problem.basis @ problem.polish(eta))
        curved, q = self.gram @ c, problem.null.pull[self.index]
        loss = max(problem.null.loss + float(q @ c) + 0.5 * float(c @ curved), 0.0)
        pull = self.full(q + curved)
        return Point(full, loss, pull, lambda s: (1 - s) ** 2 * loss)


class WholeSet(LeastSquaresSet):
    """Every group from the beginning: their Gram matrix, without a copy of the columns."""

    def __init__(self, problem: Problem) -> None:
        super().__init__(problem)
        blocks = problem.blocks
        self.groups = np.arange(blocks.count)
        self.index, self.local = blocks.coordinates(self.groups), blocks.subset(self.groups)
        self.inside[:] = True
        self.gram = problem.gram
        if not self.single:
            self.gram = self.gram[np.ix_(self.index, self.index)]

    def offset(self, c: np.ndarray) -> np.ndarray:
        return self.problem.projected(self.full(c))
