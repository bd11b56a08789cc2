"""Fit a column of a table as a series."""

from typing import Any

import numpy as np

from symbias.cli.compare import compare_series, train_series
from symbias.cli.errors import InputError
from symbias.cli.read import Table
from symbias.cli.record import Job, Options, csv_of, outcome_of_series, record_of
from symbias.cli.stamps import Stamps
from symbias.estimators import SeriesFit, fit_series
from symbias.report.sections import series_section


def series_job(table: Table, options: Options, found: dict[str, Any], callback: Any) -> Job:
    time_name, target = _series_columns(table, options)
    values = table.numbers(target, missing=True)
    stamps = Stamps.counted(len(values)) if time_name is None else table.times(time_name)
    written = stamps.written()
    if len(written) == 1:
        raise InputError(
            f"{table.path}: all {len(values)} time stamps are equal ({stamps.cells[0]})"
        )
    fit = fit_series(
        stamps.values,
        values,
        options.penalty,
        "auto" if options.strength is None else options.strength,
        folds=options.folds,
        solver=options.solver,
        tol=options.tol or 1e-8,
        max_iter=options.max_iter,
        callback=callback,
    )
    record = record_of(table, options, outcome_of_series(fit), found)
    record |= {"kind": "series", "time": time_name, "target": target, "n": len(fit.observed)}
    record["missing"] = int(np.sum(np.isnan(values)))
    record |= {"time_form": stamps.form, "time_pandas": stamps.pandas}
    changes = [[written[i] for i in pair] for pair in np.searchsorted(fit.times, fit.breaks)]
    record["changes"] = changes if stamps.dates else [[_number(c) for c in p] for p in changes]
    if options.penalty == "spectral":
        record["strongest_period"] = _strongest_period(fit)
    record |= compare_series(fit, options.verify)
    if options.verify:
        record |= train_series(fit)
    rows = _series_rows(fit, written, time_name or "index", target)
    axis = (time_name or "index") + " (UTC)" * stamps.form.endswith("UTC")
    section = series_section(fit, record, changes, (axis, target))
    return Job(record, csv_of(rows), section)


def _series_columns(table: Table, options: Options) -> tuple[str | None, str]:
    names = [n for n in table.columns if n not in options.drop]
    time_name, target = options.time, options.target
    for name in (time_name, target, *options.drop):
        if name is not None:
            table.column(name)
    if time_name is None and len(names) > 1:
        time_name = next(n for n in names if n != target)
    rest = [n for n in names if n != time_name]
    if target is None:
        if not rest:
            raise InputError(f"{table.path}: no column is left for the series")
        if len(rest) != 1:
            raise InputError(
                f"{table.path}: which column is the series? Name it with --target: "
                f"{', '.join(rest)}"
            )
        target = rest[0]
    return time_name, target


def _number(cell: str) -> float | int:
    return int(cell) if cell.lstrip("+-").isdigit() else float(cell)


def _series_rows(
    fit: SeriesFit, written: list[str], time_name: str, target: str
) -> list[list[str]]:
    """Time, mean of what was observed there (empty if nothing was), and the fit."""
    where = np.searchsorted(fit.times, fit.observed_times)
    count = np.bincount(where, minlength=len(fit.times))
    total = np.bincount(where, weights=fit.observed, minlength=len(fit.times))
    rows = [[time_name, target, "fit"]]
    for t, n, s, f in zip(written, count, total, fit.fitted, strict=True):
        rows.append([t, f"{s / n:.15g}" if n else "", f"{f:.15g}"])
    return rows


def _strongest_period(fit: SeriesFit) -> float | None:
    periods, coefficients = fit.spectrum
    if not np.any(coefficients):
        return None
    return float(periods[np.argmax(np.abs(coefficients))])
