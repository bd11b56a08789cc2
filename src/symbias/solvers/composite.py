"""A loss plus any penalty in normal form: values, proximal steps, and what certifies a solution."""

import math
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
        point, g = self._point(c, g)
        objective = point.loss + self.cost(c, strength)
        gap, scale = self._gap(point, strength, objective) if self.convex else (math.nan, 1.0)
        floor = max(objective, 1e-10 * self.problem.null.loss) or 1.0
        off = gap if self.convex else self._off(point, strength)
        return Candidate(c, g, Certificate(objective, gap, scale), off / floor)

    def proven_zeros(self, found: "Candidate", strength: float) -> np.ndarray:
        """Which coordinates are zero for certain, (m,): at every optimum of a convex problem.

        That is the gap-safe sphere (see `certificate.proven_zeros`): scale |B_g^T nu| + |B_g|_F
        sqrt(2 gap bound) < strength R'(0+). Without convexity at the minimum that is near: none has
        a size where strength R'' is below -bound |B_j|^2, and half of that is taken for near.
        Nothing is proven for singular values, nor where the loss has no largest curvature.
        """
        point, _ = self._point(found.c, found.g)
        bound, zeros = self.problem.loss.bound, []
        gap = found.certificate.gap + 1e-15 * self.problem.null.loss  # known up to rounding
        reach, scale = np.sqrt(2 * gap * bound), found.certificate.scale
        arrays = (self.form.split(a) for a in (point.c, point.pull, self.problem.norms))
        for piece, part, pull, norm in zip(self.form.pieces, *arrays, strict=True):
            if piece.sizes.labels is None or not np.isfinite(bound):
                zeros.append(np.zeros(part.size, dtype=bool))
                continue
            pulled, norms = np.asarray(piece.sizes.of(pull)), np.asarray(piece.sizes.of(norm))
            if self.convex:
                zero = scale * pulled + norms * reach < strength * piece.scalar.slope_at_zero
            else:
                least = piece.scalar.concave_below(bound * norms**2 / strength)
                zero = np.asarray(piece.sizes.of(part)) < least / 2
            zeros.append(piece.sizes.spread(zero | (norms == 0)))
        return np.concatenate(zeros)

    def _point(self, c: np.ndarray, g: np.ndarray | None) -> tuple[Point, np.ndarray]:
        if not np.any(c):
            return self.problem.null, self.problem.polish(np.zeros(len(self.problem.y)))
        eta, g = self.fitted(c, g)
        return self.problem.point(c, eta), g

    def _gap(self, point: Point, strength: float, objective: float) -> tuple[float, float]:
        """The duality gap, and the share of nu that is the dual point."""
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
        return max(gap, 0.0), scale

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
