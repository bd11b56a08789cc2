"""The card of a parameterization: what it prefers under each way of training, or why not."""

from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from functools import singledispatch
from math import prod
from typing import Any

import numpy as np

from symbias.mechanisms import GradientFlow, LabelNoise, Langevin, WeightDecay
from symbias.parameterizations import (
    GroupProduct,
    Hadamard,
    Linked,
    MatrixProduct,
    Parameterization,
    Parts,
    Plain,
    Radial,
    Sum,
    Synthesis,
)
from symbias.symmetry import log_volume

Penalty = Callable[[np.ndarray], float]

SGD_NOISE = (
    "moves the gauge to its noise equilibrium (sb.equilibrium), not the predictor: no penalty by "
    "itself"
)
ADAM = (
    "rescales every factor's gradient by its own history: neither charges nor a potential survive. "
    "Put the penalty into the loss (L2 of the factors), or train with SGD"
)
ADAMW = (
    "its decay is decoupled from the gradient's scale, so the factors settle elsewhere than at "
    "the least norm: no exact zeros. Take coupled decay (SGD, or L2 in the loss)"
)


@dataclass(frozen=True)
class Row:
    """One way of training: its penalty on `variable`, or why there is none.

    `value` is the penalty itself, for arrays of the shape of the card's `sample`.
    """

    mechanism: str
    penalty: str
    status: str  # "exact", "first order", "refused", "no penalty"
    note: str
    value: Penalty | None = field(default=None, repr=False, compare=False)

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
    langevin: Langevin | None = None,
) -> Card:
    """What ``p`` prefers under weight decay, label noise, gradient flow, Langevin and SGD noise.

    Every entry is computed by its mechanism on a small parameterization of the same kind, or
    refused with the mechanism's own reason. Inputs are taken to be whitened (mean of x x^T = 1).

    Parameters
    ----------
    p : Parameterization
    weight_decay, label_noise, gradient_flow, langevin : mechanisms, optional
        Of strength 1, learning rate and noise 1 over batches of 1, initial scale 1e-3, and
        temperature 1 without orbital noise by default.

    Examples
    --------
    >>> import symbias as sb
    >>> [row.penalty for row in sb.card(sb.Hadamard(10)).rows[:2]]
    ['(lam L / 2) sum |w_i|^(2 / L), L = 2', '(eta sigma^2 / 4B) L sum |w_j|^(2 - 2 / L), L = 2']
    """
    if not isinstance(p, Parameterization):
        raise TypeError(f"card takes a parameterization, such as sb.Hadamard(10), got {p!r}")
    inner, behind = p, False
    while isinstance(inner, Synthesis):
        inner, behind = inner.inner, True
    sample = small(inner)
    variable = "z = A^-1 w" if behind else "w"
    mechanisms = (
        weight_decay or WeightDecay(1.0),
        label_noise or LabelNoise(1.0, 1.0, 1),
        gradient_flow or GradientFlow(1e-3),
        langevin or Langevin(1.0),
    )
    rows = [_row(inner, sample, mechanism) for mechanism in mechanisms]
    if all(bond.group.compact for bond in sample.symmetry) and sample.symmetry.dim:
        rows.append(_ambient(sample, mechanisms[-1]))
    rows.append(Row("SGD noise alone", "none", "no penalty", SGD_NOISE))
    rows.append(Row("Adam", "none", "refused", ADAM))
    rows.append(Row("AdamW", "none", "refused", ADAMW))
    if behind:
        rows = [_in_z(row) for row in rows]
    return Card(repr(p), variable, sample, rows)


def small(p: Parameterization, shape: tuple[int, ...] = (2,)) -> Parameterization:
    """The same kind of parameterization of two numbers, or of a 2 x 2 matrix."""
    match p:
        case Hadamard():
            return Hadamard(shape, p.depth)
        case GroupProduct():
            several = len(p.group_names) < len(p.labels)
            groups = np.zeros(shape, dtype=int) if several else np.arange(prod(shape))
            return GroupProduct(shape, groups=groups.reshape(shape))
        case MatrixProduct():
            return MatrixProduct(2, 2, depth=p.depth)
        case Plain():
            return Plain(shape)
        case Radial():
            return Radial(shape, p.n, p.link)
        case Linked():
            return Linked(small(p.inner, shape), p.link)
        case Synthesis():
            return small(p.inner, shape)
        case Parts():
            return small(p.designs[0], shape)
        case Sum():
            return Sum([small(q, (2,) * len(p.shape)) for q in p.designs])
    return p


def _row(p: Parameterization, sample: Parameterization, mechanism: Any) -> Row:
    name, value = _NAMES[type(mechanism)], penalty_of(mechanism, sample)
    try:
        value(_probe(sample))
    except (ValueError, TypeError) as error:
        return Row(name, "none", "refused", str(error).replace(repr(sample), type(p).__name__))
    status = "exact" if isinstance(mechanism, WeightDecay) else "first order"
    if isinstance(mechanism, GradientFlow | Langevin):
        status = "exact in the limit of small steps"
    return Row(name, formula(p, name), status, _NOTES[type(mechanism)], value)


def _ambient(sample: Parameterization, mechanism: Langevin) -> Row:
    weight = (1 - mechanism.orbital) * mechanism.temperature

    def value(w: np.ndarray) -> float:
        return weight * float(log_volume(sample.symmetry, sample.section(w)))

    note = "on theta, against its Lebesgue measure: no preference on w (see the row against dw)"
    text = "(1 - rho) T log volume of the orbit"
    return Row("Langevin, ambient", text, "exact in the limit of small steps", note, value)


def _in_z(row: Row) -> Row:
    return Row(row.mechanism, row.penalty.replace("w", "z"), row.status, row.note, row.value)


def _probe(p: Parameterization) -> np.ndarray:
    return np.diag([0.7, 0.4]) if len(p.shape) == 2 else np.array([0.7, 0.4])


def penalty_of(mechanism: Any, p: Parameterization) -> Penalty:
    """The penalty on w as a function of NumPy arrays; what it raises is the refusal."""
    if isinstance(mechanism, WeightDecay):
        return lambda w: float(mechanism.penalty(p, w))
    if isinstance(mechanism, LabelNoise):
        size = p.shape[0]
        inputs = np.sqrt(size) * np.eye(size)
        return lambda w: float(mechanism.penalty(p, w, inputs))
    if isinstance(mechanism, GradientFlow):
        return lambda w: float(mechanism.potential(p, w))
    law = None

    def value(w: np.ndarray) -> float:
        nonlocal law
        law = law or mechanism.law(p, lambda w: 0.0 * w.sum(), "predictor")
        return -mechanism.temperature * float(law.evaluate(np.asarray(w)[None])[0])

    return value


_NAMES: dict[type, str] = {
    WeightDecay: "weight decay",
    LabelNoise: "label noise",
    GradientFlow: "gradient flow",
    Langevin: "Langevin, against dw",
}
_NOTES: dict[type, str] = {
    WeightDecay: "coupled decay lam of the factors (SGD, momentum, or L2 in the loss)",
    LabelNoise: "first order in the learning rate; inputs enter through their moments S",
    GradientFlow: "from u = init_scale, v = 0 (c = init_scale^2), to zero loss",
    Langevin: "noise without a component along orbits",
}


@singledispatch
def formula(p: Parameterization, mechanism: str) -> str:
    """The penalty on w in a line of text; "numerical" where it has no closed form."""
    return "numerical"


def _known(formulas: dict[str, str], mechanism: str) -> str:
    return formulas.get(mechanism, "numerical")


@formula.register
def _(p: Hadamard, mechanism: str) -> str:
    L = p.depth
    known = {
        "weight decay": f"(lam L / 2) sum |w_i|^(2 / L), L = {L}",
        "label noise": f"(eta sigma^2 / 4B) L sum |w_j|^(2 - 2 / L), L = {L}",
    }
    if L == 2:
        known["gradient flow"] = "psi'(w) = asinh(2 w / |c|) / 2: l2 for large c, l1 as c -> 0"
        known["Langevin, against dw"] = "(T / 2) sum log |w_i|"
    return _known(known, mechanism)


@formula.register
def _(p: GroupProduct, mechanism: str) -> str:
    known = {
        "weight decay": "lam sum_g |w_g|_2",
        "label noise": "(eta sigma^2 / 2B) sum_g sqrt(tr S_g) |S_g^(1/2) w_g|",
    }
    return _known(known, mechanism)


@formula.register
def _(p: MatrixProduct, mechanism: str) -> str:
    L = p.depth
    known = {"weight decay": f"(lam L / 2) sum sigma_i(w)^(2 / L), L = {L}"}
    if L == 2:
        known["label noise"] = "(eta sigma^2 / 2B) sqrt(m tr S) nuclear(S^(1/2) w)"
        known["Langevin, against dw"] = "(T / 2) sum_ij log(sigma_i + sigma_j), square w"
    return _known(known, mechanism)


@formula.register
def _(p: Plain, mechanism: str) -> str:
    known = {
        "weight decay": "(lam / 2) |w|^2",
        "gradient flow": "|w|^2 / 2",
        "Langevin, against dw": "0 (flat)",
    }
    return _known(known, mechanism)


@formula.register
def _(p: Linked, mechanism: str) -> str:
    one = isinstance(p.inner, Plain)
    known = {"weight decay": "(lam / 2) sum h^-1(w_i)^2" if one else "lam sum |h^-1(w_i)|"}
    return _known(known, mechanism)


@formula.register
def _(p: Radial, mechanism: str) -> str:
    known = {
        "weight decay": "(lam / 2) sum h^-1(w_i)^2",
        "Langevin, against dw": "-T log |d h^-1 / dw|, h^-1(w) = |x|",
    }
    return _known(known, mechanism)
