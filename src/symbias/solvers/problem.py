"""The penalised problem that the solvers share, and its fit where every c is zero."""

from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np

from symbias.solvers.blocks import Blocks
from symbias.solvers.certificate import Point
from symbias.solvers.free import newton, weighted
from symbias.solvers.inputs import Inputs
from symbias.solvers.losses import Loss, SquaredError

_FIRST_STEPS, _NEWTON_STEPS = 50, 12
_SMALL = 128  # columns of which one Gram matrix costs no more than choosing among them


@dataclass(frozen=True, eq=False)
class Problem:
    """min over c (m), f (k) of loss + strength R, with eta = B c + F f.

        sum_i a_i l(eta_i, y_i) + strength sum_g (l1 |c_g|_2 + l2/2 |c_g|_2^2)

    Parameters
    ----------
    inputs : Inputs
        B, (n, m).
    y : ndarray (n,)
    loss : Loss
    weights : ndarray (n,) or None
        a, not negative, summing to 1; None: 1/n each.
    free : ndarray (n, k) or None
        F, directions that cost nothing (a column of ones is an intercept); may be rank-deficient.
    groups : labels (m,) of 0..G-1, or None
        None: every coordinate is a group.
    l1, l2 : float
        l1 > 0, l2 >= 0.

    Raises
    ------
    ValueError, TypeError
        Where shapes do not match, numbers are not finite or out of range.
    """

    inputs: Inputs
    y: np.ndarray
    loss: Loss = field(default_factory=SquaredError)
    weights: np.ndarray | None = None
    free: np.ndarray | None = None
    groups: np.ndarray | None = None
    l1: float = 1.0
    l2: float = 0.0
    cache: dict[str, Any] = field(default_factory=dict, init=False, repr=False)

    def __post_init__(self) -> None:
        n = self.inputs.shape[0]
        if not isinstance(self.inputs, Inputs):
            raise TypeError(f"inputs must be Inputs, got {type(self.inputs).__name__}")
        for name, array, shape in (("y", self.y, (n,)), ("weights", self.weights, (n,))):
            if array is None:
                continue
            if np.shape(array) != shape:
                raise ValueError(f"{name} must have shape {shape}, got {np.shape(array)}")
            object.__setattr__(self, name, np.asarray(array, dtype=float))
            if not np.isfinite(array).all():
                raise ValueError(f"{name} must be finite")
        if self.weights is not None and not (
            (self.weights >= 0).all() and abs(self.weights.sum() - 1) < 1e-6
        ):
            raise ValueError("weights must not be negative and must sum to 1")
        if self.free is not None and (np.ndim(self.free) != 2 or len(self.free) != n):
            raise ValueError(f"free must have shape ({n}, k), got {np.shape(self.free)}")
        if not (0 < self.l1 < np.inf and 0 <= self.l2 < np.inf):
            raise ValueError(f"l1 must be positive and l2 at least 0, got {self.l1} and {self.l2}")
        self.loss.check(self.y)
        _ = self.blocks

    @cached_property
    def blocks(self) -> Blocks:
        return Blocks(self.inputs.shape[1], self.groups)

    @cached_property
    def a(self) -> np.ndarray:
        """The weights, (n,)."""
        return np.full(len(self.y), 1 / len(self.y)) if self.weights is None else self.weights

    @property
    def quadratic(self) -> bool:
        return isinstance(self.loss, SquaredError)

    @property
    def small(self) -> bool:
        """Whether `gram` is the cheapest way to all products."""
        n, m = self.inputs.shape
        return self.quadratic and m <= min(n, _SMALL)

    @cached_property
    def basis(self) -> np.ndarray:
        """A basis E of the range of F with E^T diag(a) E = 1, (n, rank)."""
        n = len(self.y)
        if self.free is None or self.free.shape[1] == 0:
            return np.zeros((n, 0))
        F = np.asarray(self.free, dtype=float)
        lengths = np.sqrt(self.a @ (F * F))
        F = F[:, lengths > 0] / lengths[lengths > 0]
        if F.shape[1] < 2:
            return F
        _, s, Vt = np.linalg.svd(np.sqrt(self.a)[:, None] * F, full_matrices=False)
        kept = s > 1e-12 * s[0]
        return F @ (Vt[kept].T / s[kept])

    def recover(self, g: np.ndarray) -> np.ndarray:
        """f with F f = E g (the shortest, where F is rank-deficient), (k,)."""
        return self._recovery @ g

    @cached_property
    def _recovery(self) -> np.ndarray:
        if self.free is None:
            return np.zeros((0, 0))
        root = np.sqrt(self.a)[:, None]
        F = np.asarray(self.free, dtype=float)
        lengths = np.sqrt(self.a @ (F * F))
        safe = np.where(lengths > 0, lengths, 1.0)
        if F.shape[1] == 1:
            return np.where(lengths > 0, 1 / safe, 0.0)[:, None][:, : self.basis.shape[1]]
        f = np.linalg.lstsq(root * F / safe, root * self.basis, rcond=1e-12)[0]
        return np.where(lengths > 0, 1 / safe, 0.0)[:, None] * f

    def value(self, eta: np.ndarray) -> float:
        """sum_i a_i l(eta_i, y_i)."""
        with np.errstate(over="ignore", invalid="ignore"):
            return float(np.sum(self._weighted(self.loss.value(eta, self.y))))

    def gradient(self, eta: np.ndarray) -> np.ndarray:
        """nu: the gradient of the loss in eta, (n,)."""
        return self._weighted(self.loss.gradient(eta, self.y))

    def _weighted(self, terms: np.ndarray) -> np.ndarray:
        """a_i times the terms, which may be infinite where a_i is zero."""
        if self.weights is None:
            return terms / len(self.y)
        return weighted(self.weights, terms)

    def polish(self, eta: np.ndarray, g: np.ndarray | None = None) -> np.ndarray:
        """The best free coordinates g for B c = ``eta``: projection, or Newton with halvings."""
        E = self.basis
        steps = _FIRST_STEPS if g is None else _NEWTON_STEPS
        if g is None or self.quadratic:
            towards = self.loss.guess(self.y) - eta
            g = E.T @ (self.a * towards)
        if self.quadratic or not len(g):
            return g
        return newton(self.loss, E, self.a, self.y, eta, g, steps)

    def point(self, c: np.ndarray, eta: np.ndarray, pull: np.ndarray | None = None) -> Point:
        """What the certificate asks of the loss at eta, all directions included."""
        with np.errstate(over="ignore", invalid="ignore"):
            losses, gradient = self.loss.value(eta, self.y), self.loss.gradient(eta, self.y)
            loss = float(np.sum(self._weighted(losses)))
        if pull is None:
            pull = self.inputs.pull(self._weighted(gradient))
        if self.quadratic:
            return Point(c, loss, pull, lambda s: (1 - s) ** 2 * loss)

        def slack(s: float) -> float:
            terms = losses + self.loss.conjugate(s * gradient, self.y) - s * gradient * eta
            return float(np.sum(self._weighted(terms)))

        return Point(c, loss, pull, slack)

    @cached_property
    def null_eta(self) -> np.ndarray:
        """eta where c = 0."""
        return self.basis @ self.polish(np.zeros(len(self.y)))

    @cached_property
    def _scan(self) -> tuple[np.ndarray, np.ndarray]:
        vectors = [self.gradient(self.null_eta), *(self.a * e for e in self.basis.T)]
        if self.small:  # whose norms `gram` has
            return np.stack([self.inputs.pull(v) for v in vectors], axis=1), np.zeros(0)
        return self.inputs.scan(np.stack(vectors, axis=1), self.a)

    def projected(self, c: np.ndarray) -> np.ndarray:
        """The best free coordinates under the squared loss, as `polish` gives, without B c."""
        return self.basis.T @ (self.a * self.y) - self.along.T @ c

    @cached_property
    def gram(self) -> np.ndarray:
        """B^T diag(a) B less its part in F, (m, m)."""
        gram = self.inputs.gram(self.weights)
        gram -= self.along @ self.along.T
        return gram

    @cached_property
    def null(self) -> Point:
        """The best fit with c = 0."""
        return self.point(np.zeros(self.inputs.shape[1]), self.null_eta, self._scan[0][:, 0])

    @property
    def along(self) -> np.ndarray:
        """B^T diag(a) E, (m, rank)."""
        return self._scan[0][:, 1:]

    @cached_property
    def norms(self) -> np.ndarray:
        """Lengths under the weights of the columns of B less their part in F, (m,)."""
        part = np.sum(self.along**2, axis=1)
        squares = self.gram.diagonal() + part if self.small else self._scan[1]
        left = squares - part
        return np.sqrt(np.where(left > 1e-12 * squares, left, 0.0))

    def strength_max(self) -> float:
        """The smallest strength at which c = 0 is the answer: max_g |B_g^T nu| / l1 at c = 0."""
        return float(self.blocks.sizes(self.null.pull).max(initial=0.0)) / self.l1
