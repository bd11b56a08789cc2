"""The part of a problem that is smooth around a point: what is not zero stays not zero.

A proximal step sets sizes to zero and so finds the manifold that the solution lies on; on it the
objective is smooth, and second-order steps converge fast (Bareilles, Iutzeler, Malick, "Newton
acceleration on manifolds identified by proximal gradient methods", Math. Program. 2023).
"""

import numpy as np
from scipy.linalg import LinAlgError, cho_factor, cho_solve

from symbias.penalties import Piece
from symbias.solvers.composite import Composite
from symbias.solvers.inputs import DenseColumns
from symbias.solvers.lbfgs import LBFGS

_NEWTON_STEPS = 30
_LBFGS_STEPS = 300
_RANK = 1e-9  # relative to the largest singular value


def polish(composite: Composite, c: np.ndarray, strength: float) -> np.ndarray:
    """Minimise on the manifold of c: Newton's method, or L-BFGS where singular values are fixed."""
    if not np.any(c):
        return c
    if any(piece.sizes.labels is None for piece in composite.form.pieces):
        return _low_rank(composite, c, strength)
    return _newton(composite, c, strength)


def _newton(composite: Composite, c: np.ndarray, strength: float) -> np.ndarray:
    problem = composite.problem
    live = np.flatnonzero(c)
    columns = problem.inputs.gather(live)
    x, g = c[live], None
    push = columns.push(x)
    g = problem.polish(push)
    value = problem.value(push + problem.basis @ g) + composite.cost(c, strength)
    for _ in range(_NEWTON_STEPS):
        eta = push + problem.basis @ g
        slope, curvature = _penalty(composite, _full(c, live, x), live, strength)
        slope = slope + columns.pull(problem.gradient(eta))
        h = problem.a * problem.loss.bend(eta, problem.y, problem.a)
        step = -_solve(composite, columns, h, curvature, slope)
        decrease = float(slope @ step)
        if not decrease < 0:
            break
        size, most = 1.0, value + 1e-15 * abs(value)
        while size > 1e-9:
            trial = x + size * step
            moved = columns.push(trial)
            g_trial = problem.polish(moved, g)
            new = problem.value(moved + problem.basis @ g_trial)
            new += composite.cost(_full(c, live, trial), strength)
            if new <= most + 1e-4 * size * decrease:
                break
            size /= 2
        else:
            break
        x, push, g, value = trial, moved, g_trial, min(new, value)
        if -decrease <= 1e-26 * max(abs(value), 1e-300):
            break
    return _full(c, live, x)


def _full(c: np.ndarray, live: np.ndarray, x: np.ndarray) -> np.ndarray:
    whole = np.zeros_like(c)
    whole[live] = x
    return whole


def _penalty(
    composite: Composite, c: np.ndarray, live: np.ndarray, strength: float
) -> tuple[np.ndarray, tuple[np.ndarray, np.ndarray]]:
    """Gradient of strength R on the live coordinates; its Hessian as a diagonal and blocks.

    With u = c_g / |c_g|: R'(t)/t off the direction u, R''(t) along it. The second array is the
    dense rest, empty where the Hessian is diagonal.
    """
    slopes, diagonals, bends, labels, units, count = [], [], [], [], [], 0
    for piece, part in zip(composite.form.pieces, composite.form.split(c), strict=True):
        own = piece.sizes.labels
        assert own is not None
        t = np.asarray(piece.sizes.of(part))
        safe = np.where(t > 0, t, 1.0)
        first = np.where(t > 0, strength * piece.scalar.slope(safe), 0.0)
        second = np.where(t > 0, strength * piece.scalar.curvature(safe), 0.0)
        unit = part.reshape(-1) / safe[own]
        across = np.zeros_like(t) if piece.sizes.elementwise else first / safe
        slopes.append(first[own] * unit)
        diagonals.append((second if piece.sizes.elementwise else across)[own])
        bends.append(np.zeros(len(own)) if piece.sizes.elementwise else (second - across)[own])
        labels.append(own + count)
        units.append(unit)
        count += len(t)
    slope, diagonal, bend, label, unit = (
        np.concatenate(each)[live] for each in (slopes, diagonals, bends, labels, units)
    )
    dense = np.zeros((0, 0))
    if np.any(bend):
        same = label[:, None] == label[None, :]
        dense = np.where(same, bend[:, None] * np.outer(unit, unit), 0.0)
    return slope, (diagonal, dense)


def _solve(
    composite: Composite,
    columns: object,
    h: np.ndarray,
    curvature: tuple[np.ndarray, np.ndarray],
    slope: np.ndarray,
) -> np.ndarray:
    """Hessian^-1 slope, the free directions eliminated; shifted until it is positive definite."""
    problem, (diagonal, dense) = composite.problem, curvature
    E = problem.basis
    wide = len(slope) > 2 * len(h) and not dense.size and diagonal.min() > 0
    if wide and isinstance(columns, DenseColumns):
        root = np.sqrt(h)
        Q = np.linalg.qr(root[:, None] * E)[0]
        A = columns.rows * root
        A = A - (A @ Q) @ Q.T
        scaled = A / diagonal[:, None]
        inner = np.eye(len(h)) + A.T @ scaled
        return slope / diagonal - scaled @ np.linalg.solve(inner, scaled.T @ slope)
    gram = columns.gram(h, 1.0, columns)  # type: ignore[attr-defined]
    if E.shape[1]:
        inner = np.linalg.pinv((E * h[:, None]).T @ E, rcond=1e-13, hermitian=True)
        along = np.stack([columns.pull(h * e) for e in E.T], axis=1)  # type: ignore[attr-defined]
        gram = gram - (along @ inner) @ along.T
    gram[np.diag_indices_from(gram)] += diagonal
    if dense.size:
        gram += dense
    shift, unit = 0.0, float(np.abs(gram.diagonal()).max()) or 1.0
    while True:
        try:
            shifted = gram + shift * np.eye(len(gram)) if shift else gram
            return cho_solve(cho_factor(shifted), slope)
        except LinAlgError:
            shift = max(10 * shift, 1e-14 * unit)


def _low_rank(composite: Composite, c: np.ndarray, strength: float) -> np.ndarray:
    """L-BFGS on balanced factors U V^T of every matrix, and on what else is not zero."""
    problem, form = composite.problem, composite.form
    charts = [
        _Factored(piece, part) if piece.sizes.labels is None else _Live(piece, part)
        for piece, part in zip(form.pieces, form.split(c), strict=True)
    ]
    cuts = np.cumsum([chart.size for chart in charts])[:-1]
    held: list[np.ndarray | None] = [None]

    def function(x: np.ndarray) -> tuple[float, np.ndarray]:
        parts = [chart.products(own) for chart, own in zip(charts, np.split(x, cuts), strict=True)]
        whole = np.concatenate([part.ravel() for part in parts])
        eta, held[0] = composite.fitted(whole, held[0])
        pulls = form.split(problem.inputs.pull(problem.gradient(eta)))
        value, slopes = problem.value(eta), []
        each = zip(charts, np.split(x, cuts), parts, pulls, strict=True)
        for chart, own, part, pull in each:
            cost, slope = chart.penalty(part, own)
            value += strength * cost
            slopes.append(chart.chain(own, pull + strength * slope))
        value = value if np.isfinite(value) else np.inf
        return value, np.nan_to_num(np.concatenate(slopes))

    method = LBFGS(function, np.concatenate([chart.start for chart in charts]))
    method.advance(_LBFGS_STEPS)
    parts = zip(charts, np.split(method.x, cuts), strict=True)
    return np.concatenate([chart.products(own).ravel() for chart, own in parts])


class _Live:
    """Entries or groups that are not zero, as they are."""

    def __init__(self, piece: Piece, c: np.ndarray) -> None:
        self.piece, self.index = piece, np.flatnonzero(c)
        self.start = c.ravel()[self.index]
        self.size = len(self.index)

    def products(self, x: np.ndarray) -> np.ndarray:
        whole = np.zeros(int(np.prod(self.piece.shape)))
        whole[self.index] = x
        return whole.reshape(self.piece.shape)

    def penalty(self, c: np.ndarray, x: np.ndarray) -> tuple[float, np.ndarray]:
        t = np.asarray(self.piece.sizes.of(c))
        safe = np.where(t > 0, t, 1.0)
        along = np.where(t > 0, self.piece.scalar.slope(safe) / safe, 0.0)
        return self.piece.cost(c), self.piece.sizes.spread(along).reshape(c.shape) * c

    def chain(self, x: np.ndarray, slope: np.ndarray) -> np.ndarray:
        return slope.ravel()[self.index]


class _Factored:
    """W = U V^T of the rank of W, with U^T U = V^T V at the start."""

    def __init__(self, piece: Piece, W: np.ndarray) -> None:
        self.piece = piece
        u, s, vt = np.linalg.svd(W, full_matrices=False)
        rank = int(np.sum(s > _RANK * s.max(initial=0.0)))
        root = np.sqrt(s[:rank])
        self.rank = rank
        self.start = np.concatenate([(u[:, :rank] * root).ravel(), (vt[:rank].T * root).ravel()])
        self.size = len(self.start)

    def _factors(self, x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        rows = self.piece.shape[0]
        cut = rows * self.rank
        return x[:cut].reshape(rows, self.rank), x[cut:].reshape(-1, self.rank)

    def products(self, x: np.ndarray) -> np.ndarray:
        U, V = self._factors(x)
        return U @ V.T

    def penalty(self, W: np.ndarray, x: np.ndarray) -> tuple[float, np.ndarray]:
        """sum R(sigma) and its gradient, by an SVD of the small factors."""
        U, V = self._factors(x)
        if not self.rank:
            return 0.0, np.zeros_like(W)
        (P, R), (Q, S) = np.linalg.qr(U), np.linalg.qr(V)
        a, t, bt = np.linalg.svd(R @ S.T)
        t = np.maximum(t, 1e-300)
        slope = ((P @ a) * self.piece.scalar.slope(t)) @ (Q @ bt.T).T
        return float(np.sum(self.piece.scalar(t))), slope

    def chain(self, x: np.ndarray, slope: np.ndarray) -> np.ndarray:
        U, V = self._factors(x)
        return np.concatenate([(slope @ V).ravel(), (slope.T @ U).ravel()])
