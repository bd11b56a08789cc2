"""Proximal steps: the map in a metric, the minimum that training finds, and what is refused."""

import gc
import warnings
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from scipy.optimize import minimize
from sklearn.linear_model import Lasso
from torch import nn

import symbias as sb
import symbias.torch as st
from symbias import penalties
from symbias.torch.proximal.maps import ProximalMap

SHAPE = (4, 6)
LABELS = np.random.default_rng(1).integers(0, 5, SHAPE)


class ElasticGroups(sb.Penalty):
    """sum over inputs g of 1.5 |w_g| + .6 |w_g|^2 / 2."""

    formula, belief = "sum_g 1.5 |w_g| + .3 |w_g|^2", "few inputs matter, none much"

    def __call__(self, w: Any) -> Any:
        t = np.sqrt(np.sum(np.square(w), axis=0))
        return np.sum(1.5 * t + 0.3 * t**2)

    def form(self, shape: Any) -> Any:
        labels = np.broadcast_to(np.arange(shape[1]), shape)
        return penalties.Piece(penalties.Groups(labels), penalties.Elastic(1.5, 0.6))


PENALTIES: dict[str, Any] = {
    "elastic groups": ElasticGroups(),
    "l1": sb.L1(),
    "weighted l1": sb.L1(np.linspace(0.5, 2, 24).reshape(SHAPE)),
    "elastic": sb.ElasticNet(0.7),
    "inputs": sb.GroupLasso(np.broadcast_to(np.arange(6), SHAPE)),
    "pairs of outputs": sb.GroupLasso(np.broadcast_to(np.arange(4)[:, None] // 2, SHAPE)),
    "any groups": sb.GroupLasso(LABELS, weights=np.linspace(0.5, 2, 5)),
    "twice l1": 2 * sb.L1(),
}


def draws(seed: int) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    return rng.normal(size=SHAPE), np.exp(rng.normal(size=SHAPE))


def shrunk(penalty: sb.Penalty, w: np.ndarray, d: Any, strength: float) -> np.ndarray:
    weight = torch.tensor(w)
    ProximalMap(penalty, w.shape)(weight, torch.tensor(d) if np.ndim(d) else d, strength)
    return weight.numpy()


@pytest.mark.parametrize("strength", [0.3, 0.6, 1.2, 2.4])
@pytest.mark.parametrize("uniform", [True, False])
@pytest.mark.parametrize("name", PENALTIES)
def test_no_neighbour_is_better(name: str, uniform: bool, strength: float) -> None:
    """The definition, from the point itself: a descent that starts there does not get away."""
    penalty = PENALTIES[name]
    w, d = draws(0)
    d = 1.7 if uniform else d

    def cost(z: np.ndarray) -> float:
        z = z.reshape(SHAPE)
        return float(np.sum(d * (z - w) ** 2) / 2 + strength * penalty(z))

    z = shrunk(penalty, w, d, strength)
    least = cost(z)
    rng = np.random.default_rng(3)
    for size in (1e-4, 1e-2, 1):
        for _ in range(200):
            step = size * rng.normal(size=SHAPE) * (rng.random(SHAPE) < 0.3)
            assert cost(z + step) >= least - 1e-12
    assert strength > 0.3 or np.count_nonzero(z) > 6
    assert strength < 2 or np.count_nonzero(z) < 24
    best = minimize(lambda a: cost(a), z.ravel(), method="L-BFGS-B").fun
    assert best >= least - 1e-7


@pytest.mark.parametrize("penalty", [sb.Lq(0.5), sb.LogSum(0.3)], ids=["lq", "log"])
def test_non_convex_entries_in_any_metric(penalty: sb.Penalty) -> None:
    """Entry by entry against a fine grid."""
    w, d = draws(1)
    z = shrunk(penalty, w, d, 0.4)
    grid = np.concatenate([[0.0], np.linspace(-4, 4, 40_001)])
    for x, scale, found in zip(w.ravel(), d.ravel(), z.ravel(), strict=True):
        costs = scale * (grid - x) ** 2 / 2 + 0.4 * np.array(
            penalty.form((1,)).pieces[0].scalar(abs(grid))
        )
        own = scale * (found - x) ** 2 / 2 + 0.4 * float(penalty(np.array([found])))
        assert own <= costs.min() + 1e-6


def test_singular_values_shrink() -> None:
    w, _ = draws(2)
    z = shrunk(sb.Nuclear(), w, 2.0, 1.5)
    before, after = (np.linalg.svd(a, compute_uv=False) for a in (w, z))
    np.testing.assert_allclose(after, np.maximum(before - 0.75, 0), atol=1e-12)
    assert np.linalg.matrix_rank(z, tol=1e-9) < 4


# inputs of very different sizes, so that a metric matters
rng = np.random.default_rng(0)
X = rng.normal(size=(60, 12)) * np.geomspace(0.3, 3, 12)
TRUE = np.where(np.arange(12) % 3 == 0, rng.normal(size=12) * 2, 0.0)
Y = X @ TRUE + 0.3 * rng.normal(size=60)
STRENGTH = 0.15

OPTIMIZERS: dict[str, Callable[..., torch.optim.Optimizer]] = {
    "SGD": lambda p: torch.optim.SGD(p, 0.05),
    "momentum": lambda p: torch.optim.SGD(p, 0.02, momentum=0.8),
    "dampening": lambda p: torch.optim.SGD(p, 0.05, momentum=0.8, dampening=0.5),
    "Nesterov": lambda p: torch.optim.SGD(p, 0.02, momentum=0.8, nesterov=True),
    "Adam": lambda p: torch.optim.Adam(p, 0.03),
    "AMSGrad": lambda p: torch.optim.Adam(p, 0.05, amsgrad=True),
    "AdamW": lambda p: torch.optim.AdamW(p, 0.03, weight_decay=0),
    "NAdam": lambda p: torch.optim.NAdam(p, 0.03),
    "RAdam": lambda p: torch.optim.RAdam(p, 0.06),
    "RMSprop": lambda p: torch.optim.RMSprop(p, 0.01, momentum=0.5),
    "centered": lambda p: torch.optim.RMSprop(p, 0.01, centered=True),
    "Adagrad": lambda p: torch.optim.Adagrad(p, 0.5, lr_decay=1e-4),
    "Adamax": lambda p: torch.optim.Adamax(p, 0.03),
}


def trained(
    penalty: Any, make: Callable[..., torch.optim.Optimizer], strength: float, steps: int = 1500
) -> np.ndarray:
    """Least squares by full batches, to the end."""
    torch.manual_seed(0)
    model = nn.Linear(12, 1, bias=False).double()
    st.penalize(model, "weight", penalty, strength)
    optimizer = make(model.parameters())
    st.ProximalStep(optimizer)
    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda t: (1 - t / steps) ** 1.5)
    x, y = torch.tensor(X), torch.tensor(Y)
    for _ in range(steps):
        optimizer.zero_grad()
        ((model(x)[:, 0] - y) ** 2).mean().div(2).backward()
        optimizer.step()
        schedule.step()
    return model.weight.detach().numpy()[0]


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_every_optimizer_ends_at_the_lasso(name: str) -> None:
    lasso = Lasso(STRENGTH, fit_intercept=False, tol=1e-12, max_iter=100_000).fit(X, Y).coef_
    assert 2 <= np.count_nonzero(lasso == 0) <= 10
    found = trained("l1", OPTIMIZERS[name], STRENGTH)
    np.testing.assert_allclose(found, lasso, atol=2e-3)
    np.testing.assert_array_equal(found == 0, lasso == 0)


def test_an_adaptive_optimizer_ends_at_the_group_lasso() -> None:
    groups = np.arange(12) // 3
    penalty = sb.GroupLasso(groups)
    exact = sb.DesignedRegressor(penalty, STRENGTH, fit_intercept=False, tol=1e-10).fit(X, Y).coef_
    assert np.any(exact == 0)
    assert np.any(exact != 0)
    matrix = sb.GroupLasso(groups[None])
    found = trained(matrix, OPTIMIZERS["Adam"], STRENGTH)
    np.testing.assert_allclose(found, exact, atol=2e-3)
    np.testing.assert_array_equal(found == 0, exact == 0)


def test_the_other_metric_is_another_objective() -> None:
    """Adam's steps with the proximal map of 1/lr, as under an optimizer that is not known."""

    class Unknown(torch.optim.Optimizer):
        """Adam, as far as its steps go."""

        def __init__(self, params: Any) -> None:
            super().__init__(params, {"lr": 0.03, "weight_decay": 0.0})
            self.inner = torch.optim.Adam([p for g in self.param_groups for p in g["params"]], 0.03)

        def step(self, closure: Any = None) -> None:
            self.inner.param_groups[0]["lr"] = self.param_groups[0]["lr"]
            self.inner.step()

    lasso = Lasso(STRENGTH, fit_intercept=False, tol=1e-12, max_iter=100_000).fit(X, Y).coef_
    with pytest.warns(st.OtherObjective, match="the metric in which Unknown steps is not known"):
        found = trained("l1", Unknown, STRENGTH)
    assert np.linalg.norm(found - lasso) > 0.05 * np.linalg.norm(lasso)


def small() -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(5, 4), nn.ReLU(), nn.Linear(4, 3))


def go(model: nn.Module, optimizer: torch.optim.Optimizer, steps: int = 3) -> None:
    for _ in range(steps):
        optimizer.zero_grad()
        model(torch.randn(8, 5)).square().mean().backward()
        optimizer.step()


def test_what_was_penalised_and_why_not() -> None:
    model = small()
    st.apply(model, "2.weight", "l1")
    table = st.penalize(model, "*.weight", st.slices(1), 0.1)
    assert table.touched() == ["0.weight"]
    assert "0.1 * (" in table.rows[0].note
    assert "designed: weight decay on its factors is its penalty" in table.rows[1].note
    with pytest.raises(st.UnknownParameter, match=r"no parameter '0.wieght'.*0.weight"):
        st.penalize(model, "0.wieght", "l1", 0.1)
    with pytest.raises(st.Unreachable, match=r"TotalVariation is about combinations.*apply"):
        st.penalize(model, "0.weight", sb.TotalVariation(axis=0), 0.1)
    with pytest.raises(ValueError, match="strength"):
        st.penalize(model, "0.weight", "l1", -1.0)
    with pytest.raises(st.Unreachable, match="groups of one entry"):
        st.penalize(model, "0.weight", sb.GroupLasso(), 0.1)


@pytest.mark.parametrize("kind", [torch.optim.Adam, torch.optim.SGD])
def test_a_step_that_gradient_scaling_skips_is_none(kind: Any) -> None:
    model = small()
    st.penalize(model, "*.weight", "l1", 0.1)
    optimizer = kind(model.parameters(), lr=0.1, fused=True)
    st.ProximalStep(optimizer)
    before = model[0].weight.clone()
    scaler = torch.amp.GradScaler("cpu")
    scaler.scale(model(torch.ones(3, 5)).sum() * float("inf")).backward()
    scaler.step(optimizer)
    assert torch.equal(model[0].weight, before)


def test_a_second_proximal_step_takes_the_place_of_the_first() -> None:
    model = small()
    st.penalize(model, "0.weight", "l1", 1.0)
    optimizer = torch.optim.SGD(model.parameters(), 0.05)
    st.ProximalStep(optimizer)
    st.ProximalStep(optimizer)
    with torch.no_grad():
        model[0].weight.fill_(0.5)
    model[0].weight.grad = torch.zeros_like(model[0].weight)
    optimizer.step()
    torch.testing.assert_close(model[0].weight, torch.full((4, 5), 0.45))
    with pytest.raises(TypeError, match="scale must be a function of the step, got 0"):
        st.ProximalStep(optimizer, 0.5)


@pytest.mark.parametrize("penalty", ["l1", "lq", "nuclear", st.slices(1)])
def test_what_is_not_finite_stays_to_be_seen(penalty: Any) -> None:
    model = small()
    st.penalize(model, "0.weight", penalty, 1e-6)
    optimizer = torch.optim.SGD(model.parameters(), 0.05)
    st.ProximalStep(optimizer)
    model[0].weight.grad = torch.full_like(model[0].weight, float("nan"))
    optimizer.step()
    assert bool(model[0].weight.isnan().all())
    assert "it is not finite: training diverged" in str(st.report(model))


def test_a_second_penalty_takes_the_place_of_the_first() -> None:
    model = small()
    st.penalize(model, "0.weight", "l1", 0.1)
    table = st.penalize(model, "0.weight", st.slices(0), 0.2)
    assert "in place of 0.1 * (sum_i" in table.rows[0].note


def test_zeros_are_exact_and_a_strength_of_zero_ends_it() -> None:
    model = small()
    st.penalize(model, "0.weight", st.slices(0), 5.0)
    optimizer = torch.optim.AdamW(model.parameters(), 0.05, weight_decay=0)
    step = st.ProximalStep(optimizer)
    go(model, optimizer, 20)
    assert bool((model[0].weight == 0).all())
    st.penalize(model, "0.weight", st.slices(0), 0)
    model[0].weight.data.fill_(1.0)
    go(model, optimizer)
    assert bool((model[0].weight != 0).all())
    step.remove()


def test_it_is_said_where_no_proximal_step_is_taken() -> None:
    model = small()
    st.penalize(model, "0.weight", "l1", 0.1)
    optimizer = torch.optim.SGD(model.parameters(), 0.1)
    said = r"'0.weight' is penalised.*ProximalStep\(optimizer"
    with pytest.warns(st.NoProximalStep, match=said) as told:
        go(model, optimizer, 4)
    assert [w.filename for w in told] == [__file__]  # the line that trains
    with pytest.raises(ValueError, match="SGD holds no penalised weight"):
        st.ProximalStep(torch.optim.SGD(model[2].parameters(), 0.1))
    with pytest.raises(ValueError, match="SGD maximises"):
        st.ProximalStep(torch.optim.SGD(model.parameters(), 0.1, maximize=True))


def test_what_breaks_the_promise_is_warned_of_or_refused() -> None:
    model = small()
    st.penalize(model, "0.weight", "l1", 0.1)
    with pytest.warns(st.OtherObjective, match="AdamW decays the penalised '0.weight' beside"):
        st.ProximalStep(torch.optim.AdamW(model.parameters(), 0.1))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        st.ProximalStep(torch.optim.Adam(model.parameters(), 0.1, weight_decay=0.1))
    st.penalize(model, "0.weight", "nuclear", 0.1)
    with pytest.raises(sb.Refused, match=r"'0.weight': the proximal map of .* one step size only"):
        st.ProximalStep(torch.optim.Adam(model.parameters(), 0.1))
    st.ProximalStep(torch.optim.SGD(model.parameters(), 0.1))


def test_half_precision_frozen_weights_and_skipped_steps() -> None:
    model = small().to(torch.bfloat16)
    st.penalize(model, "*.weight", "l1", 3.0)
    model[2].weight.requires_grad_(False)
    kept = model[2].weight.clone()
    optimizer = torch.optim.Adam(model.parameters(), 0.05)
    st.ProximalStep(optimizer)
    for _ in range(30):
        optimizer.zero_grad()
        model(torch.randn(8, 5, dtype=torch.bfloat16)).square().mean().backward()
        optimizer.step()
    assert bool((model[0].weight == 0).any())
    assert torch.equal(model[2].weight, kept)


def test_penalties_die_with_their_weights() -> None:
    from symbias.torch.proximal.penalizing import _penalized

    gc.collect()
    before = len(_penalized)
    model = small()
    st.penalize(model, "*.weight", "l1", 0.1)
    assert len(_penalized) == before + 2
    del model
    gc.collect()
    assert len(_penalized) == before


def test_a_warm_up_scales_all_strengths_and_is_resumed() -> None:
    model, twin = small(), small()
    steps = []
    for net in (model, twin):
        st.penalize(net, "0.weight", "l1", 0.3)
        optimizer = torch.optim.Adam(net.parameters(), 0.05)
        steps.append((optimizer, st.ProximalStep(optimizer, lambda step: float(step >= 3))))
    torch.manual_seed(1)
    go(model, steps[0][0], 3)
    assert bool((model[0].weight != 0).all())
    go(model, steps[0][0], 3)
    torch.manual_seed(1)
    go(twin, steps[1][0], 3)
    saved = steps[1][1].state_dict()
    steps[1][1].remove()
    again = st.ProximalStep(steps[1][0], lambda step: float(step >= 3))
    again.load_state_dict(saved)
    go(twin, steps[1][0], 3)
    assert bool((model[0].weight == 0).any())
    assert torch.equal(model[0].weight, twin[0].weight)


@pytest.mark.parametrize("penalty", ["l1", st.slices(1)])
@pytest.mark.parametrize("kind", [torch.optim.Adam, torch.optim.SGD])
def test_a_learning_rate_of_zero_moves_nothing(kind: Any, penalty: Any) -> None:
    """As a warm-up begins with."""
    model = small()
    st.penalize(model, "0.weight", penalty, 0.1)
    optimizer = kind(model.parameters(), lr=0.0)
    st.ProximalStep(optimizer)
    before = model[0].weight.clone()
    go(model, optimizer)
    assert torch.equal(model[0].weight, before)
