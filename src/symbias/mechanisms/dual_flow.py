r"""The potential of gradient flow where no closed form is known: by flows of the dual variable.

Whatever the loss, gradient flow moves theta along the fields :math:`\nabla w_i`:
:math:`\dot\theta = J^T \dot\nu` with :math:`J = dw/d\theta` and :math:`\nu = -\int \nabla_w L`. If
w at the end depends on the end of :math:`\nu` alone and not on its path, then
:math:`dw/d\nu = J J^T`, symmetric and positive semidefinite, so :math:`w(\nu)` is the gradient of
a convex :math:`\psi^*`, and its Legendre transform :math:`\psi(w) = \sup_\nu \langle\nu, w\rangle -
\psi^*(\nu)`, with :math:`\nabla\psi(w) = \nu(w)`, is the potential: the flow from theta_0 ends at
the least :math:`D(w, w_0) = \int \langle\nu, dw\rangle` among all w that fit the data.

Independence of the path is the symmetry in i_1 ... i_k of all iterated derivatives
:math:`\nabla w_{i_1} \cdots \nabla w_{i_k} w_j` at theta_0 (Fliess 1981): weaker than brackets that
vanish everywhere, stronger than brackets that do not move w at theta_0. It is tested by flows:
a then b, b then a, and a + b must end at one w.

Then any path will do, and the straight one *in w*, the horizontal lift
:math:`\dot\nu = (J J^T)^{-1} (w - w_0)`, needs no inner solver. It is not stiff: errors across
orbits stay as they are, errors along them change at the rate at which theta does.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from scipy.integrate import solve_ivp

from symbias._core.refusal import Refused
from symbias.parameterizations import FlatMap, Parameterization, flat_map, flatten

FINE, COARSE = 1e-11, 1e-8  # relative tolerances of the solver
ABSOLUTE = 1e-3  # of those, relative to the start
PATHS, LEG = 3, 0.2  # a leg starts at a speed of this part of |theta|
SAME_END = 1e-6  # of the way of w, within which paths end together
RANK, STUCK = 1e-12, 1e-8
POLISH = 4


class Lifted(NamedTuple):
    """Where a straight path of <rows, w> ends.

    Attributes
    ----------
    theta : array, flat
    dual : array
        nu = rows^T dual.
    divergence : float
        D(w, w_0).
    """

    theta: np.ndarray
    dual: np.ndarray
    divergence: float


@dataclass(frozen=True, eq=False)
class DualFlow:
    """Flows of the dual variable from one start.

    Attributes
    ----------
    name : str
        Of the parameterization, for messages.
    map : FlatMap
    start : array, flat
    """

    name: str
    map: FlatMap
    start: np.ndarray

    @classmethod
    def of(cls, p: Parameterization, theta0: Mapping[str, np.ndarray]) -> "DualFlow":
        """The flows of p from theta0, once they are known not to depend on the path.

        Raises
        ------
        Refused
            Where they do, with how far apart two paths to the same nu end.
        """
        flow = cls(repr(p), flat_map(p), flatten(p, theta0))
        apart = flow.path_dependence()
        if apart > SAME_END:
            from symbias.mechanisms.potentials import flow_bracket

            raise Refused(
                f"{p!r} has no potential: gradient flows of different entries of w do not commute "
                f"(relative bracket {flow_bracket(p):.2g}), so the limit depends on the path: from "
                f"this start, along a then b and b then a, w ends {apart:.2g} of its way apart"
            )
        return flow

    @property
    def w0(self) -> np.ndarray:
        return self.map.w(self.start)

    def path_dependence(self) -> float:
        """The largest distance of the ends of a then b, b then a, a + b, relative to the way of w.

        Over random a and b, each of which changes theta by about a fifth of it, or by as much as
        does not leave the range of the flow.
        """
        rng, size = np.random.default_rng(0), self.w0.size
        pairs = rng.normal(size=(PATHS if size else 0, 2, size))
        return max((self._apart(self._leg(a), self._leg(b)) for a, b in pairs), default=0.0)

    def _leg(self, nu: np.ndarray) -> np.ndarray:
        size = float(np.linalg.norm(self.start)) or 1.0
        speed = float(np.linalg.norm(self.map.jacobian(self.start).T @ nu))
        if speed <= RANK * size:
            raise Refused(f"{self.name} starts where dw/d theta is zero: it never moves")
        return nu * (LEG * size / speed)

    def _apart(self, a: np.ndarray, b: np.ndarray, shorter: int = 5) -> float:
        paths = ([a, b], [b, a], [a + b], [a], [b])
        try:
            ends = [self.map.w(self._along(path, FINE)) for path in paths]
        except Refused:
            if not shorter:
                raise
            return self._apart(a / 4, b / 4, shorter - 1)
        apart = max(float(np.linalg.norm(x - y)) for x in ends[:3] for y in ends[:3])
        return apart / max(float(np.linalg.norm(x - self.w0)) for x in ends)

    def _along(self, path: list[np.ndarray], rtol: float) -> np.ndarray:
        """theta at the end of a path of dual steps."""
        at = self.start
        for nu in path:

            def speed(_: float, y: np.ndarray, nu: np.ndarray = nu) -> np.ndarray:
                return self.map.jacobian(y).T @ nu

            at = self._solve(speed, at, rtol)
        return at

    def _solve(self, speed: Callable[[float, np.ndarray], Any], at: Any, rtol: float) -> np.ndarray:
        atol = rtol * ABSOLUTE * (float(np.abs(self.start).max(initial=0.0)) or 1.0)
        with np.errstate(all="ignore"):
            path = solve_ivp(speed, (0.0, 1.0), at, "DOP853", rtol=rtol, atol=atol)
        end = path.y[:, -1]
        if not path.success or not np.all(np.isfinite(end)):
            raise Refused(
                f"{self.name}: the flow ends after {path.t[-1]:.3g} of the way: what lies beyond "
                "is out of its range, or on the other side of a sign that is frozen"
            )
        return end

    def lift(self, rows: np.ndarray, target: np.ndarray, rtol: float = FINE) -> Lifted:
        """Along the straight path of <rows, w> from the start to ``target``.

        nu stays in the row space, so that the end has the least D(w, w_0) of all w with
        ``rows @ w = target``; rows = 1 gives D(w, w_0) itself. Cost about 100 Jacobians and their
        singular values for each decade between the scales of w at the start and the end.

        Raises
        ------
        Refused
            If the flow does not get there.
        """
        theta, dual, divergence = self.start, np.zeros(len(target)), 0.0
        size, scale = len(self.start), float(np.abs(target).max(initial=0.0)) or 1.0
        for _ in range(POLISH):
            way = target - rows @ self.map.w(theta)
            if float(np.abs(way).max(initial=0.0)) <= 1e-14 * scale:
                break

            def speed(_: float, y: np.ndarray, way: np.ndarray = way) -> np.ndarray:
                slopes = rows @ self.map.jacobian(y[:size])
                push = self._push(slopes, way)
                return np.concatenate([slopes.T @ push, push, [way @ y[size:-1]]])

            end = self._solve(speed, np.concatenate([theta, dual, [divergence]]), rtol)
            theta, dual, divergence = end[:size], end[size:-1], float(end[-1])
        return Lifted(theta, dual, divergence)

    def _push(self, slopes: np.ndarray, way: np.ndarray) -> np.ndarray:
        """(slopes slopes^T)^-1 way."""
        if not np.all(np.isfinite(slopes)):
            return np.full(len(way), np.nan)
        u, s, _ = np.linalg.svd(slopes, full_matrices=False)
        live = s > RANK * s.max(initial=0.0)
        inside = u[:, live].T @ way
        if np.linalg.norm(way - u[:, live] @ inside) > STUCK * np.linalg.norm(way):
            raise Refused(
                f"{self.name}: the flow cannot move w there: it is out of range, or entries never "
                "move"
            )
        return u[:, live] @ (inside / s[live] ** 2)

    def divergence(self, w: np.ndarray) -> float:
        """D(w, w_0), w flat."""
        return self.lift(np.eye(w.size), w).divergence

    def evaluate(self, w: np.ndarray) -> tuple[float, np.ndarray, float]:
        """D(w, w_0), nu(w), and an error estimate of the first.

        The estimate: what a coarser tolerance changes, and what the straight path to the same nu
        misses w by, in units of D.
        """
        rows = np.eye(w.size)
        fine, coarse = self.lift(rows, w), self.lift(rows, w, COARSE)
        missed = self.map.w(self._along([fine.dual], FINE)) - w
        off = self._push(self.map.jacobian(fine.theta), missed)
        error = abs(fine.divergence - coarse.divergence) + abs(float(off @ (w - self.w0)))
        return fine.divergence, fine.dual, error
