"""Optimizers that miss the penalty are noticed, also where they come late or decay later."""

import warnings
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import nn

import symbias.torch as st

OPTIM = torch.optim


def trained(
    make: Callable[[Any], OPTIM.Optimizer],
    *,
    strength: float = 0.1,
    schedule: Callable[[int], float] | None = None,
    early_gradient: bool = False,
    frozen: bool = False,
) -> list[warnings.WarningMessage]:
    """The warnings of a few steps."""
    torch.manual_seed(0)
    layer, x = nn.Linear(6, 4, bias=False), torch.randn(9, 6)
    layer.requires_grad_(not frozen)
    st.apply(layer, "weight", "l1")
    layer.requires_grad_(True)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        if early_gradient:
            layer(x).sum().backward()
        optimizer = make(st.factor_parameters(layer, strength))
        decay = schedule and st.DecaySchedule(optimizer, schedule)

        def closure() -> torch.Tensor:
            optimizer.zero_grad()
            loss = layer(x).square().mean()
            loss.backward()
            return loss

        for _ in range(4):
            optimizer.step(closure)
            if decay:
                decay.step()
    return [w for w in caught if issubclass(w.category, st.DecoupledDecay)]


def warm_up(step: int) -> float:
    return 0.1 * min(1, step / 500)


@pytest.mark.parametrize(
    ("make", "options", "message"),
    [
        (OPTIM.AdamW, {}, "decoupled"),
        pytest.param(OPTIM.AdamW, {"schedule": warm_up}, "decoupled", marks=pytest.mark.slow),
        (OPTIM.AdamW, {"early_gradient": True}, "decoupled"),
        pytest.param(OPTIM.AdamW, {"frozen": True}, "decoupled", marks=pytest.mark.slow),
        pytest.param(OPTIM.Rprop, {}, "ignores", marks=pytest.mark.slow),
        (OPTIM.LBFGS, {}, "ignores"),
    ],
)
def test_missed(make: Any, options: dict[str, Any], message: str) -> None:
    (warning,) = trained(make, **options)
    assert message in str(warning.message)


@pytest.mark.parametrize(
    ("make", "options"),
    [
        (lambda g: OPTIM.SGD(g, lr=0.1, momentum=0.9), {"schedule": warm_up}),
        (lambda g: OPTIM.SGD(g, lr=0.1), {"early_gradient": True}),
        (OPTIM.Adam, {}),
        (OPTIM.NAdam, {}),
        (OPTIM.RMSprop, {}),
        (OPTIM.AdamW, {"strength": 0.0}),
        (OPTIM.LBFGS, {"strength": 0.0}),
    ],
)
def test_kept(make: Any, options: dict[str, Any]) -> None:
    assert trained(make, **options) == []


def test_without_an_optimizer_looks_become_rare(monkeypatch: pytest.MonkeyPatch) -> None:
    looks = []
    monkeypatch.setattr("symbias.torch.optimizers.optimizers_with", lambda p: looks.append(p) or [])
    layer = st.apply(nn.Linear(3, 2), "weight", "l1")
    for _ in range(20):
        layer(torch.ones(1, 3)).sum().backward()
    assert len(looks) <= 7  # at apply, and at gradients 1, 2, 4, 8, 16
