"""Thresholds are in units of the weight, whatever the constants of the penalty."""

import numpy as np
import pytest
import torch
from torch import nn

import symbias as sb
import symbias.torch as st


def collapsed(weight: torch.Tensor, penalty: sb.Penalty, threshold: float) -> torch.Tensor:
    layer = nn.Linear(weight.shape[1], weight.shape[0], bias=False)
    layer.weight.data = weight.clone()
    st.apply(layer, "weight", penalty)
    st.collapse(layer, threshold)
    return layer.weight.detach()


@pytest.mark.parametrize(
    "penalty",
    [
        sb.L1(),
        sb.L1(np.array([[3.0, 1.0, 2.0, 5.0]])),
        sb.Lq(2 / 3),
        sb.Lq(0.5),
        sb.LogSum(),
        sb.ElasticNet(),
    ],
    ids=repr,
)
def test_entries(penalty: sb.Penalty) -> None:
    weight = torch.tensor([[0.01, 0.08, -0.15, 1.0]])
    wanted = torch.tensor([[0.0, 0.08, -0.15, 1.0]])
    torch.testing.assert_close(collapsed(weight, penalty, 0.05), wanted)


def test_groups() -> None:
    norms = torch.tensor([0.08, 0.16, 0.19, 0.21, 1.0, 2.0])
    weight = nn.functional.normalize(torch.randn(64, 6), dim=0) * norms
    columns = sb.GroupLasso(np.broadcast_to(np.arange(6), (64, 6)))  # weighs by sqrt(64)
    wanted = torch.where(norms > 0.2, norms, 0.0)
    torch.testing.assert_close(collapsed(weight, columns, 0.2).norm(dim=0), wanted)


@pytest.mark.parametrize("penalty", [sb.Nuclear(), sb.Schatten(2 / 3), sb.Schatten(0.5)], ids=repr)
def test_singular_values(penalty: sb.Penalty) -> None:
    weight = torch.diag(torch.tensor([2.0, 1.0, 0.3, 0.1]))
    found = torch.linalg.svdvals(collapsed(weight, penalty, 0.5))
    torch.testing.assert_close(found, torch.tensor([2.0, 1.0, 0.0, 0.0]))


def test_what_diverged_is_not_taken_for_sparse() -> None:
    layer = st.apply(nn.Linear(6, 4), "weight", "l1")
    with torch.no_grad():
        next(layer.parametrizations.weight.parameters()).fill_(float("nan"))
    with pytest.raises(ValueError, match="'weight' has factors that are not finite"):
        st.collapse(layer, 0.02)
    st.collapse(layer)
    assert layer.weight.isnan().all()
