"""Where to start on a problem that is not convex: minima of proximal gradient descent."""

import numpy as np

from symbias.training import cores
from symbias.training.objective import Objective
from symbias.training.proximal import Scalar, descend, tabulated_prox

_STEPS = 1_000
_ROUNDS = 10
_NEIGHBOURS = 20


def least_squares_start(objective: Objective) -> np.ndarray:
    """c of least norm for the quadratic model of the loss at c = 0: the end of no penalty."""
    A, y = working_model(objective)
    return np.linalg.lstsq(A, y)[0] if A.size else np.zeros(objective.size)


def working_model(objective: Objective) -> tuple[np.ndarray, np.ndarray]:
    """B and y of the model 1/2 |y - B c|^2 of the loss at c = 0, free directions projected out.

    The loss itself (but for a constant) where it is a squared error.
    """
    eta = objective.offset(objective.null_offset)
    bend = objective.loss.bend(eta, objective.Y, objective.weights)
    root = np.sqrt(objective.weights * bend).ravel()
    y = root * (-objective.loss.gradient(eta, objective.Y) / bend).ravel()
    model = objective.model
    if model.joint:
        blocks = np.kron(model.X, np.eye(objective.targets))
        B = np.asarray(blocks @ objective.linear.columns)
    else:
        B = model.inputs
    seen = root > 0
    B, y, root = root[seen, None] * B[seen], y[seen], root[seen]
    Q = np.linalg.qr(root[:, None] * objective.basis[seen])[0]
    return B - Q @ (Q.T @ B), y - Q @ (Q.T @ y)


def proximal_starts(objective: Objective, strength: float, count: int, seed: int = 0) -> np.ndarray:
    """Local minima, one per row, of the quadratic model with the penalty; best first, distinct.

    Zero, the least-squares solution, and random points between: normal numbers of the size of the
    least-squares solution.
    """
    parts = objective.linear.cores
    if any(cores.scalar(core.design) is None for core in parts):
        return np.zeros((0, objective.size))
    B, y = working_model(objective)
    lipschitz = float(np.linalg.norm(B, 2)) ** 2
    if not lipschitz > 0:
        return np.zeros((1, objective.size))
    full = np.linalg.lstsq(B, y)[0]
    rng = np.random.default_rng(seed)
    spread = np.abs(full).mean() * np.exp(rng.uniform(-2, 1, size=(count, 1)))
    starts = spread * rng.standard_normal((count, len(full)))
    starts[: min(2, count)] = np.stack([np.zeros_like(full), full])[: min(2, count)]
    largest = 10 * max(np.abs(starts).max(), np.abs(B.T @ y).max() / lipschitz)

    maps = []
    for core in parts:
        R = cores.scalar(core.design)
        assert R is not None
        maps.append(tabulated_prox(R, strength / lipschitz, largest))

    def prox(rows: np.ndarray) -> np.ndarray:
        return np.array([_resize(objective, row, maps) for row in rows])

    def gradient(rows: np.ndarray) -> np.ndarray:
        return (rows @ B.T - y) @ B

    def cost(c: np.ndarray) -> float:
        return 0.5 * float(np.sum((y - B @ c) ** 2)) + strength * objective.penalty(c)

    found = descend(gradient, prox, starts, 1 / lipschitz, _STEPS)
    values = [cost(c) for c in found]
    for _ in range(_ROUNDS):
        best = int(np.argmin(values))
        near = descend(gradient, prox, _neighbours(found[best], B, y), 1 / lipschitz, _STEPS)
        found, values = np.concatenate([found, near]), values + [cost(c) for c in near]
        if not min(values) < values[best] * (1 - 1e-9):
            break
    distinct: list[int] = []
    for k in np.argsort(values):
        if not distinct or values[k] > values[distinct[-1]] * (1 + 1e-7):
            distinct.append(int(k))
    return found[distinct]


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


def _resize(objective: Objective, row: np.ndarray, maps: list[Scalar]) -> np.ndarray:
    parts = zip(objective.linear.cores, objective.linear.split(row), maps, strict=True)
    return np.concatenate([np.ravel(cores.resize(k.design, c, f)) for k, c, f in parts])
