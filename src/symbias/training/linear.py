"""The linear outside of a design: w = A_free f + A c, with c = the designed cores side by side.

Synthesis, Parts and Sum are linear in what they hold, so every design takes this form; the cores
are products, links of products, matrices, or anything else.
"""

import math
from functools import singledispatch
from typing import Any, NamedTuple

import numpy as np
import scipy.sparse

from symbias._core.arrays import Array, Shape
from symbias.maps import Diagonal
from symbias.parameterizations import (
    GroupProduct,
    Hadamard,
    Parameterization,
    Parts,
    Sum,
    Synthesis,
)


class Core(NamedTuple):
    """One innermost parameterization: its factors are called ``prefix + name``."""

    prefix: str
    design: Parameterization

    @property
    def size(self) -> int:
        return math.prod(self.design.shape)

    def own(self, params: Any) -> dict[str, Any]:
        """The factors of this core, under the names that it knows."""
        return {name: params[self.prefix + name] for name in self.design.shapes}

    def rename(self, factors: Any) -> dict[str, Any]:
        """The factors of this core under their full names."""
        return {self.prefix + name: a for name, a in factors.items()}


class Linear(NamedTuple):
    """w, flattened, is ``free @ f + columns @ c``; ``names`` are those of f, with their shapes."""

    free: np.ndarray
    columns: Array
    names: list[tuple[str, Shape]]
    cores: list[Core]

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


def linear_parts(p: Parameterization, prefix: str = "") -> Linear:
    """The linear outside of ``p`` and its cores. Sparse where nothing is mixed."""
    size = math.prod(p.shape)
    match p:
        case Synthesis():
            inner = linear_parts(p.inner, prefix)
            A, k = _matrix(p), p.transform.free * math.prod(p.shape[1:])
            own = [(prefix + n, p.shapes[n]) for n in p.free - p.inner.free]
            free = np.hstack([_dense(A[:, :k]), A[:, k:] @ inner.free])
            return Linear(free, A[:, k:] @ inner.columns, own + inner.names, inner.cores)
        case Parts():
            inside = [linear_parts(q, f"{prefix}{k}.") for k, q in enumerate(p.designs)]
            placed = [
                part._replace(
                    free=_place(part.free, index, size), columns=_place(part.columns, index, size)
                )
                for part, index in zip(inside, p.parts, strict=True)
            ]
            return _join(placed)
        case Sum():
            return _join([linear_parts(q, f"{prefix}{k}.") for k, q in enumerate(p.designs)])
    identity = scipy.sparse.eye_array(size, format="csr")
    return Linear(np.zeros((size, 0)), identity, [], [Core(prefix, p)])


def _matrix(p: Synthesis) -> Array:
    """The transform on flattened coordinates; sparse for weights."""
    count, rest = p.inner.shape[0] + p.transform.free, p.inner.shape[1:]
    size = count * math.prod(rest)
    if isinstance(p.transform, Diagonal):
        # entry i is its weight times one coordinate, told by its number
        entries = p.transform.forward(np.ones((count, *rest))).ravel()
        order = p.transform.forward(np.arange(1.0, size + 1).reshape(count, *rest)).ravel()
        at = np.rint(order / entries).astype(int) - 1
        return scipy.sparse.csr_array((entries, (np.arange(size), at)), shape=(size, size))
    A = p.transform.forward(np.eye(size).reshape(count, *rest, size))
    return np.asarray(A).reshape(-1, size)


def _dense(matrix: Array) -> np.ndarray:
    return matrix.toarray() if scipy.sparse.issparse(matrix) else matrix


def _place(matrix: Array, index: np.ndarray, size: int) -> Array:
    """The rows of ``matrix`` at ``index`` among ``size`` rows."""
    if scipy.sparse.issparse(matrix):
        entries = matrix.tocoo()
        at = (index[entries.coords[0]], entries.coords[1])
        return scipy.sparse.csr_array((entries.data, at), shape=(size, matrix.shape[1]))
    out = np.zeros((size, matrix.shape[1]))
    out[index] = matrix
    return out


def _join(parts: list[Linear]) -> Linear:
    columns = [part.columns for part in parts]
    if all(map(scipy.sparse.issparse, columns)):
        joined = scipy.sparse.hstack(columns, format="csr")
    else:
        joined = np.hstack([_dense(a) for a in columns])
    return Linear(
        np.hstack([part.free for part in parts]),
        joined,
        [name for part in parts for name in part.names],
        [core for part in parts for core in part.cores],
    )


class Products(NamedTuple):
    """c_i = u_i t_g(i)^power for all cores together: the group of every coordinate, the power."""

    labels: np.ndarray
    power: int


def as_products(cores: list[Core]) -> Products | None:
    """All cores as one product with shared scales, or None where one is of another kind."""
    labels: list[np.ndarray] = []
    powers, groups = set(), 0
    for core in cores:
        scales = scales_of(core.design)
        if scales is None:
            return None
        labels.append(scales.labels + groups)
        groups += int(scales.labels.max(initial=-1)) + 1
        powers.add(scales.power)
    return Products(np.concatenate(labels), powers.pop()) if len(powers) == 1 else None


@singledispatch
def scales_of(inner: Parameterization) -> Products | None:
    """The group of every coordinate, and the power with which a group's scale enters."""
    return None


@scales_of.register
def _(inner: Hadamard) -> Products | None:
    return Products(np.arange(math.prod(inner.shape)), inner.depth - 1)


@scales_of.register
def _(inner: GroupProduct) -> Products | None:
    return Products(inner.labels, 1)


def name_products(cores: list[Core], u: np.ndarray, t: np.ndarray) -> dict[str, np.ndarray]:
    """u (coordinates,) and t (power, groups) of `as_products` under the names of the cores."""
    named: dict[str, np.ndarray] = {}
    at = group = 0
    for core in cores:
        p = core.design
        own = u[at : at + core.size].reshape(p.shape)
        if isinstance(p, GroupProduct):
            count = len(p.group_names)
            factors = {"s": t[0, group : group + count], "v": own}
        else:
            assert isinstance(p, Hadamard)
            count = core.size
            scales = t[:, group : group + count].reshape(len(t), *p.shape)
            factors = dict(zip(p.names, [*scales, own], strict=True))
        named |= core.rename(factors)
        at, group = at + core.size, group + count
    return named
