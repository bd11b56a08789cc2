"""What a wish cannot mean where a layer stands, or as it stores its weight, is warned of."""

import copy
import warnings
from collections.abc import Callable
from typing import Any

import pytest
import torch
import transformers as hf
from torch import Tensor, nn

import symbias as sb
import symbias.torch as st
from tests.torch import networks

NOISE = torch.Generator().manual_seed(0)
IMAGE, ROWS = torch.randn(4, 3, 6, 6, generator=NOISE), torch.randn(6, 5, generator=NOISE)


class Of(nn.Module):
    """A layer, a normalisation, and a forward of both."""

    def __init__(self, forward: Callable[[Any, Tensor], Tensor], norm: Any = None) -> None:
        super().__init__()
        self.layer, self.norm = nn.Linear(5, 4), norm or nn.BatchNorm1d(4)
        self.late, self.do = nn.Linear(4, 4), forward

    def forward(self, x: Tensor) -> Tensor:
        return self.do(self, x)


class Outer(nn.Module):
    """A layer and its normalisation in a container, and a forward that may reach into it."""

    def __init__(self, forward: Callable[[Any, Tensor], Tensor]) -> None:
        super().__init__()
        self.both, self.do = chain(nn.Linear(5, 4), nn.BatchNorm1d(4)), forward

    def forward(self, x: Tensor) -> Tensor:
        return self.do(self, x)


class Frozen(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return x


class FrozenBatchNorm(Frozen):
    pass


class Deep(nn.Module):
    """Blocks in a list, under a forward that cannot be traced."""

    def __init__(self) -> None:
        super().__init__()
        self.blocks = nn.ModuleList([nn.Sequential(nn.Linear(5, 5), nn.LayerNorm(5))])

    def forward(self, x: Tensor) -> Tensor:
        for block in self.blocks:
            x = block(x) if bool(x.sum() < 1e9) else x
        return x


def chain(*modules: nn.Module) -> nn.Sequential:
    return nn.Sequential(*modules)


def conv(bias: bool = True) -> nn.Conv2d:
    return nn.Conv2d(3, 4, 3, bias=bias)


# a model, its weight, an input
CASES: dict[str, tuple[Callable[[], nn.Module], str, Tensor]] = {
    "batch": (lambda: chain(conv(), nn.BatchNorm2d(4)), "0.weight", IMAGE),
    "instance": (lambda: chain(conv(), nn.InstanceNorm2d(4), nn.ReLU()), "0.weight", IMAGE),
    "group": (lambda: chain(conv(False), nn.GroupNorm(2, 4)), "0.weight", IMAGE),
    "layer": (lambda: chain(nn.Linear(5, 4), nn.LayerNorm(4)), "0.weight", ROWS),
    "rms": (lambda: chain(nn.Linear(5, 4), nn.RMSNorm(4, eps=1e-9)), "0.weight", ROWS),
    "transposed": (
        lambda: chain(nn.ConvTranspose2d(3, 4, 2), nn.BatchNorm2d(4)), "0.weight", IMAGE),
    "relu between": (
        lambda: chain(conv(), nn.ReLU(), nn.MaxPool2d(2), nn.BatchNorm2d(4)), "0.weight", IMAGE),
    "nested": (
        lambda: chain(chain(conv(), nn.Identity()), chain(nn.Identity(), nn.BatchNorm2d(4))),
        "0.0.weight", IMAGE),
    "a chain between": (
        lambda: chain(conv(), chain(nn.ReLU(), nn.Identity()), nn.BatchNorm2d(4)),
        "0.weight", IMAGE),
    "function": (
        lambda: Of(lambda m, x: nn.functional.layer_norm(m.layer(x).relu(), (4,))),
        "layer.weight", ROWS),
    "two norms": (
        lambda: Of(lambda m, x: m.norm(m.layer(x)) + nn.functional.normalize(m.layer(x))),
        "layer.weight", ROWS),
    "control flow above": (Deep, "blocks.0.0.weight", ROWS),
    "embedding": (
        lambda: chain(nn.Embedding(7, 4), nn.LayerNorm(4)), "0.weight", torch.arange(7)),
    "linear between": (
        lambda: chain(nn.Linear(5, 4), nn.Linear(4, 4, bias=False), nn.LayerNorm(4)),
        "0.weight", ROWS),
    "in a loop": (lambda: Outer(lambda m, x: m.both[1](m.both[0](x))), "both.0.weight", ROWS),
    # not in front of one, or not alone
    "behind": (lambda: chain(conv(), nn.BatchNorm2d(4), nn.Conv2d(4, 2, 1)), "2.weight", IMAGE),
    "norm itself": (lambda: chain(conv(), nn.BatchNorm2d(4)), "1.weight", IMAGE),
    "gelu between": (lambda: chain(conv(), nn.GELU(), nn.BatchNorm2d(4)), "0.weight", IMAGE),
    "frozen": (lambda: chain(conv(), FrozenBatchNorm()), "0.weight", IMAGE),
    "residual": (lambda: Of(lambda m, x: m.norm(m.layer(x) + x[:, 1:])), "layer.weight", ROWS),
    "two readers": (
        lambda: Of(lambda m, x: m.norm(m.layer(x)) + m.late(m.layer(x))), "layer.weight", ROWS),
    "a reader and the output": (
        lambda: Of(lambda m, x: (y := m.layer(x)) + m.norm(y)), "layer.weight", ROWS),
    "a layer before": (
        lambda: Of(lambda m, x: m.norm(m.late(m.layer(x)).sigmoid())), "layer.weight", ROWS),
    "a bias between": (
        lambda: chain(nn.Linear(5, 4), nn.Linear(4, 4), nn.LayerNorm(4)), "0.weight", ROWS),
    "past its container": (
        lambda: Outer(lambda m, x: m.both(x) + m.both[0](x)), "both.0.weight", ROWS),
    "the weight itself": (
        lambda: Of(lambda m, x: m.norm(m.layer(x)) @ m.layer.weight), "layer.weight", ROWS),
    "the weight of one inside": (
        lambda: Outer(lambda m, x: m.both(x) @ m.both[0].weight), "both.0.weight", ROWS),
    "plain": (networks.mlp, "0.weight", torch.randn(6, 6)),
}  # fmt: skip


def said(call: Callable[[], Any], kind: type[Warning]) -> list[str]:
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        call()
    assert all(w.filename == __file__ for w in caught)  # the line that asked
    return [str(w.message) for w in caught if w.category is kind]


def scale_free(model: nn.Module, name: str, x: Tensor) -> bool:
    """By definition: three times the weight and its bias are the same function."""
    twin = copy.deepcopy(model)
    before = twin(x)
    with torch.no_grad():
        layer = twin.get_submodule(name.removesuffix(".weight"))
        layer.weight.mul_(3)
        if getattr(layer, "bias", None) is not None:
            layer.bias.mul_(3)
    return torch.allclose(twin(x), before, rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize("case", CASES)
def test_warned_where_the_size_is_divided_out(case: str) -> None:
    make, name, x = CASES[case]
    torch.manual_seed(0)
    model = make()
    with torch.no_grad():
        for p in model.parameters():
            p.add_(0.3 * torch.randn_like(p))
    wanted = scale_free(model, name, x)
    assert wanted == (list(CASES).index(case) < list(CASES).index("behind"))
    state, random = copy.deepcopy(vars(model)), torch.get_rng_state()
    penalised = said(lambda: st.penalize(model, name, "l1", 0.1), st.ScaleInvariant)
    assert vars(model).keys() == state.keys()
    assert torch.equal(random, torch.get_rng_state())
    designed = said(lambda: st.apply(copy.deepcopy(model), name, "l1"), st.ScaleInvariant)
    matching = said(lambda: st.apply_matching(copy.deepcopy(model), name, "l1"), st.ScaleInvariant)
    assert [len(penalised), len(designed), len(matching)] == 3 * [int(wanted)]
    if wanted:
        assert f"{name!r} by " in penalised[0]
        assert ("penalize_channels" in penalised[0]) == ("BatchNorm" in penalised[0])


def test_one_warning_for_all_weights_of_a_model() -> None:
    config = hf.ResNetConfig(embedding_size=8, hidden_sizes=[8, 16], depths=[1, 1])
    model = hf.ResNetModel(config)
    call = lambda: st.penalize(model, "*convolution.weight", st.slices(1), 0.1)  # noqa: E731
    (message,) = said(call, st.ScaleInvariant)
    assert "'embedder.embedder.convolution.weight' by " in message
    assert "more)" in message


def test_models_without_any_are_left_in_peace() -> None:
    for make in (networks.mlp, networks.Concatenated, networks.Block):
        model = make()
        call = lambda m=model: st.apply_matching(m, "*.weight", lambda n, w: "l1")  # noqa: E731
        assert said(call, st.ScaleInvariant) == []


def test_a_forward_that_writes_into_its_module_leaves_no_trace() -> None:
    class Noted(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.layer, self.norm = nn.Linear(5, 4), nn.LayerNorm(4)
            self.register_buffer("calls", torch.zeros(()))
            self.last: Any = None
            self.all: list[Any] = []

        def forward(self, x: Tensor) -> Tensor:
            self.last = self.layer(x)
            self.all.append(self.last)
            self.calls += 1
            return self.norm(self.last)

    model = Noted()
    st.penalize(model, "layer.weight", "l1", 0.1)  # and no warning: a loss may read what is kept
    assert model.last is None
    assert model.all == []
    assert float(model.calls) == 0


def test_statistics_that_are_constants_divide_nothing_out() -> None:
    model = chain(conv(), nn.BatchNorm2d(4))
    call = lambda: st.penalize(model, "0.weight", st.slices(0), 0.1)  # noqa: E731
    assert len(said(call, st.ScaleInvariant)) == 1
    model[1].eval()
    assert said(call, st.ScaleInvariant) == []
    model.eval()  # as a loaded model is, before it trains
    assert len(said(call, st.ScaleInvariant)) == 1
    layer = chain(nn.Linear(5, 4), nn.LayerNorm(4).eval())
    call = lambda: st.penalize(layer, "0.weight", "l1", 0.1)  # noqa: E731
    assert len(said(call, st.ScaleInvariant)) == 1


def test_channels_without_scales_are_not_advised() -> None:
    norm = nn.BatchNorm2d(4, affine=False)
    model = chain(conv(), norm)
    (message,) = said(lambda: st.penalize(model, "0.weight", "l1", 0.1), st.ScaleInvariant)
    assert message.endswith("Instead, penalise what reads the normalisation")
    with pytest.raises(st.UnknownParameter):
        st.penalize_channels(model, "*", 0.1)
    norm.weight = nn.Parameter(torch.ones(4))  # a scale and no shift
    with pytest.raises(st.UnknownParameter, match="a scale and a shift"):
        st.penalize_channels(model, "*", 0.1)


def test_report_says_it_of_designs_too() -> None:
    model = chain(conv(), nn.BatchNorm2d(4), nn.Conv2d(4, 2, 1))
    with pytest.warns(st.ScaleInvariant):
        st.apply(model, "0.weight", st.slices(0))
    st.apply(model, "2.weight", st.slices(1))
    first, second = st.report(model, example_input=IMAGE).weights
    assert "divides its size out" in " ".join(first.notes)
    assert second.notes == ()


def gpt2() -> nn.Module:
    return hf.GPT2Model(hf.GPT2Config(n_embd=16, n_layer=1, n_head=2, **networks.TOKENS))


TURNED: dict[str, tuple[Callable[[], nn.Module], str, Any, str | None]] = {
    "inputs": (gpt2, "h.0.mlp.c_fc.weight", st.slices(0), "axis 0 are its inputs, and outputs"),
    "outputs": (gpt2, "h.0.mlp.c_fc.weight", st.slices(1), "along axis 1 are its outputs"),
    "heads": (gpt2, "h.0.attn.c_proj.weight", st.slices(0, 8), "along axis 0 are its inputs"),
    "labels": (
        gpt2, "h.0.attn.c_proj.weight",
        lambda n, w: sb.GroupProduct(tuple(w.shape), axis=1), "along axis 1 are its outputs"),
    "entries": (gpt2, "h.0.mlp.c_fc.weight", "l1", None),
    "nuclear": (gpt2, "h.0.mlp.c_fc.weight", "nuclear", None),
    "embedding": (gpt2, "wte.weight", st.slices(0), None),
    "deconvolution": (
        networks.Concatenated, "up.weight", st.slices(0), "'up.weight' of ConvTranspose2d"),
    "depthwise": (lambda: nn.ConvTranspose2d(8, 8, 3, groups=8), "weight", st.slices(0), None),
    "grouped": (
        lambda: nn.ConvTranspose2d(4, 6, 3, groups=2), "weight", st.slices(0),
        "axis 0 are its inputs, and a slice of axis 1 is one output of each of its groups"),
    "grouped outputs": (
        lambda: nn.ConvTranspose2d(4, 6, 3, groups=2), "weight", st.slices(1),
        "axis 1 are its outputs, one output of each of its groups in a slice"),
    "convolution": (networks.Concatenated, "a.weight", st.slices(0), None),
    "linear": (networks.mlp, "0.weight", st.slices(0), None),
}  # fmt: skip


@pytest.mark.parametrize("case", TURNED)
def test_layers_that_store_their_weight_transposed(case: str) -> None:
    make, name, wish, message = TURNED[case]
    for call in (
        lambda: st.apply(make(), name, wish),
        lambda: st.apply_matching(make(), name, wish),
        lambda: st.penalize(make(), name, wish, 0.1),
    ):
        found = said(call, st.TransposedWeight)
        assert len(found) == (message is not None)
        assert message is None or message in found[0]


def test_the_axes_that_are_named_are_those_of_the_layer() -> None:
    """A zero slice along axis 1 is an output that does not depend on the input."""
    layer = gpt2().h[0].mlp.c_fc
    up = networks.Concatenated().up
    for module, x in ((layer, torch.randn(3, 16)), (up, torch.randn(2, 8, 3, 3))):
        with torch.no_grad():
            module.weight[:, 2] = 0
        y = module(x)
        channel = y[:, 2]
        torch.testing.assert_close(channel, module.bias[2].expand_as(channel))
    grouped = nn.ConvTranspose2d(4, 6, 3, groups=2)
    with torch.no_grad():
        grouped.weight[:, 1] = 0
        y = grouped(torch.randn(1, 4, 5, 5)) - grouped.bias[:, None, None]
    dead = [k for k in range(6) if float(y[:, k].abs().max()) == 0]
    assert dead == [1, 4]  # one of each group
    call = lambda: st.penalize(gpt2(), "h.*.c_*.weight", st.slices(0), 0.1)  # noqa: E731
    (message,) = said(call, st.TransposedWeight)
    assert "and 1 more of Conv1D are stored" in message
