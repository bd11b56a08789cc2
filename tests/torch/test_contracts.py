"""What plain parametrizations of PyTorch break, and ours keep."""

import copy
import io
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from torch import nn
from torch.utils.checkpoint import checkpoint

import symbias as sb
import symbias.torch as st
from tests.torch.cases import DESIGNS, SHAPE, Tied, inputs, network, same, values


def designed_network(wish: object = "l1") -> nn.Sequential:
    net = network()
    st.apply(net, "0.weight", wish)  # type: ignore[arg-type]
    return net


def one_step(net: nn.Module, x: torch.Tensor) -> None:
    optimizer = torch.optim.SGD(st.factor_parameters(net, 0.1), lr=0.1)
    net(x).square().mean().backward()
    optimizer.step()
    optimizer.zero_grad()


def test_collapsing_a_copy_leaves_the_original() -> None:
    net, x = designed_network(), inputs()
    before = net(x)
    for remove in (
        st.collapse,
        lambda m: nn.utils.parametrize.remove_parametrizations(m[0], "weight"),
    ):
        twin = copy.deepcopy(net)
        assert type(twin[0]) is not type(net[0])
        torch.testing.assert_close(twin(x), before, rtol=0, atol=0)
        remove(twin)
        assert type(twin[0]) is nn.Linear
        torch.testing.assert_close(twin(x), before, rtol=0, atol=0)
        torch.testing.assert_close(net(x), before, rtol=0, atol=0)
    one_step(net, x)
    assert not torch.equal(net(x), before)
    twin, trained = copy.deepcopy(net), net(x)
    st.collapse(net)
    assert type(net[0]) is nn.Linear
    one_step(twin, x)  # the copy still has its factors
    torch.testing.assert_close(net(x), trained, rtol=0, atol=0)


def test_a_copy_trains_alone_and_keeps_ties() -> None:
    model, tokens = Tied(), torch.arange(8)
    st.apply(model, "embed.weight", "l1")
    before, twin = model(tokens), copy.deepcopy(model)
    assert twin.embed.parametrizations.weight is twin.head.parametrizations.weight
    one_step(twin, tokens)
    torch.testing.assert_close(model(tokens), before, rtol=0, atol=0)
    assert not torch.equal(twin(tokens), before)


@pytest.mark.parametrize("name", ["hadamard", "labels", "log"])
def test_saved_whole_and_loaded(name: str) -> None:
    net, x = designed_network(DESIGNS[name]), inputs()
    file = io.BytesIO()
    torch.save(net, file)
    file.seek(0)
    loaded = torch.load(file, weights_only=False)
    torch.testing.assert_close(loaded(x), net(x), rtol=0, atol=0)
    one_step(loaded, x)
    st.collapse(loaded)
    assert type(loaded[0]) is nn.Linear


def test_state_dict_round_trip() -> None:
    net, other, x = designed_network(sb.TotalVariation(axis=0)), network(seed=3), inputs()
    one_step(net, x)
    st.apply(other, "0.weight", sb.TotalVariation(axis=0))
    assert other.load_state_dict(net.state_dict()).missing_keys == []
    torch.testing.assert_close(other(x), net(x), rtol=0, atol=0)
    assert all("constant" not in key and "like" not in key for key in net.state_dict())


@pytest.mark.slow
def test_resumed_training_is_the_same_training() -> None:
    x, runs = inputs(), []
    for interrupted in (False, True):
        net = designed_network()
        optimizer = torch.optim.SGD(st.factor_parameters(net, 0.1), lr=0.1, momentum=0.9)
        for step in range(6):
            if interrupted and step == 3:
                saved = copy.deepcopy((net.state_dict(), optimizer.state_dict()))
                net = designed_network()
                optimizer = torch.optim.SGD(st.factor_parameters(net, 0.1), lr=0.1, momentum=0.9)
                net.load_state_dict(saved[0])
                optimizer.load_state_dict(saved[1])
            optimizer.zero_grad()
            net(x).square().mean().backward()
            optimizer.step()
        runs.append(values(net))
    assert same(*runs)


@pytest.mark.parametrize(
    "name", [pytest.param(n, marks=[pytest.mark.slow] * (n != "hadamard")) for n in DESIGNS]
)
def test_compiles_to_one_graph(name: str) -> None:
    torch._dynamo.reset()
    net, x = designed_network(DESIGNS[name]), inputs()
    compiled = torch.compile(net, fullgraph=True, backend="aot_eager")
    torch.testing.assert_close(compiled(x), net(x), rtol=1e-6, atol=1e-6)
    net(x).square().mean().backward()
    eager = [p.grad.clone() for p in net.parameters()]
    net.zero_grad()
    compiled(x).square().mean().backward()
    for p, g in zip(net.parameters(), eager, strict=True):
        torch.testing.assert_close(p.grad, g, rtol=1e-5, atol=1e-6)


def test_design_and_collapse_under_a_compiled_model() -> None:
    torch._dynamo.reset()
    net, x = network(), inputs()
    compiled = torch.compile(net, backend="aot_eager")
    before = compiled(x)
    st.apply(compiled, "_orig_mod.0.weight", "l1")
    torch.testing.assert_close(compiled(x), before, rtol=1e-6, atol=1e-6)
    one_step(net, x)
    torch.testing.assert_close(compiled(x), net(x), rtol=1e-6, atol=1e-6)
    trained = net(x)
    st.collapse(net)
    torch.testing.assert_close(compiled(x), trained, rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("name", ["hadamard", "nuclear", "cosine"])
def test_autocast_rounds_the_weight_and_not_the_factors(name: str) -> None:
    net, plain, x = designed_network(DESIGNS[name]), network(), inputs()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert net[0].weight.dtype == torch.float32
        ours, theirs = net(x), plain(x)
    assert ours.dtype == torch.bfloat16
    torch.testing.assert_close(ours, theirs, rtol=0, atol=8e-3)
    ours.float().square().mean().backward()
    assert all(p.grad is not None and p.grad.dtype == torch.float32 for p in net.parameters())


def test_gradient_checkpointing() -> None:
    grads = []
    for use in (False, True):
        net, x = designed_network(), inputs()
        out = checkpoint(net, x, use_reentrant=False) if use else net(x)
        out.square().mean().backward()
        grads.append([p.grad for p in net.parameters()])
    torch.testing.assert_close(*grads, rtol=0, atol=0)


def test_functional_call_and_vmap_over_an_ensemble() -> None:
    net, x = designed_network(), inputs()
    params = dict(net.named_parameters())
    stacked = {k: torch.stack([p, 2 * p]).detach() for k, p in params.items()}
    both = torch.func.vmap(lambda p: torch.func.functional_call(net, p, (x,)))(stacked)
    torch.testing.assert_close(both[0], net(x), rtol=1e-6, atol=1e-6)


def test_the_cache_of_parametrize() -> None:
    net, x = designed_network(), inputs()
    with nn.utils.parametrize.cached():
        assert net[0].weight is net[0].weight
        torch.testing.assert_close(net(x), designed_network()(x), rtol=0, atol=0)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16, torch.float64])
def test_factors_follow_a_cast(dtype: torch.dtype) -> None:
    net = designed_network(DESIGNS["labels"]).to(dtype)
    assert {p.dtype for p in net.parameters()} == {dtype}
    assert net[0].weight.dtype == dtype
    assert net(inputs().to(dtype)).dtype == dtype
    st.collapse(net)
    assert net[0].weight.dtype == dtype


@pytest.mark.parametrize(
    "name",
    [
        "hadamard",
        "nuclear",
        *(pytest.param(n, marks=pytest.mark.slow) for n in ("labels", "custom")),
    ],
)
def test_factors_stay_in_single_precision_if_asked(name: str) -> None:
    plain = network().to(torch.bfloat16)
    net = network().to(torch.bfloat16)
    st.apply(net, "0.weight", DESIGNS[name], factor_dtype=torch.float32)
    factors = list(net[0].parametrizations.parameters())
    assert {p.dtype for p in factors} == {torch.float32}
    assert net[0].weight.dtype == torch.bfloat16
    assert torch.equal(net[0].weight, plain[0].weight)  # to the last bit of bfloat16
    later = network()
    st.apply(later, "0.weight", DESIGNS[name], factor_dtype=torch.float32)
    exact = [p.detach().clone() for p in later[0].parametrizations.parameters()]
    later.to(torch.bfloat16)
    assert all(map(torch.equal, exact, later[0].parametrizations.parameters()))
    assert later[0].weight.dtype == torch.bfloat16
    assert later[2].weight.dtype == torch.bfloat16
    one_step(later, inputs().to(torch.bfloat16))
    st.collapse(later)
    assert later[0].weight.dtype == torch.bfloat16


def test_steps_smaller_than_half_precision_arrive_in_single_factors() -> None:
    net = network().to(torch.bfloat16)
    st.apply(net, "0.weight", "l1", factor_dtype=torch.float32)
    u = net[0].parametrizations.weight.original0
    before = u.detach().clone()
    optimizer = torch.optim.SGD([u], lr=1e-6, weight_decay=1.0)
    u.grad = torch.zeros_like(u)
    optimizer.step()
    assert (u < before).all()


def test_moving_to_another_device_takes_the_constants_along() -> None:
    net = designed_network(DESIGNS["labels"]).to("meta")
    assert net(inputs().to("meta")).device.type == "meta"


def test_assignment_reaches_the_factors_and_in_place_writes_do_not() -> None:
    net = designed_network()
    new = torch.randn(SHAPE, generator=torch.Generator().manual_seed(5))
    net[0].weight = new
    torch.testing.assert_close(net[0].weight.detach(), new, rtol=1e-6, atol=1e-7)
    with torch.no_grad():
        net[0].weight.zero_()
    torch.testing.assert_close(net[0].weight.detach(), new, rtol=1e-6, atol=1e-7)
    with pytest.raises(ValueError, match="shape"):
        net[0].weight = new[:2]
    torch.testing.assert_close(net[0].weight.detach(), new, rtol=1e-6, atol=1e-7)


def test_zero_initialised_layers_learn() -> None:
    net, x = network(), inputs()
    nn.init.zeros_(net[2].weight)
    nn.init.zeros_(net[2].bias)
    st.apply(net, "2.weight", "l1")
    assert not net(x).any()
    (net(x) - 1).square().mean().backward()
    gradients = [p.grad.abs().sum() for p in net[2].parametrizations.parameters()]
    assert max(gradients) > 0


def test_train_and_eval_modes_follow() -> None:
    net = network().eval()
    st.apply(net, "0.weight", "l1")
    assert not any(m.training for m in net.modules())
    st.collapse(net.train())
    assert all(m.training for m in net.modules())


def test_a_subclass_with_state_of_its_own() -> None:
    class Scaled(nn.Linear):
        def __init__(self) -> None:
            super().__init__(6, 8)
            self.factor = 3.0

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return self.factor * super().forward(x)

    torch.manual_seed(0)
    layer, x = Scaled(), inputs()
    before = layer(x)
    st.apply(layer, "weight", "l1")
    assert isinstance(layer, Scaled)
    torch.testing.assert_close(copy.deepcopy(layer)(x), before, rtol=1e-6, atol=1e-6)
    st.collapse(layer)
    assert type(layer) is Scaled


def test_importing_symbias_does_not_import_torch() -> None:
    code = "import sys, symbias, symbias.estimators; print('torch' in sys.modules)"
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert out.stdout.strip() == "False"


WORKER = """
import sys
import torch
import torch.distributed as dist
from torch.nn.parallel import DistributedDataParallel
import symbias.torch as st
from tests.torch.cases import DESIGNS, inputs, network
from tests.torch.test_contracts import train

rank, file, out = int(sys.argv[1]), sys.argv[2], sys.argv[3]
dist.init_process_group("gloo", init_method="file://" + file, rank=rank, world_size=2)
net = network()
st.apply(net, "0.weight", DESIGNS["labels"])
train(net, DistributedDataParallel(net), inputs(8)[rank::2])
if rank == 0:
    st.collapse(net)
    torch.save(net.state_dict(), out)
dist.barrier()
dist.destroy_process_group()
"""


def train(net: nn.Module, model: nn.Module, x: torch.Tensor) -> None:
    optimizer = torch.optim.SGD(st.factor_parameters(net, 0.1), lr=0.1, momentum=0.9)
    for _ in range(5):
        optimizer.zero_grad()
        model(x).square().mean().backward()
        optimizer.step()


@pytest.mark.slow
@pytest.mark.skipif(
    not (torch.distributed.is_available() and torch.distributed.is_gloo_available()),
    reason="this PyTorch has no gloo backend",
)
def test_two_processes_train_what_one_does(tmp_path: Path) -> None:
    script = tmp_path / "worker.py"
    paths = [str(Path(__file__).parents[2]), str(Path(sb.__file__).parents[1])]
    script.write_text(f"import sys; sys.path[:0] = {paths!r}\n{WORKER}")

    def start(rank: int) -> subprocess.Popen[str]:
        args = [str(script), str(rank), str(tmp_path / "store"), str(tmp_path / f"{rank}.pt")]
        return subprocess.Popen([sys.executable, *args], stderr=subprocess.PIPE, text=True)

    for process in [start(0), start(1)]:
        _, errors = process.communicate(timeout=120)
        assert process.returncode == 0, errors
    net = designed_network(DESIGNS["labels"])
    train(net, net, inputs(8))
    st.collapse(net)
    two, one = torch.load(tmp_path / "0.pt"), net.state_dict()
    assert list(two) == list(one)
    for name in one:
        torch.testing.assert_close(two[name], one[name], rtol=1e-5, atol=1e-6)
