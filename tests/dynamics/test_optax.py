"""Transformations of optax that ask for more than a gradient."""

import logging

import numpy as np
import optax
import pytest

import symbias as sb
from symbias.dynamics.rules import Optax

X = np.random.default_rng(0).normal(size=(20, 3))
TRUTH = np.array([1.0, -1.0, 2.0])


def problem() -> sb.Problem:
    return sb.Problem(
        predict=lambda p, x: x @ p["w"], params={"w": np.zeros(3)}, data=(X, X @ TRUTH)
    )


@pytest.mark.parametrize(
    "transformation",
    [
        optax.lbfgs(),
        optax.polyak_sgd(),
        optax.chain(optax.sgd(1.0), optax.scale_by_backtracking_linesearch(15)),
        optax.chain(optax.sgd(0.3), optax.contrib.reduce_on_plateau()),
    ],
    ids=["lbfgs", "polyak", "line search", "plateau"],
)
def test_those_that_ask_for_the_loss_get_it(transformation: optax.GradientTransformation) -> None:
    run = sb.simulate(problem(), Optax(transformation), steps=100, progress=False)
    np.testing.assert_allclose(np.asarray(run.final["w"])[0], TRUTH, atol=1e-3)


def test_the_loss_is_that_of_the_same_batch() -> None:
    """Of one sample with a step as Polyak's, the step solves for that sample."""
    rule = Optax(optax.polyak_sgd(max_learning_rate=100.0), batch_size=1)
    once = sb.simulate(problem(), rule, steps=1, progress=False)
    w = np.asarray(once.final["w"])[0]
    # (w x - y)^2 / 2 = 0 takes twice Polyak's step: half of the residual is left
    assert np.min(np.abs(X @ w - X @ TRUTH / 2)) < 1e-9


def test_two_sets_of_parameters_are_refused(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.CRITICAL), pytest.raises(ValueError, match="slow and fast") as e:
        sb.simulate(problem(), Optax(optax.lookahead(optax.sgd(0.1), 5, 0.5)), steps=3)
    assert "\n" not in str(e.value)
