"""Different designs on different parts of one tensor, and sums of designs."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from array_api_compat import array_namespace

from symbias._core.arrays import Array, Params, Shape, as_shape, constant, namespace
from symbias._core.refusal import Refused
from symbias.maps import Linear
from symbias.parameterizations.base import Parameterization
from symbias.parameterizations.inputs import whole
from symbias.parameterizations.normal import NormalForm
from symbias.penalties import Added, Form, Placed
from symbias.symmetry import Symmetry


class Parts(Parameterization):
    """One design per part of w: the product of designs, whose penalties add.

    Parameters
    ----------
    shape : int or tuple of int
        Shape of w.
    parts : list of (mask or flat indices, Parameterization)
        Together they cover every entry once. The entries of a part, in order, fill its design.
        Factors are named "0.u1", "1.s", ...

    Raises
    ------
    ValueError
        If an entry is in no part or in several, or a design is of another size than its part.
    """

    def __init__(self, shape: int | Shape, parts: Sequence[tuple[Any, Parameterization]]) -> None:
        self.shape = as_shape(shape)
        size = int(np.prod(self.shape))
        self.parts = [_flat(where, self.shape) for where, _ in parts]
        self.designs = [p for _, p in parts]
        for k, (index, p) in enumerate(zip(self.parts, self.designs, strict=True)):
            if index.size != int(np.prod(p.shape)):
                raise ValueError(f"part {k} has {index.size} entries, its design {p.shape}")
        everything = np.concatenate([*self.parts, np.zeros(0, dtype=int)])
        counts = np.bincount(everything, minlength=size)
        if np.any(counts != 1):
            bad = int(np.argmax(counts != 1))
            raise ValueError(
                f"entry {bad} of w is in {counts[bad]} parts, wanted in one; for overlapping parts "
                "take a sum of designs (sb.Sum)"
            )
        self._order = np.argsort(everything)
        self.balanced_section = all(p.balanced_section for p in self.designs)
        self.free = frozenset(f"{k}.{n}" for k, p in enumerate(self.designs) for n in p.free)

    def __repr__(self) -> str:
        return f"Parts({self.shape}, {self.designs!r})"

    @property
    def shapes(self) -> dict[str, Shape]:
        return _shapes(self.designs)

    @property
    def symmetry(self) -> Symmetry:
        return _union(self.designs)

    def _effective(self, params: Params) -> Array:
        xp = namespace(params)
        values = [xp.reshape(p(part), (-1,)) for p, part in _split(self.designs, params)]
        flat = xp.concat(values)
        order = constant(self._order, flat, index=True)
        return xp.reshape(xp.take(flat, order, axis=0), self.shape)

    def _section(self, w: Array, charge: float) -> dict[str, Array]:
        factors: dict[str, Array] = {}
        for k, (part, p) in enumerate(self._cut(w)):
            factors |= {f"{k}.{n}": a for n, a in p.section(part, charge).items()}
        return factors

    def _cut(self, w: Array) -> list[tuple[Array, Parameterization]]:
        """Every part of w, in the shape of its design."""
        xp = array_namespace(w)
        flat = xp.reshape(w, (-1,))
        return [
            (xp.reshape(xp.take(flat, constant(index, w, index=True), axis=0), p.shape), p)
            for index, p in zip(self.parts, self.designs, strict=True)
        ]

    def within_tables(self, w: Array) -> Array:
        known = [p.within_tables(part) for part, p in self._cut(w)]
        return array_namespace(w).all(array_namespace(w).stack(known))

    def balanced_form(self) -> Form:
        forms = (p.balanced_form() for p in self.designs)
        return Placed(self.shape, tuple(zip(self.parts, forms, strict=True)))

    def normal_form(self, prefix: str = "") -> NormalForm:
        size = int(np.prod(self.shape))
        inside = [p.normal_form(f"{prefix}{k}.") for k, p in enumerate(self.designs)]
        linear = [f.linear.placed(i, size) for f, i in zip(inside, self.parts, strict=True)]
        return _side_by_side(linear, inside)

    def flat_coordinates(self, w: Array) -> Array:
        free, rest = [], []
        for part, p in self._cut(w):
            z, count = p.flat_coordinates(part), p.normal_form().linear.free.shape[1]
            free.append(z[:count])
            rest.append(z[count:])
        return array_namespace(w).concat([*free, *rest])

    def least_gradients(self, w: Array, inputs: Array) -> Array | None:
        xp = array_namespace(w, inputs)
        full = whole(inputs, self.shape)
        flat, rows, total = xp.reshape(w, (-1,)), xp.reshape(full, (full.shape[0], -1)), 0.0
        for index, design in zip(self.parts, self.designs, strict=True):
            where = constant(index, w, index=True)
            seen = xp.reshape(xp.take(rows, where, axis=1), (-1, *design.shape))
            part = design.least_gradients(
                xp.reshape(xp.take(flat, where, axis=0), design.shape), seen
            )
            if part is None:
                return None
            total = total + part
        return total

    def resized(self, shape: Shape) -> Parameterization:
        return self.designs[0].resized(shape)

    def cut(self, theta: Params, threshold: float, unit: Array | float = 1.0) -> Array:
        xp = namespace(theta)
        pieces = [p.cut(part, threshold) for p, part in _split(self.designs, theta)]
        flat = xp.concat([xp.reshape(piece, (-1,)) for piece in pieces])
        return xp.reshape(
            xp.take(flat, constant(self._order, flat, index=True), axis=0), self.shape
        )


class Sum(Parameterization):
    """w = w_1 + w_2 + ..., each with a design of its own: sparse plus low rank, and the like.

    The penalty is the least sum over all splits (an infimal convolution), which has no closed
    form: `section` puts all of w in the first design, and is not balanced.

    Parameters
    ----------
    designs : list of Parameterization
        All of one shape.
    """

    def __init__(self, designs: Sequence[Parameterization]) -> None:
        if not designs or len({p.shape for p in designs}) != 1:
            raise ValueError(f"a sum needs designs of one shape, got {[p.shape for p in designs]}")
        self.designs = list(designs)
        self.shape = designs[0].shape
        self.free = frozenset(f"{k}.{n}" for k, p in enumerate(self.designs) for n in p.free)

    def __repr__(self) -> str:
        return f"Sum({self.designs!r})"

    @property
    def shapes(self) -> dict[str, Shape]:
        return _shapes(self.designs)

    @property
    def symmetry(self) -> Symmetry:
        return _union(self.designs)

    def _effective(self, params: Params) -> Array:
        first, *rest = [p(part) for p, part in _split(self.designs, params)]
        return sum(rest, start=first)

    def _section(self, w: Array, charge: float) -> dict[str, Array]:
        parts = [w, *[array_namespace(w).zeros_like(w) for _ in self.designs[1:]]]
        factors: dict[str, Array] = {}
        for k, (part, p) in enumerate(zip(parts, self.designs, strict=True)):
            factors |= {f"{k}.{n}": a for n, a in p.section(part, charge).items()}
        return factors

    def balanced_norm(self, w: Array) -> Array:
        """Refused: the least over all splits, which a fit finds by its normal form."""
        raise Refused(f"{self!r}: the penalty is a minimum over all splits, no closed form")

    def balanced_form(self) -> Form:
        return Added([p.balanced_form() for p in self.designs])

    def normal_form(self, prefix: str = "") -> NormalForm:
        inside = [p.normal_form(f"{prefix}{k}.") for k, p in enumerate(self.designs)]
        return _side_by_side([form.linear for form in inside], inside)

    def least_gradients(self, w: Array, inputs: Array) -> Array | None:
        raise Refused(f"{self!r}: w has many splits: a minimum over all of them, not known")

    def resized(self, shape: Shape) -> "Sum":
        return Sum([p.resized((2,) * len(self.shape)) for p in self.designs])

    def cut(self, theta: Params, threshold: float, unit: Array | float = 1.0) -> Array:
        first, *rest = [p.cut(part, threshold) for p, part in _split(self.designs, theta)]
        return sum(rest, start=first)


def _side_by_side(linear: Sequence[Linear], inside: Sequence[NormalForm]) -> NormalForm:
    return NormalForm(
        Linear.joined(linear),
        tuple(name for form in inside for name in form.names),
        tuple(core for form in inside for core in form.cores),
    )


def _flat(where: Any, shape: Shape) -> np.ndarray:
    where = np.asarray(where)
    if where.dtype == bool:
        if where.shape != shape:
            raise ValueError(f"a mask of a part has shape {where.shape}, expected {shape}")
        return np.flatnonzero(where)
    return where.ravel().astype(int)


def _shapes(designs: Sequence[Parameterization]) -> dict[str, Shape]:
    return {f"{k}.{n}": s for k, p in enumerate(designs) for n, s in p.shapes.items()}


def _split(
    designs: Sequence[Parameterization], params: Params
) -> list[tuple[Parameterization, Mapping[str, Array]]]:
    return [(p, {n: params[f"{k}.{n}"] for n in p.shapes}) for k, p in enumerate(designs)]


def _union(designs: Sequence[Parameterization]) -> Symmetry:
    """All bonds, with the arrays of design k under their names "k.name"."""
    return Symmetry(
        bond.renamed(lambda name, k=k: f"{k}.{name}")  # type: ignore[misc]
        for k, p in enumerate(designs)
        for bond in p.symmetry
    )
