"""The configuration of a transformer that lost units, where a configuration can say so."""

import copy
import re
from collections.abc import Iterable
from itertools import combinations
from typing import Any

import torch
from torch import nn

SIZES = re.compile("head|intermediate|ffn|inner|mlp")  # of names of numbers that may have changed


def fitted(model: nn.Module, changes: Iterable[tuple[int, int]]) -> bool | None:
    """Whether ``model.config`` now describes the model; None for a model without one.

    ``changes`` are sizes and what they became. Numbers of the configuration that became one other
    number are changed, if a model made from it has the shapes of this one.
    """
    config: Any = getattr(model, "config", None)
    if config is None or not hasattr(config, "to_dict"):
        return None
    became: dict[int, set[int]] = {}
    for old, new in changes:
        became.setdefault(old, set()).add(new)
    known = {k: v for k, v in vars(config).items() if type(v) is int and SIZES.search(k)}
    moves = [(k, *became[v]) for k, v in known.items() if len(became.get(v, ())) == 1]
    for count in range(len(moves), -1, -1):
        for some in combinations(moves, count):
            trial = copy.deepcopy(config)
            for name, value in some:
                setattr(trial, name, value)
            if _fits(model, trial):
                model.config = trial
                return True
    return False


def _fits(model: Any, config: Any) -> bool:
    """Whether a model of this configuration has the shapes of this one."""
    try:
        with torch.device("meta"):
            made = type(model)(config)
    except Exception:  # a configuration that makes no model describes none
        return False
    theirs, ours = made.state_dict(), model.state_dict()
    return {k: v.shape for k, v in theirs.items()} == {k: v.shape for k, v in ours.items()}
