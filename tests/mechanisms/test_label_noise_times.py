"""When label noise has settled, what momentum makes of it, and steps that are too large."""

import jax.numpy as jnp
import numpy as np
import pytest

import symbias as sb
from symbias.studies.verification import check_label_noise


@pytest.mark.parametrize("momentum", [pytest.param(0.0, marks=pytest.mark.slow), 0.8])
def test_each_entry_settles_in_its_own_time(momentum: float) -> None:
    """Charges of u v after one time of the first entry, a quarter of the second one's.

    128 antithetic pairs, whose mean charge has a standard error below 1% of its start.
    """
    x = np.kron(np.diag([1.0, 0.5]), np.array([[1.0], [-1.0]])) * np.sqrt(2)  # S = 1 and 1/4
    p = sb.Hadamard(2)
    start = {k: v.astype(np.float32) for k, v in p.section(np.ones(2), charge=0.3).items()}
    mechanism = sb.LabelNoise(1.0, 0.03 * (1 - momentum), momentum=momentum)
    times = mechanism.relaxation_time(x)
    np.testing.assert_allclose(times, 4 / (0.03**2 * np.array([1, 0.25])), rtol=1e-12)
    run = sb.simulate(
        sb.Problem(lambda t, x: jnp.sum(x * p(t), axis=-1), start, data=(x, x.sum(1))),
        sb.SGD(mechanism.learning_rate, label_noise=1.0, momentum=momentum),
        steps=round(times[0]),
        replicas=256,
        antithetic=True,
        progress=False,
    )
    (u, v), begin = run.final.values(), list(start.values())
    left = (u**2 - v**2).mean(axis=0) / (begin[0] ** 2 - begin[1] ** 2)
    np.testing.assert_allclose(left, np.exp([-1, -0.25]), atol=0.03)


@pytest.mark.slow
def test_the_shift_under_momentum_is_that_of_a_larger_rate() -> None:
    """By simulation: 2% and three standard errors; without 1/(1 - beta) it is off ten-fold."""
    found = check_label_noise(sb.Hadamard(2), momentum=0.9, relaxations=60)
    assert found.verdict == "verified"
    assert found.bound < 0.2
    plain, heavy = sb.LabelNoise(0.5, 0.1, 8), sb.LabelNoise(0.5, 0.1, 8, momentum=0.9)
    assert heavy.scale == pytest.approx(10 * plain.scale)
    w, inputs = np.ones(2), np.eye(2)
    assert heavy.penalty(sb.Hadamard(2), w, inputs) == pytest.approx(
        10 * plain.penalty(sb.Hadamard(2), w, inputs)
    )


@pytest.mark.parametrize("rate", [5.0, 100.0])
def test_steps_that_are_too_large_are_refused_in_one_line(rate: float) -> None:
    with pytest.raises(ValueError, match=f"learning_rate {rate:g} is too large") as caught:
        sb.verify("l1", sb.LabelNoise(0.3, rate, 8), shape=4)
    assert "\n" not in str(caught.value)


def test_bad_numbers() -> None:
    with pytest.raises(ValueError, match=r"momentum must be in \[0, 1\)"):
        sb.LabelNoise(1.0, 0.1, momentum=1.0)
    with pytest.raises(ValueError, match="inputs have shape"):
        sb.LabelNoise(1.0, 0.1).relaxation_time(np.ones(3))
