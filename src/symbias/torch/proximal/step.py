"""The proximal step that makes penalties on weights exact under an optimizer."""

import warnings
from collections.abc import Callable, Mapping
from typing import Any
from weakref import WeakKeyDictionary, ref

import torch
from torch import Tensor

from symbias._core.numbers import non_negative
from symbias._core.refusal import Refused
from symbias.torch.errors import OtherObjective
from symbias.torch.optimizers import misses_the_penalty
from symbias.torch.proximal.metrics import learning_rate, metric_of
from symbias.torch.proximal.penalizing import Penalized, penalized

# weak, for a step holds its optimizer; the optimizer holds it by the hook
_steps: WeakKeyDictionary[torch.optim.Optimizer, "ref[ProximalStep]"] = WeakKeyDictionary()


class ProximalStep:
    r"""After each step of an optimizer, the proximal map of the penalties of its weights.

    .. math:: w \leftarrow \arg\min_z \tfrac12 |z - w|_d^2 + \lambda R(z)

    in the diagonal metric d in which the optimizer steps, step = gradient / d: (1 - momentum)/lr of
    SGD, (sqrt(second moment) + eps)/lr of Adam, with its bias corrections. Where training settles,
    w is then a stationary point of loss + lambda R: its step is gradient/d there, and w = prox(w -
    gradient/d) says -gradient in lambda dR(w), whatever d is. With another metric it would be
    another objective, which is what decoupled decay does to weight decay.

    Works through PyTorch's own hook: call ``optimizer.step()`` as always. Schedulers, gradient
    scaling and clipping need nothing. Weights become exactly zero, and move again where the
    gradient exceeds the penalty's slope.

    Parameters
    ----------
    optimizer : torch.optim.Optimizer
        SGD, Adam, AdamW, NAdam, RAdam, RMSprop, Adagrad or Adamax. Others (Muon, Lion) step in no
        diagonal metric that is known: the proximal step is then that of 1/lr, zeros are exact, and
        the objective is another; `OtherObjective` warns of it.
    scale : function of int, optional
        Multiple of all strengths at a step, from 0: ``lambda step: min(1, step / 500)`` warms up.
        Adaptive optimizers take their first steps in a small metric, in which a large strength
        takes everything away before anything is learned.

    Raises
    ------
    ValueError
        If it holds no weight of `penalize`, or maximises.
    Refused
        For nuclear norms and non-convex groups under an adaptive optimizer: their proximal map is
        known for one step size only.

    Warns
    -----
    OtherObjective
        See above; also where penalised weights have decoupled weight decay, as AdamW has by
        default: set ``weight_decay=0`` for them.

    Notes
    -----
    Cost: a few passes over the penalised weights a step; of groups under an adaptive optimizer
    about ten. Held by the optimizer: `remove` ends it, and a second one takes its place. Penalties
    belong to the parameters themselves: a deep copy of the model, or one that is loaded whole,
    has none until `penalize` is called for it.

    References
    ----------
    Yun, Lozano, Yang, "Adaptive proximal gradient methods for structured neural networks",
    NeurIPS 2021.
    """

    def __init__(
        self, optimizer: torch.optim.Optimizer, scale: Callable[[int], float] | None = None
    ) -> None:
        self.optimizer, metric = optimizer, metric_of(optimizer)
        if scale is not None and not callable(scale):
            raise TypeError(f"scale must be a function of the step, got {scale!r}")
        self.scale, self.last_step = scale, 0
        self.metric = metric or learning_rate
        held = [(g, p) for g in optimizer.param_groups for p in g["params"] if penalized(p)]
        kind = type(optimizer).__name__
        if not held:
            raise ValueError(
                f"{kind} holds no penalised weight: call symbias.torch.penalize(model, name, "
                "penalty, strength) first, and build the optimizer from the same model"
            )
        if any(group.get("maximize") for group, _ in held):
            raise ValueError(f"{kind} maximises: a penalty is for what is minimised")
        self._refuse(metric is not None)
        self._warn(metric is not None)
        before = _steps[optimizer]() if optimizer in _steps else None
        if before is not None:
            before.remove()
        for _, made in self._held():
            made.stepped = True
        _steps[optimizer] = ref(self)
        self._hook = optimizer.register_step_post_hook(self._after)

    def remove(self) -> None:
        """Take no more proximal steps; the penalties stay registered."""
        self._hook.remove()
        for _, made in self._held():
            made.stepped = False

    def _held(self) -> list[tuple[Tensor, Penalized]]:
        tensors = [p for group in self.optimizer.param_groups for p in group["params"]]
        return [(p, made) for p in tensors if (made := penalized(p)) is not None]

    def state_dict(self) -> dict[str, int]:
        """The step, to resume from."""
        return {"last_step": self.last_step}

    def load_state_dict(self, state: Mapping[str, int]) -> None:
        """Resume from a saved step."""
        self.last_step = state["last_step"]

    def _after(self, *_: Any) -> None:
        overflow = getattr(self.optimizer, "found_inf", None)  # a fused step that was skipped
        if overflow is not None and bool(overflow):
            return
        scale = 1.0 if self.scale is None else self.scale(self.last_step)
        non_negative("scale", scale)
        self.last_step += 1
        for group in self.optimizer.param_groups:
            for p in group["params"]:
                made = penalized(p)
                if made is None or p.grad is None:  # it has not moved
                    continue
                self._shrink(p, made, group, scale * made.strength)

    def _shrink(self, p: Tensor, made: Penalized, group: dict[str, Any], strength: float) -> None:
        weights = made.all_of(p)
        groups = [self._group_of(q, group) for q in weights]
        if any(float(own["lr"]) == 0 for own in groups):  # the metric is infinite
            return
        state = self.optimizer.state
        metrics = [self.metric(own, state[q]) for q, own in zip(weights, groups, strict=True)]
        if len(weights) == 1:
            made.proximal(p.data, metrics[0], strength)
            return
        both = torch.stack([q.data for q in weights])
        metric = torch.stack([torch.as_tensor(d).expand_as(p) for d in metrics])
        made.proximal(both, metric, strength)
        for q, new in zip(weights, both, strict=True):
            q.data.copy_(new)

    def _group_of(self, p: Tensor, group: dict[str, Any]) -> dict[str, Any]:
        """The group in which a weight is stepped: usually this one."""
        groups = [group, *self.optimizer.param_groups]
        return next((g for g in groups if any(q is p for q in g["params"])), group)

    def _refuse(self, known: bool) -> None:
        if not known or isinstance(self.optimizer, torch.optim.SGD):
            return
        for _, made in self._held():
            if made.proximal.needs_one_rate:
                raise Refused(
                    f"{made.name!r}: the proximal map of {made.penalty.formula} is known for one "
                    f"step size only, and {type(self.optimizer).__name__} has one for every "
                    "weight: take SGD, or a design (symbias.torch.apply) with factor_penalty in "
                    "the loss"
                )

    def _warn(self, known: bool) -> None:
        kind, optimizer = type(self.optimizer).__name__, self.optimizer
        if not known:
            self._say(
                f"the metric in which {kind} steps is not known: zeros will be exact, but they are "
                "not those of loss + strength * R; SGD and the Adam family keep that promise"
            )
        elif beside := [m.name for p, m in self._held() if misses_the_penalty(optimizer, {id(p)})]:
            self._say(
                f"{kind} decays the penalised {beside[0]!r} beside the loss, which adds a "
                "preference of its own: give penalised weights a group with weight_decay=0"
            )

    @staticmethod
    def _say(message: str) -> None:
        warnings.warn(message, OtherObjective, stacklevel=4)
