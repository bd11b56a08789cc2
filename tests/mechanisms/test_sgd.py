"""Charge drift, equilibrium gauge and relaxation time of SGD."""

from dataclasses import replace
from itertools import pairwise
from operator import itemgetter

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
import torch

from symbias.dynamics import SGD, Optax, Problem, simulate
from symbias.mechanisms import (
    Langevin,
    charge_drift,
    equilibrium,
    expected_charge_drift,
    relaxation_time,
)
from symbias.symmetry import (
    Bond,
    ComplexScaling,
    Rescaling,
    Symmetry,
    Translation,
    UniformScale,
    act,
    charges,
    random_element,
)
from tests.symmetry.architectures import NETWORKS


def training(name: str) -> Problem:
    """A network at random parameters, on random targets."""
    net, rng = NETWORKS[name](), np.random.default_rng(0)
    params = {k: 0.5 * rng.normal(size=shape) for k, shape in net.shapes.items()}
    targets = rng.normal(size=net.predict(params, net.inputs).shape)
    data = (net.inputs, targets)
    return Problem(predict=net.predict, params=params, data=data, symmetry=net.symmetry)


NAMES = ("relu_deep_biased", "attention_shared_keys", "deep_linear_full", "normalised_weights")
CASES = {name: training(name) for name in NAMES}


LONG = ("relu_deep_biased", "attention_shared_keys")
every_net = pytest.mark.parametrize(
    "problem",
    [pytest.param(case, id=n, marks=[pytest.mark.slow] * (n in LONG)) for n, case in CASES.items()],
)
coupled = pytest.mark.parametrize("problem", [CASES["deep_linear_full"]], ids=["deep_linear_full"])


@every_net
def test_one_step_identity(problem: Problem) -> None:
    """Exact to rounding, weight decay included, for every bond, along several steps."""
    rule, steps = SGD(0.05, weight_decay=0.1), 3
    observe = {name: itemgetter(name) for name in problem.params}
    run = simulate(problem, rule, steps=steps, every=1, observe=observe, progress=False)
    path = [{k: run.trace[k][0, t].values for k in problem.params} for t in range(steps + 1)]
    for params, after in pairwise(path):
        with jax.enable_x64(True):
            gradient = jax.grad(problem.objective)(params, problem.data)
        grads = {k: np.asarray(v) for k, v in gradient.items()}
        options = {"learning_rate": 0.05, "weight_decay": 0.1}
        drift = charge_drift(problem.symmetry, params, grads, **options)
        old, new = charges(problem.symmetry, params), charges(problem.symmetry, after)
        for bond in problem.symmetry:
            size = sum(float(np.sum(params[name] ** 2)) for name in bond.arrays)
            error = np.max(np.abs(new[bond.name] - old[bond.name] - drift[bond.name]))
            assert error < 1e-12 * size


def test_identity_in_other_libraries() -> None:
    problem = CASES["deep_linear_full"]
    grads = {k: 0.1 * v[::-1].copy() for k, v in problem.params.items()}
    options = {"learning_rate": 0.1, "weight_decay": 0.3}
    ours = charge_drift(problem.symmetry, problem.params, grads, **options)
    as_torch = [{k: torch.tensor(v) for k, v in d.items()} for d in (problem.params, grads)]
    theirs = charge_drift(problem.symmetry, *as_torch, **options)
    for name, drift in ours.items():
        assert isinstance(theirs[name], torch.Tensor)
        np.testing.assert_allclose(theirs[name], drift, rtol=1e-12)


def test_translations_drift_by_decay_alone() -> None:
    symmetry = Symmetry([Bond(Translation(3), vectors=[("b", 0)], name="dead")])
    b, zero = {"b": np.array([1.0, -2.0, 3.0])}, {"b": np.zeros(3)}
    drift = charge_drift(symmetry, b, zero, learning_rate=0.1, weight_decay=0.5)
    np.testing.assert_allclose(drift["dead"], -0.05 * b["b"], rtol=1e-14)


@pytest.mark.slow
def test_expected_drift_is_the_mean_over_replicas() -> None:
    """2,048 replicas of one step against 2,048 other minibatches: within 5 standard errors."""
    problem = CASES["deep_linear_full"]
    rule = SGD(0.05, 2, weight_decay=0.1, label_noise=1.0)
    run = simulate(problem, rule, steps=1, replicas=2048, key=1, progress=False)
    with jax.enable_x64(True):
        after = jax.vmap(lambda p: charges(problem.symmetry, p))(run.final)
    before = charges(problem.symmetry, problem.params)
    expected = expected_charge_drift(problem, problem.params, rule, key=2, batches=2048)
    for name, drift in expected.items():
        change = np.asarray(after[name]) - before[name]
        error = change.std(axis=0) * np.sqrt(2 / 2048)
        assert (np.abs(change.mean(axis=0) - drift) < 5 * error).all()
        assert (np.abs(change.mean(axis=0)) > 20 * error).any()  # there is something to predict


def noisy_rule(weight_decay: float = 0.02) -> SGD:
    return SGD(0.05, 4, weight_decay=weight_decay, label_noise=0.5)


@every_net
def test_drift_vanishes_at_equilibrium(problem: Problem) -> None:
    """Coupled bonds too. The same minibatches make the check exact."""
    rule = noisy_rule()
    settled = equilibrium(problem, problem.params, rule, key=3, batches=256)
    drift = expected_charge_drift(problem, settled, rule, key=3, batches=256)
    start = expected_charge_drift(problem, problem.params, rule, key=3, batches=256)
    for name in drift:
        assert np.abs(drift[name]).max() < 1e-7 * np.abs(start[name]).max()
    x = problem.data[0]
    before = np.asarray(problem.predict(problem.params, x))
    single = 1e-7 * np.abs(before).max()  # the prediction is in single precision
    np.testing.assert_allclose(problem.predict(settled, x), before, rtol=2e-4, atol=single)


@coupled
def test_equilibrium_does_not_depend_on_where_in_the_orbit_one_starts(problem: Problem) -> None:
    rule = noisy_rule()
    moved = act(problem.symmetry, random_element(problem.symmetry, 0, 0.3), problem.params)
    a, b = (equilibrium(problem, p, rule, key=3, batches=256) for p in (problem.params, moved))
    for name, array in a.items():
        np.testing.assert_allclose(np.sum(b[name] ** 2), np.sum(array**2), rtol=1e-6)


@pytest.mark.slow
@coupled
def test_equilibrium_minimises_decay_plus_noise(problem: Problem) -> None:
    """2 lam' |theta|^2 + eta E|G|^2 is least there among its neighbours on the orbit."""
    rule = noisy_rule()
    lam = rule.weight_decay * (1 - rule.learning_rate * rule.weight_decay / 2)
    names = problem.symmetry.arrays

    def cost(params) -> float:
        key, steps = jax.random.split(jax.random.key(3), 1)[0], jnp.arange(64, dtype=jnp.uint32)
        with jax.enable_x64(True):
            batches = rule.draw(problem, problem.data, key, steps, jnp.int32(1))
            grads = jax.vmap(lambda b: jax.grad(problem.objective)(params, b))(batches)
        noise = sum(np.mean(np.sum(np.square(grads[k]).reshape(64, -1), axis=1)) for k in names)
        return 2 * lam * sum(np.sum(params[k] ** 2) for k in names) + rule.learning_rate * noise

    settled = equilibrium(problem, problem.params, rule, key=3, batches=64)
    least = cost(settled)
    for seed in range(4):
        element = random_element(problem.symmetry, seed, 0.05)
        assert cost(act(problem.symmetry, element, settled)) > least
    assert cost(problem.params) > least


def rotary() -> tuple[Problem, Symmetry]:
    """Two planes whose complex products only matter."""
    angles = np.random.default_rng(0).normal(size=(12, 2))

    def predict(p, x):
        q, k = (p[name].reshape(2, 2, 3) for name in ("q", "k"))
        turn = jnp.exp(1j * x)
        score = ((q[:, 0] + 1j * q[:, 1]) * (k[:, 0] - 1j * k[:, 1])).sum(-1)
        return (score * turn).real.sum(-1)

    bond = Bond(ComplexScaling(4), vectors=[("q", 0)], covectors=[("k", 0)], name="planes")
    rng = np.random.default_rng(1)
    params = {"q": 3 * rng.normal(size=(4, 3)), "k": rng.normal(size=(4, 3))}
    symmetry = Symmetry([bond])
    problem = Problem(
        predict=predict, params=params, data=(angles, rng.normal(size=12)), symmetry=symmetry
    )
    return problem, symmetry


def test_equilibrium_of_complex_scales() -> None:
    problem, _ = rotary()
    settled = equilibrium(problem, problem.params, noisy_rule(), key=3, batches=256)
    drift = expected_charge_drift(problem, settled, noisy_rule(), key=3, batches=256)
    start = expected_charge_drift(problem, problem.params, noisy_rule(), key=3, batches=256)
    assert np.abs(drift["planes"]).max() < 1e-7 * np.abs(start["planes"]).max()


@pytest.mark.slow
def test_relaxation_of_complex_scales_is_that_of_the_linearised_drift() -> None:
    """By finite differences: each plane's drift by its own charge, others held."""
    problem, symmetry = rotary()
    rule, draws = noisy_rule(), {"key": 3, "batches": 64}
    settled = equilibrium(problem, problem.params, rule, **draws)
    times = relaxation_time(problem, problem.params, rule, **draws)["planes"]
    assert times.shape == (2,)
    for k, plane in enumerate(symmetry.bonds[0].group.planes):
        q, d = [], []
        for step in (1e-5, -1e-5):
            g = np.eye(4)
            g[plane, plane] += step
            moved = act(symmetry, {"planes": g[None]}, settled)
            q.append(charges(symmetry, moved)["planes"][k])
            d.append(expected_charge_drift(problem, moved, rule, **draws)["planes"][k])
        assert times[k] == pytest.approx(-(q[0] - q[1]) / (d[0] - d[1]), rel=1e-4)


def hadamard(size: int = 3) -> Problem:
    rng = np.random.default_rng(0)
    bond = Bond(Rescaling(size), vectors=[("u", 0)], covectors=[("v", 0)], name="uv")
    x = rng.normal(size=(64, size))
    params = {"u": np.full(size, 2.0), "v": np.full(size, 0.5)}
    return Problem(
        predict=lambda p, x: (x * (p["u"] * p["v"])).sum(-1),
        params=params,
        data=(x, x.sum(-1)),
        symmetry=Symmetry([bond]),
    )


def test_scalar_formula_by_hand() -> None:
    """u v with label noise: C_u = v^2 c, C_v = u^2 c, so u^4 = v^4: balanced at any decay."""
    settled = equilibrium(hadamard(), hadamard().params, noisy_rule(0.1), batches=64)
    np.testing.assert_allclose(settled["u"], settled["v"], rtol=1e-9)
    np.testing.assert_allclose(settled["u"] * settled["v"], 1.0, rtol=1e-9)


@pytest.mark.slow
def test_relaxation_time_is_measured() -> None:
    """The charge of u v falls as exp(-t/time); start 2% off balance, 128 antithetic pairs.

    The decay over one relaxation time is known to 1% (standard error 0.3%).
    """
    problem = hadamard(1)
    problem = replace(problem, params={"u": np.array([1.02]), "v": np.array([1 / 1.02])})
    rule = SGD(0.01, 1, label_noise=0.3, weight_decay=1e-3)
    (time,) = relaxation_time(problem, problem.params, rule, batches=20_000)["uv"]
    by_hand = 1 / (
        2 * rule.learning_rate * rule.weight_decay
        + rule.learning_rate**2 * 0.09 * np.mean(problem.data[0] ** 2)
    )
    assert abs(time / by_hand - 1) < 0.05
    steps = round(float(time))
    run = simulate(problem, rule, steps=steps, replicas=256, antithetic=True, progress=False)
    charge = run.final["u"] ** 2 - run.final["v"] ** 2
    start = problem.params["u"] ** 2 - problem.params["v"] ** 2
    assert abs(charge.mean() / start.item() - np.exp(-1)) < 0.02


@pytest.mark.slow
def test_relaxation_of_a_matrix_bond_is_the_slowest_mode() -> None:
    """Against the linearised mean drift by finite differences, on all symmetric directions."""
    problem = CASES["deep_linear_full"]
    one = Symmetry([problem.symmetry.bonds[0]])
    problem, rule = replace(problem, symmetry=one), noisy_rule()
    settled = equilibrium(problem, problem.params, rule, key=3, batches=256)
    i, j = np.triu_indices(3)
    step, rows_q, rows_d = 1e-5, [], []
    for a, b in zip(i, j, strict=True):
        generator = np.zeros((1, 3, 3))
        generator[0, a, b] = generator[0, b, a] = step
        moved = [act(one, {"0": np.eye(3) + s * generator}, settled) for s in (1, -1)]
        q = [charges(one, m)["0"][i, j] for m in moved]
        d = [expected_charge_drift(problem, m, rule, key=3, batches=256)["0"][i, j] for m in moved]
        rows_q.append(q[0] - q[1])
        rows_d.append(d[0] - d[1])
    rates = -np.linalg.eigvals(np.linalg.solve(np.array(rows_q), np.array(rows_d))).real
    time = relaxation_time(problem, problem.params, rule, key=3, batches=256)["0"]
    np.testing.assert_allclose(1 / time, rates.min(), rtol=1e-3)


def test_snapshots_are_moved_together() -> None:
    problem, rule = hadamard(), noisy_rule()
    rng = np.random.default_rng(0)
    stack = {k: v + 0.1 * rng.normal(size=(5, 3)) for k, v in problem.params.items()}
    settled = equilibrium(problem, stack, rule, batches=64)
    np.testing.assert_allclose(settled["u"] * settled["v"], stack["u"] * stack["v"], rtol=1e-9)
    scales = settled["u"] / stack["u"]
    np.testing.assert_allclose(scales, scales[:1].repeat(5, 0), rtol=1e-9)


@pytest.mark.parametrize(
    ("rule", "message"),
    [
        (Optax(optax.adam(1e-3)), "Adam does not conserve charges"),
        (Optax(optax.rmsprop(1e-3)), "Rms does not conserve charges"),
        (Langevin(1.0), "not for Langevin"),
    ],
)
def test_other_rules_are_refused_by_name(rule, message: str) -> None:
    problem = hadamard()
    for question in (equilibrium, relaxation_time, expected_charge_drift):
        with pytest.raises(ValueError, match=message):
            question(problem, problem.params, rule)


def test_where_nothing_holds_a_direction_there_is_no_equilibrium() -> None:
    problem = CASES["normalised_weights"]
    with pytest.raises(ValueError, match="'norm' has no finite equilibrium"):
        equilibrium(problem, problem.params, SGD(0.1, 2), batches=16)
    dead = {**CASES["deep_linear_full"].params}
    dead["W0"], dead["W1"] = dead["W0"].copy(), dead["W1"].copy()
    dead["W0"][0], dead["W1"][:, 0] = 0, 0
    with pytest.raises(ValueError, match="'0' has no finite equilibrium"):
        equilibrium(CASES["deep_linear_full"], dead, noisy_rule(), batches=64)


def test_bad_input() -> None:
    problem = hadamard()
    with pytest.raises(ValueError, match="has no symmetry"):
        equilibrium(replace(problem, symmetry=None), problem.params, SGD(0.1))
    with pytest.raises(ValueError, match=r"params are \['u'\]"):
        equilibrium(problem, {"u": np.ones(3)}, SGD(0.1))
    with pytest.raises(ValueError, match="params have shapes"):
        equilibrium(problem, {"u": np.ones(4), "v": np.ones(4)}, SGD(0.1))
    with pytest.raises(ValueError, match="batches must be positive"):
        equilibrium(problem, problem.params, SGD(0.1), batches=0)


def test_compact_groups_and_translations_stay() -> None:
    from symbias.symmetry import Orthogonal

    symmetry = Symmetry([Bond(Orthogonal(3), vectors=[("u", 0)])])
    problem = replace(hadamard(), symmetry=symmetry)
    settled = equilibrium(problem, problem.params, SGD(0.1), batches=1)
    np.testing.assert_array_equal(settled["u"], problem.params["u"])
    assert relaxation_time(problem, problem.params, SGD(0.1), batches=1) == {}


def test_uniform_scale_by_hand() -> None:
    """|theta|^4 = eta E|g~|^2 / (2 lam'), g~ the gradient at unit norm."""
    problem = CASES["normalised_weights"]
    rule = SGD(0.1, weight_decay=0.05)  # full batch: no sampling error
    settled = equilibrium(problem, problem.params, rule)
    unit = problem.params["w"] / np.linalg.norm(problem.params["w"])
    with jax.enable_x64(True):
        g = np.asarray(jax.grad(problem.objective)({"w": unit}, problem.data)["w"])
    lam = 0.05 * (1 - 0.1 * 0.05 / 2)
    expected = (0.1 * np.sum(g**2) / (2 * lam)) ** 0.25
    np.testing.assert_allclose(np.linalg.norm(settled["w"]), expected, rtol=1e-9)
    assert isinstance(problem.symmetry.bonds[0].group, UniformScale)
