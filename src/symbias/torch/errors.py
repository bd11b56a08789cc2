"""What can be wrong with a request, each under its own name; raised before anything is changed."""

import sys
import warnings

from torch.optim import Optimizer

INSIDE = ("torch", "symbias")


class UnknownParameter(ValueError):
    """No parameter has this name, or matches this pattern; the message has the nearest ones."""


class ShapeMismatch(ValueError):
    """The design is of another shape than the weight."""


class AlreadyDesigned(ValueError):
    """The parameter already has a parametrization, of symbias or of another library."""


class UnsupportedTensor(TypeError):
    """The weight is not a dense, finite, real floating-point tensor with values."""


class Unreachable(ValueError):
    """The design cannot represent this weight, or could not leave it by training."""


class StaleOptimizer(ValueError):
    """An optimizer holds the weight that factors replace: it would train nothing."""


class WrappedModel(ValueError):
    """The model is wrapped for distributed training, which holds the old weights."""


class DecoupledDecay(UserWarning):
    """An optimizer decays factors beside the loss, or not at all: not the penalty asked for."""


class ChangedOutputs(RuntimeError):
    """A model without what is dead does not compute what it did; it is left as it was."""


class NotRun(UserWarning):
    """Parameters of a model are not used by the example input."""


class OtherObjective(UserWarning):
    """Zeros are exact, but training settles on another objective than loss + strength * R."""


class NoPenalty(UserWarning):
    """Factors of a design train without weight decay, or with the same penalty twice."""


class NoProximalStep(UserWarning):
    """A weight is penalised, and trained without the step that makes it so."""


class ScaleInvariant(UserWarning):
    """A weight is wished small in front of a normalisation, which divides its size out."""


class TransposedWeight(UserWarning):
    """Groups are slices of a weight that its layer stores as (in, out)."""


class NothingTrains(UserWarning):
    """An optimizer holds parameters of no model."""


class AveragedFactors(UserWarning):
    """Factors were averaged, and the product of averages is not the average of the weights."""


class NotLoadable(UserWarning):
    """A file of factors is saved, which a model without the design does not read."""


def user_level() -> int:
    """The stacklevel, where this is called, of the first line outside of PyTorch and symbias.

    Hooks of gradients run below ``backward``; on a thread of their own there is no such line.
    """
    frame, level = sys._getframe(1), 1
    while frame.f_back and frame.f_globals.get("__name__", "").split(".")[0] in INSIDE:
        frame, level = frame.f_back, level + 1
    return level


def warn_missed(optimizer: Optimizer) -> None:
    """Say what AdamW or LBFGS does to factors, and what to do instead."""
    if "weight_decay" in optimizer.defaults:
        fault = (
            "applies decoupled weight decay to factors of a design. That is another objective, "
            "without its penalty (no zeros in place of the LASSO's)"
        )
    else:
        fault = "ignores the weight decay of factors: the design has no penalty"
    warnings.warn(
        f"{type(optimizer).__name__} {fault}. Take SGD "
        "or Adam with (coupled) weight_decay, or set weight_decay=0 on the factors and add "
        "symbias.torch.factor_penalty(model, strength) to the loss",
        DecoupledDecay,
        stacklevel=user_level(),
    )


def warn_count(optimizer: str, *, twice: bool) -> None:
    """Say that factors have no penalty, or have it twice."""
    fault = (
        f"{optimizer} decays factors whose penalty is in the loss too (factor_penalty): it counts "
        "twice. Leave one of them out"
        if twice
        else f"{optimizer} does not decay the factors of a design, and factor_penalty is not in "
        "the loss: there is no penalty. Build the groups with "
        "symbias.torch.factor_parameters(model, weight_decay)"
    )
    warnings.warn(fault, NoPenalty, stacklevel=user_level())
