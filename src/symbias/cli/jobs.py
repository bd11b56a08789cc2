"""Run one fit, with progress, and its warnings kept."""

import time
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from symbias._core.progress import progress
from symbias.cli.errors import InputError
from symbias.cli.names import SERIES
from symbias.cli.read import Table
from symbias.cli.record import Job, Options
from symbias.cli.series import series_job
from symbias.cli.table import table_job


def run_job(table: Table, options: Options) -> Job:
    """Fit ``table`` as a series (tv, trend, spectral) or as a table with a target column."""
    _check_names(table, options)
    with _observed(options) as (found, callback):
        try:
            if options.penalty in SERIES:
                return series_job(table, options, found, callback)
            return table_job(table, options, found, callback)
        except ValueError as error:  # the library's own words
            raise InputError(f"{table.path}: {error}") from None


def _check_names(table: Table, options: Options) -> None:
    """Raise InputError for columns to drop that are not there, or asked for as well."""
    for name in options.drop:
        table.column(name)
        if name in options.targets or name == options.time:
            option = "--target" if name in options.targets else "--time"
            raise InputError(f"{option} {name} is a column to --drop as well")


@contextmanager
def _observed(options: Options) -> Iterator[tuple[dict[str, Any], Any]]:
    """Progress, elapsed seconds and warnings of a fit."""
    begun = time.perf_counter()
    found: dict[str, Any] = {"elapsed": lambda: time.perf_counter() - begun}
    with (
        warnings.catch_warnings(record=True) as caught,
        progress(f"fit {options.penalty}", None, show=options.show_progress) as report,
    ):
        warnings.simplefilter("always")
        found["caught"] = caught

        def callback(*state: Any) -> None:
            total = state[1] if len(state) == 3 else None
            report(state[0], f"objective {state[-1]:.6g}", total)

        yield found, callback
