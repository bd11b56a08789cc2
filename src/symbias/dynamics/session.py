"""An ensemble on its devices, moved on from save to save."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import jax
import numpy as np
from jax.experimental import multihost_utils

from symbias._core.numbers import whole
from symbias._core.progress import progress as progress_of
from symbias.dynamics.engine import Plan, Replica, advance, finish
from symbias.dynamics.problem import Batch
from symbias.dynamics.store import Store

CHUNKS = 100


class Session:
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
                first, since = divmod(self.done, every)
                trace: dict[str, np.ndarray] = {}
                if since:  # the end of a shorter run lay between records
                    self._all(finish, tail=(gap := min(every - since, self.steps - self.done)))
                    self.done, first = self.done + gap, (self.done + gap) // every
                    since = self.done % every
                if not since:
                    trace = self._to_save(first, whole, tail)
                if store is None:
                    self.trace.append(trace)
                else:
                    store.commit(saved_state(self.state, self.done), trace, first)
                report(self.done)

    def _to_save(self, first: int, whole: int, tail: int) -> dict[str, np.ndarray]:
        """Train to the next save, from record `first` on; the last one takes all that is left."""
        records = min(whole - first, self.stretches - first % self.stretches)
        parts = [self._all(advance, records=records)] if records else []
        self.done += records * self.plan.every
        if self.done + tail == self.steps:
            parts.append(self._all(finish, tail=tail))
            self.done = self.steps
        return {k: np.concatenate([p[k] for p in parts], axis=1) for k in parts[0]}

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
        return joined([trace for _, trace in results])

    def restore(self, saved: Mapping[str, np.ndarray]) -> None:
        """Go on from a committed state."""
        self.done = int(saved["step"])
        for i, state in enumerate(self.state):
            leaves, tree = jax.tree.flatten(state)
            new = [saved[f"{i}.{j}"].astype(leaf.dtype) for j, leaf in enumerate(leaves)]
            device = state.diverged.device
            self.state[i] = jax.device_put(jax.tree.unflatten(tree, new), device)


def saved_state(state: Sequence[Replica], step: int) -> dict[str, np.ndarray]:
    leaves = {
        f"{i}.{j}": np.asarray(leaf)
        for i, replicas in enumerate(state)
        for j, leaf in enumerate(jax.tree.leaves(replicas))
    }
    return {"step": np.asarray(step), **leaves}


def joined(parts: Sequence[Any]) -> Any:
    return jax.tree.map(lambda *v: np.concatenate([np.asarray(a) for a in v]), *parts)


def gathered(tree: Any) -> Any:
    """Arrays of all processes, joined along the replica axis."""

    def gather(array: np.ndarray) -> np.ndarray:
        lengths = multihost_utils.process_allgather(np.asarray(len(array)))
        padded = np.zeros((int(np.max(lengths)), *array.shape[1:]), array.dtype)
        padded[: len(array)] = array
        parts = np.asarray(multihost_utils.process_allgather(padded))
        return np.concatenate([p[:n] for p, n in zip(parts, np.ravel(lengths), strict=True)])

    return jax.tree.map(gather, tree)


def stretches_of(steps: int, every: int, chunk: int | None, block: int) -> int:
    """Records between saves: even shares, since every odd size is compiled anew."""
    records = max(1, steps // every)
    if chunk is None:
        most = max(-(-steps // (CHUNKS * every)), block // every)
    else:
        most = -(-whole("chunk", chunk, 1) // every)
    return -(-records // -(-records // min(most, records)))


def per_block_of(stretches: int, every: int, block: int) -> int:
    """Records in a block, in even shares of those between saves."""
    most = max(1, min(block // every, stretches))
    return -(-stretches // -(-stretches // most))
