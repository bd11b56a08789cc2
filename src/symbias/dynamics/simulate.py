"""Run an ensemble of trainings, in memory or on disk."""

import hashlib
import re
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import xarray as xr
from jax.experimental import multihost_utils

from symbias._core.jax_only import written_in_jax
from symbias._core.progress import progress as progress_of
from symbias.dynamics.engine import (
    Plan,
    Replica,
    advance,
    begin,
    block_steps,
    finish,
    side_by_side,
    start,
)
from symbias.dynamics.problem import Array, Batch, Params, Problem
from symbias.dynamics.rules import Rule
from symbias.dynamics.store import Store

CHUNKS = 100


@dataclass(frozen=True, eq=False)
class Run:
    """Result of `simulate`.

    Attributes
    ----------
    final : dict of numpy arrays
        Parameters after the last step, with a leading replica axis.
    trace : xarray.Dataset
        Every observable with dims (replica, step, ...): at steps 0, every, 2 every, ...; NaN from
        the step on at which a replica diverged.
    diverged : numpy array of int, shape (replicas,)
        The number of steps after which a replica's parameters were no longer finite, -1 if they
        always were. A diverged replica keeps its last finite parameters in `final`.
    problem, rule, steps
        What was run.
    """

    final: dict[str, np.ndarray]
    trace: xr.Dataset
    diverged: np.ndarray
    problem: Problem
    rule: Rule
    steps: int


def simulate(
    problem: Problem,
    rule: Rule,
    *,
    steps: int,
    replicas: int = 1,
    key: int | Array = 0,
    observe: Mapping[str, Callable[[Params], Array]] | None = None,
    every: int | None = None,
    antithetic: bool = False,
    path: str | Path | None = None,
    chunk: int | None = None,
    devices: Sequence[Any] | None = None,
    progress: bool = True,
) -> Run:
    """Train `replicas` independent copies of a problem for a number of steps.

    Replica i draws from ``fold_in(key, i)`` and step t from ``fold_in(., t)``: a trajectory does
    not depend on what is observed or how often, on chunks, or on interruptions. On one layout of
    replicas over devices results are equal bit by bit, on another up to rounding.

    Parameters
    ----------
    problem : Problem
    rule : SGD, Langevin or Optax
    steps : int
    replicas : int
        Shared out over the processes of ``jax.distributed`` and the devices of each.
    key : int or JAX key
    observe : dict of functions of the parameters of one replica
        Recorded as floats before step 0, every, 2 every, ... and at the end where it is one of
        these.
    every : int
        Steps between records; by default a hundredth of the run.
    antithetic : bool
        Replicas 2i and 2i + 1 draw the same, with the sign of label or Langevin noise turned: the
        mean over a pair shows shifts far below the noise.
    path : path
        Folder for the trace and the state. A run that was killed, at any moment, goes on from the
        last saved chunk with the same call, and ends bit by bit as if it had not been interrupted.
        Each process of a distributed run keeps its own subfolder.
    chunk : int
        Steps between saves, rounded to records; by default about a hundredth of the run.
    devices : devices of this process, by default all of one kind
    progress : bool
        A bar on a terminal, otherwise a line now and then, on standard error.

    Returns
    -------
    Run

    Raises
    ------
    ValueError, TypeError
        For shapes that do not match, counts that are not positive, a rule that cannot train the
        problem, an observable that is no function of the parameters, or a folder that holds another
        run.
    OSError
        Where the folder cannot be written; the last saved state stays good.

    Warns
    -----
    RuntimeWarning
        Where replicas diverged: they are frozen and counted, the others go on.
    """
    every = max(1, steps // 100) if every is None else every
    for name, count in {"steps": steps, "replicas": replicas, "every": every}.items():
        _positive_integer(name, count)
    if antithetic and replicas % 2:
        raise ValueError(f"antithetic pairs need an even number of replicas, got {replicas}")
    if steps >= 2**31:
        raise ValueError("at most 2**31 - 1 steps")
    with problem.precision():
        run = _Ensemble(problem, rule, steps, replicas, key, observe or {}, every, antithetic)
        return run.run(path, chunk, devices or jax.local_devices(), progress)


class _Ensemble:
    """A checked run, before it is spread over devices."""

    def __init__(
        self,
        problem: Problem,
        rule: Rule,
        steps: int,
        replicas: int,
        key: int | Array,
        observe: Mapping[str, Callable[[Params], Array]],
        every: int,
        antithetic: bool,
    ) -> None:
        if not isinstance(rule, Rule):
            raise TypeError(f"not a training rule: {rule!r}")
        rule.check(problem)
        self.problem, self.rule, self.steps, self.replicas = problem, rule, steps, replicas
        self.every, self.antithetic = every, antithetic
        self.key = as_key(key)
        self.data = problem.arrays()
        _check_shapes(problem, rule, self.data)
        self.observe = tuple(observe.items())
        self.observed = {name: _check_observable(problem, name, f) for name, f in self.observe}

    def run(
        self, path: str | Path | None, chunk: int | None, devices: Sequence[Any], show: bool
    ) -> Run:
        mine = np.array_split(np.arange(self.replicas), jax.process_count())[jax.process_index()]
        slices = [s for s in np.array_split(mine, len(devices)) if len(s)]
        if not slices:
            raise ValueError(f"{self.replicas} replicas leave a process without any")
        devices = devices[: len(slices)]
        block = block_steps(self.problem, self.rule, self.data)
        stretches, per_block = _layout(self.steps, self.every, chunk, block)
        together = side_by_side(self.problem, len(slices[0]), devices[0].platform)
        plan = Plan(self.problem, self.rule, self.observe, self.every, block, per_block, together)
        state = [
            jax.device_put(self._start(rows), device)
            for rows, device in zip(slices, devices, strict=True)
        ]
        data = [jax.device_put(self.data, device) for device in devices]
        session = _Session(plan, data, state, self.steps, stretches)
        store = None
        if path is not None:
            store = self._store(Path(path), plan, stretches, session, len(mine))
        session.go(store, show)
        return self._result(session, store, slices)

    def _start(self, rows: np.ndarray) -> Replica:
        numbers = jnp.asarray(rows, dtype=jnp.uint32)
        return begin(self.problem, self.rule, self.key, numbers, self.antithetic)

    def _store(
        self, path: Path, plan: Plan, stretches: int, session: "_Session", mine: int
    ) -> Store:
        if jax.process_count() > 1:
            path = path / f"process-{jax.process_index()}-of-{jax.process_count()}"
        identity = {
            "rule": _scrub(repr(self.rule)),
            "steps": self.steps,
            "every": self.every,
            "replicas": self.replicas,
            "antithetic": self.antithetic,
            "observables": {name: list(shape) for name, shape in self.observed.items()},
            "chunk": stretches * self.every,
            "block": plan.block,
            "layout": [f"{len(s.diverged)} on {s.diverged.device.platform}" for s in session.state],
            "program": self._fingerprint(plan, session),
        }
        store = Store(path, identity)
        saved = store.load()
        if saved is None:
            dtype = np.dtype(np.float64 if self.problem.x64 else np.float32)
            shapes = {name: ((mine, *shape), dtype) for name, shape in self.observed.items()}
            store.create(shapes, 1 + self.steps // self.every, stretches)
        else:
            session.restore(saved)
        return store

    def _fingerprint(self, plan: Plan, session: "_Session") -> str:
        """Hash of the traced program, its constants, the data and the starting state."""
        replica, done = session.state[0], jnp.uint32(0)
        traced = jax.make_jaxpr(lambda d, r, t: advance(plan, d, r, t, records=1))(
            self.data, replica, done
        )
        digest = hashlib.sha256(_scrub(str(traced.jaxpr)).encode())
        for leaf in jax.tree.leaves((traced.consts, self.data, _saved(session.state, 0))):
            digest.update(np.ascontiguousarray(leaf).tobytes())
        return digest.hexdigest()

    def _result(
        self, session: "_Session", store: Store | None, slices: Sequence[np.ndarray]
    ) -> Run:
        final = _joined([s.params for s in session.state])
        diverged = _joined([s.diverged for s in session.state])
        rows = np.concatenate(slices)
        trace = self._dataset(session.trace) if store is None else store.trace()
        if jax.process_count() > 1:
            values = {name: trace[name].values for name in trace}
            final, diverged, values, rows = _gathered((final, diverged, values, rows))
            trace = self._dataset([values])
        steps = np.arange(1 + self.steps // self.every) * self.every
        trace = trace.assign_coords(replica=rows, step=steps)
        bad = diverged[diverged >= 0]
        if len(bad):
            warnings.warn(
                f"{len(bad)} of {self.replicas} replicas diverged, the first at step {bad.min()}; "
                "they are frozen at their last finite parameters",
                RuntimeWarning,
                stacklevel=4,
            )
        return Run(final, trace, diverged, self.problem, self.rule, self.steps)

    def _dataset(self, chunks: Sequence[Mapping[str, np.ndarray]]) -> xr.Dataset:
        arrays = {}
        for name, shape in self.observed.items():
            dims = ("replica", "step", *(f"{name}_{i}" for i in range(len(shape))))
            arrays[name] = (dims, np.concatenate([c[name] for c in chunks], axis=1))
        return xr.Dataset(arrays)


class _Session:
    """The states of all devices, moved on chunk by chunk."""

    def __init__(
        self,
        plan: Plan,
        data: Sequence[Batch],
        state: Sequence[Replica],
        steps: int,
        stretches: int,
    ) -> None:
        self.plan, self.data, self.state = plan, data, list(state)
        self.steps, self.stretches, self.done = steps, stretches, 0
        self.trace: list[dict[str, np.ndarray]] = []

    def go(self, store: Store | None, show: bool) -> None:
        """Train to the end, committing each chunk."""
        every = self.plan.every
        whole, tail = divmod(self.steps, every)
        with progress_of("simulate", self.steps, show=show) as report:
            while self.done < self.steps:
                first = self.done // every
                records = min(whole - first, self.stretches)
                trace = self._all(advance, records=records) if records else {}
                self.done += records * every
                if self.done + tail == self.steps:
                    final = self._all(finish, tail=tail)
                    parts = [trace, final] if trace else [final]
                    trace = {k: np.concatenate([p[k] for p in parts], axis=1) for k in final}
                    self.done = self.steps
                if store is None:
                    self.trace.append(trace)
                else:
                    store.commit(_saved(self.state, self.done), trace, first)
                report(self.done)

    def _all(self, program: Callable[..., Any], **static: int) -> dict[str, np.ndarray]:
        """All devices work at the same time: calls return before the work is done."""
        results = [
            program(
                self.plan,
                data,
                state,
                jax.device_put(np.uint32(self.done), state.diverged.device),
                **static,
            )
            for data, state in zip(self.data, self.state, strict=True)
        ]
        self.state = [state for state, _ in results]
        return _joined([trace for _, trace in results])

    def restore(self, saved: Mapping[str, np.ndarray]) -> None:
        """Go on from a committed state."""
        self.done = int(saved["step"])
        for i, state in enumerate(self.state):
            leaves, tree = jax.tree.flatten(state)
            new = [saved[f"{i}.{j}"].astype(leaf.dtype) for j, leaf in enumerate(leaves)]
            device = state.diverged.device
            self.state[i] = jax.device_put(jax.tree.unflatten(tree, new), device)


def _saved(state: Sequence[Replica], step: int) -> dict[str, np.ndarray]:
    leaves = {
        f"{i}.{j}": np.asarray(leaf)
        for i, replicas in enumerate(state)
        for j, leaf in enumerate(jax.tree.leaves(replicas))
    }
    return {"step": np.asarray(step), **leaves}


def _joined(parts: Sequence[Any]) -> Any:
    return jax.tree.map(lambda *v: np.concatenate([np.asarray(a) for a in v]), *parts)


def _gathered(tree: Any) -> Any:
    """Arrays of all processes, joined along the replica axis."""

    def gather(array: np.ndarray) -> np.ndarray:
        lengths = multihost_utils.process_allgather(np.asarray(len(array)))
        padded = np.zeros((int(np.max(lengths)), *array.shape[1:]), array.dtype)
        padded[: len(array)] = array
        parts = np.asarray(multihost_utils.process_allgather(padded))
        return np.concatenate([p[:n] for p, n in zip(parts, np.ravel(lengths), strict=True)])

    return jax.tree.map(gather, tree)


def _layout(steps: int, every: int, chunk: int | None, block: int) -> tuple[int, int]:
    """Records in a chunk and in a block: even shares, since every odd size is compiled anew."""
    records = max(1, steps // every)
    per_block = max(1, min(block // every, records))
    if chunk is None:
        per_chunk = max(-(-steps // (CHUNKS * every)), per_block)
    else:
        per_chunk = -(-_positive_integer("chunk", chunk) // every)
    per_chunk = -(-records // -(-records // min(per_chunk, records)))
    return per_chunk, -(-per_chunk // -(-per_chunk // per_block))


def _scrub(text: str) -> str:
    """Without memory addresses, which differ from one process to the next."""
    return re.sub(r"0x[0-9a-f]+", "", text)


def _positive_integer(name: str, value: Any) -> int:
    if not isinstance(value, int | np.integer) or value < 1:
        raise ValueError(f"{name} must be a positive integer, got {value!r}")
    return int(value)


def _check_shapes(problem: Problem, rule: Rule, data: Batch) -> None:
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
    """A JAX key from an integer, or from a key of either kind."""
    if isinstance(key, int | np.integer):
        return jax.random.key(key)
    if isinstance(key, jax.Array) and jnp.issubdtype(key.dtype, jax.dtypes.prng_key):
        return key
    if isinstance(key, jax.Array) and key.dtype == jnp.uint32 and key.shape == (2,):
        return jax.random.wrap_key_data(key)
    raise TypeError(f"key must be an integer or a key from jax.random.key, got {key!r}")


def _check_observable(problem: Problem, name: str, f: Any) -> tuple[int, ...]:
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
