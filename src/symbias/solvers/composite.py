"""A loss plus any penalty in normal form: values, proximal steps, and what certifies a solution."""

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from symbias.penalties import Form
from symbias.solvers.certificate import Certificate, Point
from symbias.solvers.problem import Problem

_POWER_STEPS = 20


@dataclass(frozen=True, eq=False)
class Composite:
    """min over c, f of loss(B c + F f) + strength sum_k R_k(c_k).

    Parameters
    ----------
    problem : Problem
        The loss; its own penalty takes no part.
    form : Form
        Whose pieces R_k act on the coordinates c, in their order.
    """

    problem: Problem
    form: Form

    @property
    def convex(self) -> bool:
        return self.form.convex

    @property
    def size(self) -> int:
        return self.form.size

    def fitted(self, c: np.ndarray, g: np.ndarray | None = None) -> tuple[np.ndarray, np.ndarray]:
        """eta at c with the free coordinates polished, and those."""
        eta = self.problem.inputs.push(c)
        g = self.problem.polish(eta, g)
        return eta + self.problem.basis @ g, g

    def cost(self, c: np.ndarray, strength: float) -> float:
        """strength R(c)."""
        return strength * self.form.value(c)

    def value(self, c: np.ndarray, strength: float, g: np.ndarray | None = None) -> float:
        """The objective."""
        return self.problem.value(self.fitted(c, g)[0]) + self.cost(c, strength)

    def prox(self, c: np.ndarray, tau: float) -> np.ndarray:
        """argmin over d of |d - c|^2 / 2 + tau R(d)."""
        parts = zip(self.form.pieces, self.form.split(c), strict=True)
        return np.concatenate([piece.prox(part, tau).ravel() for piece, part in parts])

    @cached_property
    def lipschitz(self) -> float:
        """|B^T diag(a l'') B|, to a few per cent from below; l'' at its bound or at c = 0."""
        problem = self.problem
        bend = problem.loss.bound
        h = problem.a * (bend if np.isfinite(bend) else self._bend)
        E = problem.basis
        v = np.random.default_rng(0).standard_normal(self.size)
        largest = 0.0
        for _ in range(_POWER_STEPS):
            length = float(np.linalg.norm(v))
            if not length > 0:
                break
            eta = problem.inputs.push(v / length)
            v = problem.inputs.pull(h * (eta - E @ (E.T @ (problem.a * eta))))
            largest = max(largest, float(np.linalg.norm(v)))
        return 1.05 * largest

    @property
    def _bend(self) -> np.ndarray:
        problem = self.problem
        return problem.loss.bend(problem.null_eta, problem.y, problem.a)

    def certify(self, c: np.ndarray, strength: float, g: np.ndarray | None = None) -> "Candidate":
        """Duality gap of a convex problem, or the distance from stationarity of another.

        The dual point is the gradient nu of the loss in eta, scaled into the domain of all
        conjugates: gap = slack(s) + sum_k strength R_k(c_k) + (strength R_k)*(-s B_k^T nu)
        + s <c_k, B_k^T nu>. Without convexity, the sum over the sizes of the distance of -B^T nu
        from the subdifferential times the size (where it is zero, the step that this would make).
        """
        if not np.any(c):
            point, g = self.problem.null, self.problem.polish(np.zeros(len(self.problem.y)))
        else:
            eta, g = self.fitted(c, g)
            point = self.problem.point(c, eta)
        objective = point.loss + self.cost(c, strength)
        gap = self._gap(point, strength, objective) if self.convex else float("nan")
        floor = max(objective, 1e-10 * self.problem.null.loss) or 1.0
        off = gap if self.convex else self._off(point, strength)
        return Candidate(c, g, Certificate(objective, gap, 1.0), off / floor)

    def _gap(self, point: Point, strength: float, objective: float) -> float:
        pulls, parts = self.form.split(point.pull), self.form.split(point.c)
        scale = 1.0
        for piece, pull in zip(self.form.pieces, pulls, strict=True):
            largest = float(np.max(piece.sizes.of(pull), initial=0.0))
            allowed = strength * piece.scalar.slope_at_zero
            if piece.norm and largest > allowed:
                scale = min(scale, allowed / largest)
        gap = point.slack(scale) if scale < 1 else 0.0
        for piece, part, pull in zip(self.form.pieces, parts, pulls, strict=True):
            along = scale * float(np.sum(part * pull))
            gap += strength * piece.cost(part) + along
            gap += piece.conjugate(-scale * pull, strength, objective)
        return max(gap, 0.0)

    def _off(self, point: Point, strength: float) -> float:
        total, lipschitz = 0.0, self.lipschitz or 1.0
        pulls, parts = self.form.split(point.pull), self.form.split(point.c)
        for piece, part, pull in zip(self.form.pieces, parts, pulls, strict=True):
            off, sizes = piece.distance(part, pull, strength)
            total += float(np.sum(off * np.where(sizes > 0, sizes, off / lipschitz)))
        return total


@dataclass(frozen=True, eq=False)
class Candidate:
    """Coordinates c, free coordinates g, and how good they are."""

    c: np.ndarray
    g: np.ndarray
    certificate: Certificate
    violation: float

    @property
    def objective(self) -> float:
        return self.certificate.objective
