r"""Step sizes as a constraint: gradient descent can settle only where the loss is not too sharp.

References
----------
Cohen, Kaur, Li, Kolter, Talwalkar, "Gradient descent on neural networks typically occurs at the
edge of stability", ICLR 2021; Mulayoff, Michaeli, Soudry, "The implicit bias of minima stability",
NeurIPS 2021.
"""

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
import scipy.linalg
import scipy.sparse as sp

from symbias._core.extras import needed_by
from symbias._core.numbers import number, positive
from symbias._core.refusal import Refused
from symbias.mechanisms.orbit_gradients import sample_gradients
from symbias.mechanisms.potentials import synthesis_matrix
from symbias.parameterizations import Parameterization, check_inputs, measurements
from symbias.solvers.program import Program, Term, triangle
from symbias.symmetry import GeneralLinear, Rescaling, act


@dataclass(frozen=True, eq=False)
class Reach:
    """Whether gradient descent can end at a w that fits the data.

    Attributes
    ----------
    sharpness : float
        The least largest eigenvalue of the loss's Hessian among all factors of w.
    edge : float
        2 (1 + momentum) / learning_rate, above which every such point is unstable.
    theta : dict of arrays
        Factors of w at which it is least.
    """

    sharpness: float
    edge: float
    theta: dict[str, np.ndarray]

    @property
    def reachable(self) -> bool:
        """Whether w is stable at some of its factors."""
        return self.sharpness <= self.edge

    def largest_rate(self, momentum: float = 0.0) -> float:
        """The learning rate above which w cannot be reached; infinite where nothing is curved."""
        edge = 2 * (1 + _momentum(momentum))
        return edge / self.sharpness if self.sharpness else math.inf


def reachable(
    p: Parameterization, w: Any, learning_rate: float, X: Any, *, momentum: float = 0.0
) -> Reach:
    r"""Whether gradient descent on :math:`\frac1{2n}|Xw - y|^2` can end at an interpolating w.

    Where the residuals vanish the Hessian in the factors is :math:`\frac1n X J J^T X^T` up to
    zeros, J = dw/d theta, and descent is stable where its largest eigenvalue is at most 2/eta
    (heavy ball: 2 (1 + beta)/eta). It is least over the factors of w

    * for products of L numbers at the balanced point: :math:`J J^T` has the entries
      :math:`L |w_j|^{2 - 2/L}`, each the least of its own;
    * for one bond, as of matrix products of depth 2 and groups, by a semidefinite program in the
      gauge S: gradients at one side are weighted by S, at the other by its inverse. The balanced
      point is not the least, unless the inputs are white;
    * for w itself, and behind rotations alone, it is the same at all factors.

    Parameters
    ----------
    p : Parameterization
    w : array, of shape ``p.shape``
    learning_rate : float
    X : array (n, *p.shape), or (n, rows) for predictions X @ w
    momentum : float
        beta in [0, 1), heavy ball.

    Raises
    ------
    Refused
        For several bonds that share arrays, such as those of deep matrix products: the least over
        their gauges is not known.
    ValueError
        For inputs that do not fit w, or a rate or momentum outside its range.

    Notes
    -----
    A necessary condition on where descent may settle, not where it will go. Cost of the program:
    O((n^2 + r^2)^3) for n predictions and a bond of size r.
    """
    positive("learning_rate", learning_rate)
    edge = 2 * (1 + _momentum(momentum)) / learning_rate
    inputs, w = np.asarray(X, dtype=float), np.asarray(w, dtype=float)
    check_inputs(inputs, p.shape)
    rows = measurements(inputs, p.shape)
    theta = {k: np.asarray(v) for k, v in p.section(w).items()}
    found = p.products(theta)
    if found is not None and not found.plain.size:
        features = rows @ synthesis_matrix(p) * np.sqrt(found.least_slopes)
        least = float(np.linalg.norm(features, 2) ** 2)
    else:
        least, theta = _of_gauge(p, theta, rows)
    return Reach(least / len(inputs), edge, theta)


def _momentum(momentum: float) -> float:
    if not 0 <= number("momentum", momentum) < 1:
        raise ValueError(f"momentum must be in [0, 1), got {momentum}")
    return momentum


def _of_gauge(
    p: Parameterization, theta: dict[str, np.ndarray], rows: np.ndarray
) -> tuple[float, dict[str, np.ndarray]]:
    """The least over one gauge for each bond, and the factors there."""
    bonds = [bond for bond in p.symmetry if not bond.group.compact]  # rotations change no norm
    names = [name for bond in bonds for name in bond.arrays]
    known = all(isinstance(bond.group, GeneralLinear | Rescaling) for bond in bonds)
    single = bool(list(p.symmetry)) or p.is_identity
    if len(set(names)) < len(names) or not known or not single:
        raise Refused(
            f"{p!r}: the least sharpness is known for products of numbers and for bonds that share "
            "no array; over the gauges of several coupled ones it is not"
        )
    with needed_by("reachable"):
        import jax

    with jax.enable_x64(True):
        grads = {k: np.asarray(g) for k, g in sample_gradients(p)(theta, rows).items()}
    count = len(rows)
    free = [g.reshape(count, -1) for name, g in grads.items() if name not in names]
    fixed = sum((g @ g.T for g in free), np.zeros((count, count)))
    if not bonds:
        return float(np.linalg.eigvalsh(fixed)[-1]), theta
    program = Program()
    t = program.variables(1, cost=1.0)
    i, j = triangle(count)
    scale = np.where(i == j, 1.0, np.sqrt(2))
    terms = [Term(t, sp.csc_array((i == j).astype(float)[:, None]))]
    one = program.variables(1)
    program.equal([Term(one, sp.eye_array(1))], np.ones(1))
    terms.append(Term(one, sp.csc_array(-(scale * fixed[i, j])[:, None])))
    places = {}
    for bond in bonds:
        stack = [bond.blocks(np, {k: grads[k][n] for k in bond.arrays}) for n in range(count)]
        x, y = (np.stack([pair[side] for pair in stack]) for side in (0, 1))
        if isinstance(bond.group, Rescaling):  # a gauge of one number for each component
            x, y = (a.reshape(count, -1, 1, a.shape[-1]) for a in (x, y))
        at = [_pair(program, x.shape[2]) for _ in range(x.shape[1])]
        places[bond.name] = at, x.shape[2]
        for head, start in enumerate(at):
            weights = _linear(x[:, head], y[:, head], i, j)
            terms.append(Term(start, sp.csc_array(-scale[:, None] * weights)))
    program.positive(terms, count)
    solution = program.solve()
    element = {
        bond.name: _element(bond.group, solution, *places[bond.name], bond.heads or 1)
        for bond in bonds
    }
    moved = act(p.symmetry, element, theta)
    return float(solution[t]), {k: np.asarray(v) for k, v in moved.items()}


def _pair(program: Program, size: int) -> int:
    """Variables of [[T, 1], [1, S]] >= 0, so that T >= S^-1: where its triangle starts."""
    i, j = triangle(2 * size)
    start = program.variables(len(i))
    at = np.flatnonzero((i < size) & (j >= size))
    pick = sp.csc_array((np.ones(len(at)), (np.arange(len(at)), at)), shape=(len(at), len(i)))
    program.equal([Term(start, pick)], (i[at] == j[at] - size).astype(float))
    program.positive([Term(start, sp.diags_array(np.where(i == j, 1.0, np.sqrt(2))))], 2 * size)
    return start


def _linear(x: np.ndarray, y: np.ndarray, i: np.ndarray, j: np.ndarray) -> np.ndarray:
    """Entries (i, j) of the kernel as a linear map of the triangle of [[T, 1], [1, S]]."""
    size = x.shape[1]
    a, b = triangle(2 * size)
    found = np.zeros((len(i), len(a)))
    for side, block in ((0, x), (size, y)):  # gradients at vector ends by T, at covector ends by S
        inside = np.flatnonzero((a >= side) & (a < side + size) & (b >= side) & (b < side + size))
        r, c = a[inside] - side, b[inside] - side
        pairs = np.einsum("nqk,nqk->nq", block[i][:, r], block[j][:, c])
        pairs = pairs + np.where(r == c, 0.0, np.einsum("nqk,nqk->nq", block[i][:, c],
                                                        block[j][:, r]))  # fmt: skip
        found[:, inside] = pairs
    return found


def _element(group: Any, solution: np.ndarray, at: list[int], size: int, heads: int) -> np.ndarray:
    """g with g^T g = S."""
    i, j = triangle(2 * size)
    gauges = []
    for start in at:
        whole = np.zeros((2 * size, 2 * size))
        whole[i, j] = whole[j, i] = solution[start : start + len(i)]
        gauges.append(np.real(scipy.linalg.sqrtm(whole[size:, size:])))
    found = np.stack(gauges)
    if isinstance(group, Rescaling):
        return found.reshape(heads, group.size)
    return found
