"""Coordinates in which one step of a finite size is known: products of two numbers, and lengths."""

from collections.abc import Mapping
from typing import NamedTuple

import numpy as np

from symbias._core.refusal import Refused
from symbias.maps import PowerLink
from symbias.parameterizations import Parameterization, Products

Params = dict[str, np.ndarray]
ROUNDED = 1e-4  # relative rounding error of a charge u^2 - v^2 that is too large


class Chart(NamedTuple):
    """Free coordinates, and products of two numbers as (log charge, dual) = (log|pq|, ...)."""

    free: np.ndarray
    log_charge: np.ndarray
    dual: np.ndarray  # 1/2 log|p/q| = 1/2 asinh(2 w/c)
    signs: np.ndarray  # of p and q, shape (2, size)

    @classmethod
    def at(cls, p: Parameterization, theta: Mapping[str, np.ndarray]) -> "Chart":
        """Of these factors; raises Refused where a step does not factor, or a sign is frozen."""
        found = _two_factors(p, theta)
        u, v = found.factors
        ends = np.stack([u + v, u - v])
        if np.any(stuck := np.any(ends == 0, axis=0)):
            raise Refused(
                f"coordinate {int(np.argmax(stuck))} has factors u = v or u = -v: its sign is "
                "frozen and it has no charge for steps to shrink"
            )
        log = np.log(np.abs(ends))
        return cls(found.plain, log.sum(axis=0), (log[0] - log[1]) / 2, np.sign(ends))

    def factors(self, p: Parameterization) -> Params:
        """The factors at this point."""
        log = np.stack([self.log_charge / 2 + self.dual, self.log_charge / 2 - self.dual])
        plus, minus = self.signs * np.exp(log)
        return _with(p, self.free, np.stack([plus + minus, plus - minus]) / 2)

    def w(self) -> np.ndarray:
        """Coordinates of w, free ones first."""
        return np.concatenate([self.free, np.exp(self.log_charge) / 2 * np.sinh(2 * self.dual)])

    @property
    def duals(self) -> np.ndarray:
        """psi' of every coordinate, free ones first."""
        return np.concatenate([self.free, self.dual])

    @property
    def kept(self) -> np.ndarray:
        """What the flow keeps and steps change: log charges."""
        return self.log_charge

    @property
    def free_count(self) -> int:
        return len(self.free)

    @property
    def curvature(self) -> float:
        """What is kept falls by so many times eta^2 g^2 in a step, to leading order."""
        return 1.0

    def moved(self, shift: np.ndarray, log_charge: np.ndarray) -> "Chart":
        """With the duals moved, and other charges."""
        count = len(self.free)
        return Chart(self.free + shift[:count], log_charge, self.dual + shift[count:], self.signs)

    def stepped(self, moves: np.ndarray) -> "Chart":
        """With what steps eta g, (steps, coordinates), change beyond the sum of -eta g."""
        count = len(self.free)
        curved = np.log(np.abs((1 + moves) / (1 - moves))) / 2 - moves  # atanh less its argument
        curved[:, :count] = 0
        shrunk = np.sum(np.log(np.abs(1 - moves[:, count:] ** 2)), axis=0)
        return self.moved(-curved.sum(axis=0), self.log_charge + shrunk)


class Lengths(NamedTuple):
    """w = |x|^2 / scale^2, of which a step multiplies x by 1 - k eta g, k = 2 / scale^2."""

    x: np.ndarray  # (size, n)
    k: float
    kept: np.ndarray  # what steps add to the duals beyond the sum of -eta g

    @property
    def duals(self) -> np.ndarray:
        """psi' = log|x| / k."""
        return np.log(np.linalg.norm(self.x, axis=1)) / self.k

    @property
    def free_count(self) -> int:
        return 0

    @property
    def curvature(self) -> float:
        """log|1 - k eta g| / k = -eta g - k/2 eta^2 g^2 - ..."""
        return self.k / 2

    def w(self) -> np.ndarray:
        return self.k / 2 * np.sum(self.x**2, axis=1)

    def moved(self, shift: np.ndarray, kept: np.ndarray) -> "Lengths":
        """With the duals moved by both."""
        return self._replace(x=self.x * np.exp(self.k * (shift + kept))[:, None])

    def stepped(self, moves: np.ndarray) -> "Lengths":
        """With what steps eta g, (steps, size), change beyond the sum of -eta g."""
        curved = np.log(np.abs(1 - self.k * moves)) / self.k + moves
        return self.moved(curved.sum(axis=0), self.kept)

    def factors(self, p: Parameterization) -> Params:
        """The factors at this point."""
        ((name, shape),) = p.shapes.items()
        return {name: self.x.reshape(shape)}


def rounded(p: Parameterization, theta: Mapping[str, np.ndarray], precision: float) -> bool:
    """Whether rounding of the factors hides a charge."""
    found = p.products(theta)
    u, v = np.zeros((2, 0)) if found is None else found.factors[:2]
    return bool(np.any(precision * (u**2 + v**2) > ROUNDED * np.abs((u - v) * (u + v))))


def chart_at(p: Parameterization, theta: Mapping[str, np.ndarray]) -> Chart | Lengths:
    """The coordinates of these factors in which a step is known; refused where there are none."""
    found = p.products(theta)
    link = None if found is None else found.link
    if found is not None and not p.signed and isinstance(link, PowerLink) and link.exponent == 2:
        (x,) = theta.values()
        x = x.reshape(len(found.plain), -1)
        k = float(2 * link.forward(np.ones(1))[0])
        return Lengths(x, k, np.zeros(len(x)))
    return Chart.at(p, theta)


def _two_factors(p: Parameterization, theta: Mapping[str, np.ndarray]) -> Products:
    found = p.products(theta)
    if found is not None and found.link is None and not found.factors.size:
        raise Refused(
            f"{p!r} has no products and no charges: steps of any size end where the flow does"
        )
    if found is None or found.link is not None or not found.factors.size or len(found.factors) > 2:
        raise Refused(
            "finite steps are followed on products of two numbers, w = u v, and lengths |x|^2, "
            f"which {p!r} is not: only there (u + v, u - v) -> ((1 - eta g)(u + v), "
            "(1 + eta g)(u - v)), and x -> (1 - 2 eta g) x"
        )
    return found


def _with(p: Parameterization, free: np.ndarray, factors: np.ndarray) -> Params:
    """The parameters with these coordinates: numbered ones say which goes where."""
    sizes = {name: int(np.prod(shape)) for name, shape in p.shapes.items()}
    ends = np.cumsum(list(sizes.values()))
    numbers = np.split(np.arange(ends[-1], dtype=float), ends[:-1])
    numbered = {k: n.reshape(p.shapes[k]) for k, n in zip(sizes, numbers, strict=True)}
    places = p.products(numbered)
    assert places is not None
    flat = np.empty(ends[-1])
    flat[places.factors.astype(int)] = factors
    flat[places.plain.astype(int)] = free
    return {k: flat[v.astype(int)] for k, v in numbered.items()}
