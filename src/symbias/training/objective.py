"""The penalised loss of a design in its cores c, with intercept and free coordinates eliminated.

    F(c) = min over f, b of  sum_ij weights_ij l(eta_ij, Y_ij) + strength * sum_k R_k(c_k),
    eta = X W + b,  W = A_free f + A c.

Entries of Y that are missing have weight zero.
"""

from dataclasses import dataclass, field
from functools import cached_property

import numpy as np

from symbias.parameterizations import NormalForm, Parameterization
from symbias.solvers import General, Loss, SquaredError
from symbias.solvers import Model as Wished
from symbias.training import cores
from symbias.training.certificate import Certificate
from symbias.training.problem import Reduction, range_and_pinv

_NEWTON_STEPS = 100


@dataclass(frozen=True, eq=False)
class Model:
    """A design, the inputs and their weights (which sum to 1), shared by all targets.

    The design has the shape (n_features,), one target at a time, or (n_features, n_targets).
    """

    design: Parameterization
    X: np.ndarray
    weights: np.ndarray
    fit_intercept: bool = True
    loss: Loss = field(default_factory=SquaredError)

    @cached_property
    def normal(self) -> NormalForm:
        return self.design.normal_form()

    @property
    def joint(self) -> bool:
        return len(self.design.shape) == 2

    @cached_property
    def inputs(self) -> np.ndarray:
        """X A, what a single target sees of the cores."""
        return np.asarray(self.X @ self.normal.linear.columns)

    @cached_property
    def reduction(self) -> Reduction:
        """The least-squares problem of any single target."""
        return Reduction(self.normal, self.X, self.weights, self.fit_intercept)

    @cached_property
    def convex(self) -> bool:
        return all(cores.is_convex(core.design) for core in self.normal.cores)


class Objective:
    """F for one target (n_samples,), or jointly for all (n_samples, n_targets)."""

    def __init__(self, model: Model, Y: np.ndarray) -> None:
        self.model, self.loss, self.normal = model, model.loss, model.normal
        Y = Y.reshape(len(Y), -1)
        seen = ~np.isnan(Y)
        self.weights = np.where(seen, model.weights[:, None], 0.0)
        self.Y = np.where(seen, Y, 0.0)
        self.targets = Y.shape[1]
        self.root = np.sqrt(self.weights)
        self._pinv, self.basis = self._offsets()

    @cached_property
    def direct(self) -> General:
        """The same problem in w, in coordinates c: where it starts, and from where on c = 0."""
        model = self.model
        form = model.design.balanced_form()
        wished = Wished(form, model.X, model.weights, model.fit_intercept, model.loss)
        return General(wished, np.where(self.weights > 0, self.Y, np.nan))

    @property
    def size(self) -> int:
        """Number of penalised coordinates."""
        return int(self.normal.linear.columns.shape[1])

    def _offsets(self) -> tuple[np.ndarray, np.ndarray]:
        """f and b from weighted offsets, and the directions of eta that cost nothing (n K, k)."""
        X, K = self.model.X, self.targets
        free = self.normal.linear.free
        columns = np.tensordot(X, free.reshape(X.shape[1], K, -1), axes=1)
        floors = [np.linalg.norm(X) * np.linalg.norm(a) for a in free.T]
        if self.model.fit_intercept:
            ones = np.broadcast_to(np.eye(K), (len(X), K, K))
            columns = np.concatenate([columns, ones], axis=2)
            floors += [np.sqrt(len(X))] * K
        weighted = (self.root[:, :, None] * columns).reshape(len(X) * K, -1)
        scale = np.array(floors) + 1e-300
        Q, pinv = range_and_pinv(weighted / scale, 1e-14)
        root = np.where(self.root > 0, self.root, 1.0).reshape(-1, 1)
        return pinv / scale[:, None], Q / root

    def forward(self, c: np.ndarray) -> np.ndarray:
        """X A c, shape (n_samples, n_targets)."""
        if not self.model.joint:
            return (self.model.inputs @ c)[:, None]
        return self.model.X @ (self.normal.linear.columns @ c).reshape(-1, self.targets)

    def pull(self, nu: np.ndarray) -> np.ndarray:
        """A^T X^T nu: the gradient in c from the one in eta."""
        if not self.model.joint:
            return self.model.inputs.T @ nu[:, 0]
        return np.asarray(self.normal.linear.columns.T @ (self.model.X.T @ nu).reshape(-1))

    def gradient(self, eta: np.ndarray) -> np.ndarray:
        """Weighted derivative of the loss in eta."""
        return self.weights * self.loss.gradient(eta, self.Y)

    def value(self, eta: np.ndarray) -> float:
        """The weighted loss."""
        with np.errstate(over="ignore", invalid="ignore"):
            losses = self.loss.value(eta, self.Y)
        return float(np.sum(np.where(self.weights > 0, self.weights * losses, 0.0)))

    def penalty(self, c: np.ndarray) -> float:
        parts = zip(self.normal.cores, self.normal.split(c), strict=True)
        return sum(cores.penalty(core.design, part) for core, part in parts)

    def offset(self, g: np.ndarray) -> np.ndarray:
        """What the free directions add to eta."""
        return (self.basis @ g).reshape(self.Y.shape)

    def polish(self, eta: np.ndarray, g: np.ndarray | None = None) -> np.ndarray:
        """The best free coordinates g for X A c = ``eta``: Newton with backtracking."""
        if g is None:
            towards = self.weights * (self.loss.guess(self.Y) - eta)
            g = self.basis.T @ towards.ravel()
        if not len(g):
            return g
        value = self.value(eta + self.offset(g))
        for _ in range(_NEWTON_STEPS):
            now = eta + self.offset(g)
            slope = self.basis.T @ self.gradient(now).reshape(-1)
            curvature = self.weights * self.loss.bend(now, self.Y, self.weights)
            hessian = (self.basis * curvature.reshape(-1, 1)).T @ self.basis
            hessian += 1e-14 * np.trace(hessian) * np.eye(len(g))
            step = -np.linalg.lstsq(hessian, slope)[0]
            decrease = float(slope @ step)
            if not decrease < -1e-30 * value:
                break
            size = 1.0
            while size > 1e-12:
                new = self.value(eta + self.offset(g + size * step))
                if new <= value + 1e-4 * size * decrease + 1e-15 * value:
                    break
                size /= 2
            g, value = g + size * step, min(new, value)
            if -decrease <= 1e-28 * max(value, 1e-300):
                break
        return g

    def recover(self, c: np.ndarray, g: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """W in the shape of the design, free coordinates f, and one intercept per target."""
        both = self._pinv @ (self.root * self.offset(g)).reshape(-1)
        count = self.normal.linear.free.shape[1]
        f, b = both[:count], both[count:]
        w = self.normal.linear.columns @ c + self.normal.linear.free @ f
        intercept = b if self.model.fit_intercept else np.zeros(self.targets)
        return np.asarray(w).reshape(self.model.design.shape), f, intercept

    def certify(self, c: np.ndarray, g: np.ndarray, strength: float) -> Certificate:
        """Duality gap of a convex problem, or the distance from stationarity of another.

        The dual point is the gradient nu of the loss in eta, scaled into the domain of all
        conjugates: gap = F + sum weights l*(a nu / weights) + sum_k (strength R_k)*(-a A_k^T X^T
        nu). It is orthogonal to the free directions once g is polished.
        """
        eta = self.forward(c) + self.offset(g)
        loss, cost = self.value(eta), strength * self.penalty(c)
        objective = loss + cost
        floor = max(objective, 1e-10 * self.null_loss) or 1.0
        nu = self.gradient(eta)
        pulls = self.normal.split(self.pull(nu))
        if not self.model.convex:
            parts = zip(self.normal.cores, self.normal.split(c), pulls, strict=True)
            off = sum(cores.stationarity(k.design, part, q, strength) for k, part, q in parts)
            return Certificate(objective, float("nan"), off / floor)
        a = 1.0
        for core, part in zip(self.normal.cores, pulls, strict=True):
            largest = float(cores.sizes(core.design, part).max(initial=0.0))
            if cores.is_gauge(core.design) and largest > strength:
                a = min(a, strength / largest)
        scaled = a * np.where(self.weights > 0, self.loss.gradient(eta, self.Y), 0.0)
        dual = -float(np.sum(self.weights * self.loss.conjugate(scaled, self.Y)))
        for core, part in zip(self.normal.cores, pulls, strict=True):
            dual -= cores.conjugate(core.design, a * part, strength, objective)
        gap = max(objective - dual, 0.0)
        return Certificate(objective, gap, gap / floor)

    @cached_property
    def null_offset(self) -> np.ndarray:
        """The free coordinates where c = 0."""
        return self.polish(np.zeros(self.Y.shape))

    @cached_property
    def null_loss(self) -> float:
        return self.value(self.offset(self.null_offset))

    @cached_property
    def null_pull(self) -> list[np.ndarray]:
        """The gradient in every core where c = 0."""
        return self.normal.split(self.pull(self.gradient(self.offset(self.null_offset))))
