"""What a first user ran into."""

import copy
import io
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

import symbias as sb
import symbias.torch as st
from tests.torch.cases import DESIGNS, SHAPE, Tied, inputs, network, same, values


def designed_network(wish: Any = "l1", seed: int = 0) -> nn.Sequential:
    net = network(seed)
    st.apply(net, "0.weight", wish)
    return net


@pytest.mark.parametrize("size", [0, -1, 1.5, "2", True, None])
def test_sizes_of_slices_are_positive_integers(size: Any) -> None:
    with pytest.raises(ValueError, match="size"):
        st.slices(0, size)
    with pytest.raises(ValueError, match="integer axis"):
        st.slices(0.5)  # type: ignore[arg-type]


def grouped(labels: np.ndarray, weights: Any = None) -> sb.Parameterization:
    return sb.design(sb.GroupLasso(labels, weights), sb.WeightDecay(1.0), shape=SHAPE)


LABELS = np.arange(48).reshape(SHAPE) % 5
CLASHES: dict[str, tuple[Any, Any]] = {
    "penalty": ("l1", "logsum"),
    "groups": (DESIGNS["labels"], grouped(LABELS[::-1])),
    "weights": (DESIGNS["labels"], grouped(LABELS, [1, 2, 3, 4, 5])),
    "axis": (sb.GroupProduct((8, 8)), sb.GroupProduct((8, 8), axis=1)),
}


@pytest.mark.parametrize("clash", CLASHES)
def test_the_state_of_one_design_is_refused_by_another(clash: str) -> None:
    nets = []
    for wish in CLASHES[clash]:
        layer = nn.Linear(8, 8) if clash == "axis" else nn.Linear(6, 8)
        st.apply(layer, "weight", wish)
        nets.append(layer)
    file = io.BytesIO()
    torch.save(nets[0].state_dict(), file)
    file.seek(0)
    state, before = torch.load(file, weights_only=True), values(nets[1])
    message = "parametrizations.weight: saved under .*, loaded into "
    for strict in (True, False):
        with pytest.raises(RuntimeError, match=message):
            nets[1].load_state_dict(state, strict=strict)
    assert torch.equal(
        nets[1].parametrizations.weight.original0, before["parametrizations.weight.original0"]
    )


@pytest.mark.parametrize("name", DESIGNS)
def test_the_state_of_the_same_design_is_loaded(name: str) -> None:
    net, other = designed_network(DESIGNS[name]), designed_network(DESIGNS[name], seed=3)
    file = io.BytesIO()
    torch.save(copy.deepcopy(net).to(torch.bfloat16).float().state_dict(), file)
    file.seek(0)
    state = torch.load(file, weights_only=True)
    assert all(isinstance(v, torch.Tensor) for v in state.values())
    other.load_state_dict(state)
    torch.testing.assert_close(other(inputs()), net(inputs()), rtol=0.1, atol=0.1)
    other.load_state_dict(dict(net.state_dict()))  # without metadata: as PyTorch loads
    assert same(values(other), values(net))


def test_one_other_label_among_many_is_noticed() -> None:
    labels = np.arange(300 * 300).reshape(300, 300) // 9
    layers = []
    for last in (labels[-1, -1], 0):
        labels[-1, -1] = last
        layer = nn.Linear(300, 300)
        st.apply(layer, "weight", sb.GroupProduct((300, 300), groups=labels.copy()))
        layers.append(layer)
    with pytest.raises(RuntimeError, match="with other groups or weights"):
        layers[1].load_state_dict(layers[0].state_dict())


def test_tied_designs_are_saved_and_loaded() -> None:
    models = [Tied(), Tied()]
    for model in models:
        st.apply(model, "embed.weight", st.slices(0))
    models[1].load_state_dict(models[0].state_dict())
    assert same(values(models[1]), values(models[0]))


@pytest.mark.slow
def test_the_inner_model_of_a_wrapper(tmp_path: Path) -> None:
    if not (torch.distributed.is_available() and torch.distributed.is_gloo_available()):
        pytest.skip("this PyTorch has no gloo backend")
    method = f"file://{tmp_path}/store"
    torch.distributed.init_process_group("gloo", init_method=method, rank=0, world_size=1)
    try:
        net = network()
        wrapper: Any = nn.parallel.DistributedDataParallel(net)
        for call in (st.apply, st.apply_matching):
            with pytest.raises(st.WrappedModel, match="DistributedDataParallel holds Sequential"):
                call(wrapper.module, "0.weight", "l1")
        with pytest.raises(st.WrappedModel, match="holds Linear"):
            st.apply(net[0], "weight", "l1")
        st.apply(network(), "0.weight", "l1")  # another model is free
        del wrapper
        st.apply(net, "0.weight", "l1")
        wrapper = nn.parallel.DistributedDataParallel(net)
        wrapper(inputs()).sum().backward()
        wrapper.load_state_dict(wrapper.state_dict())
    finally:
        torch.distributed.destroy_process_group()


@pytest.mark.parametrize("wish", ["group", sb.GroupLasso(), sb.GroupLasso(1)])
def test_groups_of_one_entry_are_no_groups(wish: Any) -> None:
    with pytest.raises(ValueError, match=r"symbias.torch.slices\(0\)"):
        st.apply(network(), "0.weight", wish)
    st.apply(network(), "0.weight", sb.GroupLasso(6))


def test_total_variation_of_a_convolution_names_its_axis() -> None:
    conv = nn.Conv2d(2, 3, 2)
    for wish in ("tv", sb.TotalVariation(axis=1), sb.TotalVariation(axis=-1)):
        with pytest.raises(ValueError, match="'weight' has 4 axes: total variation is along"):
            st.apply(conv, "weight", wish)
    st.apply(conv, "weight", sb.TotalVariation(axis=0))


def test_eight_bits_are_too_few() -> None:
    with pytest.raises(st.UnsupportedTensor, match="float8"):
        st.apply(network(), "0.weight", "l1", factor_dtype=torch.float8_e4m3fn)
    with pytest.raises(st.UnsupportedTensor, match="float8"):
        st.apply(network().to(torch.float8_e5m2), "0.weight", "l1")


def test_charges_that_the_factors_cannot_hold() -> None:
    for charge, dtype in ((1e-300, torch.float32), (1e-9, torch.float16)):
        with pytest.raises(ValueError, match="underflows in factors of"):
            st.apply(network(), "0.weight", "l1", charge=charge, factor_dtype=dtype)
    with pytest.raises(ValueError, match=r"at charge .* overflow in"):
        st.apply(network(), "0.weight", "l1", charge=1e12, factor_dtype=torch.float16)
    st.apply(network(), "0.weight", "l1", charge=1e-300, factor_dtype=torch.float64)


def test_lazy_neighbours_are_no_obstacle() -> None:
    net = nn.Sequential(nn.Linear(6, 8), nn.LazyLinear(3))
    table = st.apply_matching(net, "0.weight", "l1")
    assert table.touched() == ["0.weight"]
    assert [row.shape for row in table.rows] == [(8, 6), (8,), (), ()]
    assert net(inputs()).shape == (5, 3)


def test_factors_are_not_designed_again() -> None:
    net = designed_network()
    for name in ("0.weight", "0.parametrizations.weight.original0"):
        with pytest.raises(st.AlreadyDesigned, match=name):
            st.apply(net, name, "l1")
    normed = nn.utils.parametrizations.weight_norm(nn.Linear(6, 8))
    with pytest.raises(st.AlreadyDesigned, match="remove_parametrizations"):
        st.apply(normed, "weight", "l1")
    with pytest.raises(st.AlreadyDesigned, match="part of a parametrization"):
        st.apply(normed, "parametrizations.weight.original1", "l1")


@pytest.mark.parametrize("wish", ["tv", "spectral", "trend", "lq", "logsum", "group", "nuclear"])
def test_a_single_number_has_no_axis(wish: str) -> None:
    module = nn.Module()
    module.scale = nn.Parameter(torch.tensor(1.5))
    with pytest.raises(st.ShapeMismatch, match="'scale' is a single number"):
        st.apply(module, "scale", wish)
    st.apply(module, "scale", "l1")
    torch.testing.assert_close(module.scale, torch.tensor(1.5))


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_what_is_not_a_model() -> None:
    for model in (None, [network()], {"a": network()}):
        for call in (st.apply, st.apply_matching):
            with pytest.raises(TypeError, match=r"expected a torch.nn.Module, got \w+"):
                call(model, "0.weight", "l1")  # type: ignore[arg-type]
    scripted = torch.jit.script(nn.Linear(6, 8))
    for model, name in ((scripted, "weight"), (nn.Sequential(scripted), "0.weight")):
        with pytest.raises(TypeError, match=f"'{name}' is in a ScriptModule"):
            st.apply(model, name, "l1")


def test_no_pattern_at_all() -> None:
    with pytest.raises(ValueError, match="no pattern"):
        st.apply_matching(network(), [], "l1")


@pytest.mark.parametrize("kind", [nn.Embedding, nn.EmbeddingBag])
def test_sparse_gradients_do_not_reach_factors(kind: Any) -> None:
    with pytest.raises(st.UnsupportedTensor, match="sparse=False"):
        st.apply(kind(5, 3, sparse=True), "weight", "l1")


def test_a_recurrent_layer_is_copied_after_its_forward_pass() -> None:
    torch.manual_seed(0)
    lstm, x = nn.LSTM(4, 5), torch.randn(3, 2, 4)
    st.apply(lstm, "weight_hh_l0", "l1")
    out, _ = lstm(x)
    twin = copy.deepcopy(lstm)
    torch.testing.assert_close(twin(x)[0], out, rtol=0, atol=0)
    optimizer = torch.optim.SGD(st.factor_parameters(twin, 0.1), lr=0.5)
    twin(x)[0].sum().backward()
    optimizer.step()
    trained, _ = twin(x)
    assert not torch.allclose(trained, out)
    torch.testing.assert_close(lstm(x)[0], out, rtol=0, atol=0)
    st.collapse(twin)
    torch.testing.assert_close(twin(x)[0], trained, rtol=0, atol=0)


def test_assigning_a_parameter_is_assigning_its_values() -> None:
    net, new = designed_network(), torch.randn(SHAPE)
    keys = list(net.state_dict())
    net[0].weight = nn.Parameter(new)
    torch.testing.assert_close(net[0].weight.detach(), new, rtol=1e-6, atol=1e-7)
    net[0].bias = nn.Parameter(torch.ones(8))
    net[0].extra = nn.Parameter(torch.ones(2))
    assert torch.equal(net[0].bias, torch.ones(8))
    assert sorted(net.state_dict()) == sorted([*keys, "0.extra"])
    with pytest.raises(ValueError, match="shape"):
        net[0].weight = nn.Parameter(new[:2])
