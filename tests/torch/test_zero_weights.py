"""Layers that start at zero: LoRA's B and output heads, under designs of matrices."""

import numpy as np
import pytest
import torch
from torch import nn

import symbias as sb
import symbias.torch as st

TALL, WIDE = (12, 3), (3, 12)


def zero_layer(shape: tuple[int, int]) -> nn.Linear:
    layer = nn.Linear(shape[1], shape[0], bias=False, dtype=torch.float64)
    nn.init.zeros_(layer.weight)
    return layer


def train(layer: nn.Linear, X: torch.Tensor, Y: torch.Tensor, decay: float, rate: float) -> None:
    groups = st.factor_parameters(layer, decay)
    optimizer = torch.optim.SGD(groups, lr=rate, momentum=0.9)
    for _ in range(1_500):
        optimizer.zero_grad()
        (((layer(X) - Y) ** 2).sum() / (2 * len(X))).backward()
        optimizer.step()


def data(shape: tuple[int, int]) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    draw = lambda *s: torch.randn(*s, generator=generator, dtype=torch.float64)  # noqa: E731
    X = draw(60, shape[1])
    return X, X @ torch.outer(draw(shape[1]), draw(shape[0]))


@pytest.mark.parametrize("shape", [TALL, pytest.param(WIDE, marks=pytest.mark.slow)])
def test_a_zero_layer_trains_to_the_least_nuclear_norm(shape: tuple[int, int]) -> None:
    """What cannot move at first order does so after the first step; to the convex optimum."""
    layer, (X, Y) = st.apply(zero_layer(shape), "weight", "nuclear"), data(shape)
    assert float(layer.weight.detach().abs().max()) < 1e-12
    train(layer, X, Y, 0.05, 0.05)
    st.collapse(layer)
    W = layer.weight.detach().numpy()
    loss = float(np.sum((X.numpy() @ W.T - Y.numpy()) ** 2)) / (2 * len(X))
    best = sb.DesignedRegressor("nuclear", 0.05, fit_intercept=False).fit(X.numpy(), Y.numpy())
    assert loss + 0.05 * float(sb.Nuclear()(W)) == pytest.approx(best.objective_, rel=1e-6)


@pytest.mark.slow
def test_deeper_products_and_low_ranks_leave_zero_too() -> None:
    designs = [sb.Schatten(2 / 3), sb.MatrixProduct(*TALL, 3, depth=4), sb.MatrixProduct(*TALL, 1)]
    for design in designs:
        layer, (X, Y) = st.apply(zero_layer(TALL), "weight", design, charge=0.5), data(TALL)
        train(layer, X, Y, 1e-3, 5e-3)
        assert float(((layer(X) - Y) ** 2).mean().detach()) < 0.01 * float((Y**2).mean())


def test_what_stays_at_every_order_is_still_refused() -> None:
    with pytest.raises(st.Unreachable, match="36 entries of 'weight' could never move"):
        st.apply(zero_layer(TALL), "weight", sb.Linked(sb.Plain(TALL), sb.PowerLink(2.0)))
