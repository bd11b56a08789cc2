"""Normalised descent and the logistic loss: by hand, by definition, and resumed."""

from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import symbias as sb
from symbias.dynamics import SGD, NormalizedDescent, Problem, simulate

RNG = np.random.default_rng(0)
X = RNG.normal(size=(9, 4))
Y = np.where(X[:, 0] > 0, 1.0, -1.0)
START = {"u": np.array([0.3, -0.1, 0.2, 0.5]), "v": np.array([0.1, 0.4, -0.3, 0.2])}


def product(theta, x):
    return x @ (theta["u"] * theta["v"])


def problem(**options) -> Problem:
    return Problem(product, START, sb.log_logistic_loss, data=(X, Y), **options)


def go(steps: int, **options):
    rule = options.pop("rule", NormalizedDescent(0.3, 2))
    return simulate(problem(), rule, steps=steps, progress=False, **options)


# the loss


def test_the_logistic_loss_by_definition() -> None:
    with jax.enable_x64(True):
        f = jnp.asarray(RNG.normal(size=9))
        wanted = np.mean(np.log(1 + np.exp(-Y * np.asarray(f))))
        assert float(sb.logistic_loss(f, jnp.asarray(Y))) == pytest.approx(wanted, rel=1e-13)
        scores, own = RNG.normal(size=(9, 3)), RNG.integers(0, 3, 9)
        shares = np.exp(scores) / np.exp(scores).sum(axis=1, keepdims=True)
        entropy = -np.mean(np.log(shares[np.arange(9), own]))
        found = sb.logistic_loss(jnp.asarray(scores), jnp.asarray(own))
        assert float(found) == pytest.approx(entropy, rel=1e-12)


@pytest.mark.parametrize("size", [1e-3, 1.0, 20.0])
def test_its_logarithm_and_gradient_are_those_of_the_loss(size: float) -> None:
    with jax.enable_x64(True):
        f, y = jnp.asarray(size * Y * np.linspace(0.1, 1, 9)), jnp.asarray(Y)
        loss, slope = jax.value_and_grad(sb.logistic_loss)(f, y)
        log, log_slope = jax.value_and_grad(sb.log_logistic_loss)(f, y)
        assert float(log) == pytest.approx(float(np.log(loss)), rel=1e-10)
        np.testing.assert_allclose(log_slope, slope / loss, rtol=1e-8)


def test_its_logarithm_goes_on_where_the_loss_underflows() -> None:
    with jax.enable_x64(True):
        f, y = jnp.array([1e4, 1e4 + 1]), jnp.ones(2)
        value, slope = jax.value_and_grad(sb.log_logistic_loss)(f, y)
        assert float(value) == pytest.approx(-1e4 + np.log((1 + np.exp(-1)) / 2))
        np.testing.assert_allclose(slope, -np.array([1, np.exp(-1)]) / (1 + np.exp(-1)))
        wrong = sb.log_logistic_loss(-f, y)
        assert float(wrong) == pytest.approx(np.log(1e4 + 0.5))


@pytest.mark.parametrize(
    ("f", "y", "message"),
    [
        (np.ones((4, 1)), np.ones((4, 1)), "do not fit"),
        (np.ones(4), np.ones(3), "do not fit"),
        (np.ones((4, 3)), np.ones(4), "must be integers"),
    ],
)
def test_targets_that_do_not_fit(f, y, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        sb.logistic_loss(jnp.asarray(f), jnp.asarray(y))


# the rule


def test_three_steps_by_hand() -> None:
    """theta itself is moved, with its length; the run holds theta / |theta|."""
    with jax.enable_x64(True):
        gradient = jax.grad(lambda t: sb.log_logistic_loss(product(t, X), jnp.asarray(Y)))
        theta = {k: jnp.asarray(v) for k, v in START.items()}
        for k in (1, 2, 3):
            grad = gradient(theta)
            size = np.sqrt(sum(float(jnp.sum(v**2)) for v in theta.values()))
            length = np.sqrt(sum(float(jnp.sum(v**2)) for v in grad.values()))
            theta = {n: theta[n] - 0.3 / np.sqrt(k) * size / length * grad[n] for n in theta}
        size = np.sqrt(sum(float(jnp.sum(v**2)) for v in theta.values()))
        wanted = {name: np.asarray(v) / size for name, v in theta.items()}
    for name, found in go(3).final.items():
        np.testing.assert_allclose(found[0], wanted[name], rtol=1e-12)


def test_a_long_run_does_not_overflow() -> None:
    run = go(20_000, observe={"margin": lambda t: jnp.min(Y * product(t, X))}, every=1000)
    assert run.diverged[0] == -1
    assert np.all(np.diff(run.trace.margin[0, 2:]) > -1e-3)
    assert sum(float(np.sum(a**2)) for a in run.final.values()) == pytest.approx(1)


@pytest.mark.slow
def test_a_run_that_is_extended_is_the_long_one(tmp_path: Path) -> None:
    """The number of steps and log|theta| are part of the state."""
    for steps in (100, 300):
        run = go(steps, path=tmp_path / "run", every=50)
    for name, a in go(300, every=50).final.items():
        np.testing.assert_array_equal(run.final[name], a)


def test_the_length_of_the_start_counts_and_its_direction_too() -> None:
    """From a long start the smallest margin alone pulls, from a short one all samples do."""
    finals = []
    for scale in (1e-3, 1.0, 1e3):
        params = {k: scale * v for k, v in START.items()}
        one = Problem(product, params, sb.log_logistic_loss, data=(X, Y))
        run = simulate(one, NormalizedDescent(0.3, 2), steps=1, progress=False)
        finals.append(np.concatenate([a[0] for a in run.final.values()]))
    assert np.linalg.norm(finals[0] - finals[1]) > 1e-3
    assert np.linalg.norm(finals[2] - finals[1]) > 1e-3


def test_other_degrees_and_problems_are_refused() -> None:
    with pytest.raises(ValueError, match="not homogeneous of degree 3"):
        go(1, rule=NormalizedDescent(0.3, 3))
    free = Problem(lambda t: jnp.sum(t["u"]), {"u": np.ones(2)}, loss=lambda w: w)
    with pytest.raises(ValueError, match="give data"):
        simulate(free, NormalizedDescent(), steps=1, progress=False)
    with pytest.raises(ValueError, match="learning_rate must be positive"):
        NormalizedDescent(0.0)
    with pytest.raises(ValueError, match="degree must be positive"):
        NormalizedDescent(0.3, -1)


def test_plain_descent_goes_there_too_but_slowly() -> None:
    """w(t) grows by the margin's w for every factor e in t (Soudry et al. 2018)."""
    data = X, Y
    plain = Problem(lambda t, x: x @ t["w"], {"w": np.zeros(4)}, sb.logistic_loss, data=data)
    run = simulate(
        plain, SGD(0.5), steps=100_000, every=10_000, observe={"w": lambda t: t["w"]},
        progress=False,
    )  # fmt: skip
    wanted = sb.MaxMargin().direction(sb.Plain(4), X, Y).w
    w = run.trace.w[0]
    growth = (w.sel(step=100_000) - w.sel(step=10_000)).values / np.log(10)
    assert np.linalg.norm(growth - wanted) < 0.1 * np.linalg.norm(wanted)
