"""The normal form of a parameterization: a linear map of cores that are trained."""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from symbias._core.arrays import Array, Shape
from symbias.maps import Linear, Link

if TYPE_CHECKING:
    from symbias.parameterizations.base import Parameterization


class Core(NamedTuple):
    """One innermost parameterization: its factors are called ``prefix + name``."""

    prefix: str
    design: "Parameterization"

    @property
    def size(self) -> int:
        return math.prod(self.design.shape)

    def rename(self, factors: Mapping[str, Array]) -> dict[str, Array]:
        """The factors of this core under their full names."""
        return {self.prefix + name: a for name, a in factors.items()}


@dataclass(frozen=True)
class NormalForm:
    """w, flattened, is ``linear.free @ f + linear.columns @ c``, c the cores side by side.

    Attributes
    ----------
    linear : Linear
    names : tuple of (name, shape)
        The factors that f holds: plain parameters, in order.
    cores : tuple of Core
    """

    linear: Linear
    names: tuple[tuple[str, Shape], ...]
    cores: tuple[Core, ...]

    @property
    def scales(self) -> "Scales | None":
        """All cores as one product with shared scales, or None where one is of another kind."""
        labels: list[np.ndarray] = []
        powers, groups = set(), 0
        for core in self.cores:
            scales = core.design.scales
            if scales is None:
                return None
            labels.append(scales.labels + groups)
            groups += int(scales.labels.max(initial=-1)) + 1
            powers.add(scales.power)
        return Scales(np.concatenate(labels), powers.pop()) if len(powers) == 1 else None

    def split(self, c: np.ndarray) -> list[np.ndarray]:
        """The part of c that belongs to each core, in its shape."""
        stops = np.cumsum([core.size for core in self.cores])[:-1]
        parts = np.split(c, stops)
        return [a.reshape(core.design.shape) for a, core in zip(parts, self.cores, strict=True)]

    def name_free(self, f: np.ndarray) -> dict[str, np.ndarray]:
        """The unpenalised coordinates under their names."""
        stops = np.cumsum([math.prod(shape) for _, shape in self.names])[:-1]
        pairs = zip(self.names, np.split(f, stops), strict=True) if self.names else ()
        return {name: part.reshape(shape) for (name, shape), part in pairs}

    def section(self, f: np.ndarray, c: np.ndarray) -> dict[str, np.ndarray]:
        """Balanced factors of the coordinates f and c, under the names of the whole."""
        named = self.name_free(f)
        for core, part in zip(self.cores, self.split(c), strict=True):
            named |= core.rename(core.design.section(part))
        return named


class BoxImage(NamedTuple):
    """The w of factors with abs(theta_i) <= b: within abs(w_i) <= reach(b), or all of that.

    Attributes
    ----------
    reach : callable
    formula : str
        reach(1 / lam), to be read.
    whole : bool
        Whether every such w (of w >= 0, where there are no others) has factors in their box.
    """

    reach: Callable[[float], float]
    formula: str
    whole: bool = True

    @classmethod
    def power(cls, degree: int, factor: int = 1, whole: bool = True) -> "BoxImage":
        """reach(b) = factor b^degree."""
        power = "" if degree == 1 else f"^{degree}"
        return cls(lambda b: factor * b**degree, f"{factor} / lam{power}", whole)


class Scales(NamedTuple):
    """Coordinates that are u_i t_g(i)^power, with one scale t_g for every group.

    Attributes
    ----------
    labels : array (size,)
        The group of every coordinate, 0 to the number of groups less 1.
    power : int
    """

    labels: np.ndarray
    power: int


class Products(NamedTuple):
    """Coordinates of w that are products of numbers, at a given theta: what gradient flow needs.

    Attributes
    ----------
    factors : array (depth, size)
    plain : array (count,)
        Coordinates that are parameters themselves; they come first.
    link : Link, optional
        h where w = h(coordinate), elementwise.
    """

    factors: np.ndarray
    plain: np.ndarray
    link: Link | None = None

    @property
    def least_slopes(self) -> np.ndarray:
        """Least diagonal of J J^T, J = dw/d theta, of the products: L |z|^(2 - 2/L) h'(z)^2."""
        depth, z = len(self.factors), np.prod(self.factors, axis=0)
        squares = depth * np.abs(z) ** (2 - 2 / depth)
        return squares if self.link is None else squares * np.asarray(self.link.slope(z)) ** 2
