"""What holds parameters that a model has no more is warned of when it goes on, and only then."""

import copy
import warnings
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn
from torch.nn.parallel import DistributedDataParallel
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

import symbias.torch as st
from tests.torch.cases import Tied, inputs, network


def designed() -> nn.Sequential:
    return st.apply(network(), "0.weight", st.slices(1))  # type: ignore[return-value]


def sgd(model: nn.Module) -> torch.optim.Optimizer:
    return torch.optim.SGD(st.factor_parameters(model, 0.1), lr=0.1)


def step(model: nn.Module, optimizer: torch.optim.Optimizer, x: Any = None) -> list[Any]:
    """The warnings of a training step."""
    optimizer.zero_grad()
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        model(inputs() if x is None else x).square().mean().backward()
        optimizer.step()
    return caught


def test_an_optimizer_of_factors_that_steps_on_after_collapse() -> None:
    model = designed()
    optimizer, twin = sgd(model), copy.deepcopy(model)
    other = sgd(twin)
    assert step(model, optimizer) == []
    st.collapse(model)
    before = model[0].weight.detach().clone()
    (warning,) = step(model, optimizer)
    assert warning.category is st.NothingTrains
    assert "2 of the 5 parameters that SGD steps are in no model since collapse" in str(
        warning.message
    )
    assert warning.filename == __file__
    assert torch.equal(model[0].weight, before)  # indeed
    assert step(model, optimizer) == []  # once
    assert step(twin, other) == []
    fresh = torch.optim.SGD(model.parameters(), lr=0.1)
    assert step(model, fresh) == []
    assert not torch.equal(model[0].weight, before)


def test_an_optimizer_that_is_given_the_new_weights_is_not_stale() -> None:
    model = designed()
    optimizer = sgd(model)
    st.collapse(model)
    optimizer.param_groups[:] = torch.optim.SGD(model.parameters(), lr=0.1).param_groups
    assert step(model, optimizer) == []


@pytest.mark.slow
def test_factors_with_a_place_outside_of_what_is_collapsed_still_train() -> None:
    model, tokens = Tied(), torch.arange(8)
    st.apply(model, "embed.weight", "l1")
    optimizer = sgd(model)
    st.collapse(model.embed)
    assert step(model, optimizer, tokens) == []
    st.collapse(model)
    (warning,) = step(model, optimizer, tokens)
    assert "2 of the 4 parameters" in str(warning.message)


@pytest.mark.slow
def test_two_collapses_are_one_warning_and_copies_of_an_optimizer_do_not_warn() -> None:
    model = designed()
    st.apply(model, "2.weight", "l1")
    optimizer = sgd(model)
    for part in (model[0], model[2]):
        st.collapse(part)
    twin = copy.deepcopy(optimizer)
    (warning,) = step(model, optimizer)
    assert "4 of the 6" in str(warning.message)
    assert step(model, twin) == []


def test_an_optimizer_that_steps_on_after_shrink() -> None:
    torch.manual_seed(0)
    model, x = nn.Sequential(nn.Linear(6, 8), nn.ReLU(), nn.Linear(8, 3)), inputs()
    st.penalize(model, "2.weight", st.slices(1), 0.1)
    optimizer = torch.optim.Adam(model.parameters())
    st.ProximalStep(optimizer)
    assert step(model, optimizer) == []
    with torch.no_grad():
        model[2].weight[:, :3] = 0
    notes = {r.name: r.note for r in st.shrink(model, x).table.rows}
    assert notes == {
        "0.weight": "was 8x6",
        "0.bias": "was 8",
        "2.weight": "was 3x8, with a penalty",
    }
    (warning,) = step(model, optimizer)
    assert warning.category is st.NothingTrains
    assert "3 of the 4 parameters that Adam steps are in no model since shrink" in str(
        warning.message
    )
    fresh = torch.optim.Adam(model.parameters())
    assert step(model, fresh) == []
    st.shrink(model, x)  # nothing to remove
    assert step(model, fresh) == []


@pytest.mark.slow
@pytest.mark.parametrize("ema", [False, True])
def test_averages_of_factors(ema: bool) -> None:
    model, x = designed(), inputs()
    how = get_ema_multi_avg_fn(0.5) if ema else None
    average = AveragedModel(model, multi_avg_fn=how)
    mean, optimizer = torch.zeros_like(model[0].weight), sgd(model)
    for k in range(3):
        step(model, optimizer)
        average.update_parameters(model)
        w = model[0].weight.detach()
        mean = w if k == 0 else (mean + w) / 2 if ema else mean + (w - mean) / (k + 1)
        if k == 0:
            torch.testing.assert_close(average(x), model(x))  # a copy, and nothing to say
            st.collapse(copy.deepcopy(average))
    for wrapped in (average, average.module):
        with pytest.warns(st.AveragedFactors, match="averaged the factors of 3 models"):
            st.collapse(copy.deepcopy(average) if wrapped is average else wrapped)
    assert not torch.allclose(average.module[0].weight, mean, rtol=1e-5, atol=1e-7)
    st.collapse(model)


@pytest.mark.slow
def test_averages_of_collapsed_copies_are_those_of_the_weights() -> None:
    """What the warning says to do."""
    model = designed()
    plain = copy.deepcopy(model)
    st.collapse(plain)
    average, optimizer, weights = AveragedModel(plain), sgd(model), []
    for _ in range(3):
        step(model, optimizer)
        plain = copy.deepcopy(model)
        st.collapse(plain)
        average.update_parameters(plain)
        weights.append(model[0].weight.detach())
    torch.testing.assert_close(average.module[0].weight.detach(), torch.stack(weights).mean(0))


@pytest.mark.slow
@pytest.mark.skipif(
    not (torch.distributed.is_available() and torch.distributed.is_gloo_available()),
    reason="this PyTorch has no gloo backend",
)
@pytest.mark.filterwarnings("ignore:.*broadcast_buffers:FutureWarning")
def test_wrappers_that_run_on_after_a_collapse(tmp_path: Path) -> None:
    method = f"file://{tmp_path / 'group'}"
    torch.distributed.init_process_group("gloo", init_method=method, rank=0, world_size=1)
    try:
        model, x = designed().append(nn.BatchNorm1d(3)), inputs()
        wrapper = DistributedDataParallel(model)
        with pytest.raises(st.WrappedModel, match=r"by DistributedDataParallel: collapse what it"):
            st.collapse(wrapper)
        st.collapse(model)
        with torch.no_grad():
            wrapper(x)
            wrapper.eval()(x)
        wrapper.train()
        for _ in range(2):
            with pytest.raises(st.WrappedModel, match=r"collapsed: .* Wrap the model again"):
                wrapper(x)
        again = DistributedDataParallel(model)
        for _ in range(2):
            again(x).sum().backward()
        bare = designed()  # where all buffers were the design's, PyTorch has an internal assertion
        wrapper, quiet = (DistributedDataParallel(bare, broadcast_buffers=b) for b in (True, False))
        wrapper(x)
        st.collapse(bare)
        with torch.no_grad(), pytest.raises(st.WrappedModel, match="Wrap the model again"):
            wrapper.eval()(x)
        torch.testing.assert_close(quiet.eval()(x), bare(x))
        sharded = designed()
        torch.distributed.fsdp.fully_shard(sharded)
        with pytest.raises(st.WrappedModel, match=r"'0.weight' are sharded: load its full state"):
            st.collapse(sharded)
    finally:
        torch.distributed.destroy_process_group()
