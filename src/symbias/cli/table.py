"""Fit a column of a table to the others."""

from typing import Any

import numpy as np

from symbias.cli import cells
from symbias.cli.classes import fit_classes, labels_of
from symbias.cli.compare import compare_table, constant, train_table
from symbias.cli.errors import InputError
from symbias.cli.features import features_of
from symbias.cli.read import Table
from symbias.cli.record import Job, Options, csv_of, folds_of, of_constant, outcome_of, record_of
from symbias.cli.sure import sure_of_table
from symbias.estimators import DesignedRegressor, DesignedRegressorCV
from symbias.penalties import GroupLasso, Penalty, as_penalty
from symbias.report.sections import table_section


def table_job(table: Table, options: Options, found: dict[str, Any], callback: Any) -> Job:
    target = _target(table, options)
    y = labels_of(table, target) if options.classify else _measured(table, target)
    columns = [n for n in table.columns if n != target and n not in options.drop]
    if not columns:
        raise InputError(f"{table.path}: no column is left besides the target")
    features = features_of(table, columns, options.impute, options.onehot)
    X, names = features.X, features.names
    spread = X.std(axis=0)
    if useless := [repr(n) for n, s in zip(features.sources, spread, strict=True) if s == 0]:
        several = len(useless) > 1
        which = f"columns {', '.join(useless)} are" if several else f"column {useless[0]} is"
        them = "them" if several else "it"
        raise InputError(f"{table.path}: {which} constant; --drop {them}")
    scaled = (X - X.mean(axis=0)) / spread
    penalty = _table_penalty(table, options, columns, features.sources)
    keywords: dict[str, Any] = {"solver": options.solver, "callback": callback}
    keywords |= {"max_iter": options.max_iter, "tol": options.tol or 1e-10}
    model: Any
    if options.classify:
        model = fit_classes(penalty, options, scaled, y, keywords)
    elif options.strength is None and not constant(y):
        folds = folds_of(options, len(y), f"{table.path} has {len(y)} rows")
        model = DesignedRegressorCV(penalty, cv=folds, **keywords)
        model.fit(scaled, y)
    else:
        model = DesignedRegressor(penalty, options.strength or 1.0, **keywords).fit(scaled, y)
    record = record_of(table, options, outcome_of(model), found)
    record |= {"kind": "table", "target": target, "n": len(y), "features": names}
    record |= {"columns": columns, "sources": features.sources, "prepared": features.notes}
    record |= {"pandas": features.code}
    if options.classify:
        kinds, counts = np.unique(y, return_counts=True)
        record["classes"] = {str(k): int(n) for k, n in zip(kinds, counts, strict=True)}
        record["positive_class"] = str(kinds[1]) if len(kinds) == 2 else None
    if not options.classify and constant(y):
        record |= of_constant(options, float(y[0]))
    else:
        record["sure"] = sure_of_table(model, scaled, y, names, options, record["seconds"])
    record |= compare_table(model, penalty, scaled, y, options.verify)
    if options.verify:
        record |= train_table(model, penalty, scaled, y)
    rows = _rows(model, names, X.mean(axis=0), spread)
    return Job(record, csv_of(rows), table_section(model, record, names))


def _target(table: Table, options: Options) -> str:
    if not options.targets:
        raise InputError(
            f"{table.path}: name the column to predict with --target: {', '.join(table.columns)}"
        )
    if len(options.targets) > 1:
        raise InputError(
            f"a table is fitted to one --target, got {len(options.targets)}; "
            "series (tv, trend) change together"
        )
    return options.targets[0]


def _rows(model: Any, names: list[str], means: np.ndarray, spread: np.ndarray) -> list[list[str]]:
    """Coefficients in the units of the table; of classes, with the class they speak for."""
    head = ["feature", "coefficient", "per_standard_deviation"]
    coef, intercept = np.atleast_2d(model.coef_), np.atleast_1d(model.intercept_)
    classes = [[str(kind)] for kind in getattr(model, "classes_", ())][-len(coef) :] or [[]]
    rows = [["class", *head] if classes[0] else head]
    for first, scaled, level in zip(classes, coef, intercept, strict=True):
        raw = scaled / spread
        rows.append([*first, "(intercept)", f"{level - raw @ means:.15g}", ""])
        for n, a, b in zip(names, raw, scaled, strict=True):
            rows.append([*first, n, f"{a:.15g}", f"{b:.15g}"])
    return rows


def _measured(table: Table, target: str) -> np.ndarray:
    """The target as numbers; where it has none, it may be one of classes."""
    known = [k for k, c in enumerate(table.plain(target)) if not cells.is_missing(c)]
    texts = [k for k in known if not cells.is_number(table.plain(target)[k])]
    if texts and len(texts) == len(known):
        message = f"{table.plain(target)[texts[0]]!r} is not a number; --classify takes classes"
        raise table.error(target, cells.CellError(texts[0], message))
    return table.numbers(target)


def _table_penalty(table: Table, options: Options, names: list[str], sources: list[str]) -> Penalty:
    """Of groups: all that comes from one column stays together."""
    if options.penalty != "group":
        return as_penalty(options.penalty)
    if not options.groups and len(set(sources)) < len(sources):
        return GroupLasso(sources)
    if not options.groups:
        raise InputError(
            'the group penalty needs --groups "a,b;c,d": columns by comma, groups by ;'
        )
    labels = {name: name for name in names}
    if not options.groups.strip("; ,"):
        raise InputError(f"--groups {options.groups!r} names no column")
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
    return GroupLasso([labels[n] for n in sources])
