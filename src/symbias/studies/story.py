"""What a study is given, and what it hands on."""

import csv
import os
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

import jax
import numpy as np

from symbias.report import style
from symbias.studies.claims import Claim

T = TypeVar("T")


@dataclass(frozen=True)
class Setup:
    """How much to run, and where to.

    `folder` is the study's own; `seeds` how many runs with data, start and noise of their own;
    `quick` asks for fewer steps; `say` prints a line of progress.
    """

    folder: Path
    seeds: int = 20
    quick: bool = False
    say: Callable[[str], None] = print

    def figure(self, figure: Any, name: str, columns: Mapping[str, Any]) -> str:
        """Save a figure as SVG and PNG, and its data as CSV beside it; gives back its name."""
        style.save(figure, self.folder / name)
        write_csv(self.folder / f"{name}.csv", columns)
        return name


@dataclass
class Story:
    """A study for a page: a lead, findings, claims, and figures as (file name, description)."""

    title: str
    lead: str
    findings: list[str] = field(default_factory=list)
    claims: list[Claim] = field(default_factory=list)
    figures: list[tuple[str, str]] = field(default_factory=list)
    numbers: dict[str, Any] = field(default_factory=dict)


def over_seeds(one: Callable[[int], T], seeds: int) -> list[T]:
    """``[one(0), one(1), ...]``, as many at a time as there are cores: compiled loops run apart."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    with ThreadPoolExecutor(cores) as pool:
        return list(pool.map(one, range(seeds)))


def in_single(draw: Callable[..., Mapping[str, Any]], seed: int, *more: Any) -> dict[str, Any]:
    """What ``draw(key, ...)`` gives for a seed, as NumPy arrays of single precision.

    Whatever JAX's precision is elsewhere, and safe in a thread beside others that run in double.
    """
    with jax.enable_x64(False):
        return {k: np.asarray(v) for k, v in draw(jax.random.key(seed), *more).items()}


def write_csv(path: Path, columns: Mapping[str, Any]) -> None:
    """Columns of equal length, under their names."""
    values = [np.asarray(column) for column in columns.values()]
    with path.open("w", newline="") as stream:
        writer = csv.writer(stream)
        writer.writerow(columns)
        writer.writerows([f"{x:.6g}" for x in row] for row in zip(*values, strict=True))


def named(prefix: str, values: Iterable[Any]) -> dict[str, Any]:
    """Columns "prefix 1", "prefix 2", ... of the rows of `values`."""
    return {f"{prefix} {i}": row for i, row in enumerate(values, start=1)}
