"""Whatever a step draws is independent of what user code draws from the keys it is given."""

from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from symbias.dynamics import SGD, Langevin, Problem, as_key, batches, simulate

STEPS = jnp.arange(4000, dtype=jnp.uint32)
ROOT = jax.random.key(5)


def descendants(key):
    """The key itself, and what splitting and folding make of it, two generations deep."""
    first = [*jax.random.split(key, 6), *(jax.random.fold_in(key, i) for i in range(6))]
    second = [jax.random.fold_in(k, i) for k in first[:3] for i in range(3)]
    return jnp.stack([key, *first, *second])


def inputs(key, size):
    return jax.vmap(lambda k: jax.random.normal(k, (size,)))(descendants(key)).T


def sampler(key, size):
    return inputs(key, size), jnp.zeros(size)


FRESH = Problem(
    predict=lambda p, x: x @ p["w"], params={"w": np.zeros(22, np.float32)}, sampler=sampler
)


def test_label_noise_is_none_of_the_sampler_s_draws() -> None:
    """22 correlations of 4,000 pairs beyond 6 standard errors: once in 20 million."""
    x, y = SGD(0.1, 1, label_noise=1.0).draw(FRESH, None, ROOT, STEPS, jnp.int32(1))
    x, y = np.asarray(x)[:, 0], np.asarray(y)[:, 0]
    assert abs(y.std() - 1) < 0.1
    assert np.abs([np.corrcoef(column, y)[0, 1] for column in x.T]).max() < 6 / np.sqrt(4000)


@pytest.mark.parametrize("child", [None, 0, 1, 2])
def test_the_variance_of_a_regression_does_not_depend_on_the_sampler_s_key(child) -> None:
    """Labels independent of inputs: E w^2 -> (1 - 2 eta + 3 eta^2) E w^2 + eta^2, from 0.

    4,000 replicas: 6 standard errors are 13%; a shared draw makes it 1.9 times as large.
    """

    def one(key, size):
        key = key if child is None else jax.random.split(key, 3)[child]
        return jax.random.normal(key, (size,)), jnp.zeros(size)

    problem = Problem(
        predict=lambda p, x: x * p["w"], params={"w": np.zeros((), np.float32)}, sampler=one
    )
    rule = SGD(0.02, 1, label_noise=1.0)
    run = simulate(problem, rule, steps=100, replicas=4000, progress=False)
    rate = 2 * 0.02 - 3 * 0.02**2
    expected = 0.02**2 / rate * (1 - (1 - rate) ** 100)
    assert abs(np.mean(run.final["w"] ** 2) / expected - 1) < 0.13


def test_rows_label_noise_and_starts_are_apart() -> None:
    """Rows of a batch against label noise, and Langevin kicks against a start (as above)."""
    problem = Problem(
        predict=lambda p, x: x * p["w"],
        params={"w": np.zeros((), np.float32)},
        data=(np.arange(2.0),) * 2,
    )
    x, y = SGD(0.1, 1, label_noise=1.0).draw(
        problem, (jnp.arange(2.0),) * 2, ROOT, STEPS, jnp.int32(1)
    )
    assert abs(np.corrcoef(x[:, 0], (y - x)[:, 0])[0, 1]) < 6 / np.sqrt(4000)
    wide = Problem(predict=lambda p: p["z"], params={"z": np.zeros(4000, np.float32)}, loss=jnp.sum)
    kicks, uniform = Langevin(1.0, orbital=1.0).draw(
        wide, None, batches.stream(ROOT, batches.TRAINING), STEPS[:2], jnp.int32(1)
    )
    start = jax.random.normal(batches.stream(ROOT, batches.INITIAL), (4000,))
    seen = np.corrcoef(np.stack([*kicks["z"], start]))
    assert np.abs(seen - np.eye(3)).max() < 6 / np.sqrt(4000)
    assert uniform.shape == (2,)


def test_runs_of_another_stream_of_keys_are_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def go() -> None:
        problem = Problem(predict=FRESH.predict, params=FRESH.params, sampler=sampler)
        simulate(problem, SGD(0.1, 1), steps=4, path=tmp_path / "run", progress=False)

    def shared(key, steps, which):
        return jax.vmap(lambda t: jax.random.fold_in(key, t))(steps)

    with monkeypatch.context() as old:
        old.setattr(batches, "step_keys", shared)  # the sampler gets the key of the step itself
        go()
    with pytest.raises(ValueError, match=r"holds another run \(the functions of the problem"):
        go()


def test_seeds_have_64_bits() -> None:
    words = {s: tuple(jax.random.key_data(as_key(s)).tolist()) for s in (0, 1, 2**32, 2**40)}
    assert len(set(words.values())) == 4
    assert words[1] == tuple(jax.random.key_data(jax.random.key(1)).tolist())
    for seed in (-1, 2**64):
        with pytest.raises(ValueError, match=r"a seed lies between 0 and 2\*\*64 - 1"):
            as_key(seed)
