"""Class labels in a table, and a classifier whose strength is chosen by cross-validation."""

from typing import Any

import numpy as np

from symbias.cli import cells
from symbias.cli.errors import InputError
from symbias.cli.read import Table
from symbias.cli.record import Options, folds_of
from symbias.estimators import DesignedClassifier, choose
from symbias.penalties import Penalty

_STRENGTHS, _RATIO = 30, 1e-2


def labels_of(table: Table, name: str) -> np.ndarray:
    """A column of class labels: whole numbers where all are, else text.

    Raises
    ------
    InputError
        For missing labels, a single class, and as many classes as rows.
    """
    column = table.column(name)
    if (row := next((i for i, c in enumerate(column) if cells.is_missing(c)), None)) is not None:
        raise table.error(name, cells.CellError(row, "missing class label"))
    labels = np.array(column)
    if all(c.isdigit() for c in column):
        labels = labels.astype(np.int64)
    count = len(np.unique(labels))
    if count < 2 or count == len(labels):
        what = "one class only" if count < 2 else "a class of its own in every row"
        raise InputError(f"{table.path}: column {name!r} has {what}")
    return labels


def fit_classes(
    penalty: Penalty, options: Options, X: np.ndarray, y: np.ndarray, keywords: dict[str, Any]
) -> DesignedClassifier:
    """The classifier at a strength, or at the one that the one-standard-error rule picks.

    By the log loss on left-out folds that keep the shares of the classes; its ``strengths_`` and
    ``loss_path_`` are then set.
    """
    if options.strength is not None:
        return DesignedClassifier(penalty, options.strength, **keywords).fit(X, y)
    from sklearn.metrics import log_loss
    from sklearn.model_selection import StratifiedKFold

    kinds, counts = np.unique(y, return_counts=True)
    if counts.min() < 2:
        raise InputError(
            f"class {str(kinds[counts.argmin()])!r} has one row: cross-validation needs two; "
            "give a --strength"
        )
    callback, rest = keywords["callback"], keywords | {"callback": None}
    top = DesignedClassifier(penalty, 1.0, **rest).fit(X, y).strength_max_
    if not np.isfinite(top):
        raise InputError(f"no strength of {options.penalty} leaves nothing: give a --strength")
    strengths = np.geomspace(top or 1.0, (top or 1.0) * _RATIO, _STRENGTHS)
    least = int(counts.min())
    count = folds_of(options, least, f"class {str(kinds[counts.argmin()])!r} has {least} rows")
    folds = list(StratifiedKFold(count).split(X, y))
    losses = np.zeros((len(strengths), len(folds)))
    for k, (train, test) in enumerate(folds):
        for i, strength in enumerate(strengths):
            model = DesignedClassifier(penalty, strength, **rest).fit(X[train], y[train])
            losses[i, k] = log_loss(y[test], model.predict_proba(X[test]), labels=model.classes_)
            done, total = k * len(strengths) + i + 1, losses.size
            callback(done, total, float(np.sum(model.objective_)))
    chosen = float(strengths[choose(losses)])
    best = DesignedClassifier(penalty, chosen, **rest).fit(X, y)
    best.strengths_, best.loss_path_ = strengths, losses
    return best
