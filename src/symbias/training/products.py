"""Products u t^power of a least-squares design, trained until the certificate is met.

What is left once intercept and free coordinates are projected out is

    min over z of  1/2 |y - B z|^2 + strength (power + 1)/2 sum_g |z_g|^(2 / (power + 1)),

and training is in z = u * t^power with one t per group.
"""

from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from functools import cache, cached_property
from typing import Any, ClassVar, Protocol

import numpy as np
from threadpoolctl import ThreadpoolController

from symbias.parameterizations import Scales
from symbias.penalties import Entries, Groups, Piece, Power
from symbias.solvers import Composite, Inputs, Minimum, Options, Problem, working_model

_WORKING_SET = 64
_PATIENCE = 3


@dataclass(frozen=True, eq=False)
class Reduced:
    """min over z of 1/2 |y - B z|^2 + strength penalty(z); see the module's docstring."""

    B: np.ndarray
    y: np.ndarray
    labels: np.ndarray
    power: int

    @property
    def groups(self) -> int:
        return int(self.labels.max(initial=-1)) + 1

    @property
    def depth(self) -> int:
        return self.power + 1

    @cached_property
    def composite(self) -> Composite:
        """The same for solvers, whose loss is an average: strength and objective over len(y)."""
        single = self.groups == len(self.labels)
        sizes = Entries(self.labels.shape) if single else Groups(self.labels)
        piece = Piece(sizes, Power(2 / self.depth, self.depth / 2))
        return Composite(Problem(Inputs(self.B), self.y), piece)

    @cached_property
    def squared_norms(self) -> np.ndarray:
        """|B_g|_F^2 of every group."""
        return np.bincount(self.labels, np.sum(self.B**2, axis=0), self.groups)

    def sizes(self, z: np.ndarray) -> np.ndarray:
        """|z_g| of every group."""
        return np.sqrt(np.bincount(self.labels, z * z, self.groups))

    def pulls(self, z: np.ndarray) -> np.ndarray:
        """|B_g^T (y - B z)| of every group."""
        return self.sizes(self.B.T @ (self.y - self.B @ z))

    def normalized(self) -> tuple["Reduced", float, float]:
        """The problem with |y| = 1 and a longest column of 1; the units of z and the objective.

        The same for all scales of the data: z = unit z' where the strength is
        strength' = strength unit^(2 / depth) / cost and the objective cost objective'.
        """
        cost = float(self.y @ self.y)
        longest = float(np.sqrt(np.sum(self.B**2, axis=0).max()))
        scaled = Reduced(self.B / longest, self.y / np.sqrt(cost), self.labels, self.power)
        return scaled, np.sqrt(cost) / longest, cost

    def restrict(self, groups: np.ndarray) -> tuple["Reduced", np.ndarray]:
        """The problem on some groups (sorted) alone, and which coordinates it keeps."""
        columns = np.flatnonzero(np.isin(self.labels, groups))
        labels = np.searchsorted(groups, self.labels[columns])
        return Reduced(self.B[:, columns], self.y, labels, self.power), columns

    def start(self, z: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """u and t of product ``z``, alive in every group.

        A section with a positive charge (1% of the largest group): at charge 0 zeros and signs of
        ``z`` would be frozen. For z = 0: u = 0 and equal scales of the reach of one coordinate.
        """
        sizes = self.sizes(z)
        safe = np.where(self.squared_norms > 0, self.squared_norms, 1.0)
        largest = float(sizes.max())
        if not largest > 0:
            reach = float((self.pulls(z) / safe).max())
            return z, np.full(self.groups, (0.3 * np.sqrt(reach)) ** (1 / self.power))
        charge = 1e-2 * largest
        if self.power == 1:
            t = np.sqrt(charge / 2 + np.hypot(charge / 2, sizes))
        else:
            t = (sizes + charge) ** (1 / self.depth)
        return z / t[self.labels] ** self.power, t


class Method(Protocol):
    """A way to train u and t of a `Reduced` problem, from a start, in chunks of steps."""

    MAX_ITER: ClassVar[int]
    CHUNK: ClassVar[int]

    def __init__(self, problem: Reduced, strength: float, u: np.ndarray, t: np.ndarray) -> None: ...
    @property
    def steps(self) -> int: ...
    def advance(self, steps: int) -> None: ...
    def product(self) -> np.ndarray: ...


class Products:
    """A least-squares design of products; ``method`` trains them."""

    def __init__(self, composite: Composite, scales: Scales, method: type[Method]) -> None:
        self.composite, self.method = composite, method
        self.reduced = Reduced(*working_model(composite), *scales)

    def minimise(self, strength: float, c: np.ndarray, options: Options) -> Minimum:
        """Train from c until the certificate is met.

        Where the problem is convex on a working set of 64, then 128, ... groups: those of the
        support first, then those that the residual pulls most. The set doubles, so all of it costs
        at most twice the last round. Else on the groups of c: one that is zero stays zero.
        """
        reduced, convex = self.reduced, self.composite.convex
        best, steps, size = self.composite.certify(c, strength), 0, _WORKING_SET
        while best.violation > options.tol:
            alive = reduced.sizes(best.c) > 0
            groups = np.flatnonzero(alive)
            if convex:
                size = max(size, 1 << max(len(groups) - 1, 0).bit_length())
                order = np.argsort(-np.where(alive, np.inf, reduced.pulls(best.c)), kind="stable")
                groups = np.sort(order[:size])
            part, columns = reduced.restrict(groups)
            z, after, met = train(part, strength, best.c[columns], self.method, options, steps)
            c = np.zeros(len(best.c))
            c[columns] = z
            best, steps = self.composite.certify(c, strength), after
            if not (convex and met and len(groups) < reduced.groups):
                break
            size *= 2
        reason = "converged" if best.violation <= options.tol else "max_iter"
        return Minimum(best, steps, reason)


def train(
    problem: Reduced,
    strength: float,
    z: np.ndarray,
    method: type[Method],
    options: Options,
    before: int = 0,
) -> tuple[np.ndarray, int, bool]:
    """Train all groups from z: what was reached, steps with those ``before``, whether it is met.

    Groups that are proven to be zero are set to zero, unless the others have not adapted to it yet.
    """
    scaled, unit, cost = problem.normalized()
    relative = float(strength * unit ** (2 / scaled.depth) / cost)
    share = relative / len(scaled.y)
    limit, goal, patience = options.max_iter or method.MAX_ITER, 0.5 * options.tol, _PATIENCE
    certify = scaled.composite.certify
    with _blas_threads(len(z)):
        training = method(scaled, relative, *scaled.start(z / unit))
        while True:
            last, most = training.steps, min(method.CHUNK, limit - training.steps)
            training.advance(most)
            found, steps = certify(training.product(), share), training.steps
            if options.callback:
                options.callback(before + steps, cost * len(scaled.y) * found.objective)
            met, spent = found.violation <= goal, steps >= limit
            if met or spent or steps < last + most:
                zero = scaled.composite.proven_zeros(found, share)
                sparse = certify(np.where(zero, 0.0, found.c), share)
                if sparse.violation <= options.tol:
                    return unit * sparse.c, before + steps, True
                if spent or not patience:
                    reached = found.violation <= options.tol
                    return unit * (found if reached else sparse).c, before + steps, reached
                # the others have not adapted to the zeros yet: go on, more strictly
                goal, patience = (goal / 10 if met else goal), patience - 1


@cache
def _blas() -> ThreadpoolController:
    return ThreadpoolController()


def _blas_threads(size: int) -> AbstractContextManager[Any]:
    """One BLAS thread for small systems: more only wait for one another."""
    return _blas().limit(limits=1, user_api="blas") if size <= 512 else nullcontext()
