"""A designed z behind a linear map: penalties on differences, frequencies, any dictionary."""

from typing import Any

from symbias._core.arrays import Array, Params, Shape, namespace
from symbias.parameterizations.base import Parameterization
from symbias.parameterizations.transforms import Matrix, Transform
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
