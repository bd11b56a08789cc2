"""From a penalty and a training mechanism to the parameterization that has this bias."""

import warnings
from collections.abc import Callable
from dataclasses import replace
from typing import Any

from symbias._core.arrays import Shape, as_shape
from symbias._core.extras import MissingExtra
from symbias._core.refusal import Refused
from symbias.designs.by_gradient_flow import by_gradient_flow
from symbias.designs.by_label_noise import by_label_noise
from symbias.designs.by_langevin import by_langevin
from symbias.designs.by_weight_decay import by_weight_decay
from symbias.mechanisms import Mechanism, WeightDecay
from symbias.parameterizations import Parameterization
from symbias.penalties import Penalty, as_penalty

_ADAPTIVE = "Adam and AdamW minimise another objective: they keep no such promise"


def design(
    preference: Penalty | str, mechanism: Mechanism, *, shape: int | Shape
) -> Parameterization:
    """The parameterization whose bias under ``mechanism`` is ``preference``.

    The inverse of `Mechanism.induced`: ``mechanism.induced(design(R, mechanism, shape=n))(w)`` is
    ``mechanism.scale * R(w)``.

    * `WeightDecay`: exact, at every strength.
    * `LabelNoise`: for whitened inputs; the scale is eta sigma^2 / (4 B).
    * `GradientFlow`: sums of functions of entries with R'' > 0 exactly, and l1 in the limit of a
      small start; both alone or behind a linear map. Entropies relative to the start.
    * `Langevin` with reference "ambient": temperature * log volume of the orbit == R(w), for
      w >= 0. With reference "predictor": only `sb.LogPenalty`.

    Parameters
    ----------
    preference : Penalty or str
        What to prefer, such as ``sb.TotalVariation()`` or its short name ``"tv"``.
    mechanism : WeightDecay, LabelNoise, GradientFlow or Langevin
        How it will be trained.
    shape : int or tuple of int
        Shape of the effective parameter.

    Raises
    ------
    Refused
        If no parameterization of the family reaches this penalty. The message says why, and what
        would work: nearer preferences and other mechanisms, each of them tried.
    ValueError
        If the penalty is not defined for this shape.
    TypeError
        If the mechanism is not one that can be designed for.
    """
    if not isinstance(mechanism, Mechanism) or mechanism.name not in _INVERSES:
        raise TypeError(
            f"cannot design for {mechanism!r}: expected a mechanism, one of sb.WeightDecay, "
            f"sb.LabelNoise, sb.GradientFlow, sb.Langevin. {_ADAPTIVE}"
        )
    penalty, shape = as_penalty(preference), as_shape(shape)
    inverse = _INVERSES[mechanism.name]
    try:
        return inverse(penalty, mechanism, shape)
    except Refused as refusal:
        advice = [pair for pair in _instead(refusal, penalty, mechanism) if _works(*pair, shape)]
        reason = ". ".join([str(refusal), *(_sentence(penalty, *pair) for pair in advice)])
        raise Refused(reason, advice=tuple(advice)) from None


def _instead(
    refusal: Refused, penalty: Penalty, mechanism: Mechanism
) -> list[tuple[Penalty, Mechanism]]:
    """What may work in the place of what was refused, nearest first."""
    others: list[Mechanism] = [WeightDecay(1.0)]
    try:
        from symbias.mechanisms import Langevin
    except MissingExtra:  # who has no JAX is not sent there
        pass
    else:
        others.insert(0, Langevin(1.0, reference="predictor"))
        if isinstance(mechanism, Langevin):
            others[0] = replace(mechanism, reference="predictor")
            others.insert(1, replace(mechanism, reference="ambient", orbital=0.0))
    pairs = [(near, mechanism) for near in refusal.near]
    return pairs + [(penalty, other) for other in others if other != mechanism]


def _works(penalty: Penalty, mechanism: Mechanism, shape: Shape) -> bool:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of designs that hold locally
            _INVERSES[mechanism.name](penalty, mechanism, shape)
    except ValueError:
        return False
    return True


def _sentence(refused: Penalty, penalty: Penalty, mechanism: Mechanism) -> str:
    if penalty is not refused:
        return f"sb.{penalty!r} is the nearest that works"
    reference = getattr(mechanism, "reference", None)
    how = f", reference={reference!r}" if reference else ""
    return f"sb.{type(mechanism).__name__}({'temperature' if how else 'strength'}{how}) takes it"


# mechanism -> the inverse of its `induced`
_INVERSES: dict[str, Callable[[Penalty, Any, Shape], Parameterization]] = {
    "weight decay": by_weight_decay,
    "label noise": by_label_noise,
    "gradient flow": by_gradient_flow,
    "Langevin": by_langevin,
}
