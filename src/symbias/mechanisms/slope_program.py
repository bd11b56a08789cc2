r"""The least representation cost of a function at or near values: a convex program, certified.

.. math:: \min_f \tfrac12 \sum_i a_i (f(x_i) - y_i)^2 + s R(f), \qquad
    R(f) = \int w |f''| + \max\bigl(0,\ |f'(-\infty) + f'(\infty)| - \textstyle\int |f''|\bigr)

with w = 1 or :math:`\sqrt{1 + t^2}`, and without the second term where a skip is free. A neuron
is an atom :math:`(\pm(x - t))_+` of cost w(t), so that a dual point :math:`\rho` with
:math:`\sum_i \rho_i = 0` (with a skip :math:`\sum_i \rho_i x_i = 0` too) is feasible where

.. math:: |q_\pm(t)| \le s\, w(t) \text{ for all } t, \qquad
    q_\pm(t) = \sum_i \rho_i (\pm(x_i - t))_+ .

Between data q is linear, :math:`\alpha + \beta t`, so :math:`|q|` is largest at data, and
:math:`|q|/\sqrt{1 + t^2}` there or at :math:`t = \beta/\alpha`: both are found exactly, and where
the bound is broken stands the next knot.
"""

from typing import NamedTuple

import numpy as np
import scipy.sparse as sp

from symbias.mechanisms.piecewise import PiecewiseLinear
from symbias.solvers.program import Program, Term

ROUNDS = 60
GAP = 1e-9  # relative to the objective, to end the search for knots
BROKEN = 1e-9  # excess of |q| over its bound, relative, that makes a knot


class Bent(NamedTuple):
    """A function, its objective (its cost R where there is no loss), and the duality gap."""

    function: PiecewiseLinear
    objective: float
    gap: float


def weights(t: np.ndarray, decayed: bool) -> np.ndarray:
    """The cost w of a unit change of slope at t."""
    return np.hypot(1.0, t) if decayed else np.ones_like(t)


def cost(f: PiecewiseLinear, skip: bool, decayed: bool) -> float:
    """R(f)."""
    changes = np.abs(f.changes)
    bend = float(weights(f.knots, decayed) @ changes)
    return bend if skip else bend + max(0.0, abs(f.left + f.right) - float(changes.sum()))


def least_cost(
    x: np.ndarray,
    y: np.ndarray,
    a: np.ndarray,
    strength: float | None,
    *,
    skip: bool,
    decayed: bool,
) -> Bent:
    """The minimum, or with no strength that of R among the functions through the points.

    ``x`` increases and has two entries at least; ``a`` are the weights of the loss.
    """
    nodes, bound = x, 1.0 if strength is None else strength
    for _ in range(ROUNDS):
        f, rho = _solved(nodes, x, y, a, strength, skip, decayed)
        f = _merged(f, x) if decayed else f
        rho = _centred(rho, x, skip)
        knots, sizes = _largest(x, rho, decayed)
        rho = rho * min(1.0, bound / float(sizes.max(initial=0.0) or 1.0))
        found = certified(f, x, y, a, rho, strength, skip=skip, decayed=decayed)
        new = np.setdiff1d([*f.knots, *knots[sizes > bound * (1 + BROKEN)]], nodes)
        if not decayed or found.gap <= GAP * found.objective or not new.size:
            break
        nodes = np.union1d(nodes, new)  # all are kept: they pin rho where the function is bent
    return found


def certified(
    f: PiecewiseLinear,
    x: np.ndarray,
    y: np.ndarray,
    a: np.ndarray,
    rho: np.ndarray,
    strength: float | None,
    *,
    skip: bool,
    decayed: bool,
) -> Bent:
    """The objective of f, and its duality gap to a feasible dual point rho."""
    values, R = f(x), cost(f, skip, decayed)
    along = float(rho @ (values - values.mean()))
    if strength is None:
        return Bent(f, R, max(R + along, 0.0))
    away = a * (values - y)
    gap = float(np.sum((away - rho) ** 2 / (2 * a))) + strength * R + along
    return Bent(f, float(away @ (values - y)) / 2 + strength * R, max(gap, 0.0))


def dual_point(
    f: PiecewiseLinear, x: np.ndarray, y: np.ndarray, a: np.ndarray, strength: float, skip: bool
) -> np.ndarray:
    """The gradient of the loss at f, made feasible for w = 1."""
    rho = _centred(a * (f(x) - y), x, skip)
    largest = float(_largest(x, rho, False)[1].max(initial=0.0))
    return rho * min(1.0, strength / (largest or 1.0))


def _centred(rho: np.ndarray, x: np.ndarray, skip: bool) -> np.ndarray:
    """Without its parts along what is free: constants, and with a skip slopes."""
    free = np.stack([np.ones_like(x), x - x.mean()][: 1 + skip], axis=1)
    for _ in range(2):  # the second time for what rounding left
        rho = rho - free @ np.linalg.lstsq(free, rho, rcond=None)[0]
    return rho


def _largest(x: np.ndarray, rho: np.ndarray, decayed: bool) -> tuple[np.ndarray, np.ndarray]:
    """Where |q_+|/w and |q_-|/w may be largest, and what they are there."""
    after = np.cumsum(rho[::-1])[::-1]  # sum over i >= k of rho_i
    beta = np.concatenate([[0.0], -after[1:], [0.0]])  # slopes of q before, between and after data
    q = np.concatenate([-np.cumsum((np.diff(x) * beta[1:-1])[::-1])[::-1], [0.0]])
    knots, sizes = [x, x], [np.abs(q), np.abs(q - q[0])]  # q_- = q_+ - sum rho_i x_i
    if not decayed:
        return np.concatenate(knots), np.concatenate(sizes)
    low, high = np.concatenate([[-np.inf], x]), np.concatenate([x, [np.inf]])
    ends = np.append(x, x[-1])
    for offset in (0.0, q[0]):
        alpha = np.append(q, 0.0) - offset - beta * ends
        t = np.divide(beta, alpha, out=np.full_like(beta, np.nan), where=alpha != 0)
        inside = (low < t) & (t < high)
        knots.append(t[inside])
        sizes.append(np.abs(alpha + beta * t)[inside])
    t = np.concatenate(knots)
    return t, np.concatenate(sizes) / weights(t, True)


def _merged(f: PiecewiseLinear, x: np.ndarray) -> PiecewiseLinear:
    """Knots between the same data that turn to the same side, put together at their centre.

    The function stays what it was at data, and costs no more: w is convex.
    """
    inside = ~np.isin(f.knots, x) & (f.changes != 0)
    t, m = f.knots[inside], f.changes[inside]
    groups, of = np.unique([np.searchsorted(x, t), np.sign(m)], axis=1, return_inverse=True)
    mass = np.bincount(of.ravel(), m, groups.shape[1])
    knots = np.concatenate([x, np.bincount(of.ravel(), m * t, groups.shape[1]) / mass])
    changes = np.concatenate([f.changes[np.isin(f.knots, x)], mass])
    order = np.argsort(knots)
    return PiecewiseLinear(knots[order], changes[order], f.left, f.value, f.origin)


def _solved(
    nodes: np.ndarray,
    x: np.ndarray,
    y: np.ndarray,
    a: np.ndarray,
    strength: float | None,
    skip: bool,
    decayed: bool,
) -> tuple[PiecewiseLinear, np.ndarray]:
    """The minimum over functions with these knots, and its dual point."""
    program, count = Program(), len(nodes)
    at, w = np.searchsorted(nodes, x), weights(nodes, decayed)
    run, rise, level = float(np.ptp(x)), float(np.ptp(y)) or 1.0, float(y.mean())
    places, heights = (nodes - x[0]) / run, (y - level) / rise  # units that the solver likes
    price = 1.0 if strength is None else strength / (rise * run)
    unit = min(price, 1.0)  # of cost: a strength that is small leaves the solver's tolerances alone
    values, slopes = program.variables(count), program.variables(count + 1)
    pick = sp.csc_array((np.ones(len(x)), (np.arange(len(x)), at)), shape=(len(x), count))
    terms = [Term(values, pick)]
    if strength is not None:
        terms.append(Term(program.variables(len(x), square=a / unit), sp.eye_array(len(x))))
    program.equal(terms, heights)
    up = sp.diags_array([-1.0, 1.0], offsets=[0, 1], shape=(count - 1, count))
    along = sp.diags_array([np.diff(places)], offsets=[1], shape=(count - 1, count + 1))
    program.equal([Term(values, up), Term(slopes, -along)], np.zeros(count - 1))
    _add_cost(program, slopes, w, price / unit, skip)
    primal, multipliers = program.solve_both()
    s = primal[slopes : slopes + count + 1] * rise / run
    value = level + rise * primal[values + at[0]]
    f = PiecewiseLinear(nodes, np.diff(s), float(s[0]), float(value), float(x[0]))
    return f, multipliers[: len(x)] * unit * (1 / run if strength is None else rise)


def _add_cost(program: Program, slopes: int, w: np.ndarray, strength: float, skip: bool) -> None:
    """strength R: without a skip the larger of sum w |change| and sum (w - 1) |change| + |sum|."""
    count = len(w)
    sizes = program.variables(count, cost=strength * w if skip else 0.0)
    change = sp.diags_array([-1.0, 1.0], offsets=[0, 1], shape=(count, count + 1))
    program.absolute([Term(slopes, change)], sizes)
    if skip:
        return
    total = program.variables(1, cost=strength)
    below, ends = Term(total, -np.ones((1, 1))), np.zeros((1, count + 1))
    ends[0, [0, -1]] = 1.0
    program.at_most([Term(sizes, w[None]), below], np.zeros(1))
    for side in (ends, -ends):
        program.at_most([Term(sizes, w[None] - 1), Term(slopes, side), below], np.zeros(1))
