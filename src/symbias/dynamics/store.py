"""A run on disk: a preallocated zarr trace, and a state file whose renaming is the commit.

Layout: ``run.json`` (what run this is), ``trace.zarr`` (one array per observable, one chunk per
commit) and ``state.npz`` (parameters, optimizer state, keys, step). A chunk of the trace is written
before the state that counts it; after a crash the run goes on from the state and writes the same
chunk again.
"""

import io
import json
import shutil
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any, cast

import jax
import numpy as np
import xarray as xr
import zarr

from symbias._core.files import LOCK, locked, replace_file
from symbias._version import __version__

FORMAT = 3
VERSIONS = ("format", "symbias", "jax")
HASHES = {  # entries that say nothing to a reader
    "data": "the data",
    "start": "the starting parameters",
    "program": "the functions of the problem or of the observables",
}
ENSEMBLE = ("replicas", "antithetic")
FOLLOWS = {  # where one of those differs, these do as well
    "start": ("key", *ENSEMBLE),
    "layout": ENSEMBLE,
    "chunk": ("every",),
    "block": ("rule",),
    "program": ("data", "rule", "every", "observables", "chunk", "block", "layout", *ENSEMBLE),
}


def recorded(path: Path) -> dict[str, Any]:
    """What run a folder says that it holds; nothing where it cannot be read."""
    try:
        return dict(json.loads((path / "run.json").read_text()))
    except (OSError, ValueError):
        return {}


class Store:
    """One process' part of a run on disk, held against other writers until it is closed.

    A folder may hold the same run of fewer steps; `allocate` makes room for the others.

    Raises
    ------
    ValueError
        If the folder holds another run, a run of another version, or something else altogether.
    FolderInUseError
        If another run writes to the folder.
    OSError
        If the folder cannot be written; what was committed before stays as it was.
    """

    def __init__(self, path: Path, identity: Mapping[str, Any]) -> None:
        self.path = path
        self.identity = {
            "format": FORMAT,
            "symbias": __version__,
            "jax": jax.__version__,
            **identity,
        }
        self.committed = 0  # steps, as far as is known
        with self._explained(), ExitStack() as stack:
            self._refuse_foreign()
            stack.enter_context(locked(path))
            self._claim()
            for partial in path.glob("*.partial"):
                partial.unlink()
            self._lock = stack.pop_all()

    def close(self) -> None:
        """Let other writers in."""
        self._lock.close()

    def allocate(
        self, shapes: Mapping[str, tuple[tuple[int, ...], np.dtype]], records: int, chunk: int
    ) -> None:
        """Make room for `records` of each observable, given its (replicas, ...) shape and dtype.

        What was committed stays.
        """
        with self._explained():
            if self.committed:
                group = zarr.open_group(self.path / "trace.zarr", mode="r+")
                for name, ((replicas, *rest), _) in shapes.items():
                    cast(zarr.Array, group[name]).resize((replicas, records, *rest))
            else:
                self._create(shapes, records, chunk)
            if recorded(self.path) != self.identity:
                self._mark()

    def _create(
        self, shapes: Mapping[str, tuple[tuple[int, ...], np.dtype]], records: int, chunk: int
    ) -> None:
        shutil.rmtree(self.path / "trace.zarr", ignore_errors=True)
        group = zarr.create_group(self.path / "trace.zarr", zarr_format=3)
        for name, ((replicas, *rest), dtype) in shapes.items():
            group.create_array(
                name,
                shape=(replicas, records, *rest),
                chunks=(replicas, chunk, *rest),
                dtype=dtype,
                fill_value=np.nan,
                dimension_names=["replica", "step", *(f"{name}_{i}" for i in range(len(rest)))],
            )

    def load(self) -> dict[str, np.ndarray] | None:
        """The last committed state, or None where nothing was committed yet."""
        file = self.path / "state.npz"
        if not file.exists():
            return None
        try:
            with np.load(file) as saved:
                state = dict(saved)
        except (OSError, ValueError) as error:
            raise ValueError(f"{file} is damaged: {error}") from error
        self.committed = int(state["step"])
        return state

    def commit(
        self, state: Mapping[str, np.ndarray], trace: Mapping[str, np.ndarray], first: int
    ) -> None:
        """Write records from index `first` on, then the state that makes them count."""
        with self._explained():
            if not (self.path / "run.json").exists():
                raise FileNotFoundError(f"{self.path / 'run.json'} has gone")
            if trace:
                group = zarr.open_group(self.path / "trace.zarr", mode="r+")
                for name, values in trace.items():
                    array = cast(zarr.Array, group[name])
                    array[:, first : first + values.shape[1]] = values
            buffer = io.BytesIO()
            np.savez(buffer, **cast(dict[str, Any], state))
            replace_file(self.path / "state.npz", buffer.getvalue())
        self.committed = int(state["step"])

    def trace(self) -> xr.Dataset:
        """The trace, read from disk when its values are used."""
        return xr.open_zarr(self.path / "trace.zarr", consolidated=False, chunks=None)

    def _refuse_foreign(self) -> None:
        if (self.path / "run.json").exists() or not self.path.exists():
            return
        if any(p.name != LOCK and not p.name.endswith(".partial") for p in self.path.iterdir()):
            raise ValueError(f"{self.path} is not empty and holds no symbias run; not touched")

    def _mark(self) -> None:
        """Say what run this is."""
        replace_file(self.path / "run.json", json.dumps(self.identity, indent=1).encode())

    def _claim(self) -> None:
        """Make the folder ours, or see that it holds this very run, or fewer steps of it."""
        marker = self.path / "run.json"
        if not marker.exists():
            self._mark()
            return
        try:
            found = json.loads(marker.read_text())
        except ValueError as error:
            raise ValueError(f"{marker} is damaged: {error}") from error
        other = [k for k in {**found, **self.identity} if found.get(k) != self.identity.get(k)]
        if other == ["steps"] and found["steps"] < self.identity["steps"]:
            return
        if other:
            told = "; ".join(_difference(k, found, self.identity) for k in _causes(other))
            raise ValueError(f"{self.path} holds another run ({told}); not overwritten")

    @contextmanager
    def _explained(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            saved = "No step of this call was saved"
            if self.committed:
                saved = (
                    f"The last saved state is step {self.committed}; the same call goes on from "
                    "there"
                )
            raise OSError(f"cannot write the run to {self.path}: {error}. {saved}") from error


def _causes(other: list[str]) -> list[str]:
    """Those of the entries that differ from which the others follow."""
    if versions := [k for k in other if k in VERSIONS]:
        return versions
    return [k for k in other if not set(other) & set(FOLLOWS.get(k, ()))]


def _difference(name: str, found: Mapping[str, Any], asked: Mapping[str, Any]) -> str:
    if name in HASHES:
        return f"{HASHES[name]} are others"
    return f"{name}: stored {found.get(name)}, asked {asked.get(name)}"
