"""Random input of a block of steps, drawn ahead.

Step t of a replica uses ``fold_in(stream, t)`` with t counted from the start of training, so a
trajectory does not depend on how steps are grouped into blocks, records or sessions.
"""

import jax
import jax.numpy as jnp

from symbias.dynamics.problem import Array, Batch, Problem

INITIAL, STEPS, EPOCHS = range(3)  # independent streams of a replica's key


def stream(key: Array, which: int) -> Array:
    """One of the independent random streams of a replica."""
    return jax.random.fold_in(key, which)


def step_keys(key: Array, steps: Array) -> Array:
    """One key for each absolute step number."""
    base = stream(key, STEPS)
    return jax.vmap(lambda t: jax.random.fold_in(base, t))(steps)


def draw_batches(
    problem: Problem,
    data: Batch,
    key: Array,
    steps: Array,
    *,
    batch_size: int | None,
    replace: bool,
    label_noise: float,
    sign: Array,
) -> Batch:
    """Batches for consecutive `steps`, stacked along axis 0; None where every step sees all data.

    `sign` (+1 or -1) multiplies the label noise: antithetic replicas differ in it alone.
    """
    keys = step_keys(key, steps)
    if problem.sampler is not None:
        sampler = problem.sampler
        batch = jax.vmap(lambda k: sampler(k, batch_size or 1))(keys)
    elif data is None:
        return None
    elif batch_size is None:
        if label_noise == 0:
            return None
        batch = jax.tree.map(lambda a: jnp.broadcast_to(a, (len(steps), *a.shape)), data)
    else:
        samples = data[1].shape[0]
        if replace:
            rows = jax.vmap(lambda k: jax.random.randint(k, (batch_size,), 0, samples))(keys)
        else:
            rows = _reshuffled(key, steps, samples, batch_size)
        batch = (data[0][rows], data[1][rows])
    if label_noise == 0:
        return batch
    x, y = batch
    noise = jax.vmap(lambda k: jax.random.normal(stream(k, 1), y.shape[1:], y.dtype))(keys)
    return x, y + label_noise * sign.astype(y.dtype) * noise


def _reshuffled(key: Array, steps: Array, samples: int, batch_size: int) -> Array:
    """Rows of each step when every epoch goes through a new permutation (the rest is dropped)."""
    per_epoch = samples // batch_size
    first = steps[0] // per_epoch
    epochs = first + jnp.arange((len(steps) - 1) // per_epoch + 2, dtype=steps.dtype)
    base = stream(key, EPOCHS)
    orders = jax.vmap(lambda e: jax.random.permutation(jax.random.fold_in(base, e), samples))(
        epochs
    )
    batches = orders[:, : per_epoch * batch_size].reshape(-1, batch_size)
    return batches[steps - first * per_epoch]
