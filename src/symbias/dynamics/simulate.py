"""Run an ensemble of trainings, in memory or on disk."""

import hashlib
import reprlib
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import xarray as xr

from symbias._core.jax_only import fingerprint, without_addresses
from symbias._core.numbers import whole
from symbias.dynamics.checks import (
    as_key,
    check_antithetic,
    check_names,
    check_observable,
    check_shapes,
)
from symbias.dynamics.engine import Plan, Replica, advance, begin, block_steps, side_by_side
from symbias.dynamics.problem import Array, Params, Problem
from symbias.dynamics.rules import Rule
from symbias.dynamics.session import (
    Session,
    gathered,
    joined,
    per_block_of,
    stretches_of,
)
from symbias.dynamics.store import Store, recorded


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

    def __repr__(self) -> str:
        lost = int(np.count_nonzero(self.diverged >= 0))
        return (
            f"Run({type(self.rule).__name__}, steps={self.steps}, replicas={len(self.diverged)}, "
            f"diverged={lost}, trace={sorted(map(str, self.trace.data_vars))})"
        )


def simulate(
    problem: Problem,
    rule: Rule,
    *,
    steps: int,
    replicas: int = 1,
    key: int | Array = 0,
    start: Mapping[str, Array] | None = None,
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
    not depend on what is observed or how often, on chunks, on the number of steps or on how
    replicas are laid out over devices, up to rounding: XLA compiles other lengths into other sums.
    The same call gives the same bits, interrupted or not.

    Parameters
    ----------
    problem : Problem
    rule : SGD, Langevin, NormalizedDescent or Optax
    steps : int
    replicas : int
        Shared out over the processes of ``jax.distributed`` and the devices of each.
    key : int or JAX key
        An integer of up to 64 bits.
    start : dict of arrays, optional
        A start for each replica in place of the problem's own, with a leading replica axis: the
        ``run.final`` of another run. Give that continuation a key of its own.
    observe : dict of functions of the parameters of one replica
        Recorded as floats before step 0, every, 2 every, ... and at the end where it is one of
        these.
    every : int
        Steps between records; by default those of the run that `path` holds, or a hundredth of the
        run.
    antithetic : bool
        Replicas 2i and 2i + 1 draw the same, with the sign of label or Langevin noise turned: the
        mean over a pair shows shifts far below the noise.
    path : path
        Folder for the trace and the state. A run that was killed, at any moment, goes on from the
        last saved chunk with the same call, and ends bit by bit as if it had not been interrupted;
        the same call with more steps extends it. One writer at a time. Each process of a
        distributed run keeps its own subfolder.
    chunk : int
        Steps between saves, rounded to records; by default about a hundredth of the run. A folder
        keeps the chunks it began with.
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
        problem, an observable that is no function of the parameters or has a name that the trace
        cannot hold, or a folder that holds another run.
    FolderInUseError
        Where another run writes to the folder.
    OSError
        Where the folder cannot be written; the last saved state stays good.

    Warns
    -----
    RuntimeWarning
        Where replicas diverged: they are frozen and counted, the others go on.
    """
    folder = None if path is None else _folder(path)
    before = {} if folder is None else recorded(folder)
    whole("steps", steps, 1)
    every = before.get("every", max(1, steps // 100)) if every is None else every
    for name, count in {"replicas": replicas, "every": every}.items():
        whole(name, count, 1)
    if antithetic and replicas % 2:
        raise ValueError(f"antithetic pairs need an even number of replicas, got {replicas}")
    if steps >= 2**31:
        raise ValueError("at most 2**31 - 1 steps")
    if not isinstance(observe, Mapping | None):
        raise TypeError(
            f"observe takes a dict of functions of the parameters, such as {{'w': p}}, got "
            f"{reprlib.repr(observe)}"
        )
    if devices is not None and not devices:
        raise ValueError(
            "devices is empty: a run needs one, and takes all of this process by default"
        )
    with problem.precision():
        run = _Ensemble(problem, rule, steps, replicas, key, observe or {}, every, antithetic)
        if start is not None:
            run.start_from(start)
        stretches = before["chunk"] // every if before.get("every") == every else None
        return run.run(folder, chunk, stretches, devices or jax.local_devices(), progress)


def _folder(path: str | Path) -> Path:
    """Where this process keeps its share."""
    folder = Path(path).expanduser()
    if jax.process_count() == 1:
        return folder
    return folder / f"process-{jax.process_index()}-of-{jax.process_count()}"


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
        check_shapes(problem, rule, self.data)
        if antithetic:
            check_antithetic(problem, rule, self.data)
        self.observe = tuple(observe.items())
        self.observed = {name: check_observable(problem, name, f) for name, f in self.observe}
        check_names(self.observed)
        self.begin: Params | None = None

    def start_from(self, params: Mapping[str, Array]) -> None:
        """Take these parameters, one set for each replica, for the start."""
        if not isinstance(params, Mapping):
            raise TypeError(f"start takes a dict of arrays, as run.final, got {params!r}")
        wanted = {k: (self.replicas, *v.shape) for k, v in self.problem.shapes().items()}
        found = {k: np.shape(v) for k, v in params.items()}
        if found != wanted:
            raise ValueError(f"start has arrays {found}, wanted {wanted}: one set for each replica")
        if not all(np.isfinite(v).all() for v in params.values()):
            raise ValueError("start holds values that are not finite")
        self.begin = {k: np.asarray(v) for k, v in params.items()}

    def run(
        self,
        path: Path | None,
        chunk: int | None,
        stretches: int | None,
        devices: Sequence[Any],
        show: bool,
    ) -> Run:
        mine = np.array_split(np.arange(self.replicas), jax.process_count())[jax.process_index()]
        slices = [s for s in np.array_split(mine, len(devices)) if len(s)]
        if not slices:
            raise ValueError(f"{self.replicas} replicas leave a process without any")
        devices = devices[: len(slices)]
        block = block_steps(self.problem, self.rule, self.data)
        if stretches is None:
            stretches = stretches_of(self.steps, self.every, chunk, block)
        per_block = per_block_of(stretches, self.every, block)
        together = side_by_side(self.problem, len(slices[0]), devices[0].platform)
        plan = Plan(self.problem, self.rule, self.observe, self.every, block, per_block, together)
        state = [
            jax.device_put(self._start(rows), device)
            for rows, device in zip(slices, devices, strict=True)
        ]
        data = [jax.device_put(self.data, device) for device in devices]
        session = Session(plan, data, state, self.steps, stretches)
        store = None
        if path is not None:
            store = self._store(path, plan, stretches, session)
        try:
            if store is not None:
                self._restore(store, session, stretches, len(mine))
            session.go(store, show)
            return self._result(session, store, slices)
        finally:
            if store is not None:
                store.close()

    def _start(self, rows: np.ndarray) -> Replica:
        numbers = jnp.asarray(rows, dtype=jnp.uint32)
        state = begin(self.problem, self.rule, self.key, numbers, self.antithetic)
        if self.begin is None:
            return state
        params = {k: jnp.asarray(v[rows], state.params[k].dtype) for k, v in self.begin.items()}
        return state._replace(params=params, state=jax.vmap(self.rule.init)(params))

    def _store(self, path: Path, plan: Plan, stretches: int, session: Session) -> Store:
        identity = {
            "key": np.asarray(jax.random.key_data(self.key)).tolist(),
            "rule": without_addresses(repr(self.rule)),
            "steps": self.steps,
            "every": self.every,
            "replicas": self.replicas,
            "antithetic": self.antithetic,
            "observables": {name: list(shape) for name, shape in self.observed.items()},
            "chunk": stretches * self.every,
            "block": plan.block,
            "layout": [f"{len(s.diverged)} on {s.diverged.device.platform}" for s in session.state],
            "data": _digest(self.data),
            "start": _digest([state.params for state in session.state]),
            "program": self._program(plan, session),
        }
        return Store(path, identity)

    def _restore(self, store: Store, session: Session, stretches: int, mine: int) -> None:
        saved = store.load()
        if saved is not None:
            session.restore(saved)
        if saved is None or recorded(store.path)["steps"] < self.steps:
            dtype = np.dtype(np.float64 if self.problem.x64 else np.float32)
            shapes = {name: ((mine, *shape), dtype) for name, shape in self.observed.items()}
            store.allocate(shapes, 1 + self.steps // self.every, stretches)

    def _program(self, plan: Plan, session: Session) -> str:
        """Hash of the traced program and its constants."""
        replica, done = session.state[0], jnp.uint32(0)
        traced = jax.make_jaxpr(lambda d, r, t: advance(plan, d, r, t, records=1))(
            self.data, replica, done
        )
        return hashlib.sha256(fingerprint(traced)).hexdigest()

    def _result(self, session: Session, store: Store | None, slices: Sequence[np.ndarray]) -> Run:
        final = joined([s.params for s in session.state])
        diverged = joined([s.diverged for s in session.state])
        rows = np.concatenate(slices)
        trace = self._dataset(session.trace) if store is None else store.trace()
        if jax.process_count() > 1:
            values = {name: trace[name].values for name in trace}
            final, diverged, values, rows = gathered((final, diverged, values, rows))
            trace = self._dataset([values])
        steps = np.arange(1 + self.steps // self.every) * self.every
        trace = trace.isel(step=slice(len(steps))) if len(self.observed) else trace
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


def _digest(tree: Any) -> str:
    """Hash of the numbers of a tree of arrays."""
    digest = hashlib.sha256()
    for leaf in jax.tree.leaves(tree):
        digest.update(np.ascontiguousarray(leaf).tobytes())
    return digest.hexdigest()
