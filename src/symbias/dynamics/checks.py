"""What is wrong with a run, said before it is begun."""

import re
from collections.abc import Callable, Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from symbias._core.jax_only import traced_alike, written_in_jax
from symbias.dynamics.engine import start
from symbias.dynamics.problem import Array, Batch, Params, Problem
from symbias.dynamics.rules import Rule

FAULTS = (TypeError, ValueError, KeyError, IndexError, AttributeError)  # of what a user wrote


def check_shapes(problem: Problem, rule: Rule, data: Batch) -> None:
    """Trace one step on abstract values, so that mistakes show before the run."""
    size = getattr(rule, "batch_size", None) or 1

    def one(data: Batch) -> tuple[Array, Params]:
        replica = start(problem, rule, jax.random.key(0), jnp.uint32(0), False)
        if problem.symmetry is not None:
            problem.symmetry.check(replica.params)
        key = jax.random.key(0)
        noise = rule.draw(problem, data, key, jnp.zeros((1,), jnp.uint32), replica.sign)
        first = jax.tree.map(lambda v: v[0], noise)
        fresh = data if problem.sampler is None else problem.sampler(key, size)
        value = problem.objective(replica.params, fresh)
        return value, rule.step(problem, data, replica.params, replica.state, first)[0]

    shapes = {k: tuple(v.shape) for k, v in problem.shapes().items()}
    batch = None if problem.sampler is None else check_sampler(problem.sampler, size)
    try:
        with written_in_jax("predict, loss, sampler and params of a Problem"):
            value, params = jax.eval_shape(one, data)
    except FAULTS as error:
        reason = str(error).split("\n")[0]
        raise ValueError(f"one step fails for parameters {shapes}: {reason}") from error
    if value.shape != ():
        raise ValueError(f"the loss must be a scalar, got shape {value.shape}")
    for name, new in params.items():
        if new.shape != shapes[name]:
            raise ValueError(f"a step turns {name!r} from {shapes[name]} into {new.shape}")
    if callable(problem.params):
        traced_alike("params", problem.params, jax.random.key(0))
    traced_alike("predict or loss", problem.objective, problem.shapes(), batch or data)


def check_sampler(sampler: Callable[[Array, int], Batch], size: int) -> Batch:
    """Shapes of a batch, once it is known to have ``size`` samples that follow from the key."""
    key = jax.random.key(0)
    try:
        with written_in_jax("sampler"):
            batch = jax.eval_shape(lambda key: sampler(key, size), key)
    except FAULTS as error:
        reason = str(error).split("\n")[0]
        raise ValueError(f"the sampler fails: {type(error).__name__}: {reason}") from error
    traced = traced_alike("sampler", lambda key: sampler(key, size), key)
    for shape in [v.aval.shape for v in traced.jaxpr.outvars]:
        if shape[:1] != (size,):
            raise ValueError(
                f"the sampler was asked for {size} samples and gave an array of shape {shape}: "
                f"axis 0 must have length {size}"
            )
    if not _depends(traced):
        raise ValueError(
            "the sampler gives the same samples for every key: every step would see one batch. "
            "Draw with jax.random from its key, or give a fixed set of samples as data=(x, y)"
        )
    return batch


def check_antithetic(problem: Problem, rule: Rule, data: Batch) -> None:
    """Raise ValueError where both replicas of a pair would draw the same."""
    key, step = jax.random.key(0), jnp.zeros((1,), jnp.uint32)
    program = jax.make_jaxpr(lambda data, sign: rule.draw(problem, data, key, step, sign))
    if not _depends(program(data, jnp.int32(1))):
        raise ValueError(
            "antithetic pairs differ in the sign of label or Langevin noise alone, and this "
            f"{type(rule).__name__} has none"
        )


def _depends(traced: Any) -> bool:
    """Whether the results of a traced program may depend on its last argument."""
    reached = {id(traced.jaxpr.invars[-1])}
    for equation in traced.jaxpr.eqns:
        if reached & {id(v) for v in equation.invars}:
            reached |= {id(v) for v in equation.outvars}
    return bool(reached & {id(v) for v in traced.jaxpr.outvars})


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
    traced_alike(f"observable {name!r}", f, problem.shapes())
    return tuple(seen.shape)
