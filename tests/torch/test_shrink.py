"""Dead units are removed for real, and the outputs stay."""

import copy
import warnings
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

import symbias as sb
import symbias.torch as st
from symbias.torch.removal.compare import compare
from symbias.torch.removal.cutting import places_of
from symbias.torch.removal.plan import Unit, units_of
from symbias.torch.removal.tracing import follow
from tests.torch.networks import IMAGE, NETWORKS, ROWS, network, outputs


def units(model: nn.Module, example: Any) -> list[Unit]:
    keywords = example if isinstance(example, dict) else {}
    run, _ = follow(model, () if keywords else (example,), keywords)
    found = units_of(run, list({id(t): t for _, _, t in places_of(model)}.values()))
    return [unit for unit in found if unit.reason is None]


@torch.no_grad()
def kill(unit: Unit, by_readers: bool) -> None:
    """Zeros in what reads a unit, or in what makes it."""
    readers = {id(r.weight.origin) for r, _ in unit.readings}
    if by_readers:
        for reading, at in unit.readings:
            reading.weight.tensor.index_fill_(reading.axis, torch.from_numpy(at), 0.0)
    else:
        for tensor, axis, at in unit.places:
            if id(tensor) not in readers:
                tensor.index_fill_(axis, torch.from_numpy(at), 0.0)


LONG = ("mobilenet", "whisper", "convnext", "vit")
CASES = [pytest.param(n, marks=[pytest.mark.slow] * (n in LONG)) for n in NETWORKS]


@pytest.mark.parametrize("by_readers", [True, False])
@pytest.mark.parametrize("fraction", [0.0, 0.3, 0.9])
@pytest.mark.parametrize("name", CASES)
def test_outputs_stay_whatever_is_dead(name: str, fraction: float, by_readers: bool) -> None:
    model, example = network(name)
    rng = np.random.default_rng(0)
    found = units(model, example)
    assert found
    dead = [unit for unit in found if rng.random() < fraction]
    for unit in dead:
        kill(unit, by_readers)
    before = outputs(model, example)
    size = sum(p.numel() for p in model.parameters())
    done = st.shrink(model, example, low_rank=False)
    after = outputs(model, example)
    assert len(before) == len(after)
    for a, b in zip(before, after, strict=True):
        np.testing.assert_allclose(b, a, atol=1e-5 * float(a.abs().max()))
    assert done.before.parameters == size
    assert done.after.parameters == sum(p.numel() for p in model.parameters())
    assert (done.after.parameters < size) == bool(dead)
    assert "without it" not in str(done.left)  # the plan was right at once
    left = len(units(model, example))  # of a head that is alone, the dimensions are none
    assert len(found) - len(dead) - 2 <= left <= len(found) - len(dead) + len(found) / 10 + 8
    if fraction == 0:
        assert done.table.rows == []
    else:
        assert done.after.multiply_adds < done.before.multiply_adds


def test_living_units_stay() -> None:
    """What is alive in one weight only is alive."""
    model, example = network("mlp")
    with torch.no_grad():
        model[2].weight[:, 3] = 0
        model[2].weight[5, 3] = 1e-30
        model[2].weight[:, 4] = 0
    st.shrink(model, example)
    assert model[0].out_features == 19


def test_a_constant_goes_into_the_bias_of_its_reader() -> None:
    model, example = network("mlp")
    with torch.no_grad():
        model[0].weight[:5] = 0
        model[0].bias[:5] = torch.tensor([0.3, -0.2, 1.0, 2.0, 0.1])
    before, bias = outputs(model, example)[0], model[2].bias.clone()
    st.shrink(model, example)
    assert model[0].out_features == 15
    assert not torch.equal(model[2].bias, bias)
    torch.testing.assert_close(outputs(model, example)[0], before, rtol=1e-5, atol=1e-6)


def test_a_reader_without_a_bias_gets_one() -> None:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(6, 8), nn.ReLU(), nn.Linear(8, 3, bias=False))
    with torch.no_grad():
        model[0].weight[2] = 0
        model[0].bias[2] = 0.7
    before = outputs(model, ROWS)[0]
    done = st.shrink(model, ROWS)
    assert "new: the constants of what is gone" in str(done)
    assert model[2].bias is not None
    torch.testing.assert_close(outputs(model, ROWS)[0], before)


@pytest.mark.parametrize("padding", [0, 1])
def test_a_constant_before_padding_is_not_one(padding: int) -> None:
    """A channel of ones with zeros around it is an image: it stays, and is named."""
    torch.manual_seed(0)
    model = nn.Sequential(nn.Conv2d(3, 5, 3), nn.ReLU(), nn.Conv2d(5, 2, 3, padding=padding))
    with torch.no_grad():
        model[0].weight[1] = 0
        model[0].bias[1] = 0.5
    before = outputs(model, IMAGE)[0]
    st.shrink(model, IMAGE)
    assert model[0].out_channels == (5 if padding else 4)
    torch.testing.assert_close(outputs(model, IMAGE)[0], before)


def test_a_zero_scale_with_a_shift_is_a_constant() -> None:
    """A BatchNorm's shift passes the ReLU: dropping the channel alone would move the outputs."""
    model, example = network("convolutions")
    with torch.no_grad():
        model[4].weight[:6] = 0  # read by a linear layer: folded
        model[1].weight[:3] = 0  # read by a convolution without padding
        model[1].bias[:3] = 1.0
    before = outputs(model, example)[0]
    st.shrink(model, example)
    assert (model[0].out_channels, model[3].out_channels) == (5, 6)
    assert (model[1].num_features, model[4].num_features, model[8].in_features) == (5, 6, 6 * 49)
    torch.testing.assert_close(outputs(model, example)[0], before, rtol=1e-4, atol=1e-5)


def test_what_cannot_go_is_named() -> None:
    model, example = network("attention by hand")
    with torch.no_grad():
        model.q.weight[:, 3] = model.k.weight[:, 3] = model.v.weight[:, 3] = 0
        model.up.weight[:, 3] = model.gate.weight[:, 3] = 0
    done = st.shrink(model, example)
    assert "1 of 16 along axis 1" in str(done.left)
    assert "left, though nothing depends on it" in str(done)
    model, example = network("mlp")
    with torch.no_grad():
        model[0].weight[:, :2] = 0
        model[2].weight[:] = 0
    done = st.shrink(model, example)
    assert "2 of 6 along axis 1: read from an input of the model" in str(done.left)
    assert "the last of its layer" in str(done.left)
    assert model[0].out_features == 1


def test_an_operation_without_a_rule_is_left() -> None:
    class Sorted(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.a, self.b = nn.Linear(6, 8), nn.Linear(8, 2)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return self.b(self.a(x).sort(dim=-1).values)

    model = Sorted()
    with torch.no_grad():
        model.b.weight[:, 2] = 0
        model.a.weight[4] = 0
    st.shrink(model, ROWS)
    assert model.a.out_features == 8


@pytest.mark.parametrize("dtype", [torch.float64, torch.bfloat16])
def test_low_rank_layers_become_two(dtype: torch.dtype) -> None:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(60, 40), nn.ReLU(), nn.Linear(40, 50)).double()
    with torch.no_grad():
        a, b = torch.randn(40, 4).double(), torch.randn(4, 60).double()
        model[0].weight.copy_(a @ b / 8)
    if dtype == torch.bfloat16:
        model = model.to(dtype)
        assert st.shrink(model, torch.randn(3, 60).to(dtype)).after.parameters <= 4490
        return
    x = torch.randn(3, 60).double()
    before = model(x)
    done = st.shrink(model, x)
    assert [type(layer) for layer in model] == [nn.Sequential, nn.ReLU, nn.Linear]
    assert done.after.parameters == 40 * 4 + 4 * 60 + 40 + 50 * 41
    assert "0 has rank 4" in str(done)
    torch.testing.assert_close(model(x), before)
    assert st.shrink(copy.deepcopy(model), x, low_rank=False).table.rows == []


def test_the_configuration_follows_where_it_can(tmp_path: Any) -> None:
    model, example = network("llama")
    with torch.no_grad():
        for layer in model.model.layers:
            layer.mlp.down_proj.weight[:, :10] = 0
    done = st.shrink(model, example)
    assert done.config_fits is True
    assert model.config.intermediate_size == 30
    model.save_pretrained(tmp_path)
    again = type(model).from_pretrained(tmp_path).eval()
    torch.testing.assert_close(again(**example).logits, model(**example).logits)
    with torch.no_grad():
        model.model.layers[0].mlp.down_proj.weight[:, :4] = 0
    done = st.shrink(model, example)
    assert done.config_fits is False
    assert "save it whole (torch.save)" in str(done)
    assert st.shrink(network("mlp")[0], ROWS).config_fits is None


def test_what_is_no_plain_model_is_refused() -> None:
    model = nn.Sequential(nn.Linear(6, 4), nn.ReLU(), nn.Linear(4, 2))
    st.apply(model, "2.weight", st.slices(1))
    with pytest.raises(ValueError, match=r"'2.weight' is designed: collapse the model first"):
        st.shrink(model, ROWS)
    st.collapse(model)
    st.shrink(model, ROWS)
    nn.utils.parametrizations.weight_norm(model[0])
    with pytest.raises(ValueError, match="0 is parametrized: take that off first"):
        st.shrink(model, ROWS)
    nn.utils.parametrize.remove_parametrizations(model[0], "weight")
    st.shrink(model, ROWS)


def test_what_a_model_would_not_run_without_is_left_as_it_was() -> None:
    class Stubborn(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.a, self.b = nn.Linear(6, 8), nn.Linear(8, 2)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            y = self.a(x)
            if y.shape[-1] != 8:
                raise RuntimeError("eight, please")
            return self.b(y)

    model = Stubborn()
    with torch.no_grad():
        model.b.weight[:, 2] = 0
    before = copy.deepcopy(model.state_dict())
    done = st.shrink(model, ROWS)
    assert "1 of 8 along axis 0: without it RuntimeError: eight, please" in str(done.left)
    assert model.a.out_features == 8
    for name, tensor in model.state_dict().items():
        assert torch.equal(tensor, before[name])


def test_training_goes_on_in_the_mode_it_was_in() -> None:
    model, example = network("convolutions")
    model.train()
    model[4].eval()
    with torch.no_grad():
        model[8].weight[:, :49] = 0
        model[3].weight[0] = 0
    st.shrink(model, example)
    assert [model[k].training for k in (0, 4, 8)] == [True, False, True]
    optimizer = torch.optim.SGD(model.parameters(), 0.1)
    model(example).square().mean().backward()
    optimizer.step()


def test_a_design_is_trained_collapsed_and_removed() -> None:
    """The promise of the README: no surgery by hand."""
    torch.manual_seed(0)
    x = torch.randn(200, 6)
    y = (x[:, :2].sum(1) > 0).long()
    model = nn.Sequential(nn.Linear(6, 32), nn.ReLU(), nn.Linear(32, 2))
    st.apply(model, "2.weight", st.slices(1))
    optimizer = torch.optim.SGD(st.factor_parameters(model, 5e-3, others=1e-3), 0.5, momentum=0.9)
    for _ in range(400):
        optimizer.zero_grad()
        nn.functional.cross_entropy(model(x), y).backward()
        optimizer.step()
    st.collapse(model, threshold=0.02)
    before = model(x)
    done = st.shrink(model, x)
    assert model[0].out_features < 16
    assert done.after.parameters < done.before.parameters / 2
    torch.testing.assert_close(model(x), before, rtol=1e-4, atol=1e-5)
    assert sb.__version__


def test_constants_before_a_transposed_convolution_stay() -> None:
    """Every output of it reads another part of the kernel."""
    torch.manual_seed(0)
    model = nn.Sequential(nn.Conv2d(3, 5, 3), nn.ReLU(), nn.ConvTranspose2d(5, 2, 3, stride=2))
    with torch.no_grad():
        model[0].weight[1:3] = 0
        model[0].bias[1:3] = torch.tensor([0.5, -0.5])
    before = outputs(model, IMAGE)[0]
    st.shrink(model, IMAGE)
    assert (model[0].out_channels, model[2].in_channels) == (4, 4)  # the zero went
    torch.testing.assert_close(outputs(model, IMAGE)[0], before)


def test_a_head_without_values_goes_whatever_its_queries_are() -> None:
    model, example = network("llama")
    attention = model.model.layers[0].self_attn
    with torch.no_grad():
        attention.v_proj.weight[:8] = 0  # two of four, of four dimensions each
        attention.q_proj.weight[-8:] = 0  # and of two others the queries: they attend evenly
    before = outputs(model, example)[0]
    st.shrink(model, example, low_rank=False)
    assert tuple(attention.v_proj.weight.shape) == (8, 32)
    assert tuple(attention.o_proj.weight.shape) == (32, 16)
    torch.testing.assert_close(outputs(model, example)[0], before, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("bias", [True, False])
def test_a_constant_inside_a_weight_is_not_one_of_the_outputs(bias: bool) -> None:
    """The weight is a product of two parameters, and one of them has a column of ones."""

    class Product(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.up, self.down = nn.Parameter(torch.randn(3, 4)), nn.Linear(6, 4, bias=bias)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return nn.functional.linear(x, self.up @ self.down.weight)

    torch.manual_seed(0)
    model = Product()
    with torch.no_grad():
        model.up[:, 1] = 1.0
        model.up[:, 2] = 0.0
    before = outputs(model, ROWS)[0]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", st.NotRun)  # the bias
        st.shrink(model, ROWS)
    assert tuple(model.up.shape) == (3, 3)
    torch.testing.assert_close(outputs(model, ROWS)[0], before)


def test_what_is_zero_on_the_example_only_stays() -> None:
    """A ReLU that never opens for this input, and what it gates."""

    class Gated(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.up, self.gate, self.down = nn.Linear(6, 8), nn.Linear(6, 8), nn.Linear(8, 2)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return self.down(self.up(x) * self.gate(x).relu())

    torch.manual_seed(0)
    for model, layer in ((gated := Gated(), gated.gate), (network("mlp")[0], None)):
        layer = layer or model[0]
        with torch.no_grad():
            layer.bias[:3] = -100
        assert bool((layer(ROWS)[:, :3] < 0).all())
        before = outputs(model, 1000 * ROWS)[0]
        done = st.shrink(model, ROWS)
        assert done.table.rows == []
        assert torch.equal(outputs(model, 1000 * ROWS)[0], before)


class Heads(nn.Module):
    """Attention that has the number of its heads written into it, and a mask on its outputs."""

    def __init__(self, mask: float) -> None:
        super().__init__()
        self.mask = mask
        self.q, self.k, self.v, self.o = (nn.Linear(16, 16) for _ in range(4))
        self.after = nn.Sequential(nn.Linear(16, 8), nn.ReLU(), nn.Linear(8, 16))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        b, t, _ = x.shape
        q, k, v = (f(x).view(b, t, 4, -1).transpose(1, 2) for f in (self.q, self.k, self.v))
        y = ((q @ k.transpose(-1, -2) / 2).softmax(-1) @ v).transpose(1, 2).reshape(b, t, -1)
        y = self.after(self.o(y))
        return torch.cat([y, torch.full_like(y[..., :1], self.mask)], dim=-1) if self.mask else y


@pytest.mark.parametrize("mask", [0.0, -1e9, -float("inf")])
@pytest.mark.parametrize("example", ["some", "one token", "zeros"])
def test_heads_whose_number_is_written_down_stay(mask: float, example: str) -> None:
    """They would come out smaller, which equal outputs need not show: by one token, or a mask."""
    torch.manual_seed(0)
    model = Heads(mask)
    with torch.no_grad():
        model.o.weight[:, 4:8] = 0
        model.after[2].weight[:, 3] = 0
    x = {
        "some": torch.randn(2, 5, 16),
        "one token": torch.randn(2, 1, 16),
        "zeros": torch.zeros(2, 5, 16),
    }
    other = torch.randn(3, 7, 16)
    before = outputs(model, other)[0]
    done = st.shrink(model, x[example])
    assert model.q.out_features == 16
    assert model.after[0].out_features == 7  # what can go goes all the same
    assert (
        "4 of 16 along axis 0: without it ValueError: an axis of 8 in bmm becomes 8, not 6"
        in str(done.left)
    )
    torch.testing.assert_close(outputs(model, other)[0], before)


def fixed_unit(layer: nn.Linear, value: float = 2.0) -> None:
    with torch.no_grad():
        layer.weight[1] = 0
        layer.bias[1] = value


@pytest.mark.parametrize(
    "between",
    [
        lambda h: h.sum(1),
        lambda h: torch.einsum("btc->bc", h),
        lambda h: h.softmax(1)[:, 0],
    ],
    ids=["sum", "einsum", "softmax"],
)
def test_a_constant_that_counts_tokens_stays(between: Any) -> None:
    class Summed(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.a, self.b = nn.Linear(6, 8), nn.Linear(8, 3)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return self.b(between(self.a(x).relu()))

    torch.manual_seed(0)
    model = Summed()
    fixed_unit(model.a)
    other = torch.randn(2, 9, 6)
    before = outputs(model, other)[0]
    st.shrink(model, torch.randn(2, 5, 6))
    torch.testing.assert_close(outputs(model, other)[0], before)


@pytest.mark.parametrize("steps", [2, 5])
def test_constants_of_a_recurrence_stay(steps: int) -> None:
    class Recurrent(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.u, self.w, self.o = nn.Linear(6, 8), nn.Linear(8, 8), nn.Linear(8, 3)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            h = torch.tanh(self.u(x[:, 0]))
            for t in range(1, x.shape[1]):
                h = torch.tanh(self.w(h) + self.u(x[:, t]))
            return self.o(h)

    torch.manual_seed(0)
    model = Recurrent()
    for layer in (model.u, model.w):
        fixed_unit(layer, 0.4)
        with torch.no_grad():
            layer.weight[4] = 0
            layer.bias[4] = 0
    other = torch.randn(3, 7, 6)
    before = outputs(model, other)[0]
    st.shrink(model, torch.randn(2, steps, 6))
    assert model.w.in_features == 7  # what is zero goes, what is constant stays
    torch.testing.assert_close(outputs(model, other)[0], before)


def test_a_reader_that_is_used_twice_or_without_its_bias_takes_no_constant() -> None:
    class Used(nn.Module):
        def __init__(self, kind: str) -> None:
            super().__init__()
            self.kind = kind
            self.a, self.b = nn.Linear(6, 8), nn.Linear(8, 3)

        def forward(self, x: torch.Tensor) -> Any:
            h = self.a(x).relu()
            if self.kind == "twice":
                return self.b(h) + self.b(h).softmax(1)
            return h @ self.b.weight.t() + 0 * self.b.bias

    for kind in ("twice", "without"):
        torch.manual_seed(0)
        model = Used(kind)
        fixed_unit(model.a)
        with torch.no_grad():
            model.b.weight[:, 5] = 0
        before = outputs(model, ROWS)[0]
        st.shrink(model, ROWS)
        assert model.a.out_features == 7
        torch.testing.assert_close(outputs(model, ROWS)[0], before)


def test_parameters_that_the_example_does_not_use_are_named() -> None:
    class Helped(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.a, self.b, self.aux = nn.Linear(6, 8), nn.Linear(8, 3), nn.Linear(8, 2)

        def forward(self, x: torch.Tensor) -> Any:
            h = self.a(x).relu()
            return (self.b(h), self.aux(h)) if self.training else self.b(h)

    with pytest.warns(st.NotRun, match=r"aux.weight, aux.bias: not used by the example input"):
        st.shrink(Helped(), ROWS)


def test_buffers_and_inputs_are_as_they_were() -> None:
    class Writing(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.a, self.b = nn.Linear(6, 8), nn.Linear(8, 3)
            self.register_buffer("runs", torch.zeros(()))

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            self.runs += 1
            x.mul_(2)
            return self.b(self.a(x).relu())

    model, x = Writing(), torch.randn(4, 6)
    with torch.no_grad():
        model.b.weight[:, 2] = 0
    kept = x.clone()
    st.shrink(model, x)
    assert model.a.out_features == 7
    assert float(model.runs) == 0
    assert torch.equal(x, kept)


def test_what_cannot_be_compared_is_refused() -> None:
    class Random(nn.Linear):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return super().forward(x) + torch.randn(len(x), 1)

    with pytest.raises(ValueError, match="Random gives other outputs each time"):
        st.shrink(Random(6, 2), ROWS)
    with pytest.raises(ValueError, match="an output of the example is nan already"):
        st.shrink(network("mlp")[0], ROWS * float("nan"))


def test_a_part_that_cannot_go_does_not_keep_the_rest() -> None:
    class Halves(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.a, self.b, self.c = nn.Linear(6, 8), nn.Linear(4, 3), nn.Linear(4, 5)
            self.d = nn.Linear(5, 3)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            h = self.a(x).relu()
            return self.b(h[:, :4]) + self.d(self.c(h[:, 4:]).relu())

    torch.manual_seed(0)
    model = Halves()
    with torch.no_grad():
        model.b.weight[:, 0] = 0  # what is sliced at four cannot become seven
        model.d.weight[:, 2] = 0
    before = outputs(model, ROWS)[0]
    done = st.shrink(model, ROWS)
    assert (model.a.out_features, model.c.out_features) == (8, 4)
    assert "without it" in str(done.left)
    torch.testing.assert_close(outputs(model, ROWS)[0], before)


def test_slopes_of_channels_and_what_ends_the_way_of_a_channel() -> None:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Conv2d(3, 8, 3), nn.PReLU(8), nn.Conv2d(8, 4, 1))
    with torch.no_grad():
        model[0].weight[1] = model[0].bias[1] = 0
    before = outputs(model, IMAGE)[0]
    st.shrink(model, IMAGE)
    assert (model[0].out_channels, model[1].num_parameters, model[2].in_channels) == (7, 7, 7)
    torch.testing.assert_close(outputs(model, IMAGE)[0], before)
    model = nn.Sequential(nn.Conv2d(3, 8, 3), nn.GroupNorm(2, 8), nn.ReLU(), nn.Conv2d(8, 4, 1))
    with torch.no_grad():
        model[3].weight[:, 1] = 0
    assert "1 of 8 along axis 1: read behind native_group_norm" in str(st.shrink(model, IMAGE).left)


@pytest.mark.filterwarnings("ignore:.*torch.jit")
def test_a_script_module_is_refused() -> None:
    traced = torch.jit.trace(network("mlp")[0], ROWS)
    with pytest.raises(TypeError, match="take the module before scripting"):
        st.shrink(traced, ROWS)


def test_a_mask_hides_no_difference() -> None:
    torch.manual_seed(0)
    a = torch.randn(300)
    a[:2] = torch.tensor([-1e9, -float("inf")])
    compare(a, a * (1 + 1e-6))
    for wrong in (a + torch.eye(300)[5] * 1e-3, a * (1 - 1e-3 * torch.eye(300)[0])):
        with pytest.raises(ValueError, match="an output is off by"):
            compare(a, wrong)
    with pytest.raises(ValueError, match=r"of shape \(300,\) has become \(299,\)"):
        compare(a, a[1:])
    compare(torch.zeros(3), torch.zeros(3))
    with pytest.raises(ValueError, match="an output is off by"):
        compare(torch.zeros(3), torch.full((3,), 1e-3))
