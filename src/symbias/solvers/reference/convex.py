"""Convex penalties by an interior-point method, each written out in w: no factors, no forms."""

from typing import Any, NamedTuple

import numpy as np
import scipy.sparse as sp

from symbias.penalties import (
    L1,
    Composed,
    Differences,
    ElasticNet,
    GroupLasso,
    LatentGroupLasso,
    Nuclear,
    Penalty,
    Reshaped,
    Ridge,
    Scaled,
    Spectral,
    TotalVariation,
    TrendFilter,
)
from symbias.solvers.program import Program, Term

LARGEST = 20_000  # of a series: seconds


class Reference(NamedTuple):
    """The best solution found; of shape (n_features,) or (n_features, n_targets)."""

    solver: str
    coef: np.ndarray
    intercept: Any
    objective: float


def convex_reference(
    penalty: Penalty, strength: float, X: np.ndarray, y: np.ndarray, fit_intercept: bool = True
) -> Reference:
    """min |y - X w - b|^2 / (2 n) + strength * penalty(w) by an interior-point method (Clarabel).

    Raises
    ------
    ValueError
        If the penalty is not convex or not known here, or the solver fails.
    """
    Xc, yc, unit = centred(X, y, fit_intercept)
    shape, targets = (X.shape[1], *y.shape[1:]), int(np.prod(y.shape[1:], dtype=int))
    program, eye = Program(), sp.eye_array(targets, format="csc")
    size = int(np.prod(shape))
    w = program.variables(size, square=_square(penalty, strength))
    r = program.variables(y.size, square=1 / len(y))
    seen = Term(w, sp.kron(sp.csc_array(Xc), eye, format="csc"))
    program.equal([seen, Term(r, sp.eye_array(y.size, format="csc"))], yc.ravel() / unit)
    _add(program, penalty, strength / unit, w, shape)
    coef = unit * program.solve()[:size].reshape(shape)
    return measured("Clarabel", penalty, strength, coef, X, y, fit_intercept)


def series_reference(
    y: np.ndarray, strength: float, order: int, times: np.ndarray, weights: np.ndarray
) -> tuple[np.ndarray, float]:
    """min sum a (y - w)^2 / 2 + strength sum_j |(Dw)_j|, D jumps (1) or changes of slope (2).

    y and a are (n,) or (n, channels), with norms over the channels. The signal, and the objective.
    Raises as `convex_reference` does.
    """
    program, channels = Program(), int(np.prod(y.shape[1:], dtype=int))
    mean = np.sum(weights * y, axis=0) / np.sum(weights, axis=0)
    centre = y - mean
    unit = float(np.sqrt(np.sum(weights * centre**2))) or 1.0
    # the loss is sum a (w^2 / 2 - y w) but for a constant
    cost = -(weights * centre).ravel() / unit
    w = program.variables(y.size, square=weights.ravel(), cost=cost)
    D = _changes(order, times)
    if channels == 1:
        program.absolute([Term(w, D)], program.variables(D.shape[0], cost=strength / unit))
    else:
        _rows(program, sp.kron(D, sp.eye_array(channels)), w, strength / unit, channels)
    signal = unit * program.solve()[: y.size].reshape(y.shape) + mean
    changes = float(np.linalg.norm((D @ signal).reshape(-1, channels), axis=1).sum())
    return signal, float(np.sum(weights * (y - signal) ** 2)) / 2 + strength * changes


def centred(X: np.ndarray, y: np.ndarray, fit_intercept: bool) -> tuple[Any, Any, float]:
    """X and y without their means, and the size of y: for solvers of few digits."""
    if fit_intercept:
        X, y = X - X.mean(axis=0), y - y.mean(axis=0)
    return X, y, float(np.sqrt(np.sum(y**2) / len(y))) or 1.0


def measured(
    name: str,
    penalty: Penalty,
    strength: float,
    coef: np.ndarray,
    X: np.ndarray,
    y: np.ndarray,
    fit_intercept: bool,
) -> Reference:
    """The intercept and the objective of some coefficients."""
    intercept = y.mean(axis=0) - X.mean(axis=0) @ coef if fit_intercept else np.zeros(y.shape[1:])
    r = y - X @ coef - intercept
    objective = float(np.sum(r * r)) / (2 * len(y)) + strength * float(penalty(coef))
    return Reference(name, coef, float(intercept) if y.ndim == 1 else intercept, objective)


def _square(penalty: Penalty, strength: float) -> float:
    """The coefficient of |w|^2 / 2."""
    match penalty:
        case Ridge():
            return strength
        case ElasticNet(l1_ratio=ratio):
            return strength * (1 - ratio)
        case Scaled():
            return _square(penalty.penalty, strength * penalty.strength)
        case Reshaped():
            return _square(penalty.penalty, strength)
        case Composed():
            return sum(_square(term, strength) for term in penalty.terms)
    return 0.0


def _add(
    program: Program, penalty: Penalty, strength: float, w: int, shape: tuple[int, ...]
) -> None:
    """What the penalty costs beside squares."""
    size = int(np.prod(shape))
    identity = sp.eye_array(size, format="csc")
    match penalty:
        case L1():
            weights = np.ones(shape) if penalty.weights is None else np.asarray(penalty.weights)
            _sizes(program, identity, w, strength * weights.ravel())
        case Ridge():
            pass
        case ElasticNet(l1_ratio=ratio):
            _sizes(program, identity, w, strength * ratio)
        case GroupLasso():
            groups = penalty.sizes(shape)
            for g, weight in enumerate(penalty.group_weights(groups)):
                bound = program.variables(1, cost=strength * weight)
                program.norm([Term(w, identity[np.flatnonzero(groups.labels == g)])], bound)
        case LatentGroupLasso():
            terms = [Term(w, -identity)]
            for group, weight in zip(penalty.groups, penalty.copies(size).weights, strict=True):
                part = program.variables(len(group))
                bound = program.variables(1, cost=strength * weight)
                program.norm([Term(part, sp.eye_array(len(group), format="csc"))], bound)
                terms.append(Term(part, identity[:, np.asarray(group)]))
            program.equal(terms, np.zeros(size))
        case Scaled():
            _add(program, penalty.penalty, strength * penalty.strength, w, shape)
        case Composed():
            for term in penalty.terms:
                _add(program, term, strength, w, shape)
        case Reshaped():
            _add(program, penalty.penalty, strength, w, penalty.inner(shape))
        case Nuclear():
            program.nuclear(w, shape, strength)
        case TotalVariation() | TrendFilter():
            D, width = _differences(penalty, shape)
            joint = penalty.joint and len(shape) == 2
            _rows(program, D, w, strength, width) if joint else _sizes(program, D, w, strength)
        case Spectral() | Differences():
            transform = penalty.transform(size)
            analysis = transform.inverse(np.eye(size))[transform.free :]
            _sizes(program, sp.csc_array(analysis), w, strength)
        case _:
            raise ValueError(f"{type(penalty).__name__} has no convex reference")


def _sizes(program: Program, matrix: Any, w: int, costs: Any) -> None:
    """costs^T |matrix w|."""
    program.absolute([Term(w, matrix)], program.variables(matrix.shape[0], cost=costs))


def _rows(program: Program, matrix: Any, w: int, strength: float, width: int) -> None:
    """strength times the norms of so many rows of matrix w each."""
    bounds = program.variables(matrix.shape[0] // width, cost=strength)
    program.norms([Term(w, matrix)], bounds, width)


def _differences(penalty: Any, shape: tuple[int, ...]) -> tuple[Any, int]:
    """The matrix of all differences of a flat w, and how many belong together."""
    length, width = shape[0], int(np.prod(shape[1:], dtype=int))
    at = sp.eye_array(length * width, format="csr")
    if len(shape) == 2 and getattr(penalty, "axis", 0) in (1, -1):  # of the transpose
        at = at[np.arange(length * width).reshape(shape).T.ravel()]
        length, width = width, length
    if isinstance(penalty, TrendFilter):
        steps = np.ones(length - 1) if penalty.spacing is None else np.asarray(penalty.spacing)
        D = _changes(2, np.concatenate([[0.0], np.cumsum(steps)]))
    elif penalty.tree is None:
        D = _changes(1, np.arange(length))
    else:
        parents = np.asarray(penalty.tree)
        nodes, eye = np.flatnonzero(parents >= 0), sp.eye_array(length, format="csr")
        D = eye[nodes] - eye[parents[nodes]]
    return sp.csc_array(sp.kron(D, sp.eye_array(width)) @ at), width


def _changes(order: int, times: np.ndarray) -> Any:
    n = len(times)
    D = sp.diags_array([-np.ones(n - 1), np.ones(n - 1)], offsets=[0, 1], shape=(n - 1, n))
    if order == 1:
        return sp.csc_array(D)
    slopes = sp.diags_array(1 / np.diff(times)) @ D
    again = sp.diags_array([-np.ones(n - 2), np.ones(n - 2)], offsets=[0, 1], shape=(n - 2, n - 1))
    return sp.csc_array(again @ slopes)
