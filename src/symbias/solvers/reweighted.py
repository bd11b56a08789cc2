"""Working sets of any loss: reweighted least squares on the columns in use."""

import numpy as np

from symbias.solvers.certificate import Point, certify
from symbias.solvers.problem import Problem
from symbias.solvers.quadratic import Quadratic, minimise
from symbias.solvers.sets import WorkingSet

_REWEIGHTED_STEPS = 8
_ROUNDING = 1e-14
_EQUAL = 1e-12  # relative difference of objectives below which the gap tells which is better
_NEAR = 1e-3  # gap over objective below which the support is worth a try
_DAMPING = 1e-5  # the least share of the majorizer in a step's curvature


class ReweightedSet(WorkingSet):
    """Any loss: Newton's quadratic model of it in eta, minimised again and again (prox-Newton).

    Between two steps on the whole set, steps on its support, whose model costs far less.
    """

    tight = False  # whether no group is zero to begin with

    def __init__(self, problem: Problem) -> None:
        super().__init__(problem)
        self._offset: np.ndarray | None = None
        self._damping = _DAMPING

    def minimise(self, strength: float, c: np.ndarray, gap: float) -> np.ndarray:
        """Newton steps, damped as far as they are cut short.

        Damped curvature: at least a share of the loss's majorizer, whose own steps always go down.
        """
        problem, loss = self.problem, self.problem.loss
        l1, l2 = strength * problem.l1, strength * problem.l2
        eta, best, least, lowest, tried = self.fitted(c), c, np.inf, np.inf, self.tight
        for _ in range(_REWEIGHTED_STEPS):
            nu = problem.gradient(eta)
            point = problem.point(c, eta, self.columns.pull(nu))
            now = certify(point, self.local, l1, l2)
            lower, equal = (
                now.objective < lowest * (1 - _EQUAL),
                now.objective <= lowest * (1 + _EQUAL),
            )
            if lower or (equal and now.gap < least):
                best, least, lowest = c, now.gap, min(now.objective, lowest)
            if now.gap <= gap:
                break
            if not tried and now.gap <= _NEAR * now.objective:
                c, eta, tried = *self._settled(strength, c, eta, gap), True
                continue
            bend, above = loss.bend(eta, problem.y, problem.a), loss.majorizer(eta, problem.y)
            if above is not None:
                bend = np.maximum(bend, self._damping * above)
            model = self._model(eta, nu, problem.a * bend, l2)
            goal = self._goal(model, l1, c, max(0.3 * gap, 1e-2 * now.gap))
            if np.array_equal(
                goal, c
            ):  # a model's gap is of second order, a loss's may be of first
                goal = model.newton(l1, c, 0.0)
            size, most = 1.0, now.objective * (1 + _ROUNDING)
            while size > 1e-3:
                trial = c + size * (goal - c)
                moved = self.fitted(trial)
                if problem.value(moved) + self._cost(trial, l1, l2) <= most:
                    c, eta = trial, moved
                    break
                size /= 4
            if size <= 1e-3 and (self._damping >= 1 or above is None):
                break
            easier = self._damping / 10 if size == 1 else self._damping
            self._damping = max(easier if size > 0.1 else min(30 * self._damping, 1.0), _DAMPING)
            c, eta = self._settled(strength, c, eta, gap)
        return best

    def _settled(
        self, strength: float, c: np.ndarray, eta: np.ndarray, gap: float
    ) -> tuple[np.ndarray, np.ndarray]:
        """Steps on the support alone, where it is less than half of the set."""
        used = np.flatnonzero(self.local.sizes(c) > 0)
        if self.tight or not 0 < 2 * len(used) <= self.local.count:
            return c, eta
        inner = self._restricted(used)
        part = self.local.coordinates(used)
        moved = c.copy()
        moved[part] = inner.minimise(strength, c[part], 0.3 * gap)
        self._offset, self._damping = inner._offset, inner._damping
        return moved, self.fitted(moved)

    def _goal(self, model: Quadratic, l1: float, c: np.ndarray, gap: float) -> np.ndarray:
        return minimise(model, l1, c, gap)

    def _restricted(self, groups: np.ndarray) -> "ReweightedSet":
        """The set of some of these groups."""
        inner, part = Support(self.problem), self.local.coordinates(groups)
        inner.groups, inner.index = self.groups[groups], self.index[part]
        inner.columns, inner.local = self.columns.take(part), self.local.subset(groups)
        inner._offset, inner._damping = self._offset, self._damping
        return inner

    def point(self, c: np.ndarray) -> Point:
        if not np.any(c):
            return self.problem.null
        return self.problem.point(self.full(c), self.fitted(c))

    def offset(self, c: np.ndarray) -> np.ndarray:
        self.fitted(c)
        return self._offset if self._offset is not None else np.zeros(0)

    def fitted(self, c: np.ndarray) -> np.ndarray:
        """eta at c with the free coordinates polished."""
        eta = self._push(c)
        self._offset = self.problem.polish(eta, self._offset)
        return eta + self.problem.basis @ self._offset

    def _cost(self, c: np.ndarray, l1: float, l2: float) -> float:
        return l1 * float(self.local.sizes(c).sum()) + 0.5 * l2 * float(c @ c)

    def _model(self, eta: np.ndarray, nu: np.ndarray, h: np.ndarray, l2: float) -> Quadratic:
        """Least squares with weights h and targets eta - nu / h, the free directions out of it."""
        E, root = self.problem.basis, np.sqrt(h)
        target = h * eta - nu
        square = float(np.sum(np.divide(target**2, h, out=np.zeros_like(h), where=h > 0)))
        q = self.columns.pull(target)
        if self.wide:
            matrix = self.columns.dense() * root
        else:
            matrix = self.columns.gram(h, 1.0, self.columns)
        if E.shape[1]:
            inner = np.linalg.pinv((E * h[:, None]).T @ E, rcond=1e-13, hermitian=True)
            along = np.stack([self.columns.pull(h * e) for e in E.T], axis=1)
            part = E.T @ target
            matrix -= (along @ inner) @ ((E * root[:, None]).T if self.wide else along.T)
            q -= along @ (inner @ part)
            square = max(square - float(part @ inner @ part), 0.0)
        return (self.on_rows if self.wide else self.on_gram)(q, square, matrix, l2)


class Support(ReweightedSet):
    """The groups of a set that are not zero: no sweep has to find them."""

    tight = True

    def _goal(self, model: Quadratic, l1: float, c: np.ndarray, gap: float) -> np.ndarray:
        return model.newton(l1, c, gap)
