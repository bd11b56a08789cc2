r"""Mirror geometry behind an elementwise link: w = h(z) with z a product or a plain parameter.

With t the chart of z and :math:`s_z` its dual, the chain rule gives :math:`\dot w = -g\,h'(z)^2\,
dz/ds_z`, hence

.. math:: \frac{ds}{dt} = \frac{1}{h'(z)} \frac{ds_z}{dt}, \qquad
    D(w, w_0) = \int_{t_0}^{t} \bigl(w - h(z(t'))\bigr) \frac{ds}{dt'}\,dt',

integrals by Gauss-Legendre panels. Where h'(z) falls to 0 at least as z does, a plain z never
reaches 0, and t = log |z|.
"""

import math
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from symbias.maps import Link
from symbias.mechanisms.mirror import NODES, WEIGHTS, Mirror
from symbias.parameterizations import Products

PANEL = 0.25  # longest panel in t
NEAR_ZERO, SAME_POWER = 1e-60, 1e-9


@dataclass(frozen=True, eq=False)
class LinkedMirror(Mirror):
    """A `Mirror` of z, seen through w = h(z)."""

    link: Link

    @classmethod
    def behind(cls, mirror: Mirror, link: Link) -> "LinkedMirror":
        """The geometry of h(z)."""
        return cls(mirror.start, mirror.excess, mirror.plain, link)

    def bregman(self, w: np.ndarray) -> np.ndarray:
        t = self._t(self._smallest(w))
        nodes, weights, many = self._nodes(t)
        left = np.tile(w, len(weights)) - many._value(nodes.ravel())[0]
        return np.sum(weights * (left * many._slope(nodes.ravel())).reshape(nodes.shape), axis=0)

    @property
    def _linear(self) -> np.ndarray:
        return np.zeros_like(self.plain)

    @cached_property
    def _half(self) -> np.ndarray:
        """Plain coordinates that keep their sign."""
        near, nearer = self.link.slope(np.array([2 * NEAR_ZERO, NEAR_ZERO]))
        return self.plain & bool(near >= (2 - SAME_POWER) * nearer)

    def _t(self, x: np.ndarray) -> np.ndarray:
        inside = x * self.start > 0
        log = np.where(inside, np.log(np.where(inside, np.abs(x), 1.0)), -np.inf)
        return np.where(self._half, log, super()._t(x))

    def _inner(self, t: np.ndarray) -> np.ndarray:
        """t as `Mirror` has it: z itself for plain coordinates."""
        half = self._half
        return np.where(half, np.sign(self.start) * np.exp(np.where(half, t, 0.0)), t)

    def _smallest(self, w: np.ndarray) -> np.ndarray:
        return super()._smallest(np.asarray(self.link.inverse(w)))

    def _value(self, t: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        z, rate = super()._value(self._inner(t))
        w, slope = self._link(z)
        return w, slope**2 * rate

    def _slope(self, t: np.ndarray) -> np.ndarray:
        inner = self._inner(t)
        along = super()._slope(inner) * np.where(self._half, inner, 1.0)  # dz/dt
        return along / self._link(super()._value(inner)[0])[1]

    def _dual(self, t: np.ndarray) -> np.ndarray:
        nodes, weights, many = self._nodes(t)
        return np.sum(weights * many._slope(nodes.ravel()).reshape(nodes.shape), axis=0)

    def _link(self, z: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        return np.asarray(self.link.forward(z)), np.asarray(self.link.slope(z))

    def _nodes(self, t: np.ndarray) -> tuple[np.ndarray, np.ndarray, "LinkedMirror"]:
        """Points from t_0 to t and their weights, shape (points, size), and a mirror for them all.

        Panels in u with t - t_0 = sinh u, so that a long way takes few of them.
        """
        start = self._t(self.start)
        end = np.arcsinh(t - start)
        panels = max(1, math.ceil(float(np.abs(end).max(initial=0.0)) / PANEL))
        middle = (np.arange(panels)[:, None] + (1 + NODES) / 2).reshape(-1, 1)
        u = end / panels * middle
        weights = np.tile(WEIGHTS, panels)[:, None] * np.cosh(u) * end / (2 * panels)
        count = len(u)
        excess, plain = np.tile(self.excess, (1, count)), np.tile(self.plain, count)
        many = LinkedMirror(np.tile(self.start, count), excess, plain, self.link)
        return start + np.sinh(u), weights, many


def mirror_of(found: Products) -> Mirror:
    """The mirror geometry of products of numbers, plain coordinates first.

    Raises
    ------
    ValueError
        Where a coordinate never moves.
    """
    mirror = Mirror.of_factors(found.factors).with_plain(found.plain)
    return mirror if found.link is None else LinkedMirror.behind(mirror, found.link)
