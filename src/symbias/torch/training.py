"""Training factors so that weight decay is the design's penalty."""

import warnings
from collections.abc import Callable, Mapping
from fnmatch import fnmatchcase
from itertools import chain
from typing import Any

import torch
from torch import Tensor, nn

from symbias._core.numbers import non_negative
from symbias.torch.errors import NoPenalty, UnknownParameter, warn_missed
from symbias.torch.factors import FactorList
from symbias.torch.optimizers import misses_the_penalty, refuse_stale, watch
from symbias.torch.owners import designed

Scale = Mapping[str, float] | Callable[[str], float] | None


def factor_parameters(
    model: nn.Module, weight_decay: float, *, scale: Scale = None, others: float = 0.0
) -> list[dict[str, Any]]:
    """Parameter groups for an optimizer with *coupled* weight decay, such as torch.optim.SGD.

    Decay lam on the factors of a weight is lam times the penalty of its design. The groups hold
    every parameter of the model once: factors (one group for each strength), coordinates that a
    design leaves free, without decay, and all that is not designed.

    Parameters
    ----------
    weight_decay : float
        lam.
    scale : mapping from pattern to number, or function of the name, optional
        Per-layer multiples of lam: ``{"conv*.weight": 2.0}``; the first pattern that matches
        counts, and 1 where none does.
    others : float
        Weight decay of the parameters that are not designed.

    Returns
    -------
    list of dict
        With ``decay_scale`` beside ``params`` and ``weight_decay``, for `DecaySchedule`.

    Raises
    ------
    ValueError
        Where nothing is designed, or a strength is negative or not finite.
    UnknownParameter
        For a pattern in ``scale`` that matches no designed weight.
    StaleOptimizer
        If an optimizer still holds a weight that factors replaced.

    Warns
    -----
    NoPenalty
        For a designed weight that is frozen; and, at the first gradient, where nothing decays the
        factors and `factor_penalty` is not in the loss, or where both are.
    """
    weights = _designed(model)
    non_negative("weight_decay", weight_decay)
    non_negative("others", others)
    gone = {n: f.replaced() for n, f in weights.items() if f.replaced is not None}
    refuse_stale({n: w for n, w in gone.items() if w is not None})
    scales = _scales(weights, scale)
    by_scale: dict[float, list[Tensor]] = {}
    free: list[Tensor] = []
    for name, factors in weights.items():
        if not all(factor.requires_grad for factor in factors.decayed()):
            warnings.warn(f"{name!r} is frozen: its design does nothing", NoPenalty, stacklevel=2)
        watch(factors, factors.decayed())
        by_scale.setdefault(scales[name], []).extend(factors.decayed())
        free += [t for n, t in factors.named().items() if n in factors.factors.design.free]
    known = {id(t) for group in by_scale.values() for t in group} | {id(t) for t in free}
    rest = [p for p in model.parameters() if id(p) not in known]
    groups = [
        {"params": tensors, "weight_decay": s * weight_decay, "decay_scale": s}
        for s, tensors in by_scale.items()
    ]
    groups += [{"params": free, "weight_decay": 0.0, "decay_scale": 0.0}] if free else []
    return groups + ([{"params": rest, "weight_decay": others}] if rest else [])


def factor_penalty(model: nn.Module, weight_decay: float, *, scale: Scale = None) -> Tensor:
    """weight_decay/2 * sum of squared factors, to add to the loss; free coordinates left out.

    For optimizers whose own decay is decoupled (AdamW) or that have none: its minimum over the
    factors of each weight is weight_decay times the design's penalty. ``scale`` as in
    `factor_parameters`.

    Raises
    ------
    ValueError, UnknownParameter
        As in `factor_parameters`.
    """
    weights = _designed(model)
    non_negative("weight_decay", weight_decay)
    scales = _scales(weights, scale)
    for factors in weights.values():
        factors.in_loss = weight_decay > 0
    terms = [
        scales[name] * torch.sum(factor * factor)
        for name, factors in weights.items()
        for factor in factors.decayed()
    ]
    return weight_decay / 2 * torch.stack(terms).sum()


class DecaySchedule:
    """Weight decay as a function of the step, for groups from `factor_parameters`.

    Call `step` after each of the optimizer's steps, as with a learning-rate scheduler. Per-layer
    scales are kept; groups without ``decay_scale`` are left alone.

    Parameters
    ----------
    optimizer : torch.optim.Optimizer
    strength : function of int
        The weight decay at a step, from 0.

    Raises
    ------
    ValueError
        If no group of the optimizer comes from `factor_parameters`.

    Warns
    -----
    DecoupledDecay
        If the optimizer's decay is decoupled (AdamW), or it has none (LBFGS).
    """

    def __init__(self, optimizer: torch.optim.Optimizer, strength: Callable[[int], float]) -> None:
        self.optimizer, self.strength, self.last_step = optimizer, strength, 0
        if not any("decay_scale" in group for group in optimizer.param_groups):
            raise ValueError("no group with a decay_scale: build them with factor_parameters")
        ours = [g["params"] for g in optimizer.param_groups if g.get("decay_scale", 0) > 0]
        if misses_the_penalty(optimizer, {id(p) for p in chain(*ours)}, ever=True):
            warn_missed(optimizer)
        self._set()

    def step(self) -> None:
        """Go on to the next step."""
        self.last_step += 1
        self._set()

    def state_dict(self) -> dict[str, int]:
        """The step, to resume from."""
        return {"last_step": self.last_step}

    def load_state_dict(self, state: Mapping[str, int]) -> None:
        """Resume from a saved step."""
        self.last_step = state["last_step"]
        self._set()

    def _set(self) -> None:
        strength = self.strength(self.last_step)
        non_negative("weight decay", strength)
        for group in self.optimizer.param_groups:
            if "decay_scale" in group:
                group["weight_decay"], group["scheduled"] = strength * group["decay_scale"], True


def check_optimizer(model: nn.Module, optimizer: torch.optim.Optimizer) -> None:
    """Warn with `DecoupledDecay` if ``optimizer`` breaks the designs of ``model``, now.

    The same look happens by itself at the first gradient that finds an optimizer.
    """
    factors = {id(t) for f in designed(model).values() for t in f.decayed()}
    if misses_the_penalty(optimizer, factors):
        warn_missed(optimizer)


def _designed(model: nn.Module) -> dict[str, FactorList]:
    weights = designed(model)
    if not weights:
        raise ValueError(f"nothing in {type(model).__name__} is designed; apply a design first")
    return weights


def _scales(weights: Mapping[str, FactorList], scale: Scale) -> dict[str, float]:
    if scale is None:
        return dict.fromkeys(weights, 1.0)
    if callable(scale):
        scales = {name: float(scale(name)) for name in weights}
    else:
        for pattern in scale:
            if not any(fnmatchcase(name, pattern) for name in weights):
                raise UnknownParameter(
                    f"scale {pattern!r} matches no designed weight of {sorted(weights)}"
                )
        scales = {
            name: next((float(v) for k, v in scale.items() if fnmatchcase(name, k)), 1.0)
            for name in weights
        }
    for value in scales.values():
        non_negative("scales", value)
    return scales
