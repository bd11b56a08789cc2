"""Fit a column of a table as a series."""

from collections.abc import Iterable
from dataclasses import replace
from typing import Any

import numpy as np

from symbias._core.arrays import as_columns
from symbias.cli.compare import compare_series, constant, train_series
from symbias.cli.errors import InputError
from symbias.cli.read import Table
from symbias.cli.record import (
    Job,
    Options,
    csv_of,
    folds_of,
    of_constant,
    outcome_of_series,
    record_of,
)
from symbias.cli.stamps import INDEX, Stamps, is_time
from symbias.cli.sure import sure_of_series
from symbias.estimators import SeriesFit, fit_series
from symbias.penalties import Penalty, TotalVariation, TrendFilter, as_penalty
from symbias.report.sections import series_section


def series_job(table: Table, options: Options, found: dict[str, Any], callback: Any) -> Job:
    time_name, targets = _series_columns(table, options)
    columns = [table.numbers(target, missing=True) for target in targets]
    values = columns[0] if len(columns) == 1 else np.stack(columns, axis=1)
    stamps = Stamps.counted(len(values)) if time_name is None else table.times(time_name)
    written = stamps.written()
    if len(written) == 1:
        raise InputError(
            f"{table.path}: all {len(values)} time stamps are equal ({stamps.cells[0]})"
        )
    folds = 2
    same = constant(values)
    if options.strength is None and not same:
        there = stamps.values[~np.isnan(values).reshape(len(values), -1).all(axis=1)]
        count = len(np.unique(there))
        folds = folds_of(options, count, f"{count} time stamps have a value")
    fit = fit_series(
        stamps.values,
        values,
        _penalty(options.penalty, len(targets)),
        options.strength or (1.0 if same else "auto"),
        folds=folds,
        solver=options.solver,
        tol=options.tol or 1e-8,
        max_iter=options.max_iter,
        callback=callback,
    )
    record = record_of(table, options, outcome_of_series(fit), found)
    record |= {"kind": "series", "time": time_name, "n": len(fit.observed)}
    record["target"] = targets[0] if len(targets) == 1 else list(targets)
    record["missing"] = int(np.sum(np.isnan(values)))
    record |= {"time_form": stamps.form, "time_pandas": stamps.pandas}
    changes = [[written[i] for i in pair] for pair in np.searchsorted(fit.times, fit.places)]
    record["knots"] = len(fit.breaks)
    record["changes"] = changes if stamps.dates else [[_number(c) for c in p] for p in changes]
    if options.penalty == "spectral":
        record["strongest_period"] = fit.strongest_period
    if same:
        record |= of_constant(options, float(fit.observed[0]) if len(targets) == 1 else None)
    record["sure"] = sure_of_series(fit, written, options, record["seconds"])
    if not fit.converged:
        record["warnings"].append(f"not converged after {fit.n_iter} rounds: raise --max-iter")
    record |= compare_series(fit, options.verify)
    if options.verify:
        record |= train_series(fit)
    rows = _series_rows(fit, written, time_name or INDEX, targets)
    axis = (time_name or INDEX) + " (UTC)" * stamps.form.endswith("UTC")
    section = series_section(fit, record, changes, (axis, targets))
    return Job(record, csv_of(rows), section)


def _penalty(name: str, channels: int) -> Penalty:
    penalty = as_penalty(name)
    if channels == 1:
        return penalty
    if name == "spectral":
        raise InputError(f"spectral fits one --target, got {channels}: fit them one by one")
    assert isinstance(penalty, TotalVariation | TrendFilter)
    return replace(penalty, joint=True)


def _series_columns(table: Table, options: Options) -> tuple[str | None, tuple[str, ...]]:
    """The column of time, None for rows in order, and those of the series."""
    targets, time_name = options.targets, options.time
    if time_name == INDEX and INDEX not in table.columns:
        time_name = None
    for name in (time_name, *targets, *options.drop):
        if name is not None:
            table.column(name)
    for k, name in enumerate(targets):
        if name == time_name or name in targets[:k]:
            raise InputError(f"--target {name} is given twice, or the --time of the series")
    left = [n for n in table.columns if n not in options.drop]
    if options.time is None:
        time_name = _likely_time(table, [n for n in left if n not in targets], bool(targets))
    rest = [n for n in left if n != time_name]
    if not targets:
        if not rest:
            raise InputError(f"{table.path}: no column is left for the series")
        if len(rest) != 1:
            raise InputError(
                f"{table.path}: which column is the series? Name it with --target: "
                f"{', '.join(rest)}"
            )
        targets = (rest[0],)
    return time_name, targets


def _likely_time(table: Table, others: list[str], targeted: bool) -> str | None:
    """The first of the columns beside the series if it is the only one, or looks like a time."""
    only = 1 if targeted else 2  # one of the two is the series
    if len(others) < only:
        return None
    if len(others) == only or is_time(others[0], table.column(others[0])):
        return others[0]
    if not targeted:
        return None
    raise InputError(
        f"{table.path}: which column is the time? Name it with --time: {', '.join(others)}; "
        f"--time {INDEX} takes the rows in order"
    )


def _number(cell: str) -> float | int:
    return int(cell) if cell.lstrip("+-").isdigit() else float(cell)


def _series_rows(
    fit: SeriesFit, written: list[str], time_name: str, targets: tuple[str, ...]
) -> list[list[str]]:
    """Time; of each target the mean of what was observed there (empty if nothing was); the fits."""
    names = ["fit"] if len(targets) == 1 else [f"fit of {target}" for target in targets]
    means = np.full((len(fit.times), len(targets)), np.nan)
    values, counts = as_columns(fit.seen.values), as_columns(fit.seen.counts)
    means[np.isin(fit.times, fit.observed_times)] = np.where(counts, values, np.nan)
    columns: list[Iterable[str]] = [written]
    columns += [["" if np.isnan(m) else f"{m:.15g}" for m in mean] for mean in means.T]
    columns += [[f"{f:.15g}" for f in fitted] for fitted in as_columns(fit.fitted).T]
    if fit.unshrunk is not None:
        names += [name.replace("fit", "unshrunk", 1) for name in names]
        columns += [[f"{f:.15g}" for f in again] for again in as_columns(fit.unshrunk).T]
    return [[time_name, *targets, *names], *map(list, zip(*columns, strict=True))]
