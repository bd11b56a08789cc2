"""Thresholds are in units of the weight, whatever the constants of the penalty."""

import copy

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


def counted(weight: torch.Tensor, wish: object, threshold: float = 0.0) -> str:
    layer = nn.Linear(weight.shape[1], weight.shape[0], bias=False)
    layer.weight.data = weight.clone()
    st.apply(layer, "weight", wish)
    (row,) = st.collapse(layer, threshold).rows
    return row.note.split("; ")[0]


@pytest.mark.slow
def test_what_is_counted_is_what_the_design_makes_small() -> None:
    """Against counts by NumPy: ranks, differences, groups, entries."""
    rng = np.random.default_rng(0)
    u, v = rng.normal(size=(40, 7)), rng.normal(size=(7, 30))
    low = torch.tensor(u @ v + 1e-3 * rng.normal(size=(40, 30)), dtype=torch.float32)
    values = np.linalg.svd(low.numpy(), compute_uv=False)
    for threshold in (0.0, 0.5, float(values[2:4].mean())):
        rank = int(np.sum(values > threshold))
        assert counted(low, "nuclear", threshold) == f"rank {rank} of 30"
    steps = torch.tensor(np.repeat(rng.normal(size=(5, 30)), 8, axis=0), dtype=torch.float32)
    jumps = np.abs(np.diff(steps.numpy(), axis=0))
    for wish in (
        sb.TotalVariation(axis=0),
        sb.design(sb.TotalVariation(axis=0), sb.WeightDecay(1.0), shape=(40, 30)),
    ):
        dead = int(np.sum(jumps <= 0.3))
        assert counted(steps, wish, 0.3) == f"{dead:,} of 1,170 differences are zero"
    across = counted(steps.T.contiguous(), sb.TotalVariation(axis=1), 0.3)
    assert across == f"{dead:,} of 1,170 differences are zero"
    assert counted(steps, sb.Spectral(), 1e9) == "1,200 of 1,200 coefficients are zero"
    columns = torch.tensor(rng.normal(size=(64, 64)), dtype=torch.float32)
    columns[:, :23] *= 1e-3
    note = counted(columns, st.slices(1), 0.1)
    assert note == "23 of 64 groups are zero (1,472 of 4,096 entries)"
    columns[:, :5] = 0  # exactly: at any threshold
    assert counted(columns, st.slices(1), 1e-9) == counted(columns, st.slices(1), 0.0)
    assert counted(columns, "l1") == "320 of 4,096 entries are zero"
    both = sb.Sum([sb.Hadamard((64, 64)), sb.MatrixProduct(64, 64)])
    zeros = int((collapsed(columns, both, 1e-4) == 0).sum())
    assert counted(columns, both, 1e-4) == f"{zeros:,} of 4,096 entries are zero"


def test_a_threshold_below_the_gap_is_told_where_it_is() -> None:
    columns = nn.functional.normalize(torch.randn(64, 10), dim=0)
    columns[:, :6] *= torch.tensor([1e-5, 1.2e-5, 1.5e-5, 1.7e-5, 1.9e-5, 2e-5])
    layer = nn.Linear(10, 64, bias=False)
    layer.weight.data = 0.2 * columns
    st.apply(layer, "weight", st.slices(1))
    twin = copy.deepcopy(layer)
    said = str(st.collapse(layer))
    assert "0 of 10 groups are zero (0 of 640 entries); 6 groups are small" in said
    assert "the gap is between 4e-06 and 0.2: threshold=0.0009" in said
    assert "6 of 10 groups are zero (384 of 640 entries); Group" in str(st.collapse(twin, 0.0009))
