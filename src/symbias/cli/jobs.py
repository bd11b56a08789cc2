"""What `fit` and `demo` compute: a fitted model, its record, its coefficients and its page."""

import csv
import hashlib
import io
import time
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np

from symbias._progress import progress
from symbias._version import __version__
from symbias.cli.errors import InputError
from symbias.cli.read import Table
from symbias.designs import GroupLasso, Penalty, as_penalty
from symbias.estimators import DesignedRegressor, DesignedRegressorCV, SeriesFit, fit_series
from symbias.report.page import Section

SERIES = ("tv", "trend", "spectral")


@dataclass
class Job:
    """One finished fit, ready to be written."""

    record: dict[str, Any]
    coefficients: str
    section: Section

    @property
    def warnings(self) -> list[str]:
        return list(self.record["warnings"])


@dataclass(frozen=True)
class Options:
    """What the command line says about a fit; ``strength`` is None for automatic."""

    penalty: str
    strength: float | None
    target: str | None = None
    time: str | None = None
    groups: str | None = None
    drop: tuple[str, ...] = ()
    folds: int = 5
    solver: str = "lbfgs"
    show_progress: bool = True


def run_job(table: Table, options: Options) -> Job:
    """Fit ``table`` as a series (tv, trend, spectral) or as a table with a target column."""
    with _observed(options) as (found, callback):
        try:
            if options.penalty in SERIES:
                return _series_job(table, options, found, callback)
            return _table_job(table, options, found, callback)
        except ValueError as error:  # the library's own words
            raise InputError(f"{table.path}: {error}") from None


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


def _series_job(table: Table, options: Options, found: dict[str, Any], callback: Any) -> Job:
    time_name, target = _series_columns(table, options)
    values = table.numbers(target, missing=True)
    times = np.arange(len(values), dtype=float) if time_name is None else table.times(time_name)
    fit = fit_series(
        times,
        values,
        options.penalty,
        "auto" if options.strength is None else options.strength,
        folds=options.folds,
        solver=options.solver,
        callback=callback,
    )
    record = _record(table, options, fit.model, found)
    record |= {"kind": "series", "time": time_name, "target": target, "n": len(fit.observed)}
    record["missing"] = int(np.sum(np.isnan(values)))
    record["changes"] = [[float(a), float(b)] for a, b in fit.breaks]
    if options.penalty == "spectral":
        record["strongest_period"] = _strongest_period(fit)
    record |= _compare(fit.model, fit.penalty, fit.design, fit.observed)
    rows = _series_rows(fit, time_name or "index", target)
    from symbias.report.sections import series_section

    section = series_section(fit, record, time_name or "index", target)
    return Job(record, _csv(rows), section)


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
        if len(rest) != 1:
            raise InputError(
                f"{table.path}: which column is the series? Name it with --target: "
                f"{', '.join(rest)}"
            )
        target = rest[0]
    return time_name, target


def _series_rows(fit: SeriesFit, time_name: str, target: str) -> list[list[str]]:
    """Time, mean of what was observed there (empty if nothing was), and the fit."""
    where = np.searchsorted(fit.times, fit.observed_times)
    count = np.bincount(where, minlength=len(fit.times))
    total = np.bincount(where, weights=fit.observed, minlength=len(fit.times))
    rows = [[time_name, target, "fit"]]
    for t, n, s, f in zip(fit.times, count, total, fit.fitted, strict=True):
        rows.append([f"{t:.15g}", f"{s / n:.15g}" if n else "", f"{f:.15g}"])
    return rows


def _strongest_period(fit: SeriesFit) -> float | None:
    periods, coefficients = fit.spectrum
    if not np.any(coefficients):
        return None
    return float(periods[np.argmax(np.abs(coefficients))])


def _table_job(table: Table, options: Options, found: dict[str, Any], callback: Any) -> Job:
    if options.target is None:
        raise InputError(
            f"{table.path}: name the column to predict with --target: {', '.join(table.columns)}"
        )
    y = table.numbers(options.target)
    for name in options.drop:
        table.column(name)
    names = [n for n in table.columns if n != options.target and n not in options.drop]
    if not names:
        raise InputError(f"{table.path}: no column is left besides the target")
    X = np.column_stack([table.numbers(n) for n in names])
    spread = X.std(axis=0)
    if constant := [n for n, s in zip(names, spread, strict=True) if s == 0]:
        raise InputError(f"{table.path}: column {constant[0]!r} is constant; --drop it")
    scaled = (X - X.mean(axis=0)) / spread
    penalty = _table_penalty(table, options, names)
    keywords: dict[str, Any] = {"solver": options.solver, "callback": callback}
    model: Any
    if options.strength is None:
        model = DesignedRegressorCV(penalty, cv=min(options.folds, len(y)), **keywords)
    else:
        model = DesignedRegressor(penalty, options.strength, **keywords)
    model.fit(scaled, y)
    record = _record(table, options, model, found)
    record |= {"kind": "table", "target": options.target, "n": len(y), "features": names}
    record |= _compare(model, penalty, scaled, y)
    raw = model.coef_ / spread
    rows = [["feature", "coefficient", "per_standard_deviation"]]
    rows.append(["(intercept)", f"{model.intercept_ - raw @ X.mean(axis=0):.15g}", ""])
    for n, a, b in zip(names, raw, model.coef_, strict=True):
        rows.append([n, f"{a:.15g}", f"{b:.15g}"])
    from symbias.report.sections import table_section

    return Job(record, _csv(rows), table_section(model, record, names))


def _table_penalty(table: Table, options: Options, names: list[str]) -> Penalty:
    if options.penalty != "group":
        return as_penalty(options.penalty)
    if not options.groups:
        raise InputError(
            'the group penalty needs --groups "a,b;c,d": columns by comma, groups by ;'
        )
    labels = {name: name for name in names}
    for group in options.groups.split(";"):
        members = [m.strip() for m in group.split(",") if m.strip()]
        for member in members:
            if member not in labels:
                raise InputError(
                    f"--groups: {member!r} is not a feature of {table.path}: {', '.join(names)}"
                )
            if labels[member] != member:
                raise InputError(f"--groups: {member!r} is in two groups; groups may not overlap")
            labels[member] = "+".join(members) if len(members) > 1 else member
    return GroupLasso([labels[n] for n in names])


def _record(table: Table, options: Options, model: Any, found: dict[str, Any]) -> dict[str, Any]:
    """Everything one needs to know to make this fit again, and what came out."""
    record: dict[str, Any] = {
        "symbias": __version__,
        "data": table.path.name,
        "data_sha256": hashlib.sha256(table.path.read_bytes()).hexdigest(),
        "penalty": options.penalty,
        "strength": float(getattr(model, "strength_", getattr(model, "strength", 0.0))),
        "strength_rule": "given" if options.strength else "one standard error",
        "strength_max": model.strength_max_,
        "solver": options.solver,
        "objective": model.objective_,
        "dual_gap": None if np.isnan(model.dual_gap_) else model.dual_gap_,
        "nonzero": int(np.sum(model.support_)),
        "n_iter": model.n_iter_,
        "converged": model.converged_,
        "seconds": round(found["elapsed"](), 3),
        "warnings": sorted({str(w.message) for w in found["caught"]}),
    }
    if options.groups:
        record["groups"] = options.groups
    if hasattr(model, "mse_path_"):
        record["folds"] = int(model.mse_path_.shape[1])
        record["strengths"] = model.strengths_.tolist()
        record["mean_squared_error"] = model.mse_path_.mean(axis=1).tolist()
    return record


def _compare(model: Any, penalty: Penalty, X: np.ndarray, y: np.ndarray) -> dict[str, Any]:
    """The same problem by an independent convex solver, if there is one for it."""
    from symbias.solvers.reference import convex_reference

    strength = float(getattr(model, "strength_", getattr(model, "strength", 0.0)))
    try:
        reference = convex_reference(penalty, strength, X, y)
    except ImportError:
        return {"reference": None, "reference_note": "cvxpy is not installed: symbias[verify]"}
    except ValueError as error:
        return {"reference": None, "reference_note": str(error)}
    ours, theirs = (X @ c + b for c, b in ((model.coef_, model.intercept_), reference[1:3]))
    scale = float(np.max(np.abs(theirs - np.mean(theirs)))) or 1.0
    return {
        "reference": {
            "solver": reference.solver,
            "objective": reference.objective,
            "relative_objective_difference": float(model.objective_ / reference.objective - 1)
            if reference.objective
            else 0.0,
            "relative_fit_difference": float(np.max(np.abs(ours - theirs)) / scale),
        }
    }


def _csv(rows: list[list[str]]) -> str:
    stream = io.StringIO()
    csv.writer(stream, lineterminator="\n").writerows(rows)
    return stream.getvalue()
