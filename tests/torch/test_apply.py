"""Designs go in without changing the function, and come out as plain weights."""

import numpy as np
import pytest
import torch
from torch import nn

import symbias as sb
import symbias.torch as st
from tests.torch.cases import DESIGNS, SHAPE, Tied, inputs, network, same, values


@pytest.mark.parametrize("name", DESIGNS)
def test_the_function_is_unchanged_and_every_entry_can_move(name: str) -> None:
    net, x = network(), inputs()
    before, keys = net(x), list(net.state_dict())
    with torch.no_grad():
        net[0].weight[:, 2:4] = 0.0  # exact zeros must be alive
        net[0].weight[3] = 0.0
        before = net(x)
    assert st.apply(net, "0.weight", DESIGNS[name], charge=0.3) is net
    torch.testing.assert_close(net(x), before, rtol=1e-6, atol=1e-6)
    st.factor_parameters(net, 0.1)
    optimizer = torch.optim.SGD(net.parameters(), lr=1e-2)
    old = net[0].weight.detach().clone()
    (
        net[0].weight * torch.randn(SHAPE, generator=torch.Generator().manual_seed(2))
    ).sum().backward()
    optimizer.step()
    assert ((net[0].weight - old).abs() > 0).all()
    trained = net(x)
    table = st.collapse(net)
    assert table.touched() == ["0.weight"]
    assert type(net[0]) is nn.Linear
    assert list(net.state_dict()) == keys
    assert isinstance(net[0].weight, nn.Parameter)
    assert net[0].weight.requires_grad
    torch.testing.assert_close(net(x), trained, rtol=0, atol=0)


def test_off_the_balanced_slice() -> None:
    net = network()
    st.apply(net, "0.weight", sb.Hadamard(SHAPE), charge=0.25)
    u, v = net[0].parametrizations.weight.named().values()
    torch.testing.assert_close(u**2 - v**2, torch.full(SHAPE, 0.25), rtol=1e-5, atol=1e-6)


def test_penalties_names_and_functions_of_the_weight() -> None:
    for wish in ("l1", sb.L1(), sb.Hadamard(SHAPE), lambda name, w: sb.Hadamard(tuple(w.shape))):
        net = network()
        st.apply(net, "0.weight", wish)
        assert repr(net[0].parametrizations.weight.factors.design) == f"Hadamard({SHAPE}, depth=2)"


def test_any_parameter_of_any_module() -> None:
    torch.manual_seed(0)
    conv, x = nn.Conv2d(3, 4, 3), torch.randn(2, 3, 6, 6)
    before, keys = conv(x), list(conv.state_dict())
    st.apply(conv, "weight", st.slices(1))
    st.apply(conv, "bias", "l1")
    torch.testing.assert_close(conv(x), before, rtol=1e-6, atol=1e-6)
    st.collapse(conv)
    assert list(conv.state_dict()) == keys
    assert type(conv) is nn.Conv2d


def test_attention_keeps_its_function() -> None:
    torch.manual_seed(0)
    attention, x = nn.MultiheadAttention(8, 2, batch_first=True), torch.randn(2, 5, 8)
    before, _ = attention(x, x, x)
    keys = list(attention.state_dict())
    st.apply(attention, "out_proj.weight", st.slices(1, 4))
    st.apply(attention, "in_proj_weight", "l1")
    after, _ = attention(x, x, x)
    torch.testing.assert_close(after, before, rtol=1e-6, atol=1e-6)
    st.collapse(attention)
    assert list(attention.state_dict()) == keys


def test_matching_says_what_it_did_and_why() -> None:
    net = nn.ModuleDict({"mlp": network(), "norm": nn.LayerNorm(3), "old": nn.Linear(3, 3)})
    st.apply(net, "old.weight", "l1")

    def only_wide(name: str, w: torch.Tensor) -> sb.Parameterization | None:
        return sb.MatrixProduct(*w.shape) if len(w) > 3 or w.ndim == 1 else None

    table = st.apply_matching(net, ["mlp.*.weight", "norm.*"], only_wide)
    rows = {row.name: row for row in table.rows}
    assert table.touched() == ["mlp.0.weight"]
    assert rows["mlp.0.weight"].note == "MatrixProduct(8, 6, 6, depth=2)"
    assert rows["mlp.2.weight"].note == "left alone by the function"
    assert rows["mlp.0.bias"].note == "does not match"
    assert "TypeError" in rows["norm.weight"].note
    assert rows["old.weight"].note == "already designed"
    assert "mlp.0.weight  8x6  yes  MatrixProduct" in " ".join(str(table).split("\n"))


def test_tied_weights_share_factors_and_are_tied_after() -> None:
    model, tokens = Tied(), torch.arange(8)
    before, keys = model(tokens), list(model.state_dict())
    table = st.apply_matching(model, "*.weight", "l1")
    assert {r.name: r.note for r in table.rows}["head.weight"] == "tied to embed.weight"
    torch.testing.assert_close(model(tokens), before, rtol=1e-6, atol=1e-6)
    assert model.embed.parametrizations.weight is model.head.parametrizations.weight
    assert torch.equal(model.embed.weight, model.head.weight)
    (group, _) = st.factor_parameters(model, 0.1)
    assert len(group["params"]) == 4
    st.collapse(model)
    assert model.embed.weight is model.head.weight
    assert list(model.state_dict()) == keys


@pytest.mark.parametrize("name", ["embed.weight", "head.weight"])
def test_tied_weights_are_found_from_either_name(name: str) -> None:
    model = Tied()
    st.apply(model, name, "l1")
    assert model.embed.parametrizations.weight is model.head.parametrizations.weight


@pytest.mark.parametrize(
    ("design", "small", "noun"),
    [
        (sb.Hadamard(SHAPE), lambda w: w.abs() <= 0.1, "entries"),
        (sb.GroupProduct(SHAPE, axis=0), lambda w: w.norm(dim=1, keepdim=True) <= 0.1, "groups"),
        (sb.GroupProduct(SHAPE, axis=1), lambda w: w.norm(dim=0, keepdim=True) <= 0.1, "groups"),
    ],
)
def test_hard_zeros_below_the_threshold(
    design: sb.Parameterization, small: object, noun: str
) -> None:
    net = network()
    with torch.no_grad():
        net[0].weight[2] *= 0.01
        net[0].weight[:, 1] *= 0.01
        net[0].weight[0] = 0
    dead = small(net[0].weight)  # type: ignore[operator]
    expected = torch.where(dead, 0.0, net[0].weight).detach()
    st.apply(net, "0.weight", design)
    (row,) = st.collapse(net, threshold=0.1).rows
    torch.testing.assert_close(net[0].weight.detach(), expected, rtol=1e-6, atol=1e-6)
    assert torch.equal(net[0].weight == 0, expected == 0)
    entries = f"{int((expected == 0).sum())} of 48 entries"
    said = f"{int(dead.sum())} of {dead.numel()} {noun} are zero"
    assert row.note.startswith(said)
    assert entries in row.note


def test_thresholds_act_on_what_the_design_makes_small() -> None:
    u, _, v = np.linalg.svd(np.random.default_rng(0).normal(size=SHAPE), full_matrices=False)
    low_rank = torch.tensor((u * [3, 2, 1, 1e-3, 1e-4, 0]) @ v, dtype=torch.float32)
    steps = torch.tensor([1.0, 1.0005, 1, 3, 3, 3, 3.0005, 3])[:, None].repeat(1, 6)
    for start, design in ((low_rank, "nuclear"), (steps, "series"), (steps, "labels")):
        layer = nn.Linear(6, 8)
        layer.weight = nn.Parameter(start.clone())
        st.apply(layer, "weight", DESIGNS[design])
        st.collapse(layer, threshold=0.01)
        w = layer.weight.detach()
        if design == "nuclear":
            assert int((torch.linalg.svdvals(w) > 1e-5).sum()) == 3
        if design == "series":
            assert int((w[1:] != w[:-1]).sum()) == 6
        torch.testing.assert_close(w, start, rtol=0, atol=5e-3)


def test_parts_and_sums_are_cut_in_their_own_coordinates() -> None:
    mask = np.zeros(SHAPE, bool)
    mask[:4] = True
    parts = sb.Parts(SHAPE, [(mask, sb.GroupProduct((4, 6), axis=0)), (~mask, sb.Hadamard(24))])
    net = network()
    with torch.no_grad():
        net[0].weight[1] *= 1e-3
        net[0].weight[5, 3] = 1e-4
    st.apply(net, "0.weight", parts)
    st.collapse(net, threshold=0.01)
    zero = net[0].weight == 0
    assert zero[1].all()
    assert zero[5, 3]
    assert not zero[0].any()


def test_collapse_of_one_leaves_other_parametrizations() -> None:
    layer = nn.utils.parametrizations.weight_norm(nn.Linear(6, 8), "weight")
    x, keys = inputs(), list(layer.state_dict())
    before = layer(x)
    st.apply(layer, "bias", "l1")
    torch.testing.assert_close(layer(x), before, rtol=1e-6, atol=1e-6)
    st.collapse(layer)
    torch.testing.assert_close(layer(x), before, rtol=1e-6, atol=1e-6)
    assert sorted(layer.state_dict()) == sorted(keys)
    nn.utils.parametrize.remove_parametrizations(layer, "weight")
    assert type(layer) is nn.Linear


def test_frozen_weights_stay_frozen() -> None:
    net = network()
    net[0].weight.requires_grad_(False)
    st.apply(net, "0.weight", "l1")
    assert not any(p.requires_grad for p in net[0].parametrizations.parameters())
    st.collapse(net)
    assert not net[0].weight.requires_grad


def test_applying_and_collapsing_twice_is_the_identity() -> None:
    net = network()
    before = values(net)
    for _ in range(3):
        st.apply(net, "0.weight", "l1")
        st.collapse(net)
    after = values(net)
    assert list(before) == list(after)
    torch.testing.assert_close(after["0.weight"], before["0.weight"], rtol=1e-6, atol=1e-7)
    assert same({"b": before["0.bias"]}, {"b": after["0.bias"]})
