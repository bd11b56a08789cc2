"""What is wrong with a run, said before it is begun."""

import re
from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from symbias._core.jax_only import written_in_jax
from symbias.dynamics.engine import start
from symbias.dynamics.problem import Array, Batch, Params, Problem
from symbias.dynamics.rules import Rule


def positive_integer(name: str, value: Any) -> int:
    if not isinstance(value, int | np.integer) or value < 1:
        raise ValueError(f"{name} must be a positive integer, got {value!r}")
    return int(value)


def check_shapes(problem: Problem, rule: Rule, data: Batch) -> None:
    """Trace one step on abstract values, so that mistakes show before the run."""

    def one(data: Batch) -> tuple[Array, Params]:
        replica = start(problem, rule, jax.random.key(0), jnp.uint32(0), False)
        key = jax.random.key(0)
        noise = rule.draw(problem, data, key, jnp.zeros((1,), jnp.uint32), replica.sign)
        first = jax.tree.map(lambda v: v[0], noise)
        batch = data
        if problem.sampler is not None:
            batch = problem.sampler(key, getattr(rule, "batch_size", None) or 1)
        value = problem.objective(replica.params, batch)
        return value, rule.step(problem, data, replica.params, replica.state, first)[0]

    shapes = {k: tuple(v.shape) for k, v in problem.shapes().items()}
    try:
        with written_in_jax("predict, loss, sampler and params of a Problem"):
            value, params = jax.eval_shape(one, data)
    except (TypeError, ValueError, KeyError, IndexError, AttributeError) as error:
        reason = str(error).split("\n")[0]
        raise ValueError(f"one step fails for parameters {shapes}: {reason}") from error
    if value.shape != ():
        raise ValueError(f"the loss must be a scalar, got shape {value.shape}")
    for name, new in params.items():
        if new.shape != shapes[name]:
            raise ValueError(f"a step turns {name!r} from {shapes[name]} into {new.shape}")


def as_key(key: Any) -> Array:
    """A JAX key from a seed of up to 64 bits, or from a key of either kind."""
    if isinstance(key, int | np.integer):
        if not 0 <= key < 2**64:
            raise ValueError(f"a seed lies between 0 and 2**64 - 1, got {key}")
        with jax.enable_x64(True):  # in single precision JAX drops the upper 32 bits
            return jax.random.key(np.uint64(key))
    if isinstance(key, jax.Array) and jnp.issubdtype(key.dtype, jax.dtypes.prng_key):
        return key
    if isinstance(key, jax.Array) and key.dtype == jnp.uint32 and key.shape == (2,):
        return jax.random.wrap_key_data(key)
    raise TypeError(f"key must be an integer or a key from jax.random.key, got {key!r}")


def check_names(observed: Mapping[str, tuple[int, ...]]) -> None:
    """Raise ValueError for names that a trace cannot hold beside its own, or as a file."""
    axes = {f"{name}_{i}" for name, shape in observed.items() for i in range(len(shape))}
    for name in observed:
        if name in {"replica", "step"} | axes:
            raise ValueError(f"observable {name!r} has the name of an axis of the trace")
        if not isinstance(name, str) or not re.fullmatch(r"(?!\.|__)[^/\\]+", name):
            raise ValueError(
                f"observable {name!r} needs a name without / and \\ and not begun with . or __"
            )


def check_observable(problem: Problem, name: str, f: Any) -> tuple[int, ...]:
    if not callable(f):
        raise TypeError(f"observable {name!r} must be a function of the parameters, got {f!r}")
    try:
        with written_in_jax("it"):
            seen = jax.eval_shape(lambda p: jnp.asarray(f(p)), problem.shapes())
    except Exception as error:
        reason = str(error).split("\n")[0]
        raise TypeError(
            f"observable {name!r} is not a function of the parameters: {reason}"
        ) from error
    if jnp.issubdtype(seen.dtype, jnp.complexfloating):
        raise TypeError(f"observable {name!r} is complex: give its real and imaginary parts")
    return tuple(seen.shape)
