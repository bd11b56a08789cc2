"""One jitted program that carries a slice of the replicas through a chunk of training.

Data and noise are drawn ahead in blocks of about a thousand steps. On a CPU replicas go one after
another (``lax.map``: small arrays stay in cache), or a few tens side by side where each is only a
handful of numbers; on accelerators all go side by side (``vmap``).
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import lax

from symbias.dynamics.batches import INITIAL, TRAINING, stream
from symbias.dynamics.problem import Array, Batch, Params, Problem
from symbias.dynamics.rules import Rule

BLOCK_STEPS = 1000
BLOCK_BYTES = 4 * 2**20  # what a core keeps in cache
NUMBERS_TOGETHER = 128  # parameters of all replicas that a CPU takes side by side


class Replica(NamedTuple):
    """State of one replica, or of many along a leading axis."""

    params: Params
    state: Any  # of the optimizer
    key: Array  # raw key data
    sign: Array  # of the noise, -1 for the second of an antithetic pair
    diverged: Array  # steps done when the parameters became non-finite, -1 while they are finite


@dataclass(frozen=True)
class Plan:
    """Everything static about a run; equal plans share compiled programs."""

    problem: Problem
    rule: Rule
    observe: tuple[tuple[str, Callable[[Params], Array]], ...]
    every: int
    block: int  # steps drawn ahead, at most
    per_block: int  # records in a block, where they are that close
    together: int  # replicas side by side


def start(problem: Problem, rule: Rule, key: Array, replica: Array, antithetic: bool) -> Replica:
    """State of a replica before the first step."""
    key = jax.random.fold_in(key, replica // 2 if antithetic else replica)
    params = problem.initial(stream(key, INITIAL))
    sign = jnp.where(antithetic, 1 - 2 * (replica % 2), 1).astype(jnp.int32)
    return Replica(params, rule.init(params), jax.random.key_data(key), sign, jnp.int32(-1))


@partial(jax.jit, static_argnames=("problem", "rule", "antithetic"))
def begin(problem: Problem, rule: Rule, key: Array, rows: Array, antithetic: bool) -> Replica:
    """States of the replicas of these numbers before the first step."""
    return jax.vmap(lambda row: start(problem, rule, key, row, antithetic))(rows)


def block_steps(problem: Problem, rule: Rule, data: Batch) -> int:
    """How many steps to draw ahead: a thousand, fewer where their input is large."""
    step = jnp.zeros((1,), jnp.uint32)
    noise = jax.eval_shape(
        lambda d: rule.draw(problem, d, jax.random.key(0), step, jnp.int32(1)), data
    )
    size = sum(leaf.size * leaf.dtype.itemsize for leaf in jax.tree.leaves(noise))
    return max(1, min(BLOCK_STEPS, BLOCK_BYTES // max(size, 1)))


def side_by_side(problem: Problem, replicas: int, platform: str) -> int:
    """How many replicas to run at once: a divisor of their number, so that none is left over."""
    if platform != "cpu":
        return replicas
    size = sum(leaf.size for leaf in problem.shapes().values())
    most = max(1, min(replicas, NUMBERS_TOGETHER // max(size, 1)))
    return next(n for n in range(most, 0, -1) if replicas % n == 0)


@partial(jax.jit, static_argnames=("plan", "records"))
def advance(
    plan: Plan, data: Batch, replicas: Replica, done: Array, *, records: int
) -> tuple[Replica, dict[str, Array]]:
    """Train for `records` times ``plan.every`` steps, observing before each of these stretches."""
    return _over(plan, lambda replica: _stretches(plan, data, replica, done, records))(replicas)


@partial(jax.jit, static_argnames=("plan", "tail"))
def finish(
    plan: Plan, data: Batch, replicas: Replica, done: Array, *, tail: int
) -> tuple[Replica, dict[str, Array]]:
    """Observe once more, and take the `tail` of steps that fills no stretch."""

    def one(replica: Replica) -> tuple[Replica, dict[str, Array]]:
        seen = jax.tree.map(lambda v: v[None], _observe(plan, replica))
        return _span(plan, data, replica, done, tail), seen

    return _over(plan, one)(replicas)


def _over(plan: Plan, one: Callable[[Replica], Any]) -> Callable[[Replica], Any]:
    def run(replicas: Replica) -> Any:
        if 1 < plan.together >= len(replicas.sign):
            return jax.vmap(one)(replicas)
        return lax.map(one, replicas, batch_size=plan.together if plan.together > 1 else None)

    return run


def _stretches(
    plan: Plan, data: Batch, replica: Replica, done: Array, records: int
) -> tuple[Replica, dict[str, Array]]:
    """Observe and train, `records` times; several stretches share a block where they are short."""
    if plan.every > plan.block:

        def stretch(replica: Replica, t: Array) -> tuple[Replica, dict[str, Array]]:
            return _span(plan, data, replica, t, plan.every), _observe(plan, replica)

        return lax.scan(stretch, replica, done + plan.every * jnp.arange(records, dtype=done.dtype))

    per_block = plan.per_block
    full, rest = divmod(records, per_block)
    stride = per_block * plan.every

    def block(replica: Replica, t: Array) -> tuple[Replica, dict[str, Array]]:
        return _block(plan, data, replica, t, per_block, plan.every)

    starts = done + stride * jnp.arange(full, dtype=done.dtype)
    replica, trace = lax.scan(block, replica, starts) if full else (replica, None)
    trace = jax.tree.map(lambda v: v.reshape(full * per_block, *v.shape[2:]), trace)
    if rest or not full:
        t = done + full * stride
        replica, more = _block(plan, data, replica, t, rest, plan.every)
        trace = jax.tree.map(lambda *v: jnp.concatenate(v), trace, more) if full else more
    return replica, trace


def _span(plan: Plan, data: Batch, replica: Replica, done: Array, steps: int) -> Replica:
    """Train for `steps` without a record, in equal blocks and a remainder."""
    if steps == 0:
        return replica
    count = -(-steps // plan.block)
    size = steps // count

    def block(replica: Replica, t: Array) -> tuple[Replica, None]:
        return _block(plan, data, replica, t, 0, size)[0], None

    replica, _ = lax.scan(block, replica, done + size * jnp.arange(count, dtype=done.dtype))
    rest = steps - size * count
    if rest:
        replica, _ = _block(plan, data, replica, done + size * count, 0, rest)
    return replica


def _block(
    plan: Plan, data: Batch, replica: Replica, done: Array, records: int, every: int
) -> tuple[Replica, dict[str, Array]]:
    """Draw once, then train; ``records = 0`` means `every` steps without a record."""
    steps = done + jnp.arange(max(records, 1) * every, dtype=done.dtype)
    key = stream(jax.random.wrap_key_data(replica.key), TRAINING)
    noise = plan.rule.draw(plan.problem, data, key, steps, replica.sign)

    def step(carry: tuple[Params, Any], noise: Any) -> tuple[tuple[Params, Any], None]:
        return plan.rule.step(plan.problem, data, *carry, noise), None

    def stretch(carry: tuple[Params, Any], noise: Any) -> tuple[Any, dict[str, Array]]:
        seen = _values(plan, carry[0])
        return lax.scan(step, carry, noise, length=every)[0], seen

    begin = (replica.params, replica.state)
    if records:
        split = jax.tree.map(lambda v: v.reshape(records, every, *v.shape[1:]), noise)
        end, trace = lax.scan(stretch, begin, split, length=records)
    else:
        end, trace = lax.scan(step, begin, noise, length=every)[0], {}

    alive = replica.diverged < 0
    broken = alive & ~_finite(end[0])
    count, held = _last_finite(step, begin, noise, len(steps), broken)
    good = alive & ~broken
    end = jax.tree.map(
        lambda new, old, back: jnp.where(good, new, jnp.where(broken, back, old)), end, begin, held
    )
    diverged = jnp.where(broken, (done + count).astype(jnp.int32), replica.diverged)
    seen = _hide(trace, steps[::every][:records].astype(jnp.int32), diverged)
    return replica._replace(params=end[0], state=end[1], diverged=diverged), seen


def _last_finite(
    step: Callable[..., Any], begin: Any, noise: Any, length: int, broken: Array
) -> tuple[Array, Any]:
    """Replay a block that ended non-finite, up to the last state with finite parameters."""

    def running(carry: tuple[Array, Any, Any]) -> Array:
        count, _, current = carry
        return broken & (count < length) & _finite(current[0])

    def again(carry: tuple[Array, Any, Any]) -> tuple[Array, Any, Any]:
        count, _, current = carry
        row = jax.tree.map(lambda v: lax.dynamic_index_in_dim(v, count, keepdims=False), noise)
        return count + 1, current, step(current, row)[0]

    count, held, _ = lax.while_loop(running, again, (jnp.uint32(0), begin, begin))
    return count, held


def _finite(params: Params) -> Array:
    return jnp.stack([jnp.all(jnp.isfinite(v)) for v in params.values()]).all()


def _values(plan: Plan, params: Params) -> dict[str, Array]:
    return {name: jnp.asarray(f(params), dtype=float) for name, f in plan.observe}


def _observe(plan: Plan, replica: Replica) -> dict[str, Array]:
    seen = _values(plan, replica.params)
    return jax.tree.map(lambda v: jnp.where(replica.diverged < 0, v, jnp.nan), seen)


def _hide(trace: dict[str, Array], steps: Array, diverged: Array) -> dict[str, Array]:
    """NaN in place of what was seen at or after divergence."""
    gone = (diverged >= 0) & (steps >= diverged)
    return {
        k: jnp.where(gone.reshape(-1, *[1] * (v.ndim - 1)), jnp.nan, v) for k, v in trace.items()
    }
