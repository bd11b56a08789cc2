"""Where to start on a problem that is not convex: minima of many proximal gradient descents."""

from collections.abc import Callable

import numpy as np
from scipy.linalg import cho_factor, cho_solve
from scipy.sparse.linalg import svds

from symbias.penalties import Piece, tabulated_prox
from symbias.solvers.composite import Composite

_STEPS, _ROUNDS, _NEIGHBOURS = 1_000, 10, 20

Rows = Callable[[np.ndarray], np.ndarray]


def working_model(composite: Composite) -> tuple[np.ndarray, np.ndarray]:
    """B and y of the model 1/2 |y - B c|^2 of the loss at c = 0, free directions projected out.

    The loss itself (but for a constant) where it is a squared error. What is left of a column
    that the free directions explain is rounding, and set to zero.
    """
    problem = composite.problem
    eta = problem.null_eta
    bend = problem.loss.majorizer(eta, problem.y)
    if bend is None:
        bend = problem.loss.bend(eta, problem.y, problem.a)
    root = np.sqrt(problem.a * bend)
    y = -root * problem.loss.gradient(eta, problem.y) / bend
    live = root > 0
    columns = problem.inputs.gather(np.arange(composite.size)).dense().T
    B, y, Q = root[live, None] * columns[live], y[live], (root[:, None] * problem.basis)[live]
    Q = np.linalg.qr(Q)[0]
    left = B - Q @ (Q.T @ B)
    kept = np.linalg.norm(left, axis=0) > 1e-12 * np.linalg.norm(B, axis=0)
    return np.where(kept, left, 0.0), y - Q @ (Q.T @ y)


def least_squares(composite: Composite) -> np.ndarray:
    """c of least norm for the model: the end of no penalty."""
    return _least_norm(*working_model(composite))


def _least_norm(B: np.ndarray, y: np.ndarray) -> np.ndarray:
    """argmin |y - B c|, by the smaller of B^T B and B B^T with a ridge of 1e-11 of its trace."""
    if not B.any():
        return np.zeros(B.shape[1])
    wide = B.shape[0] < B.shape[1]
    gram = B @ B.T if wide else B.T @ B
    gram[np.diag_indices_from(gram)] += 1e-11 * np.trace(gram)
    found = cho_solve(cho_factor(gram), y if wide else B.T @ y)
    return B.T @ found if wide else np.asarray(found)


def _largest(B: np.ndarray) -> float:
    """|B|_2, by Lanczos."""
    if min(B.shape) < 3:
        return float(np.linalg.norm(B, 2)) if B.size else 0.0
    start = np.random.default_rng(0).standard_normal(min(B.shape))
    return float(svds(B, 1, v0=start, return_singular_vectors=False)[0])


def local_minima(composite: Composite, strength: float, count: int, seed: int = 0) -> np.ndarray:
    """Local minima, one per row, of the quadratic model with the penalty; best first, distinct.

    From zero, the least-squares solution, and random points between: normal numbers of the size of
    the least-squares solution. Then from the neighbours of the best, until none is better.
    """
    B, y = working_model(composite)
    lipschitz = _largest(B) ** 2
    if not lipschitz > 0:
        return np.zeros((1, composite.size))
    full = _least_norm(B, y)
    rng = np.random.default_rng(seed)
    spread = np.abs(full).mean() * np.exp(rng.uniform(-2, 1, size=(count, 1)))
    starts = spread * rng.standard_normal((count, len(full)))
    starts[: min(2, count)] = np.stack([np.zeros_like(full), full])[: min(2, count)]
    largest = 10 * max(np.abs(starts).max(), np.abs(B.T @ y).max() / lipschitz)
    prox = _prox(composite, strength / lipschitz, largest)

    curved, pulled = _normal(B / np.sqrt(lipschitz)), B.T @ y / lipschitz

    def descend(c: np.ndarray) -> np.ndarray:
        c, moving = c.copy(), np.arange(len(c))
        for k in range(_STEPS):
            old = c[moving]
            c[moving] = prox(old - curved(old) + pulled)
            if k % 10 == 9:
                moved = np.abs(c[moving] - old).max(axis=1)
                moving = moving[moved > 1e-9 * max(np.abs(c).max(), 1e-300)]
                if not len(moving):
                    break
        return c

    def cost(c: np.ndarray) -> float:
        return 0.5 * float(np.sum((y - B @ c) ** 2)) + composite.cost(c, strength)

    found = descend(starts)
    values = [cost(c) for c in found]
    for _ in range(_ROUNDS):
        best = int(np.argmin(values))
        near = descend(_neighbours(found[best], B, y))
        found, values = np.concatenate([found, near]), values + [cost(c) for c in near]
        if not min(values) < values[best] * (1 - 1e-9):
            break
    distinct: list[int] = []
    for k in np.argsort(values):
        if not distinct or values[k] > values[distinct[-1]] * (1 + 1e-7):
            distinct.append(int(k))
    return found[distinct]


def _normal(B: np.ndarray) -> Rows:
    """c -> B^T B c for the rows of an array (k, m), of which most entries are soon zero.

    Through B where that is wide, O(k n m), else by its Gram matrix, O(k s m) with s columns in use.
    """
    wide = 2 * B.shape[0] < B.shape[1]
    whole = np.ascontiguousarray(B.T) if wide else B.T @ B
    used, part = np.arange(len(whole)), whole

    def product(rows: np.ndarray) -> np.ndarray:
        nonlocal used, part
        live = np.flatnonzero(rows.any(axis=0))
        if not np.array_equal(live, used) and 4 * len(live) < len(whole):
            used, part = live, whole[live]
        elif 4 * len(live) >= len(whole):
            used, part = np.arange(len(whole)), whole
        inner = (rows if part is whole else rows[:, used]) @ part
        return inner @ B if wide else inner

    return product


def _neighbours(c: np.ndarray, B: np.ndarray, y: np.ndarray) -> np.ndarray:
    """``c`` without one of its largest entries, or with one more where the residual pulls most."""
    live = np.argsort(-np.abs(c))[: min(_NEIGHBOURS, np.count_nonzero(c))]
    pull = (y - B @ c) @ B
    reach = pull / np.maximum(np.sum(B**2, axis=0), 1e-300)
    new = np.argsort(-np.where(c == 0, np.abs(pull), 0.0))[:_NEIGHBOURS]
    rows = np.tile(c, (len(live) + len(new), 1))
    rows[np.arange(len(live)), live] = 0.0
    rows[len(live) + np.arange(len(new)), new] += 2 * reach[new]
    return rows


def _prox(composite: Composite, tau: float, largest: float) -> Rows:
    """The proximal map of every row, by tables."""
    pieces = composite.form.pieces
    maps = [tabulated_prox(_scalar(piece, tau), largest) for piece in pieces]
    cuts = np.cumsum([int(np.prod(piece.shape)) for piece in pieces])[:-1]

    def prox(rows: np.ndarray) -> np.ndarray:
        parts = zip(pieces, maps, np.split(rows, cuts, axis=1), strict=True)
        return np.concatenate([_resize(piece, change, c) for piece, change, c in parts], axis=1)

    return prox


def _scalar(piece: Piece, tau: float) -> Rows:
    return lambda x: piece.scalar.prox(x, tau)


def _resize(piece: Piece, change: Rows, rows: np.ndarray) -> np.ndarray:
    if piece.sizes.elementwise:
        return np.sign(rows) * change(np.abs(rows))
    if piece.sizes.labels is None:  # all matrices at once
        return piece.sizes.resize(rows.reshape(-1, *piece.shape), change).reshape(rows.shape)
    each = [piece.sizes.resize(row.reshape(piece.shape), change).ravel() for row in rows]
    return np.array(each).reshape(rows.shape)
