r"""The least penalty with all margins at least 1, and what certifies that it is the least.

For a penalty of degree q, R(s c) = s^q R(c), the problem and its dual are

.. math:: \min_c R(c) \text{ s.t. } Bc \ge 1, \qquad
          \max_{\alpha \ge 0} \sum_i \alpha_i - R^*(B^T \alpha).
"""

from dataclasses import dataclass

import numpy as np

from symbias.penalties import Form, Piece, Power

TOO_NEAR = (
    "the solver of the margin ended at a point that separates nothing: the margin is too small "
    "beside the rows. Take the means out of the inputs: a column of ones then is the intercept"
)
SUPPORT = 1e-6  # of the largest multiplier: from there on a sample supports the margin


@dataclass(frozen=True, eq=False)
class MarginProblem:
    """min sum_k a_k sum_i t_i(c_k)^q over B c >= 1.

    Parameters
    ----------
    matrix : array (m, size)
        B: one row for each margin.
    pieces : tuple of Piece
        Each a power of its sizes, all of one exponent q.
    """

    matrix: np.ndarray
    pieces: tuple[Piece, ...]

    @property
    def exponent(self) -> float:
        """q."""
        return self.pieces[0].scalar.exponent

    def split(self, c: np.ndarray) -> list[np.ndarray]:
        """The part of c that belongs to each piece, in its shape."""
        stops = np.cumsum([int(np.prod(piece.shape)) for piece in self.pieces])[:-1]
        parts = zip(np.split(c, stops), self.pieces, strict=True)
        return [part.reshape(piece.shape) for part, piece in parts]

    def value(self, c: np.ndarray) -> float:
        """R(c)."""
        return sum(p.cost(part) for p, part in zip(self.pieces, self.split(c), strict=True))

    def prox(self, c: np.ndarray, tau: float) -> np.ndarray:
        """argmin over d of |d - c|^2 / 2 + tau R(d)."""
        parts = zip(self.pieces, self.split(c), strict=True)
        return np.concatenate([piece.prox(part, tau).ravel() for piece, part in parts])

    def without_dust(self, c: np.ndarray, dust: float) -> np.ndarray:
        """c with sizes of at most ``dust`` times the largest of their piece set to zero."""
        parts = zip(self.pieces, self.split(c), strict=True)
        return np.concatenate(
            [
                p.sizes.resize(part, lambda t: np.where(t > dust * t.max(initial=0.0), t, 0.0))
                for p, part in parts
            ],
            axis=None,
        )

    def to_margin_one(self, c: np.ndarray) -> np.ndarray | None:
        """c with a least margin of exactly 1; None where it has a margin that is not positive."""
        least = float(np.min(self.matrix @ c))
        return c / least if least > 0 and np.isfinite(least) else None

    def dual(self, alpha: np.ndarray) -> tuple[float, np.ndarray]:
        """The largest dual value among the multiples of ``alpha``, and that multiple; q >= 1.

        For a norm, s sum(alpha) with s R°(B^T alpha) = 1, R° the largest polar size over its
        slope. For q > 1 the conjugate has the degree q' = q/(q - 1): s^(q' - 1) is
        sum(alpha) / (q' R*(B^T alpha)).
        """
        alpha = np.maximum(alpha, 0.0)
        total, pulls = float(alpha.sum()), self.split(self.matrix.T @ alpha)
        if self.exponent == 1:
            polar = max(
                float(np.max(p.sizes.of(g), initial=0.0)) / p.scalar.slope_at_zero
                for p, g in zip(self.pieces, pulls, strict=True)
            )
            s = 1 / polar if polar > 0 else 0.0
            return s * total, s * alpha
        conjugate = sum(
            p.conjugate(g, 1.0, np.inf) for p, g in zip(self.pieces, pulls, strict=True)
        )
        degree = self.exponent / (self.exponent - 1)
        s = (total / (degree * conjugate)) ** (1 / (degree - 1)) if conjugate > 0 else 0.0
        return s * total - s**degree * conjugate, s * alpha


@dataclass(frozen=True, eq=False)
class MarginSolution:
    """Coordinates with a least margin of 1, and how good they are.

    Attributes
    ----------
    c : array (size,)
    margins : array (m,)
        B c.
    value : float
        R(c).
    multipliers : array (m,)
        alpha, at least 0: of a feasible dual point, zero where a sample supports nothing.
    gap : float
        What is left to gain at most, of the value; of a stationary point, in the convex problem
        that it has to solve.
    n_iter : int
    reason : str
        Why it stopped.
    """

    c: np.ndarray
    margins: np.ndarray
    value: float
    multipliers: np.ndarray
    gap: float
    n_iter: int = 1
    reason: str = "converged"


def certify(problem: MarginProblem, c: np.ndarray, alpha: np.ndarray) -> MarginSolution | None:
    """The better of c and c without dust, at a least margin of 1, with its relative duality gap.

    None where c separates nothing.
    """
    bound, alpha = problem.dual(alpha)
    found = None
    for dust in (0.0, 1e-9, 1e-7, 1e-5):
        scaled = problem.to_margin_one(problem.without_dust(c, dust) if dust else c)
        if scaled is None:
            continue
        value = problem.value(scaled)
        gap = max(value - bound, 0.0) / value
        if found is None or gap <= max(found.gap, 1e-10):
            found = MarginSolution(scaled, problem.matrix @ scaled, value, alpha, gap)
    return found


def coefficient(piece: Piece) -> float:
    """a where the piece is sum a t^q."""
    return float(np.asarray(piece.scalar(np.ones(1)))[0])


def homogeneous(matrix: np.ndarray, form: Form, exponent: float) -> MarginProblem:
    """The problem of a penalty whose pieces are powers t^exponent, whatever they are written as."""
    powers = [Power(exponent, coefficient(piece)) for piece in form.pieces]
    pieces = zip(form.pieces, powers, strict=True)
    return MarginProblem(matrix, tuple(Piece(piece.sizes, power) for piece, power in pieces))
