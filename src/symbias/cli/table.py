"""Fit a column of a table to the others."""

from typing import Any

import numpy as np

from symbias.cli.compare import compare_table, train_table
from symbias.cli.errors import InputError
from symbias.cli.read import Table
from symbias.cli.record import Job, Options, csv_of, outcome_of, record_of
from symbias.estimators import DesignedRegressor, DesignedRegressorCV
from symbias.penalties import GroupLasso, Penalty, as_penalty
from symbias.report.sections import table_section


def table_job(table: Table, options: Options, found: dict[str, Any], callback: Any) -> Job:
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
    record = record_of(table, options, outcome_of(model), found)
    record |= {"kind": "table", "target": options.target, "n": len(y), "features": names}
    record |= compare_table(model, penalty, scaled, y)
    if options.verify:
        record |= train_table(model, penalty, scaled, y)
    raw = model.coef_ / spread
    rows = [["feature", "coefficient", "per_standard_deviation"]]
    rows.append(["(intercept)", f"{model.intercept_ - raw @ X.mean(axis=0):.15g}", ""])
    for n, a, b in zip(names, raw, model.coef_, strict=True):
        rows.append([n, f"{a:.15g}", f"{b:.15g}"])
    return Job(record, csv_of(rows), table_section(model, record, names))


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
