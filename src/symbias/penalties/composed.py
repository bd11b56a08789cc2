"""Sums of penalties of one w, `a + b`: exact where one normal form has the sum, else refused."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from symbias._core.arrays import Array, Shape
from symbias._core.refusal import Refused
from symbias.maps import CumulativeSum, Diagonal, IntervalSum, Transform
from symbias.penalties.base import Penalty, Scaled
from symbias.penalties.form import Behind, Form, Piece
from symbias.penalties.scalars import Elastic, Power, Scalar
from symbias.penalties.sizes import Entries


@dataclass(frozen=True, eq=False)
class Composed(Penalty):
    r"""R_1(w) + R_2(w) + ... of the same w: what ``sb.L1() + 0.5 * sb.TotalVariation()`` is.

    It has a normal form, and with it designs, fits and certificates, for

    * l1 and total variation of a series, the fused lasso: l1 of the heights of intervals
      (`symbias.maps.IntervalSum`), exactly;
    * l1 and squares of the entries, the elastic net.

    A sum is not the penalty of a sum of designs: ``sb.Sum`` splits w, and its penalty is the
    least cost over all splits; ``sb.Parts`` has penalties of different entries.

    Parameters
    ----------
    terms : tuple of Penalty

    Raises
    ------
    Refused
        By `form`, for other sums, with the reason and what is nearest.
    """

    terms: tuple[Penalty, ...]

    def __repr__(self) -> str:
        return " + ".join(map(repr, self.terms))

    @property
    def formula(self) -> str:  # type: ignore[override]
        return " + ".join(term.formula for term in self.terms)

    @property
    def belief(self) -> str:  # type: ignore[override]
        return ", and ".join(term.belief for term in self.terms)

    @property
    def convex(self) -> bool:
        return all(term.convex for term in self.terms)

    @property
    def couples(self) -> bool:
        return any(term.couples for term in self.terms)

    def __rmul__(self, strength: float) -> Penalty:
        return Composed(tuple(strength * term for term in self.terms))

    def __call__(self, w: Array) -> Array:
        first, *rest = [term(w) for term in self.terms]
        return sum(rest, start=first)

    def form(self, shape: Shape) -> Form:
        forms = [term.form(shape) for term in self.terms]
        entries = [form for form in forms if isinstance(form, Piece) and form.sizes.elementwise]
        if len(entries) == len(forms):
            return Piece(Entries(shape), _added([piece.scalar for piece in entries]))
        weights, jump = np.zeros(shape[0]), 0.0
        for term, form in zip(self.terms, forms, strict=True):
            level, step = _entry_weights(form), _jump_weight(form)
            if level is None and step is None:
                alone = term.penalty if isinstance(term, Scaled) else term
                raise Refused(self._why_not(forms), near=(alone,))
            weights, jump = weights + (0.0 if level is None else level), jump + (step or 0.0)
        return _fused(weights, jump, shape)

    def _why_not(self, forms: Sequence[Form]) -> str:
        why = "the factors of its terms would have to give the same w, and no others are known"
        if all(_corners(form) for form in forms):
            why = (
                "a design of corners needs a coordinate for each extreme point of the unit ball. "
                "Of l1 plus total variation on a series those are n (n + 1) / 2 intervals; on a "
                "tree, or with changes of slope, their number about doubles with every entry"
            )
        return (
            f"{self!r} has no design: {why}. symbias.solvers.reference.convex_reference solves "
            "sums of convex penalties as a cone program; sb.Sum splits w, which is another penalty"
        )


def _corners(form: Form) -> bool:
    """Whether the form is a sum of absolute values."""
    return all(piece.sizes.elementwise and piece.norm for piece in form.pieces)


def _added(scalars: Sequence[Scalar]) -> Scalar:
    """The sum of l1 |w| + l2 w^2 / 2."""
    slope = bend = 0.0
    for scalar in scalars:
        if isinstance(scalar, Power) and scalar.exponent == 2:
            bend += 2 * scalar.coefficient
        elif scalar.corner is not None:
            slope, bend = slope + scalar.corner[0], bend + scalar.corner[1]
        else:
            total = " + ".join(one.formula("w") for one in scalars)
            raise Refused(
                "sums over the same entries are known for |w| and w^2; write another as one "
                f"function for sb.Custom, w: {total}"
            )
    if not bend:
        return Power(1.0, slope)
    return Elastic(slope, bend) if slope else Power(2.0, bend / 2)


def _fused(weights: np.ndarray, jump: float, shape: Shape) -> Form:
    """sum weights |w| + jump sum |differences|."""
    transform: Transform
    if not jump:
        transform, count = Diagonal(weights), int(np.sum(weights > 0))
    elif not weights.any():
        transform, count = CumulativeSum(1), shape[0] - 1
    else:
        transform = IntervalSum(weights, jump)
        count = transform.count
    scalar = Power(1.0, 1.0 if weights.any() else jump)
    return Behind(transform, Piece(Entries((count, *shape[1:])), scalar))


def _entry_weights(form: Form) -> np.ndarray | None:
    """a where the form is sum_i a_i |w_i|, an entry along axis 0 each, else None."""
    weights, inner = np.ones(form.shape[0]), form
    if isinstance(form, Behind):
        if not isinstance(form.transform, Diagonal) or form.transform.weights.ndim > 1:
            return None
        inner, weights = form.inner, form.transform.weights
    slope = _slope(inner)
    return None if slope is None else slope * weights


def _jump_weight(form: Form) -> float | None:
    """b where the form is b sum_i |w_(i+1) - w_i|, else None."""
    if not isinstance(form, Behind) or not isinstance(form.transform, CumulativeSum):
        return None
    return _slope(form.inner) if form.transform.order == form.transform.free == 1 else None


def _slope(form: Form) -> float | None:
    """a where the form is a sum |c_i|, else None."""
    if not isinstance(form, Piece) or not form.sizes.elementwise or not form.norm:
        return None
    return form.scalar.slope_at_zero
