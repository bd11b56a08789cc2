"""Weight decay on factors is the design's penalty on the weight."""

import warnings
from functools import partial
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

import symbias as sb
import symbias.torch as st
from symbias.solvers.reference import convex_reference
from tests.torch.cases import Tied, inputs, network

LABELS = np.arange(12) // 3


def test_groups_hold_every_parameter_once_with_its_decay() -> None:
    net = network()
    st.apply(net, "0.weight", sb.TotalVariation(axis=0))
    st.apply(net, "2.weight", "l1")
    groups = st.factor_parameters(net, 0.5, scale={"2.*": 3.0}, others=0.1)
    held = [p for g in groups for p in g["params"]]
    assert sorted(map(id, held)) == sorted(map(id, net.parameters()))
    assert [(len(g["params"]), g["weight_decay"]) for g in groups] == [
        (2, 0.5),
        (2, 1.5),
        (1, 0.0),
        (2, 0.1),
    ]
    assert groups[2]["params"][0].shape == (1, 6)  # the level is free
    twice = st.factor_parameters(net, 0.5, scale=lambda name: 2.0 if name == "0.weight" else 1.0)
    assert [g["weight_decay"] for g in twice] == [1.0, 0.5, 0.0, 0.0]


@pytest.mark.slow
def test_penalty_is_decay_in_the_loss() -> None:
    """One plain step with either is the same step, free coordinates and ties included."""
    for model, name, wish, x in (
        (network(), "0.weight", sb.TotalVariation(axis=0), inputs()),
        (Tied(), "head.weight", sb.L1(), torch.arange(8)),
    ):
        st.apply(model, name, wish)
        scale = {name if name == "0.weight" else "embed.weight": 0.7}
        start = {k: v.clone() for k, v in model.state_dict().items()}
        ends = []
        for decay, in_loss in ((0.3, 0.0), (0.0, 0.3)):
            model.load_state_dict(start)
            groups = st.factor_parameters(model, decay, scale=scale)
            optimizer = torch.optim.SGD(groups, lr=0.1)
            loss = model(x).square().mean() + st.factor_penalty(model, in_loss, scale=scale)
            loss.backward()
            optimizer.step()
            optimizer.zero_grad()
            ends.append({k: v.clone() for k, v in model.state_dict().items()})
        torch.testing.assert_close(*ends, rtol=1e-6, atol=1e-7)


def test_coupled_decay_of_adam_is_the_penalty_in_the_loss() -> None:
    """torch.optim.Adam(weight_decay=) adds the decay to the gradient: the very same steps."""
    ends = []
    for decay, in_loss in ((0.3, 0.0), (0.0, 0.3)):
        net = network()
        st.apply(net, "0.weight", st.slices(1))
        optimizer = torch.optim.Adam(st.factor_parameters(net, decay), lr=1e-2)
        for _ in range(10):
            optimizer.zero_grad()
            loss = net(inputs()).square().mean() + st.factor_penalty(net, in_loss)
            loss.backward()
            optimizer.step()
        ends.append(net.state_dict())
    torch.testing.assert_close(*ends, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("momentum", [0.0, 0.5])
def test_what_the_data_do_not_need_dies_at_the_stated_rate(momentum: float) -> None:
    """An entry with constant gradient g, |g| < lam, falls as exp(-2 lr (lam - |g|) steps)."""
    lr, lam, g, steps = 4e-3, 1.0, 0.6, 1000
    layer = nn.Linear(1, 1, bias=False).double()
    st.apply(layer, "weight", "l1")
    groups = st.factor_parameters(layer, lam)
    optimizer = torch.optim.SGD(groups, lr=lr * (1 - momentum), momentum=momentum)
    sizes = []
    for step in range(2 * steps):
        if step % steps == 0:
            sizes.append(float(layer.weight.detach().abs()))
        optimizer.zero_grad()
        (g * layer.weight).sum().backward()
        optimizer.step()
    rate = np.log(sizes[1] / float(layer.weight.detach().abs())) / steps
    assert rate == pytest.approx(2 * lr * (lam - g), rel=0.02)


def test_the_least_penalty_is_the_designs() -> None:
    net = network()
    w = net[0].weight.detach().clone()
    st.apply(net, "0.weight", "l1", charge=1e-12)
    expected = sb.WeightDecay(0.3).penalty(sb.Hadamard((8, 6)), w)
    torch.testing.assert_close(st.factor_penalty(net, 0.3).detach(), expected)


def test_schedules_set_the_decay_and_resume() -> None:
    net = network()
    st.apply(net, "0.weight", "l1")
    st.apply(net, "2.weight", "l1")
    groups = st.factor_parameters(net, 1.0, scale={"2.*": 2.0}, others=0.05)
    optimizer = torch.optim.SGD(groups, lr=0.1)
    schedule = st.DecaySchedule(optimizer, lambda step: 0.1 * min(1.0, step / 4))
    seen = []
    for _ in range(6):
        seen.append([g["weight_decay"] for g in optimizer.param_groups])
        schedule.step()
    np.testing.assert_allclose(np.array(seen)[:, 0], [0, 0.025, 0.05, 0.075, 0.1, 0.1])
    np.testing.assert_allclose(np.array(seen)[:, 1], 2 * np.array(seen)[:, 0])
    np.testing.assert_allclose(np.array(seen)[:, 2], 0.05)
    other = st.DecaySchedule(optimizer, lambda step: float(step))
    other.load_state_dict(schedule.state_dict())
    assert optimizer.param_groups[0]["weight_decay"] == 6.0


OPTIMIZERS: list[tuple[Any, list[type[Warning]]]] = [
    (lambda p: torch.optim.AdamW(p, weight_decay=0.1), [st.DecoupledDecay]),
    (
        lambda p: torch.optim.NAdam(p, weight_decay=0.1, decoupled_weight_decay=True),
        [st.DecoupledDecay],
    ),
    (lambda p: torch.optim.Adafactor(p, weight_decay=0.1), [st.DecoupledDecay]),
    (lambda p: torch.optim.AdamW(p, weight_decay=0.0), [st.NoPenalty]),
    (lambda p: torch.optim.SGD(p, lr=0.1), [st.NoPenalty]),
    (lambda p: torch.optim.Adam(p, weight_decay=0.1), []),
    (lambda p: torch.optim.SGD(p, lr=0.1, weight_decay=0.1, momentum=0.9, nesterov=True), []),
]


@pytest.mark.parametrize("case", range(len(OPTIMIZERS)))
def test_decoupled_decay_is_noticed_at_the_first_gradient(case: int) -> None:
    make, warned = OPTIMIZERS[case]
    net = network()
    st.apply(net, "0.weight", "l1")
    optimizer = make(net.parameters())
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        for _ in range(3):
            net(inputs()).square().mean().backward()
            optimizer.step()
    assert [w.category for w in caught] == warned
    assert {w.filename for w in caught} <= {__file__}  # the line that trains
    if st.DecoupledDecay in warned:
        with pytest.warns(st.DecoupledDecay, match="factor_penalty"):
            st.check_optimizer(net, optimizer)
    else:
        st.check_optimizer(net, optimizer)


def test_decoupled_decay_of_other_parameters_is_fine() -> None:
    net = network()
    st.apply(net, "0.weight", "l1")
    groups = st.factor_parameters(net, 0.0, others=0.1)
    optimizer = torch.optim.AdamW(groups)
    (net(inputs()).square().mean() + st.factor_penalty(net, 0.1)).backward()
    st.check_optimizer(net, optimizer)


def problem() -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(0)
    X = rng.normal(size=(60, 12)) @ (np.eye(12) + 0.3 * rng.normal(size=(12, 12)) / 12**0.5)
    truth = np.where(LABELS == 1, [1.0, -2.0, 0.5] * 4, 0.0)
    return X, X @ truth + 0.3 * rng.normal(size=60)


PENALTIES: dict[str, tuple[Any, Any, float]] = {
    "l1": (sb.L1(), sb.L1(), 0.15),
    "group": (sb.GroupLasso(LABELS), sb.GroupLasso(LABELS[None]), 0.15),
    "tv": (sb.TotalVariation(), sb.TotalVariation(axis=1), 0.05),
}


def fitted(name: str, train: Any) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Coefficients of the collapsed layer, of the estimator and of the convex solver."""
    penalty, for_layer, strength = PENALTIES[name]
    X, y = problem()
    layer = nn.Linear(12, 1).double()
    with torch.no_grad():
        layer.weight.zero_()
        layer.bias.zero_()
    st.apply(layer, "weight", for_layer)
    tensors = torch.asarray(X), torch.asarray(y)[:, None]
    train(layer, lambda: (layer(tensors[0]) - tensors[1]).square().mean() / 2, strength)
    st.collapse(layer)
    model = sb.DesignedRegressor(penalty, strength).fit(X, y)
    convex = convex_reference(penalty, strength, X, y).coef
    return layer.weight.detach().numpy()[0], model.coef_, convex


def by_sgd(layer: nn.Module, loss: Any, strength: float, nesterov: bool = False) -> None:
    groups = st.factor_parameters(layer, strength)
    optimizer = torch.optim.SGD(groups, lr=0.03, momentum=0.97, nesterov=nesterov)
    for _ in range(1200):
        optimizer.zero_grad()
        loss().backward()
        optimizer.step()


def by_adam(layer: nn.Module, loss: Any, strength: float) -> None:
    optimizer = torch.optim.Adam(st.factor_parameters(layer, 0.0), lr=3e-2)
    schedule = torch.optim.lr_scheduler.ExponentialLR(optimizer, 0.9975)
    for _ in range(3000):
        optimizer.zero_grad()
        (loss() + st.factor_penalty(layer, strength)).backward()
        optimizer.step()
        schedule.step()


@pytest.mark.parametrize("name", PENALTIES)
@pytest.mark.parametrize(
    "train", [by_sgd, pytest.param(by_adam, marks=pytest.mark.slow)], ids=["sgd", "adam"]
)
def test_agrees_with_the_estimator_and_the_convex_solver(name: str, train: Any) -> None:
    ours, estimator, convex = fitted(name, train)
    np.testing.assert_allclose(ours, estimator, rtol=0, atol=1e-5)
    np.testing.assert_allclose(ours, convex, rtol=0, atol=1e-5)


def test_nesterov_agrees_too() -> None:
    ours, _, convex = fitted("l1", partial(by_sgd, nesterov=True))
    np.testing.assert_allclose(ours, convex, rtol=0, atol=1e-5)


@pytest.mark.slow
def test_adamw_misses_the_penalty() -> None:
    """What the warning is about: the same steps with decoupled decay end elsewhere."""

    def by_adamw(layer: nn.Module, loss: Any, strength: float) -> None:
        optimizer = torch.optim.AdamW(st.factor_parameters(layer, strength), lr=3e-2)
        schedule = torch.optim.lr_scheduler.ExponentialLR(optimizer, 0.99)
        for _ in range(1000):
            optimizer.zero_grad()
            loss().backward()
            optimizer.step()
            schedule.step()

    with pytest.warns(st.DecoupledDecay):
        ours, estimator, _ = fitted("l1", by_adamw)
    assert np.linalg.norm(ours - estimator) > 0.03 * np.linalg.norm(estimator)


def test_group_decay_removes_units_of_a_network() -> None:
    """Weight decay alone empties hidden units that the data do not need."""
    torch.manual_seed(0)
    net, x = nn.Sequential(nn.Linear(6, 16), nn.ReLU(), nn.Linear(16, 1)), inputs(200)
    y = torch.relu(x[:, :1] - 0.3)
    st.apply(net, "2.weight", st.slices(1))
    optimizer = torch.optim.SGD(st.factor_parameters(net, 0.02, others=0.002), lr=0.1, momentum=0.9)
    for _ in range(800):
        optimizer.zero_grad()
        (net(x) - y).square().mean().div(2).backward()
        optimizer.step()
    st.collapse(net, threshold=1e-3)
    alive = (net[2].weight != 0).any(0)
    assert 1 <= int(alive.sum()) <= 6
    assert (net(x) - y).square().mean() < 0.2 * y.var()


@pytest.mark.slow
def test_a_penalty_that_is_not_there_or_twice_is_noticed() -> None:
    def trained(decay: float, in_loss: float, scheduled: bool = False) -> list[str]:
        net = network()
        st.apply(net, "0.weight", "l1")
        optimizer = torch.optim.SGD(st.factor_parameters(net, decay), lr=0.1)
        if scheduled:
            st.DecaySchedule(optimizer, lambda step: 0.0)
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            for _ in range(3):
                loss = net(inputs()).square().mean()
                (loss + st.factor_penalty(net, in_loss) if in_loss else loss).backward()
                optimizer.step()
        return [str(w.message) for w in caught if w.category is st.NoPenalty]

    (none,) = trained(0.0, 0.0)
    assert "SGD does not decay the factors" in none
    assert "symbias.torch.factor_parameters(model, weight_decay)" in none
    (twice,) = trained(0.1, 0.1)
    assert "it counts twice" in twice
    for kept in ((0.1, 0.0), (0.0, 0.1), (0.0, 0.0, True)):
        assert trained(*kept) == []
    net = network()
    st.apply(net, "0.weight", "l1")
    for factor in net[0].parametrizations.weight.parameters():
        factor.requires_grad_(False)
    with pytest.warns(st.NoPenalty, match="'0.weight' is frozen: its design does nothing"):
        st.factor_parameters(net, 0.1)
