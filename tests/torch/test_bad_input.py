"""Named errors, before anything is changed."""

import re
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn.utils import prune

import symbias as sb
import symbias.torch as st
from tests.torch.cases import SHAPE, Tied, inputs, network, same, values


def is_unchanged(net: nn.Module, before: dict[str, torch.Tensor]) -> bool:
    plain = all("Parametrized" not in type(m).__name__ for m in net.modules())
    return plain and same(values(net), before)


def broken(weight: torch.Tensor) -> nn.Sequential:
    net = network()
    del net[0].weight
    net[0].weight = nn.Parameter(weight, requires_grad=weight.dtype.is_floating_point)
    return net


BAD: dict[str, tuple[Any, Any, type[Exception], str]] = {
    "name": ("0.wieght", "l1", st.UnknownParameter, r"no parameter '0.wieght'.*'0.weight'"),
    "path": ("encoder.weight", "l1", st.UnknownParameter, "nearest"),
    "module": ("0", "l1", st.UnknownParameter, "nearest"),
    "shape": ("0.weight", sb.Hadamard((6, 8)), st.ShapeMismatch, r"\(8, 6\), its design \(6, 8\)"),
    "slices": ("0.weight", st.slices(0, 3), st.ShapeMismatch, "no slices of 3 along axis 0"),
    "axis": ("0.weight", st.slices(2), st.ShapeMismatch, "along axis 2"),
    "design": ("0.weight", 3.0, TypeError, "expected a design or a penalty"),
    "penalty": ("0.weight", "sparse", ValueError, "unknown penalty"),
    "matrix": ("0.bias", "nuclear", ValueError, "a penalty on matrices"),
    "rank": ("0.weight", sb.MatrixProduct(8, 6, 2), ValueError, "rank above 2"),
    "nothing": ("0.weight", lambda name, w: None, TypeError, "gave no design for '0.weight'"),
    "kind": (0, "l1", TypeError, "the name of a parameter is a str, got int"),
    "range": ("0.weight", sb.Radial(SHAPE, 2), st.Unreachable, "cannot represent"),
}


@pytest.mark.parametrize("case", BAD)
def test_a_bad_request_leaves_the_model_as_it_was(case: str) -> None:
    name, design, kind, message = BAD[case]
    net = network()
    before = values(net)
    with pytest.raises(kind, match=message):
        st.apply(net, name, design)
    assert is_unchanged(net, before)


WEIGHTS = {
    "integer": (torch.ones(SHAPE, dtype=torch.int64), "int64"),
    "complex": (torch.ones(SHAPE, dtype=torch.complex64), "complex64"),
    "sparse": (torch.eye(8)[:, :6].to_sparse(), "sparse"),
    "nan": (torch.full(SHAPE, np.nan), "not finite"),
    "meta": (torch.empty(SHAPE, device="meta"), "no values yet"),
}


@pytest.mark.parametrize("kind", WEIGHTS)
def test_tensors_that_cannot_be_designed(kind: str) -> None:
    weight, message = WEIGHTS[kind]
    net = broken(weight)
    held = net[0].weight
    with pytest.raises(st.UnsupportedTensor, match=message):
        st.apply(net, "0.weight", "l1")
    assert net[0].weight is held
    assert type(net[0]) is nn.Linear


def test_lazy_modules_have_no_values_yet() -> None:
    with pytest.raises(st.UnsupportedTensor, match="no values yet"):
        st.apply(nn.LazyLinear(3), "weight", "l1")


@pytest.mark.parametrize("charge", [0.0, -1.0, float("nan"), float("inf")])
def test_charges_must_be_positive(charge: float) -> None:
    net = network()
    before = values(net)
    with pytest.raises(ValueError, match="charge"):
        st.apply(net, "0.weight", "l1", charge=charge)
    assert is_unchanged(net, before)


def test_designed_already_by_anyone() -> None:
    net = network()
    st.apply(net, "0.weight", "l1")
    nn.utils.parametrizations.spectral_norm(net[2], "weight")
    before = values(net)
    for name in ("0.weight", "2.weight"):
        with pytest.raises(st.AlreadyDesigned, match=re.escape(repr(name))):
            st.apply(net, name, "l1")
    assert same(values(net), before)


def test_zeros_that_a_design_with_one_factor_cannot_leave() -> None:
    net = network()
    with torch.no_grad():
        net[0].weight[1] = 0
    with pytest.raises(st.Unreachable, match=r"6 entries of '0.weight' could never move"):
        st.apply(net, "0.weight", sb.Lq(1.5))


def test_an_optimizer_that_holds_the_old_weight() -> None:
    net = network()
    before = values(net)
    optimizer = torch.optim.SGD(net.parameters(), lr=0.1)
    for call in (st.apply, st.apply_matching):
        with pytest.raises(st.StaleOptimizer, match=r"SGD holds the weight '0.weight'"):
            call(net, "0.weight", "l1")
    assert is_unchanged(net, before)
    del optimizer
    st.apply(net, "0.weight", "l1")


def test_an_optimizer_built_from_a_list_kept_from_before() -> None:
    net = network()
    kept = list(net.parameters())
    st.apply(net, "0.weight", "l1")
    optimizer = torch.optim.Adam(kept)
    with pytest.raises(st.StaleOptimizer, match=r"Adam holds the weight '0.weight'"):
        st.factor_parameters(net, 0.1)
    del optimizer
    assert st.factor_parameters(net, 0.1)


def test_patterns_that_match_nothing_or_nothing_that_fits() -> None:
    net = network()
    before = values(net)
    with pytest.raises(st.UnknownParameter, match=r"'\*.mlp.\*'.*nearest"):
        st.apply_matching(net, ["0.weight", "*.mlp.*"], "l1")
    with pytest.raises(st.Unreachable, match=r"nothing was designed: Refused.*matrices"):
        st.apply_matching(net, "*.bias", "nuclear")
    assert is_unchanged(net, before)


def test_models_that_are_wrapped_already() -> None:
    class DistributedDataParallel(nn.Module):
        def __init__(self, module: nn.Module) -> None:
            super().__init__()
            self.module = module

    with pytest.raises(st.WrappedModel, match="DistributedDataParallel"):
        st.apply(DistributedDataParallel(network()), "module.0.weight", "l1")
    net = st.apply(network(), "0.weight", "l1")
    with pytest.raises(st.WrappedModel, match=r"collapse what it wraps, its \.module"):
        st.collapse(DistributedDataParallel(net))
    assert st.collapse(DistributedDataParallel(net).module).touched() == ["0.weight"]


def test_shards_are_not_collapsed(tmp_path: Path) -> None:
    """FSDP1: from its full state dict, into a model of the same design."""
    from torch.distributed.fsdp import FullStateDictConfig, StateDictType
    from torch.distributed.fsdp import FullyShardedDataParallel as FSDP

    method = f"file://{tmp_path / 'group'}"
    torch.distributed.init_process_group("gloo", init_method=method, rank=0, world_size=1)
    try:
        net = st.apply(network(), "0.weight", "l1")
        weight = net[0].weight.detach().clone()
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of a single process, and of what is to come
            model: Any = FSDP(net, device_id=torch.device("cpu"))
            with pytest.raises(st.WrappedModel, match="load its full state dict"):
                st.collapse(model)
            with FSDP.state_dict_type(model, StateDictType.FULL_STATE_DICT, FullStateDictConfig()):
                state = model.state_dict()
    finally:
        torch.distributed.destroy_process_group()
    twin = st.apply(network(), "0.weight", "l1")
    twin.load_state_dict(state)
    st.collapse(twin)
    torch.testing.assert_close(twin[0].weight.detach(), weight, rtol=1e-6, atol=1e-7)
    half = st.apply(network(), "0.weight", "l1")
    original = half[0].parametrizations.weight.original0
    original.data = original.data.flatten()[::2].clone()  # what another process would hold
    with pytest.raises(st.WrappedModel, match=r"factors of '0.weight' are sharded: load"):
        st.collapse(half)


@pytest.mark.parametrize("value", [-1.0, float("nan"), float("inf")])
def test_strengths_and_thresholds(value: float) -> None:
    net = network()
    st.apply(net, "0.weight", "l1")
    for call in (st.factor_parameters, st.factor_penalty, st.collapse):
        with pytest.raises(ValueError, match="finite and at least 0"):
            call(net, value)
    with pytest.raises(ValueError, match="finite and at least 0"):
        st.factor_penalty(net, 1.0, scale={"*": value})
    with pytest.raises(ValueError, match="others must be finite and at least 0"):
        st.factor_parameters(net, 1.0, others=value)
    assert net[0](inputs()).shape == (5, 8)


def test_kinds_of_arguments() -> None:
    net = network()
    before = values(net)
    with pytest.raises(TypeError, match=r"expected a torch.nn.Module, got str"):
        st.apply("net", "0.weight", "l1")  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="charge must be a number, got str"):
        st.apply(net, "0.weight", "l1", charge="0.1")  # type: ignore[arg-type]
    with pytest.raises(TypeError, match=r"factor_dtype must be a torch.dtype, got 'float32'"):
        st.apply(net, "0.weight", "l1", factor_dtype="float32")  # type: ignore[arg-type]
    assert is_unchanged(net, before)
    st.apply(net, "0.weight", "l1")
    for call in (st.factor_parameters, st.factor_penalty, st.collapse):
        with pytest.raises(TypeError, match="must be a number, got NoneType"):
            call(net, None)  # type: ignore[arg-type]


def test_models_without_designs() -> None:
    for call in (st.factor_parameters, st.factor_penalty, st.collapse):
        with pytest.raises(ValueError, match="design"):
            call(network(), 0.1)
    with pytest.raises(ValueError, match="decay_scale"):
        st.DecaySchedule(torch.optim.SGD(network().parameters(), lr=0.1), lambda step: 0.1)


def test_scales_that_match_nothing() -> None:
    model = Tied()
    st.apply(model, "mix.weight", "l1")
    with pytest.raises(st.UnknownParameter, match="'head'"):
        st.factor_parameters(model, 0.1, scale={"head": 2.0})


PRUNINGS: list[Any] = [
    lambda layer: prune.l1_unstructured(layer, "weight", 0.5),
    lambda layer: prune.ln_structured(layer, "weight", 0.5, 2, 0),
    lambda layer: prune.global_unstructured([(layer, "weight")], prune.L1Unstructured, amount=0.5),
]


@pytest.mark.parametrize("pruned", PRUNINGS)
def test_pruning_of_a_designed_weight(pruned: Any) -> None:
    net = network()
    st.apply(net, "0.weight", "l1")
    before, keys, x = values(net), set(vars(net[0])), inputs()
    with pytest.raises(st.AlreadyDesigned, match=r"'weight' of Linear is designed.*collapse it"):
        pruned(net[0])
    assert same(values(net), before)
    assert set(vars(net[0])) == keys
    assert not net[0]._forward_pre_hooks
    prune.l1_unstructured(net[0], "bias", 0.5)
    assert int((net[0].bias == 0).sum()) == 4
    net(x).sum().backward()
    st.collapse(net)
    pruned(net[0])
    prune.remove(net[0], "weight")
    assert int((net[0].weight == 0).sum()) == 24


NORMS: dict[str, Any] = {
    "weight_norm": nn.utils.parametrizations.weight_norm,
    "orthogonal": nn.utils.parametrizations.orthogonal,
    "old weight_norm": nn.utils.weight_norm,
    "old spectral_norm": nn.utils.spectral_norm,
    "two_tensors": lambda layer: nn.utils.parametrize.register_parametrization(
        layer, "weight", TwoTensors(), unsafe=True
    ),
}


class TwoTensors(nn.Module):
    def forward(self, weight: torch.Tensor) -> Any:
        return weight, weight


@pytest.mark.filterwarnings("ignore:.*weight_norm:FutureWarning")
@pytest.mark.parametrize("kind", NORMS)
def test_norms_of_a_designed_weight(kind: str) -> None:
    net, x = network(), inputs()
    st.apply(net, "0.weight", "l1")
    before, keys, out = values(net), set(vars(net[0])), net(x)
    said = rf"'weight' of Linear is designed: {kind.removeprefix('old ')} would re-parametrize"
    with pytest.raises(st.AlreadyDesigned, match=said):
        NORMS[kind](net[0])
    assert same(values(net), before)
    assert set(vars(net[0])) == keys
    assert not net[0]._forward_pre_hooks
    assert torch.equal(net(x), out)
    st.collapse(net)
    if kind != "two_tensors":
        NORMS[kind](net[0])  # as it says
    net(x).sum().backward()


def test_a_spectral_norm_on_top_of_a_design() -> None:
    net = network()
    st.apply(net, "0.weight", "l1")
    nn.utils.parametrizations.spectral_norm(net[0])
    norm = torch.linalg.matrix_norm(net.eval()[0].weight, 2)
    torch.testing.assert_close(norm, torch.ones(()), rtol=1e-2, atol=0)
    net(inputs()).sum().backward()
    st.collapse(net)
    assert type(net[0]) is nn.Linear


TAKEN: dict[str, tuple[Any, Any]] = {
    "is pruned by a mask; .*prune.remove": (
        lambda layer: prune.l1_unstructured(layer, "weight", 0.5), prune.remove),
    "has a weight_norm; .*remove_weight_norm": (
        nn.utils.weight_norm, nn.utils.remove_weight_norm),
    "has a spectral_norm; .*remove_spectral_norm": (
        nn.utils.spectral_norm, nn.utils.remove_spectral_norm),
    "has another parametrization; .*remove_parametrizations": (
        nn.utils.parametrizations.weight_norm, nn.utils.parametrize.remove_parametrizations),
}  # fmt: skip


@pytest.mark.filterwarnings("ignore:.*weight_norm:FutureWarning")
@pytest.mark.parametrize("said", TAKEN)
@pytest.mark.parametrize("name", ["0.weight", "0.w*t"])
def test_a_wish_for_what_is_parametrized_by_pytorch(said: str, name: str) -> None:
    wrap, unwrap = TAKEN[said]
    asked = [
        lambda net: st.apply_matching(net, name, "l1"),
        lambda net: st.penalize(net, name, "l1", 0.1),
    ] + [lambda net: st.apply(net, name, "l1")] * ("*" not in name)
    for call in asked:
        net = network()
        wrap(net[0])
        with pytest.raises(st.AlreadyDesigned, match=f"'0.weight' {said}"):
            call(net)
        unwrap(net[0], "weight")
        call(net)


def test_a_design_of_what_has_a_penalty() -> None:
    net = nn.Sequential(nn.Linear(6, 8), nn.GELU(), nn.BatchNorm1d(8))
    st.penalize(net, "0.bias", "l1", 0.1)
    st.penalize_channels(net, "*", 0.1)
    for name, verb in (("0.bias", "penalize"), ("2.weight", "_channels"), ("2.bias", "_channels")):
        with pytest.raises(ValueError, match=f"'{name}' has a penalty; give .*{verb} a strength"):
            st.apply(net, name, "l1")
    table = st.apply_matching(net, "0.*", "l1")
    assert table.touched() == ["0.weight"]
    assert "has a penalty" in str(table)
    st.collapse(net)
    st.ProximalStep(torch.optim.SGD(net.parameters(), 0.1))  # holds them as before
    st.penalize(net, "0.bias", "l1", 0)
    st.penalize_channels(net, "*", 0)
    st.apply_matching(net, "*", "l1")


def test_a_design_under_the_mask_of_pruning() -> None:
    """The name that PyTorch gives to what trains, with the mask on top."""
    net = network()
    prune.l1_unstructured(net[0], "weight", 0.5)
    before, x = net(inputs()), inputs()
    st.apply(net, "0.weight_orig", "l1")
    torch.testing.assert_close(net(x), before, rtol=1e-6, atol=1e-6)
    st.collapse(net)
    prune.remove(net[0], "weight")
    assert int((net[0].weight == 0).sum()) == 24
