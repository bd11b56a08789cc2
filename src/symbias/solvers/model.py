"""A penalised linear model in the coordinates of its penalty, and what a fit of it is."""

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cached_property
from typing import NamedTuple, TypeAlias

import numpy as np
import scipy.sparse

from symbias.penalties import Form
from symbias.solvers.inputs import Inputs
from symbias.solvers.losses import Loss, SquaredError

Callback = Callable[[int, float], None]
Matrix: TypeAlias = np.ndarray | scipy.sparse.csr_array | scipy.sparse.csc_array

_OFFSET = 10.0  # of a column in units of its spread, whose square Gram matrices would lose


@dataclass(frozen=True)
class Options:
    """How far to go.

    Parameters
    ----------
    tol : float
        Bound on the violation: the duality gap relative to the objective, where convex.
    max_iter : int, optional
    callback : function of (steps, objective), optional
    starts : int
        Proximal starts of a problem that is not convex.
    """

    tol: float = 1e-10
    max_iter: int | None = None
    callback: Callback | None = None
    starts: int = 20


class Certified(NamedTuple):
    """``objective``, absolute ``gap`` (nan if not convex), and the relative ``violation``."""

    objective: float
    gap: float
    violation: float


@dataclass(frozen=True, eq=False)
class Fit:
    """The effective parameter, and how far it is from optimal.

    ``penalized`` are the coordinates c that the penalty acts on; ``params`` factors where they were
    trained; ``objectives`` what the starts of a problem that is not convex ended in, best first;
    ``reason`` why it stopped.
    """

    coef: np.ndarray
    intercept: np.ndarray
    penalized: np.ndarray
    certificate: Certified
    n_iter: int
    converged: bool
    objectives: np.ndarray
    params: dict[str, np.ndarray] | None = None
    reason: str = ""

    def __repr__(self) -> str:
        found = self.certificate
        return (
            f"Fit(coef of shape {self.coef.shape}, nonzero={np.count_nonzero(self.penalized)}, "
            f"objective={found.objective:.6g}, gap={found.gap:.2g}, n_iter={self.n_iter}, "
            f"reason={self.reason!r})"
        )


@dataclass(frozen=True, eq=False)
class Model:
    """What all targets share; ``weights`` (n_samples,) sum to 1."""

    form: Form
    X: Matrix
    weights: np.ndarray
    fit_intercept: bool = True
    loss: Loss = field(default_factory=SquaredError)

    @property
    def joint(self) -> bool:
        return len(self.form.shape) == 2

    @property
    def convex(self) -> bool:
        return self.form.convex

    @cached_property
    def rows(self) -> Matrix:
        """X, or (X - 1 centre^T) (x) 1 for the rows of Y one after the other."""
        if not self.joint:
            return self.X
        X = self.X if self.centre is None else self.X - self.centre
        eye = scipy.sparse.eye_array(self.form.shape[1], format="csr", dtype=X.dtype)
        return scipy.sparse.csr_array(scipy.sparse.kron(X, eye))

    @cached_property
    def centre(self) -> np.ndarray | None:
        """Means of the columns of a dense X, (n_features,), which intercepts make up for.

        None where no column is far from zero in units of its spread; by some rows first.
        """
        if scipy.sparse.issparse(self.X) or not self.fit_intercept:
            return None
        few = self.X[:: max(1, len(self.X) // 64)]
        mean = few.mean(axis=0, dtype=float)
        if not np.any(np.abs(mean) > _OFFSET * few.std(axis=0, dtype=float)):
            return None
        means, squares = Inputs(self.X).scan(self.weights[:, None], self.weights)
        mean = means[:, 0]
        return mean if np.any(squares < (1 + _OFFSET**-2) * mean**2) else None

    @cached_property
    def units(self) -> np.ndarray | None:
        """The slope of each coordinate's penalty, where the working sets take it; else None."""
        corners = [piece.scalar.corner for piece in self.form.pieces]
        known = [c for c in corners if c is not None]
        if len(known) < len(corners) or any(p.sizes.labels is None for p in self.form.pieces):
            return None
        if any(l2 for _, l2 in known):
            return np.ones(self.form.size) if len(set(known)) == 1 else None
        slopes = [
            np.full(int(np.prod(p.shape)), c[0])
            for p, c in zip(self.form.pieces, known, strict=True)
        ]
        return np.concatenate(slopes)

    @cached_property
    def inputs(self) -> Inputs:
        """What eta sees of the coordinates c, each in units of its penalty, less `shared`."""
        units = np.ones(self.form.size) if self.units is None else self.units
        at = self.form.linear.selection
        if at is None:
            B = np.asarray(self.rows @ self.form.linear.columns, dtype=float)
            if self.shared is not None:
                B = B - self.free @ self.shared
            return Inputs(B if np.all(units == 1) else B / units)
        index, scale = at
        scale, X, centre = scale / units, self.rows, None if self.joint else self.centre
        if not np.array_equal(index, np.arange(X.shape[1])):
            X, centre = X[:, index], None if centre is None else centre[index]
        return Inputs(X, None if np.all(scale == 1) else scale, centre)

    @cached_property
    def free(self) -> np.ndarray:
        """Directions of eta that cost nothing: intercepts, then the free coordinates, centred."""
        if not self.form.linear.free.shape[1]:
            return self._ones if self.fit_intercept else np.zeros((len(self._ones), 0))
        seen = np.asarray(self.rows @ self.form.linear.free, dtype=float)
        if not self.fit_intercept:
            return seen
        centred = seen - self._ones @ self._means
        nothing = np.abs(centred).max(axis=0) <= 1e-13 * np.abs(seen).max(axis=0)
        return np.hstack([self._ones, np.where(nothing, 0.0, centred)])

    @cached_property
    def shared(self) -> np.ndarray | None:
        """What of every column of B free directions do as well, (n_free, m); None for nothing.

        Of columns of X as they are: their `centre`. Of mixed ones all of it.
        """
        at = self.form.linear.selection
        if at is not None:
            if self.centre is None:
                return None
            shared = np.zeros((self.free.shape[1], self.form.size))
            shared[: self._targets] = np.kron(self.centre, np.eye(self._targets))[:, at[0]] * at[1]
            return shared
        B = np.asarray(self.rows @ self.form.linear.columns, dtype=float)
        root = np.sqrt(np.repeat(self.weights, len(B) // len(self.weights)))[:, None]
        left = np.linalg.pinv(root * self.free, rcond=1e-12)
        shared = left @ (root * B)
        return shared + left @ (root * (B - self.free @ shared))

    @property
    def _ones(self) -> np.ndarray:
        if not self.joint:
            return np.ones((self.X.shape[0], 1))
        return np.tile(np.eye(self._targets), (self.X.shape[0], 1))

    @property
    def _targets(self) -> int:
        return self.form.shape[1] if self.joint else 1

    @cached_property
    def _means(self) -> np.ndarray:
        """Of the free coordinates, under each intercept."""
        seen = np.asarray(self.rows @ self.form.linear.free, dtype=float)
        weights = np.repeat(self.weights, len(seen) // len(self.weights))
        return self._ones.T @ (weights[:, None] * seen)

    def apart(self, c: np.ndarray, f: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """The free coordinates of w, and the intercepts, from the coordinates c and `free`'s."""
        if self.shared is not None:
            f = f - self.shared @ c
        if not self.fit_intercept:
            return f, np.zeros(self._targets)
        intercept, rest = f[: self._targets], f[self._targets :]
        return rest, (intercept - self._means @ rest if len(rest) else intercept)

    def recover(self, c: np.ndarray, f: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """w in its shape and the precision of X, and the intercepts, from c and `free`'s.

        The intercepts take up what w is rounded by.
        """
        rest, intercept = self.apart(c, f)
        w = self.form.linear.forward(rest, c).reshape(self.form.shape)
        rounded = w.astype(self.X.dtype, copy=False)
        if rounded is not w and self.centre is not None:
            intercept = intercept + self.centre @ (w - rounded)
        return rounded, intercept

    @cached_property
    def groups(self) -> np.ndarray | None:
        """The size that each coordinate belongs to; None where each is one of its own."""
        if all(piece.sizes.elementwise for piece in self.form.pieces):
            return None
        labels, count = [], 0
        for piece in self.form.pieces:
            own = piece.sizes.labels
            assert own is not None
            labels.append(own + count)
            count += int(own.max(initial=-1)) + 1
        return np.concatenate(labels)
