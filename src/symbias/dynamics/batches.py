"""Random input of a block of steps, drawn ahead.

Step t of a replica uses ``fold_in(stream, t)`` with t counted from the start of training, so a
trajectory does not depend on how steps are grouped into blocks, records or sessions, up to
rounding: draws are the same, but arrays of another length may be summed in another order.

Whatever a step draws has a child of that key to itself, and a sampler is given its own child alone:
splitting it or folding into it leads to no key that anything else draws from. (In JAX
``split(k)[i]`` is ``fold_in(k, i)``: siblings are apart, a parent's draws are not.)
"""

import jax
import jax.numpy as jnp

from symbias.dynamics.problem import Array, Batch, Problem

INITIAL, TRAINING = range(2)  # children of a replica's key
STEPS, EPOCHS = range(2)  # children of the key of its training
INPUTS, ROWS, LABELS, KICK, ACCEPTANCE = range(5)  # children of the key of a step


def stream(key: Array, which: int) -> Array:
    """A child of a key: independent of its other children."""
    return jax.random.fold_in(key, which)


def step_keys(key: Array, steps: Array, which: int) -> Array:
    """For each absolute step number, the key of one of the things that a step draws."""
    base = stream(key, STEPS)
    return jax.vmap(lambda t: stream(jax.random.fold_in(base, t), which))(steps)


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

    `key` is that of a replica's training. `sign` (+1 or -1) multiplies the label noise: antithetic
    replicas differ in it alone.
    """
    if problem.sampler is not None:
        sampler = problem.sampler
        keys = step_keys(key, steps, INPUTS)
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
            keys = step_keys(key, steps, ROWS)
            rows = jax.vmap(lambda k: jax.random.randint(k, (batch_size,), 0, samples))(keys)
        else:
            rows = _reshuffled(key, steps, samples, batch_size)
        batch = (data[0][rows], data[1][rows])
    if label_noise == 0:
        return batch
    x, y = batch
    keys = step_keys(key, steps, LABELS)
    noise = jax.vmap(lambda k: jax.random.normal(k, y.shape[1:], y.dtype))(keys)
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
