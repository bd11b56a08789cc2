"""From a penalty and a training mechanism to the parameterization that has this bias."""

from typing import Any

from symbias._core.arrays import Shape
from symbias.designs.by_gradient_flow import by_gradient_flow
from symbias.designs.by_label_noise import by_label_noise
from symbias.designs.by_langevin import by_langevin
from symbias.designs.by_weight_decay import by_weight_decay
from symbias.designs.penalties import Penalty, as_penalty
from symbias.mechanisms import GradientFlow, LabelNoise, Langevin, WeightDecay
from symbias.parameterizations import Parameterization
from symbias.parameterizations.base import as_shape

_ADAPTIVE = "Adam and AdamW minimise another objective: they keep no such promise"


def design(penalty: Penalty | str, mechanism: Any, *, shape: int | Shape) -> Parameterization:
    """The parameterization whose bias under ``mechanism`` is ``penalty``.

    * `WeightDecay` of any strength: ``mechanism.penalty(p, w) == strength * penalty(w)``.
    * `LabelNoise`: ``mechanism.penalty(p, w, inputs)`` is eta sigma^2 / (4 B) * penalty(w) for
      whitened inputs.
    * `GradientFlow`: l2, and l1 (alone or behind a linear map) in the limit of a small start.
    * `Langevin` with reference "ambient": temperature * log volume of the orbit == penalty(w), for
      w >= 0. With reference "predictor": only `sb.LogPenalty`.

    Parameters
    ----------
    penalty : Penalty or str
        What to prefer, such as ``sb.TotalVariation()`` or its short name ``"tv"``.
    mechanism : WeightDecay, LabelNoise, GradientFlow or Langevin
        How it will be trained.
    shape : int or tuple of int
        Shape of the effective parameter.

    Raises
    ------
    ValueError
        If no parameterization of the family reaches this penalty; the message says why and what
        would work.
    TypeError
        If the mechanism is not one that can be designed for.
    """
    penalty, shape = as_penalty(penalty), as_shape(shape)
    for kind, compile_ in _COMPILERS.items():
        if isinstance(mechanism, kind):
            return compile_(penalty, mechanism, shape)
    names = ", ".join(f"sb.{kind.__name__}" for kind in _COMPILERS)
    raise TypeError(
        f"cannot design for {mechanism!r}: expected a mechanism, one of {names}. {_ADAPTIVE}"
    )


_COMPILERS: dict[type, Any] = {
    WeightDecay: lambda penalty, mechanism, shape: by_weight_decay(penalty, shape),
    LabelNoise: lambda penalty, mechanism, shape: by_label_noise(penalty, shape),
    GradientFlow: by_gradient_flow,
    Langevin: by_langevin,
}
