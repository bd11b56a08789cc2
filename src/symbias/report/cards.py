"""The card of a parameterization: what it prefers under each way of training, or why not."""

import re
from dataclasses import asdict, dataclass, field, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from symbias._core.extras import MissingExtra
from symbias.mechanisms import (
    Adam,
    AdamW,
    GradientFlow,
    LabelNoise,
    MaxMargin,
    Mechanism,
    Preference,
    WeightDecay,
)
from symbias.parameterizations import Parameterization

if TYPE_CHECKING:
    from symbias.mechanisms import Langevin

SGD_SHRINKS = (
    "where all labels are fitted: every step multiplies the charge of u v by 1 - eta^2 g^2. Noise "
    "shrinks all of them, so small batches end nearer to l1. GradientFlow.after(p, run, X) has the "
    "charges and the start of a run, expected_after(p, X, y, rule) an estimate before it"
)
SGD_MOVES = (
    "where labels are not fitted it moves the gauge to its noise equilibrium (sb.equilibrium) and "
    "the predictor as label noise would with (1/n) sum r_i^2 x_i x_i^T for sigma^2 S, r the "
    "residuals, at first order in the learning rate"
)


@dataclass(frozen=True)
class Row:
    """One way of training: its penalty on `variable`, or why there is none.

    `value` is the penalty itself, for arrays of the shape of the card's `sample`.
    """

    mechanism: str
    penalty: str
    status: str  # "exact", "first order", "limit", "refused", "needs a run", "needs symbias[...]"
    note: str
    value: Preference | None = field(default=None, repr=False, compare=False)

    def to_dict(self) -> dict[str, str]:
        """Its text, for JSON."""
        return {k: v for k, v in asdict(self).items() if k != "value"}


@dataclass(frozen=True)
class Card:
    """What a parameterization prefers, mechanism by mechanism.

    Attributes
    ----------
    parameterization : str
    variable : str
        What the penalties act on: w, or z with w = A z behind a synthesis.
    sample : Parameterization
        The same kind with two numbers (or two singular values), for curves and level sets.
    rows : list of Row
    """

    parameterization: str
    variable: str
    sample: Parameterization
    rows: list[Row]

    def table(self) -> list[list[str]]:
        """Rows of text, the header first."""
        head = ["training", f"penalty on {self.variable}", "", "notes"]
        return [head, *([r.mechanism, r.penalty, r.status, r.note] for r in self.rows)]

    def to_dict(self) -> dict[str, Any]:
        """Plain text, for JSON."""
        rows = [row.to_dict() for row in self.rows]
        return {"parameterization": self.parameterization, "variable": self.variable, "rows": rows}

    def figure(self) -> str:
        """Penalty curves and level sets, as a data URI of an SVG."""
        from symbias.report.card_figure import card_figure

        return card_figure(self)


def card(
    p: Parameterization,
    *,
    weight_decay: WeightDecay | None = None,
    label_noise: LabelNoise | None = None,
    gradient_flow: GradientFlow | None = None,
    langevin: "Langevin | None" = None,
    adamw: AdamW | None = None,
) -> Card:
    """What ``p`` prefers under weight decay, label noise, gradient flow, Langevin, SGD noise, Adam
    and AdamW, and in classification.

    Every entry is computed by its mechanism on a small parameterization of the same kind, or
    refused with the mechanism's own reason. Inputs are taken to be whitened (mean of x x^T = 1).

    Parameters
    ----------
    p : Parameterization
    weight_decay, label_noise, gradient_flow, langevin, adamw : mechanisms, optional
        Of strength 1, learning rate and noise 1 over batches of 1, initial scale 1e-3,
        temperature 1 without orbital noise, and decay 1 by default.

    Examples
    --------
    >>> import symbias as sb
    >>> [row.penalty for row in sb.card(sb.Hadamard(10)).rows[:2]]
    ['lam sum |w_i|', '(eta sigma^2 / 4B) sum_j S_jj 2 |w_j|']
    """
    if not isinstance(p, Parameterization):
        raise TypeError(f"card takes a parameterization, such as sb.Hadamard(10), got {p!r}")
    cores = p.normal_form().cores
    inner = cores[0].design if len(cores) == 1 else p
    behind = inner is not p
    sample = inner.resized((2,))
    variable = "z = A^-1 w" if behind else "w"
    mechanisms: list[Mechanism] = [
        weight_decay or WeightDecay(1.0),
        label_noise or LabelNoise(1.0, 1.0, 1),
        gradient_flow or GradientFlow(1e-3),
    ]
    rows = [_row(inner, sample, mechanism) for mechanism in mechanisms]
    rows += _langevin_rows(inner, sample, langevin)
    rows.append(_margin_row(p, inner, sample))
    rows.append(_noise_row(p, sample, gradient_flow or GradientFlow(1e-3)))
    rows.append(_adam_row(p, inner, sample))
    rows.append(_row(inner, sample, adamw or AdamW(1.0)))
    if behind:
        rows = [_in_z(row) for row in rows]
    return Card(repr(p), variable, sample, rows)


def _langevin_rows(
    inner: Parameterization, sample: Parameterization, langevin: "Langevin | None"
) -> list[Row]:
    """Against dw, and on theta where that is another question; one that names JAX without it."""
    try:
        from symbias.mechanisms import Langevin
    except MissingExtra as error:
        return [_without("Langevin", error)]
    noise, references = langevin or Langevin(1.0), ["predictor"]
    if all(bond.group.compact for bond in sample.symmetry) and sample.symmetry.dim:
        references.append("ambient")
    return [_row(inner, sample, replace(noise, reference=name)) for name in references]


def _margin_row(p: Parameterization, inner: Parameterization, sample: Parameterization) -> Row:
    """Refused where the whole is not of one degree, as with free coordinates around the inner."""
    mechanism = MaxMargin()
    try:
        mechanism.induced(p)
    except ValueError as error:
        return Row(mechanism.label, "none", "refused", str(error))
    return _row(inner, sample, mechanism)


def _adam_row(p: Parameterization, inner: Parameterization, sample: Parameterization) -> Row:
    """As of the inner, unless free coordinates around it are trained as well."""
    if not p.free:
        return _row(inner, sample, Adam())
    note = f"trains the free coordinates {sorted(p.free)} too: no norm of what is inside is known"
    return Row(Adam.name, "none", "refused", note)


def _noise_row(p: Parameterization, sample: Parameterization, flow: GradientFlow) -> Row:
    """The potential of the flow with the charges of a run, where a step is known to keep them."""
    name = "SGD noise alone"
    try:
        flow.check_steps(sample)
        GradientFlow(1.0).check_steps(p)  # all of it, with what is around the sample's kind
    except (ValueError, TypeError) as error:
        kind = type(p).__name__
        reason = str(error).replace(repr(sample), kind).replace(repr(p), kind)
        return Row(name, "none", "refused", f"where labels are fitted: {reason}; {SGD_MOVES}")
    formula = f"{flow.induced(sample).formula}, with the charges c of its end"
    return Row(name, formula, "needs a run", f"{SGD_SHRINKS}; {SGD_MOVES}")


def _row(inner: Parameterization, sample: Parameterization, mechanism: Mechanism) -> Row:
    try:
        preference = mechanism.induced(sample)
        preference(_probe(sample))
    except MissingExtra as error:
        return _without(mechanism.label, error)
    except (ValueError, TypeError) as error:
        kind = type(inner).__name__
        return Row(mechanism.label, "none", "refused", str(error).replace(repr(sample), kind))
    formula, status = preference.formula, mechanism.status
    return Row(mechanism.label, formula, status, mechanism.note, preference)


def _without(mechanism: str, error: MissingExtra) -> Row:
    """Not computed here, and what to install for it."""
    return Row(mechanism, "none", f"needs symbias[{error.extra}]", str(error))


def _in_z(row: Row) -> Row:
    return Row(
        row.mechanism, re.sub(r"\bw(?=_|\b)", "z", row.penalty), row.status, row.note, row.value
    )


def _probe(p: Parameterization) -> np.ndarray:
    return point(p, 0.7, 0.4)


def point(p: Parameterization, a: float, b: float) -> np.ndarray:
    """w with its first two entries (of a matrix: on the diagonal) a and b, the others zero."""
    w = np.zeros(p.shape)
    where = [(k,) * len(p.shape) for k in range(min(2, *(p.shape or (1,))))]
    for at, value in zip(where, (a, b), strict=False):
        w[at] = value
    return w
