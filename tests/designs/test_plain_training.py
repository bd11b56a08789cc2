"""A plain training loop on a design ends where the convex problem does."""

import numpy as np
import pytest

import symbias as sb


@pytest.mark.parametrize("penalty", [pytest.param("tv", marks=pytest.mark.slow), "group"])
def test_torch_sgd_with_weight_decay_solves_the_penalised_problem(penalty: str) -> None:
    import torch

    rng = np.random.default_rng(0)
    n, strength = 12, 0.02
    y = np.repeat([0.0, 2.0, 1.0], 4) + 0.1 * rng.normal(size=n)
    wish = sb.GroupLasso(4) if penalty == "group" else penalty
    p = sb.design(wish, sb.WeightDecay(strength), shape=n)
    theta = p.section(torch.zeros(n, dtype=torch.float64), charge=0.1)
    groups = [
        {"params": [theta[k].requires_grad_() for k in theta if k not in p.free],
         "weight_decay": strength},
        {"params": [theta[k].requires_grad_() for k in theta if k in p.free]},
    ]  # fmt: skip
    optimizer = torch.optim.SGD([g for g in groups if g["params"]], lr=0.1, momentum=0.95)
    target = torch.asarray(y)
    for _ in range(6000):
        optimizer.zero_grad()
        ((p(theta) - target) ** 2).mean().div(2).backward()
        optimizer.step()
    trained = p(theta).detach().numpy()
    model = sb.DesignedRegressor(wish, strength, fit_intercept=False).fit(np.eye(n), y)
    np.testing.assert_allclose(trained, model.coef_, atol=1e-5)
