"""What an audit reads from: named arrays, on disk or at hand."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np
from numpy.typing import ArrayLike, DTypeLike

from symbias.checkpoints.checkpoint import BLOCK
from symbias.checkpoints.dtypes import check_values
from symbias.checkpoints.headers import Numpy

Shape = tuple[int, ...]


class Held(Protocol):
    """One array that has not been read."""

    @property
    def dtype(self) -> str: ...

    @property
    def shape(self) -> Shape: ...

    @property
    def size(self) -> int: ...

    @property
    def floating(self) -> bool:
        """Whether the values can be measured."""
        ...


class Source(Protocol):
    """Named arrays with a config, read one at a time; see `Checkpoint`."""

    @property
    def path(self) -> Path: ...

    @property
    def entries(self) -> Mapping[str, Held]: ...

    @property
    def config(self) -> Mapping[str, object]: ...

    @property
    def notes(self) -> tuple[str, ...]: ...

    @property
    def partial(self) -> str: ...

    @property
    def parts(self) -> Mapping[str, str]: ...

    @property
    def shapes(self) -> dict[str, Shape]: ...

    def read(self, name: str, dtype: DTypeLike = np.float64) -> Numpy: ...

    def rows(
        self, name: str, dtype: DTypeLike = np.float32, size: int = BLOCK
    ) -> Iterator[Numpy]: ...


@dataclass(frozen=True)
class _Entry:
    dtype: str
    shape: Shape
    size: int
    floating: bool


class Arrays:
    """A dict of arrays, seen as a checkpoint."""

    path = Path("arrays")
    notes: tuple[str, ...] = ()
    partial = ""
    parts: Mapping[str, str] = {}

    def __init__(self, arrays: Mapping[str, ArrayLike]) -> None:
        self.config: dict[str, object] = {}
        self._arrays = {name: np.asarray(a) for name, a in arrays.items()}
        self.entries = {
            name: _Entry(str(a.dtype), a.shape, a.size, np.issubdtype(a.dtype, np.floating))
            for name, a in self._arrays.items()
        }

    @property
    def shapes(self) -> dict[str, Shape]:
        return {name: e.shape for name, e in self.entries.items() if e.floating}

    def read(self, name: str, dtype: DTypeLike = np.float64) -> Numpy:
        values: Numpy = self._arrays[name].astype(dtype)
        check_values(name, values)
        return values

    def rows(self, name: str, dtype: DTypeLike = np.float32, size: int = BLOCK) -> Iterator[Numpy]:
        values = self.read(name, dtype)
        values = values.reshape(len(values), -1)
        step = max(1, size // max(values.shape[1], 1))
        for first in range(0, len(values) if values.size else 0, step):
            yield values[first : first + step]
