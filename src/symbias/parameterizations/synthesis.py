"""A designed z behind a linear map: penalties on differences, frequencies, any dictionary."""

from collections.abc import Mapping
from typing import Any

import numpy as np
from array_api_compat import array_namespace

from symbias._core.arrays import Array, Params, Shape, constant, namespace
from symbias._core.refusal import Refused
from symbias.maps import Diagonal, Matrix, Transform
from symbias.parameterizations.base import Parameterization
from symbias.parameterizations.inputs import whole
from symbias.parameterizations.normal import NormalForm, Products
from symbias.penalties import Behind, Form
from symbias.symmetry import Symmetry


class Synthesis(Parameterization):
    """w = A z with z = (free coordinates, inner(theta)).

    The penalty that training induces on the inner parameter acts on z = A^-1 w. The null space of
    the penalty (the level of a signal, its slope) is the first `transform.free` coordinates:
    plain parameters named ``free``, which weight decay must leave alone.

    Parameters
    ----------
    transform : Transform or square matrix
        The map A, along axis 0.
    inner : Parameterization
        Of the penalised coordinates: z has `transform.free` more rows than it.
    """

    def __init__(self, transform: Transform | Any, inner: Parameterization) -> None:
        self.transform = transform if isinstance(transform, Transform) else Matrix(transform)
        self.inner = inner
        if not inner.shape:
            raise ValueError("a synthesis acts along axis 0, but the inner parameter has no axis")
        rows = self.transform.rows(inner.shape[0] + self.transform.free)
        self.shape = (rows, *inner.shape[1:])
        self._free_name = "free" if "free" not in inner.shapes else f"free{len(inner.free) + 1}"
        own = {self._free_name} if self.transform.free else set()
        self.free = inner.free | own
        self.balanced_section = inner.balanced_section

    def __repr__(self) -> str:
        return f"Synthesis({self.transform!r}, {self.inner!r})"

    @property
    def shapes(self) -> dict[str, Shape]:
        count = self.transform.free
        own = {self._free_name: (count, *self.shape[1:])} if count else {}
        return own | self.inner.shapes

    @property
    def symmetry(self) -> Symmetry:
        return self.inner.symmetry

    def _effective(self, params: Params) -> Array:
        z = self.inner({name: params[name] for name in self.inner.shapes})
        if self.transform.free:
            z = namespace(params).concat([params[self._free_name], z])
        return self.transform.forward(z)

    def _section(self, w: Array, charge: float) -> dict[str, Array]:
        z, count = self.transform.inverse(w), self.transform.free
        own = {self._free_name: z[:count, ...]} if count else {}
        return own | self.inner.section(z[count:, ...], charge)

    @property
    def _whole(self) -> Shape:
        """The shape of all coordinates z, free ones included."""
        return (self.inner.shape[0] + self.transform.free, *self.inner.shape[1:])

    def coordinates(self, w: Array) -> tuple[Array, Array]:
        """z = A^-1 w as its free part and the penalised one.

        Raises
        ------
        Refused
            For an A that is not square: w has many coordinates.
        """
        if self.shape[0] != self._whole[0]:
            raise Refused(f"{self!r}: w has many coordinates: a minimum over all splits, not known")
        z, count = self.transform.inverse(w), self.transform.free
        return z[:count, ...], z[count:, ...]

    def inputs_behind(self, inputs: Array) -> Array:
        """Inputs of the same model in the penalised coordinates: A^T a_i."""
        xp = array_namespace(inputs)
        count, transform = self.transform.free, self.transform
        if isinstance(transform, Diagonal) and transform.weights.ndim > 1:
            full = whole(inputs, self.shape)
            last = xp.permute_dims(full, (*range(1, full.ndim), 0))
            back = (full.ndim - 1, *range(full.ndim - 1))
            return xp.permute_dims(transform.forward(last), back)
        matrix = constant(transform.forward(np.eye(self.shape[0])), inputs)
        if inputs.ndim == 2:
            return (inputs @ matrix)[:, count:]
        flat = xp.reshape(inputs, (*inputs.shape[:2], -1))
        moved = xp.matmul(matrix.T, flat)[:, count:, :]
        return xp.reshape(moved, (inputs.shape[0], *self.inner.shape))

    def balanced_form(self) -> Form:
        return Behind(self.transform, self.inner.balanced_form())

    def normal_form(self, prefix: str = "") -> NormalForm:
        inside = self.inner.normal_form(prefix)
        own = tuple((prefix + n, self.shapes[n]) for n in self.free - self.inner.free)
        linear = inside.linear.behind(self.transform, self._whole)
        return NormalForm(linear, own + inside.names, inside.cores)

    def least_gradients(self, w: Array, inputs: Array) -> Array | None:
        z = self.coordinates(w)[1]
        return self.inner.least_gradients(z, self.inputs_behind(inputs))

    def within_tables(self, w: Array) -> Array:
        return self.inner.within_tables(self.transform.inverse(w)[self.transform.free :, ...])

    def live(self, w: np.ndarray) -> "Synthesis":
        inside = self.inner.live(self.coordinates(w)[1])
        return self if inside is self.inner else Synthesis(self.transform, inside)

    def products(self, theta: Mapping[str, np.ndarray]) -> Products | None:
        inside = self.inner.products({k: theta[k] for k in self.inner.shapes})
        if inside is None or inside.link is not None:
            return None
        own = [theta[k].ravel() for k in self.shapes if k not in self.inner.shapes]
        return inside._replace(plain=np.concatenate([*own, inside.plain]))

    def flat_coordinates(self, w: Array) -> Array:
        xp = array_namespace(w)
        free, z = self.coordinates(w)
        return xp.concat([xp.reshape(free, (-1,)), self.inner.flat_coordinates(z)])

    def resized(self, shape: Shape) -> Parameterization:
        return self.inner.resized(shape)

    def cut(self, theta: Params, threshold: float, unit: Array | float = 1.0) -> Array:
        if isinstance(self.transform, Diagonal):
            unit = self.transform.units(theta[next(iter(self.inner.shapes))], self.inner.shape)
        inner = self.inner.cut({n: theta[n] for n in self.inner.shapes}, threshold, unit)
        own = [theta[n] for n in self.shapes if n not in self.inner.shapes]
        z = namespace(theta).concat([*own, inner]) if own else inner
        return self.transform.forward(z)
