"""The step of plain descent, against the dense Hessian in all factors."""

import numpy as np
import pytest

from symbias.training.descent import Descent
from symbias.training.products import Reduced


@pytest.mark.parametrize("power", [1, 2, 3])
def test_the_first_step_is_half_the_largest_stable_one(power: int) -> None:
    rng = np.random.default_rng(power)
    B, y, labels = rng.normal(size=(12, 6)), rng.normal(size=12), np.array([0, 1, 1, 2, 2, 2])
    u, t = rng.normal(size=6), 1 + rng.random(3)

    def gradient(flat: np.ndarray) -> np.ndarray:
        """Of 1/2 |y - B (u t_1 ... t_power)|^2 in u and all t, each for itself, by differences."""

        def loss(at: np.ndarray) -> float:
            scales = at[6:].reshape(power, 3)[:, labels]
            r = y - B @ (at[:6] * np.prod(scales, axis=0))
            return 0.5 * float(r @ r)

        h = 1e-4 * np.eye(len(flat))
        return np.array([(loss(flat + e) - loss(flat - e)) / 2e-4 for e in h])

    flat = np.concatenate([u, np.tile(t, power)])
    h = 1e-4 * np.eye(len(flat))
    hessian = np.array([(gradient(flat + e) - gradient(flat - e)) / 2e-4 for e in h])
    largest = np.abs(np.linalg.eigvalsh((hessian + hessian.T) / 2)).max()
    rate = Descent(Reduced(B, y, labels, power), 0.1, u, t)._rate
    assert rate == pytest.approx(2 / largest, rel=0.02)  # 30 power iterations


def test_after_an_overflow_it_starts_again_slower() -> None:
    problem = Reduced(np.eye(2), np.ones(2), np.arange(2), 1)
    training = Descent(problem, 0.1, np.full(2, 0.1), np.full(2, 0.1))
    training._stable_rate = lambda: 1e200  # type: ignore[method-assign]
    training._rate = 1e200
    training.advance(10)
    np.testing.assert_allclose(training.product(), 0.01)
    assert training.steps == 10
    assert training._rate == 0.25e200
