"""Flows of W = P Q from one plateau to the next, with the columns that are still small."""

import math
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from scipy.integrate import solve_ivp
from scipy.optimize import least_squares

NEAR = 0.05  # of the way to a plateau, within which it is reached
_CALM, _SPAN, _CHUNKS = 1e-4, 20.0, 100
_TIE = 1e-9  # of the size of a column that is on, within which another is on as well

State = tuple[float, np.ndarray, np.ndarray]  # time, the columns that are on, the others


@dataclass(frozen=True, eq=False)
class Stage:
    """From where a column is of some size to the plateau that it takes W to.

    ``begun`` and ``half`` are when the last singular value of W is at 5% and half of what it is
    on the plateau, ``near`` when W is near that; ``settled`` is the state there, ``joined`` where
    another column had grown to a size before.
    """

    new: np.ndarray
    W: np.ndarray
    begun: float
    half: float
    near: float
    settled: State
    joined: State | None


@dataclass(frozen=True, eq=False)
class Model:
    """|rows w - target|^2 / 2 + level, w the entries of W."""

    shape: tuple[int, int]
    rows: np.ndarray
    target: np.ndarray
    level: float

    @classmethod
    def of(cls, X: Any, y: Any) -> "Model":
        x, target = np.asarray(X, dtype=float), np.asarray(y, dtype=float)
        sensing = x.ndim == 3 and target.shape == x.shape[:1]
        regression = x.ndim == 2 and target.ndim == 2 and len(target) == len(x)
        if not (sensing or regression) or not x.size or not target.size:
            raise ValueError(
                f"X and y must be (n, d, m) and (n,), or (n, d) and (n, m), got {x.shape} and "
                f"{target.shape}"
            )
        if not (np.all(np.isfinite(x)) and np.all(np.isfinite(target))):
            raise ValueError("X and y must be finite")
        n, shape = len(x), (x.shape[1], (x if sensing else target).shape[-1])
        flat = x.reshape(n, -1)
        hessian, b = flat.T @ flat / n, flat.T @ target / n
        if regression:
            hessian, b = np.kron(hessian, np.eye(shape[1])), b.ravel()
        if not np.any(b):
            raise ValueError("y says nothing of W: the gradient at W = 0 is zero")
        h, U = np.linalg.eigh(hessian)
        kept = h > 1e-13 * h[-1]
        rows = np.sqrt(h[kept])[:, None] * U[:, kept].T
        seen = (U[:, kept].T @ b) / np.sqrt(h[kept])
        return cls(shape, rows, seen, max(float(np.sum(target**2) / n - seen @ seen) / 2, 0.0))

    @cached_property
    def hessian(self) -> np.ndarray:
        return self.rows.T @ self.rows

    @cached_property
    def _b(self) -> np.ndarray:
        return self.rows.T @ self.target

    def pull(self, W: np.ndarray) -> np.ndarray:
        """G = -grad L(W), (d, m)."""
        return (self._b - self.hessian @ W.ravel()).reshape(self.shape)

    def loss(self, W: np.ndarray) -> float:
        return float(np.sum((self.rows @ W.ravel() - self.target) ** 2)) / 2 + self.level

    def bend(self, z: np.ndarray) -> float:
        """The curvature of the loss along u v^T, for z = (u; v) / sqrt 2."""
        d, _ = self.shape
        return float(np.sum((self.rows @ (2 * np.outer(z[:d], z[d:])).ravel()) ** 2))

    def flow(self, Z: np.ndarray, on: int, begin: float, span: float, most: np.ndarray) -> Any:
        """The columns under S(G), G at the W of the first so many of them.

        Until another one is longer than its bound in ``most``.
        """
        d, _ = self.shape

        def field(_: float, z: np.ndarray) -> np.ndarray:
            Y = z.reshape(Z.shape)
            G = self.pull(Y[:d, :on] @ Y[d:, :on].T)
            return np.concatenate([G @ Y[d:], G.T @ Y[:d]]).ravel()

        def longest(_: float, z: np.ndarray) -> float:
            Y = z.reshape(Z.shape)
            lengths = np.linalg.norm(_beside(Y[:, :on], Y[:, on:]), axis=0)
            return float(np.max(lengths / most, initial=0.0)) - 1.0

        longest.terminal, longest.direction = True, 1  # type: ignore[attr-defined]
        return solve_ivp(
            field, (begin, begin + span), Z.ravel(), method="LSODA", rtol=1e-8, atol=1e-10,
            events=longest,
        )  # fmt: skip

    def residuals(self, z: np.ndarray) -> np.ndarray:
        """Of the flattened factors (P; Q^T)."""
        d, m = self.shape
        Z = z.reshape(d + m, -1)
        return self.rows @ (Z[:d] @ Z[d:].T).ravel() - self.target

    def jacobian(self, z: np.ndarray) -> np.ndarray:
        """d residuals / d factors."""
        d, m = self.shape
        Z = z.reshape(d + m, -1)
        rows = self.rows.reshape(-1, d, m)
        left = np.einsum("nij,jk->nik", rows, Z[d:])
        right = np.einsum("nij,ik->njk", rows, Z[:d])
        return np.concatenate([left, right], axis=1).reshape(len(rows), -1)


def directions(G: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Growth rates of S(G), largest first, and its orthonormal directions (u; v) / sqrt 2."""
    zero = np.zeros
    d, m = G.shape
    growth, V = np.linalg.eigh(np.block([[zero((d, d)), G], [G.T, zero((m, m))]]))
    return growth[::-1], V[:, ::-1]


def waiting(growth: np.ndarray, column: np.ndarray, length: float) -> float:
    """How long a column in the directions of S(G) stays shorter than about this length."""
    grows = (growth > 0) & (column != 0)
    logs = math.log(length) - np.log(np.abs(column[grows]))
    return max(0.0, float(np.min(logs / growth[grows], initial=math.inf)))


def triangular(C: np.ndarray) -> np.ndarray:
    """C R with R orthogonal, zero right of the diagonal: rotations of pairs of columns.

    Columns of very different sizes keep their relative precision: each is changed by what is of its
    own size.
    """
    C = C.copy()
    for i in range(C.shape[1] - 1):
        for j in range(i + 1, C.shape[1]):
            length = math.hypot(C[i, i], C[i, j])
            if length:
                cos, sin = C[i, i] / length, C[i, j] / length
                C[:, i], C[:, j] = cos * C[:, i] + sin * C[:, j], cos * C[:, j] - sin * C[:, i]
                C[i, j] = 0.0
    return C


def stage_from(model: Model, Z: np.ndarray, rest: np.ndarray, small: float, begin: float) -> Stage:
    """Flow of the columns Z to the plateau they reach alone; the rest along with them."""
    d, on = model.shape[0], Z.shape[1]
    rate = float(np.linalg.norm(model.pull(Z[:d] @ Z[d:].T), 2))
    times, path, joined, time, now = list[np.ndarray](), list[np.ndarray](), None, begin, Z
    for _ in range(_CHUNKS):
        unit = np.linalg.norm(rest, axis=0)
        unit = np.where(unit > 0, unit, 1.0)
        outside = _beside(now, rest)
        if np.any(np.linalg.norm(outside, axis=0) >= (1 - _TIE) * small):
            joined, rest = (time, now, outside), rest[:, :0]  # at once: no crossing would be seen
            continue
        whole = np.column_stack([now, rest / unit])
        flow = model.flow(whole, on, time, _SPAN / rate, small / unit)
        moved = flow.y.T.reshape(-1, *whole.shape)
        times.append(flow.t)
        path.append(moved[:, :, :on])
        time, now, rest = float(flow.t[-1]), moved[-1, :, :on], moved[-1, :, on:] * unit
        if flow.status == 1:
            joined, rest = (time, now, _beside(now, rest)), rest[:, :0]
            continue
        G = model.pull(now[:d] @ now[d:].T)
        speed = max(np.abs(G @ now[d:]).max(), np.abs(G.T @ now[:d]).max())
        if speed <= _CALM * rate * np.abs(now).max():
            break
    with np.errstate(divide="ignore", invalid="ignore"):  # in SciPy, at exact zeros of the Jacobian
        found = least_squares(
            model.residuals, now.ravel(), model.jacobian, xtol=1e-15, ftol=1e-15, gtol=1e-15
        )
    end = np.asarray(found.x).reshape(now.shape)
    at, columns = np.concatenate(times), np.concatenate(path)
    plateau, W = end[:d] @ end[d:].T, columns[:, :d] @ np.swapaxes(columns[:, d:], 1, 2)
    way = np.linalg.norm(W - plateau, axis=(1, 2))
    s = np.linalg.svdvals(W)[:, on - 1] / np.linalg.svdvals(plateau)[on - 1]

    def crossing(level: float) -> float:
        k = max(int(np.argmax(s >= level)), 1)
        return float(np.interp(level, s[k - 1 : k + 1], at[k - 1 : k + 1]))

    near = float(at[np.flatnonzero(way > NEAR * way[0])[-1]])
    settled = (time, end, _beside(end, rest))
    return Stage(Z[:, -1], plateau, crossing(NEAR), crossing(0.5), near, settled, joined)


def _beside(active: np.ndarray, rest: np.ndarray) -> np.ndarray:
    """The rest without its part along the active columns, which no longer grows.

    A rotation of the inner dimension moves it there, where it is nothing.
    """
    Q = np.linalg.qr(active)[0]
    return rest - Q @ (Q.T @ rest)
