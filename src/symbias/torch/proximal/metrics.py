"""The diagonal metric in which an optimizer steps: d with step = gradient / d, where it settles.

For learning rates that are not zero.
"""

import math
from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor

Metric = float | Tensor
Group = Mapping[str, Any]

LEAST = 5.0  # of the degrees of freedom with which RAdam adapts


def sgd(group: Group, state: Mapping[str, Any]) -> Metric:
    """(1 - momentum) / (lr (1 - dampening)): a buffer of equal gradients holds them so often."""
    momentum = group["momentum"]
    return (1 - momentum) / (float(group["lr"]) * (1 - (group["dampening"] if momentum else 0.0)))


def adam(group: Group, state: Mapping[str, Any]) -> Metric:
    """(sqrt(second moment, bias corrected) + eps) / lr: AdamW and NAdam alike."""
    second = state["max_exp_avg_sq" if group.get("amsgrad") else "exp_avg_sq"]
    correction = 1 - group["betas"][1] ** float(state["step"])
    return ((second / correction).sqrt() + group["eps"]) / float(group["lr"])


def radam(group: Group, state: Mapping[str, Any]) -> Metric:
    """That of Adam over its rectification, or 1 / lr before there is one."""
    beta, step = group["betas"][1], float(state["step"])
    most = 2 / (1 - beta) - 1
    free = most - 2 * step * beta**step / (1 - beta**step)
    if free <= LEAST:
        return 1 / float(group["lr"])
    rectified = (free - 4) * (free - 2) * most / ((most - 4) * (most - 2) * free)
    return adam(group, state) / math.sqrt(rectified)


def rmsprop(group: Group, state: Mapping[str, Any]) -> Metric:
    """(sqrt(mean square) + eps) (1 - momentum) / lr."""
    square = state["square_avg"]
    if group["centered"]:
        square = square - state["grad_avg"] ** 2
    return (square.sqrt() + group["eps"]) * (1 - group["momentum"]) / float(group["lr"])


def adagrad(group: Group, state: Mapping[str, Any]) -> Metric:
    """(sqrt(sum of squares) + eps) (1 + (step - 1) lr_decay) / lr."""
    slowed = 1 + (float(state["step"]) - 1) * group["lr_decay"]
    return (state["sum"].sqrt() + group["eps"]) * slowed / float(group["lr"])


def adamax(group: Group, state: Mapping[str, Any]) -> Metric:
    """Largest gradient / lr."""
    return state["exp_inf"] / float(group["lr"])


METRICS: dict[type[torch.optim.Optimizer], Callable[[Group, Mapping[str, Any]], Metric]] = {
    torch.optim.SGD: sgd,
    torch.optim.Adam: adam,
    torch.optim.NAdam: adam,
    torch.optim.RAdam: radam,
    torch.optim.RMSprop: rmsprop,
    torch.optim.Adagrad: adagrad,
    torch.optim.Adamax: adamax,
}


def metric_of(
    optimizer: torch.optim.Optimizer,
) -> Callable[[Group, Mapping[str, Any]], Metric] | None:
    """The function of a parameter's group and state that gives d; None where none is known."""
    return next((m for kind, m in METRICS.items() if isinstance(optimizer, kind)), None)


def learning_rate(group: Group, state: Mapping[str, Any]) -> Metric:
    """1 / lr: what a proximal step counts with where no metric is known."""
    return 1 / float(group["lr"])
