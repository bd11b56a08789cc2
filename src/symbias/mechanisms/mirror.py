r"""Products of numbers under gradient flow are mirror descent: potential, dual, projection.

For :math:`w = \prod_k u_k` the differences of the :math:`u_k^2` are conserved. With x the smallest
factor, signed as w is, and :math:`d_j \ge 0` what the squares of the others exceed :math:`x^2` by,
:math:`w = x \prod_j \sqrt{x^2 + d_j}`. The flow is :math:`\dot w = -g(w) / \psi''(w)` with

.. math:: \psi'(w) - \psi'(w_0) = s = \int_{x_0}^{x} \frac{dx}{\prod_j \sqrt{x^2 + d_j}},
    \qquad D(w, w_0) = w\,s - \frac{x^2 - x_0^2}{2}.

At depth 2 this is :math:`s = \frac12 \operatorname{asinh}(2w/d) - \frac12 \operatorname{asinh}
(2w_0/d)`. The integral is taken in t with :math:`x = \sqrt{d_1} \sinh t`, where its integrand is
smooth on the scale of 1, by Gauss-Legendre panels.
"""

from dataclasses import dataclass

import numpy as np

NODES, WEIGHTS = np.polynomial.legendre.leggauss(20)
SMALLEST_STEPS, PROJECTION_STEPS = 200, 2000
TIE = 1e-14


@dataclass(frozen=True, eq=False)
class Mirror:
    """The mirror geometry of coordinates w_j, each a product of factors or a plain parameter.

    Attributes
    ----------
    start : array, shape (size,)
        Signed smallest factor x_0; the value itself for plain parameters.
    excess : array, shape (depth - 1, size)
        d_j in increasing order. Where d_1 = 0 the sign of w is frozen.
    plain : bool array, shape (size,)
        Coordinates that are parameters themselves, with psi(w) = w^2/2.
    """

    start: np.ndarray
    excess: np.ndarray
    plain: np.ndarray

    @classmethod
    def of_factors(cls, factors: np.ndarray) -> "Mirror":
        """From the factors at the start, shape (depth, size)."""
        squares = np.sort(factors**2, axis=0)
        excess = squares[1:] - squares[0]
        excess[excess <= TIE * squares[1:]] = 0.0
        sign = np.where(np.prod(np.sign(factors), axis=0) < 0, -1.0, 1.0)
        start = np.sqrt(squares[0]) * sign
        if np.any(stuck := (start == 0) & (excess[0] == 0)):
            where = int(np.argmax(stuck))
            raise ValueError(f"coordinate {where} starts with two factors at zero: it never moves")
        return cls(start, excess, np.zeros(start.shape, dtype=bool))

    def with_plain(self, values: np.ndarray) -> "Mirror":
        """With plain parameters put before the other coordinates."""
        ones = np.ones((len(self.excess), len(values)))
        return Mirror(
            np.concatenate([values, self.start]),
            np.concatenate([ones, self.excess], axis=1),
            np.concatenate([np.ones(len(values), dtype=bool), self.plain]),
        )

    def dual(self, w: np.ndarray) -> np.ndarray:
        """s = psi'(w) - psi'(w_0); infinite at and beyond the end of a frozen sign."""
        return self._dual(self._t(self._smallest(w)))

    def bregman(self, w: np.ndarray) -> np.ndarray:
        """D(w, w_0) of every coordinate: 0 at the start, positive elsewhere."""
        x = self._smallest(w)
        dual = self._dual(self._t(x))
        product = np.zeros_like(w)  # frozen signs: w s -> 0 at w = 0
        np.multiply(w, dual, where=w != 0, out=product)
        value = product - (x**2 - self.start**2) / 2
        return np.where(self.plain, (w - self.start) ** 2 / 2, value)

    def project(self, features: np.ndarray, y: np.ndarray, tolerance: float) -> np.ndarray:
        """argmin of sum D(w, w_0) subject to features @ w = y.

        Newton on s(t) = features^T nu, features @ w(t) = y, with steps that change no smallest
        factor by more than about e. A step costs O(size len(y)^2).

        Raises
        ------
        ValueError
            If it does not converge, as where no w within reach solves features @ w = y.
        """
        t, nu = self._t(self.start), np.zeros(len(y))
        for _ in range(PROJECTION_STEPS):
            w, rate = self._value(t)
            with np.errstate(invalid="ignore", over="ignore"):  # frozen signs run off to infinity
                miss = y - features @ w
                ahead = features.T @ nu - self._dual(t)
                root = np.linalg.qr((features * np.sqrt(rate)).T).R
                rhs = miss - features @ (rate * ahead)
                toward = np.linalg.solve(root, np.linalg.solve(root.T, rhs))
                move = (features.T @ toward + ahead) / self._slope(t)
            longest = np.abs(np.where(self._linear, 0.0, move)).max(initial=0.0)
            if not np.isfinite(longest):
                break
            step = 1.0 / max(1.0, longest)
            t, nu = t + step * move, nu + step * toward
            if longest < 1e-9 and np.abs(miss).max() <= tolerance:
                return self._value(t)[0]
        raise ValueError(f"the projection did not converge: {np.abs(miss).max():.1e} from y")

    def _smallest(self, w: np.ndarray) -> np.ndarray:
        """x with x prod_j sqrt(x^2 + d_j) = w, by Newton in log |x|, convex, from the right."""
        live = (w != 0) & ~self.plain
        target = np.log(np.where(live, np.abs(w), 1.0))
        log_x = target / (1 + len(self.excess))
        for _ in range(SMALLEST_STEPS):
            square = np.exp(2 * log_x)
            value = log_x + 0.5 * np.sum(np.log(square + self.excess), axis=0) - target
            change = value / (1 + np.sum(square / (square + self.excess), axis=0))
            log_x = log_x - change
            if np.abs(change[live]).max(initial=0.0) < 1e-15:
                break
        return np.where(self.plain, w, np.where(live, np.sign(w) * np.exp(log_x), 0.0))

    @property
    def _linear(self) -> np.ndarray:
        """Coordinates for which a Newton step of any length is right."""
        return self.plain

    @property
    def _frozen(self) -> np.ndarray:
        return self.excess[0] == 0

    @property
    def _side(self) -> np.ndarray:
        """dx/dt has this sign: t = log |x| where a sign is frozen."""
        return np.where(self._frozen, np.sign(self.start), 1.0)

    def _t(self, x: np.ndarray) -> np.ndarray:
        width = np.sqrt(np.where(self._frozen, 1.0, self.excess[0]))
        inside = x * self._side > 0
        log = np.where(inside, np.log(np.where(inside, np.abs(x), 1.0)), -np.inf)
        return np.where(self.plain, x, np.where(self._frozen, log, np.arcsinh(x / width)))

    def _x(self, t: np.ndarray) -> np.ndarray:
        width = np.sqrt(np.where(self._frozen, 1.0, self.excess[0]))
        t = np.where(self.plain, 0.0, t)
        return np.where(self._frozen, self._side * np.exp(t), width * np.sinh(t))

    def _value(self, t: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """w, and dw/ds = sum_k prod_(j != k) u_j^2."""
        x = self._x(t)
        squares = x**2 + self.excess
        w, rate = x * np.sqrt(np.prod(squares, axis=0)), np.prod(squares, axis=0)
        for k in range(len(squares)):
            rate = rate + x**2 * np.prod(np.delete(squares, k, axis=0), axis=0)
        return np.where(self.plain, t, w), np.where(self.plain, 1.0, rate)

    def _slope(self, t: np.ndarray) -> np.ndarray:
        """ds/dt = 1 / prod_(j > 1) sqrt(x^2 + d_j); t of shape (size,) or (points, size)."""
        rest = np.prod(self._x(t)[..., None, :] ** 2 + self.excess[1:], axis=-2)
        return np.where(self.plain, 1.0, self._side / np.sqrt(rest))

    def _dual(self, t: np.ndarray) -> np.ndarray:
        start = self._t(self.start)
        if len(self.excess) == 1:
            return np.where(self.plain, t - start, self._side * (t - start))
        end = np.where(np.isfinite(t), t, start)
        width = (end - start) / (panels := max(1, int(np.ceil(np.abs(end - start).max(initial=0)))))
        middle = (np.arange(panels)[:, None] + (1 + NODES) / 2).reshape(-1, 1)
        total = np.tile(WEIGHTS, panels) @ self._slope(start + width * middle)
        total = np.where(self.plain, end - start, total * width / 2)
        return np.where(np.isfinite(t), total, -self._side * np.inf)
