"""What came out when we tried to break it."""

import copy
import gc
import sys
import warnings
from contextlib import contextmanager
from typing import Any

import pytest
import torch
from torch import nn
from torch.utils._python_dispatch import TorchDispatchMode

import symbias as sb
import symbias.torch as st
from symbias.torch import designing, optimizers
from tests.torch.cases import SHAPE, inputs, network, values


def decoupled(net: nn.Module, optimizer: Any) -> list[type]:
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        net(inputs()).square().mean().backward()
    del optimizer
    return [w.category for w in caught]


def test_copies_are_watched_for_decoupled_decay_too() -> None:
    net = network()
    st.apply(net, "0.weight", "l1")
    twin = copy.deepcopy(net)
    assert decoupled(net, torch.optim.SGD(net.parameters(), weight_decay=0.1)) == []
    adamw = torch.optim.AdamW(twin.parameters(), weight_decay=0.1)
    assert decoupled(twin, adamw) == [st.DecoupledDecay]


def test_many_weights_are_looked_at_in_one_sweep(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each sweep of the heap costs tens of milliseconds."""
    net = nn.Sequential(*(nn.Linear(6, 6) for _ in range(20)))
    st.apply_matching(net, "*", "l1")
    calls, original = [], gc.get_referrers
    monkeypatch.setattr(optimizers.gc, "get_referrers", lambda *a: calls.append(1) or original(*a))
    optimizer = torch.optim.SGD(st.factor_parameters(net, 0.1), lr=0.1)
    for _ in range(2):
        net(inputs()).square().mean().backward()
        optimizer.step()
    assert len(calls) <= 2


def test_an_optimizer_that_nobody_can_reach_is_no_obstacle() -> None:
    net = network()
    optimizer: Any = torch.optim.SGD(net.parameters(), lr=0.1)
    optimizer.itself = optimizer  # a cycle, which only the garbage collector ends
    del optimizer
    st.apply(net, "0.weight", "l1")


def test_inference_mode_makes_nothing_that_cannot_train() -> None:
    net = network()
    with torch.inference_mode():
        st.apply(net, "0.weight", "l1")
    net(inputs()).sum().backward()
    assert net[0].parametrizations.weight.original0.grad.abs().sum() > 0
    with torch.inference_mode():
        st.collapse(net)
    net(inputs()).sum().backward()
    assert net[0].weight.grad is not None


def test_subclasses_of_tensors_are_refused() -> None:
    class Quantized(torch.Tensor):
        pass

    layer = nn.Linear(6, 8)
    held = layer.weight = nn.Parameter(layer.weight.detach().as_subclass(Quantized))
    with pytest.raises(st.UnsupportedTensor, match="Quantized"):
        st.apply(layer, "weight", "l1")
    assert layer.weight is held


def test_buffers_are_no_parameters() -> None:
    norm = nn.BatchNorm1d(6)
    with pytest.raises(st.UnknownParameter, match="running_mean"):
        st.apply(norm, "running_mean", "l1")
    st.apply(norm, "weight", "l1")
    norm(inputs()).sum().backward()
    st.collapse(norm)
    assert "running_mean" in dict(norm.named_buffers())


def test_memory_formats_survive() -> None:
    torch.manual_seed(0)
    conv = nn.Conv2d(4, 4, 3).to(memory_format=torch.channels_last)
    st.apply(conv, "weight", st.slices(1))
    st.collapse(conv)
    assert conv.weight.is_contiguous(memory_format=torch.channels_last)


def test_patterns_leave_the_inside_of_other_parametrizations_alone() -> None:
    layer = nn.utils.parametrizations.weight_norm(nn.Linear(6, 8))
    table = st.apply_matching(layer, "*", "l1")
    assert table.touched() == ["bias"]
    notes = {row.name: row.note for row in table.rows}
    assert notes["parametrizations.weight.original1"] == "inside a parametrization"


@pytest.mark.parametrize("threshold", [0.0, 0.05])
def test_a_parametrization_on_top_of_a_design(threshold: float) -> None:
    net = network()
    st.apply(net, "0.weight", "l1")
    nn.utils.parametrize.register_parametrization(net[0], "weight", nn.Tanh(), unsafe=True)
    expected = net[0].weight.detach()
    small = torch.atanh(expected).abs() <= threshold
    st.collapse(net, threshold)
    torch.testing.assert_close(net[0].weight.detach(), torch.where(small, 0.0, expected))
    assert type(net[0]) is nn.Linear


def test_recurrent_layers_see_their_factors() -> None:
    torch.manual_seed(0)
    lstm, x = nn.LSTM(4, 5), torch.randn(3, 2, 4)
    before, _ = lstm(x)
    st.apply(lstm, "weight_hh_l0", "l1")
    torch.testing.assert_close(lstm(x)[0], before, rtol=1e-6, atol=1e-6)
    optimizer = torch.optim.SGD(st.factor_parameters(lstm, 0.1), lr=0.5)
    lstm(x)[0].sum().backward()
    optimizer.step()
    trained, _ = lstm(x)
    assert not torch.allclose(trained, before)
    st.collapse(lstm)
    torch.testing.assert_close(lstm(x)[0], trained, rtol=0, atol=0)


def test_padding_stays_zero() -> None:
    torch.manual_seed(0)
    embedding = nn.Embedding(5, 3, padding_idx=0)
    st.apply(embedding, "weight", st.slices(0))
    optimizer = torch.optim.SGD(st.factor_parameters(embedding, 0.1), lr=0.1)
    for _ in range(3):
        optimizer.zero_grad()
        (embedding(torch.tensor([0, 1, 2])) - 1).square().sum().backward()
        optimizer.step()
    st.collapse(embedding)
    assert not embedding.weight[0].any()


def test_one_module_in_two_places() -> None:
    layer = nn.Linear(6, 6)
    net, x = nn.Sequential(layer, nn.ReLU(), layer), inputs()
    before, keys = net(x), list(net.state_dict())
    st.apply(net, "2.weight", "l1")
    torch.testing.assert_close(net(x), before, rtol=1e-6, atol=1e-6)
    assert len(st.factor_parameters(net, 0.1)[0]["params"]) == 2
    assert len(st.collapse(net).rows) == 1
    assert net[0] is net[2]
    assert list(net.state_dict()) == keys


def test_one_parameter_under_two_names_of_a_module() -> None:
    class Square(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.a = nn.Parameter(torch.ones(3, 3))
            self.b = self.a

    module = Square()
    st.apply(module, "b", "l1")
    assert torch.equal(module.a, module.b)
    st.collapse(module)
    assert module.a is module.b
    assert list(module.state_dict()) == ["a", "b"]


def test_lists_and_dictionaries_of_parameters() -> None:
    module = nn.Module()
    module.list = nn.ParameterList([torch.ones(3), torch.ones(2)])
    module.dict = nn.ParameterDict({"a": torch.ones(3)})
    keys = list(module.state_dict())
    table = st.apply_matching(module, ["list.*", "dict.a"], "l1")
    assert len(table.touched()) == 3
    torch.testing.assert_close(module.list[1] + module.dict["a"][:2], torch.full((2,), 2.0))
    st.collapse(module)
    assert list(module.state_dict()) == keys
    assert len(module.list) == 2


@pytest.mark.parametrize(("dtype", "step"), [(torch.bfloat16, 2**-7), (torch.float16, 2**-9)])
def test_half_precision_factors_are_off_by_rounding(dtype: torch.dtype, step: float) -> None:
    for design in (sb.Hadamard(SHAPE), sb.GroupProduct(SHAPE), sb.MatrixProduct(*SHAPE)):
        net = network().to(dtype)
        weight = net[0].weight.detach().float()
        st.apply(net, "0.weight", design)
        error = (net[0].weight.float() - weight).abs().max()
        assert 0 < error <= 2 * step * weight.abs().max()


def test_loading_by_assignment_and_averaging() -> None:
    net, x = network(), inputs()
    st.apply(net, "0.weight", st.slices(1))
    average = torch.optim.swa_utils.AveragedModel(net)
    average.update_parameters(net)
    torch.testing.assert_close(average(x), net(x), rtol=0, atol=0)
    saved = values(net)
    expected = net(x)
    net.load_state_dict({k: v.clone() for k, v in saved.items()}, assign=True)
    torch.testing.assert_close(net(x), expected, rtol=0, atol=0)
    st.collapse(net)
    torch.testing.assert_close(net(x), expected, rtol=0, atol=0)


def test_plain_checkpoints_are_loaded_before_the_design() -> None:
    net, plain = network(), values(network(seed=3))
    st.apply(net, "0.weight", "l1")
    with pytest.raises(RuntimeError, match=r'Unexpected key\(s\) in state_dict: "0.weight"'):
        net.load_state_dict(plain)


def test_ensembles_by_stacked_state() -> None:
    nets, x = [network(seed) for seed in range(3)], inputs()
    for net in nets:
        st.apply(net, "0.weight", st.slices(0))
    params, buffers = torch.func.stack_module_state(nets)
    base = copy.deepcopy(nets[0]).to("meta")

    def call(p: Any, b: Any) -> torch.Tensor:
        return torch.func.functional_call(base, (p, b), (x,))

    together = torch.vmap(call)(params, buffers)
    for k, net in enumerate(nets):
        torch.testing.assert_close(together[k], net(x), rtol=1e-6, atol=1e-6)


def test_large_layers_are_designed_in_seconds() -> None:
    layer = nn.Linear(1000, 1000)
    st.apply(layer, "weight", "l1")
    assert layer.weight.shape == (1000, 1000)


def test_a_matrix_is_decomposed_once() -> None:
    """At 2,048 x 2,048 a decomposition takes five seconds."""

    class Count(TorchDispatchMode):
        calls = 0

        def __torch_dispatch__(
            self, func: Any, types: Any, args: Any = (), kwargs: Any = None
        ) -> Any:
            self.calls += "svd" in func.overloadpacket.__name__
            return func(*args, **(kwargs or {}))

    layer = nn.Linear(20, 30)
    with Count() as count:
        st.apply(layer, "weight", "nuclear")
    assert count.calls == 1
    new = torch.randn(30, 20)
    layer.weight = new  # and what was kept for the start is not taken again
    torch.testing.assert_close(layer.weight.detach(), new, rtol=1e-5, atol=1e-6)


def test_tiny_weights_of_a_design_with_one_factor_can_move() -> None:
    """They vanish in single precision, in which the check begins."""
    layer = nn.Linear(3, 2).double()
    with torch.no_grad():
        layer.weight.fill_(1e-120)
    st.apply(layer, "weight", sb.Lq(1.5))
    assert bool((layer.weight != 0).all())


@pytest.mark.parametrize("terminal", [True, False])
def test_progress_of_large_weights_is_for_terminals(
    terminal: bool, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    shown, told = [], []

    @contextmanager
    def progress(title: str, total: int | None, *, show: bool = True) -> Any:
        shown.append((title, total, show))
        yield lambda done, note="": told.append((done, note))

    monkeypatch.setattr(designing, "progress", progress)
    monkeypatch.setattr(sys.stderr, "isatty", lambda: terminal)
    for large in (10, 10**6):
        monkeypatch.setattr(designing, "LARGE", large)
        st.apply_matching(network(), "*.weight", "l1")
    assert shown == [("apply", 2, terminal), ("apply", 2, False)]
    assert told[:2] == [(1, "0.weight"), (2, "2.weight")]
    monkeypatch.undo()
    st.apply_matching(network(), "*.weight", "l1")
    assert capsys.readouterr() == ("", "")
