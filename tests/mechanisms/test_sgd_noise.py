"""SGD noise alone: what it does to the predictor where labels cannot be fitted."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import symbias as sb


@pytest.mark.slow
def test_minibatch_noise_moves_the_predictor_as_label_noise_of_the_residuals_would() -> None:
    """The shift of the mean of w = u v, for fixed labels and batches of one.

    Predicted by the penalty of label noise with r_i x_i for sigma x_i, held at the least-squares
    solution. Within 4 standard errors over 256 replicas (by chance beyond once in 8,000), where
    the shift itself is more than 8.
    """
    rng = np.random.default_rng(0)
    x = rng.normal(size=(16, 2)) * [1.2, 0.8]
    y = x @ np.array([1.0, -1.2]) + 0.8 * rng.normal(size=16)
    best = np.linalg.lstsq(x, y, rcond=None)[0]
    scaled = (y - x @ best)[:, None] * x
    rate, p = 0.01, sb.Hadamard(2)
    mechanism = sb.LabelNoise(1.0, rate, 1)
    slope = jax.grad(lambda w: mechanism.penalty(p, w, jnp.asarray(scaled, w.dtype)))
    predicted = -np.linalg.solve(x.T @ x / 16, np.asarray(slope(jnp.asarray(best))))
    start = {k: v.astype(np.float32) for k, v in p.section(best).items()}
    run = sb.simulate(
        sb.Problem(lambda t, x: jnp.sum(x * p(t), axis=-1), start, data=(x, y)),
        sb.SGD(rate, 1),
        steps=16_000,
        every=20,
        replicas=256,
        observe={"w": p},
        progress=False,
    )
    means = run.trace.w.sel(step=run.trace.step > 1000).mean("step").values - best
    error = means.std(axis=0, ddof=1) / 16
    assert (np.abs(means.mean(axis=0) - predicted) < 4 * error).all()
    assert (np.abs(means.mean(axis=0)) > 8 * error).all()
