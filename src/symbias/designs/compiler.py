"""From a penalty and a training mechanism to the parameterization that has this bias."""

from collections.abc import Callable
from typing import Any

from symbias._core.arrays import Shape
from symbias.designs.by_gradient_flow import by_gradient_flow
from symbias.designs.by_label_noise import by_label_noise
from symbias.designs.by_langevin import by_langevin
from symbias.designs.by_weight_decay import by_weight_decay
from symbias.mechanisms import Mechanism
from symbias.parameterizations import Parameterization, as_shape
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
    * `GradientFlow`: l2 exactly, and l1 (alone or behind a linear map) in the limit of a small
      start.
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
        If no parameterization of the family reaches this penalty; the message says why and what
        would work.
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
    return _INVERSES[mechanism.name](as_penalty(preference), mechanism, as_shape(shape))


# mechanism -> the inverse of its `induced`
_INVERSES: dict[str, Callable[[Penalty, Any, Shape], Parameterization]] = {
    "weight decay": by_weight_decay,
    "label noise": by_label_noise,
    "gradient flow": by_gradient_flow,
    "Langevin": by_langevin,
}
