"""What every fit has in common: its options, its record, its comparison, its CSV."""

import csv
import hashlib
import io
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from symbias._version import __version__
from symbias.cli.errors import InputError
from symbias.cli.read import Table
from symbias.estimators import (
    DesignedClassifier,
    DesignedRegressor,
    DesignedRegressorCV,
    SeriesFit,
)
from symbias.report.page import Section


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
    targets: tuple[str, ...] = ()
    time: str | None = None
    groups: str | None = None
    drop: tuple[str, ...] = ()
    folds: int | None = None
    solver: str = "auto"
    show_progress: bool = True
    verify: bool = False
    max_iter: int | None = None
    tol: float | None = None
    impute: str | None = None
    onehot: bool = False
    classify: bool = False


def folds_of(options: Options, count: int, what: str) -> int:
    """5, or one for each of ``count`` things if they are fewer; or what was asked for.

    Raises
    ------
    InputError
        Where more are asked for than there are.
    """
    if options.folds is not None and options.folds > count:
        raise InputError(f"--folds {options.folds}: {what}, so there are at most {count} folds")
    return options.folds or min(5, count)


class Outcome(NamedTuple):
    """The numbers of a fit; ``strengths`` and ``errors`` where it was cross-validated."""

    strength: float
    strength_max: float
    objective: float
    dual_gap: float
    nonzero: int
    n_iter: int
    converged: bool
    strengths: np.ndarray | None = None
    errors: np.ndarray | None = None
    score: str = "mean_squared_error"


def outcome_of(model: DesignedRegressor | DesignedRegressorCV | DesignedClassifier) -> Outcome:
    """The numbers of an estimator; of classes one against the rest, added up."""
    classes = isinstance(model, DesignedClassifier)
    return Outcome(
        float(getattr(model, "strength_", getattr(model, "strength", 0.0))),
        model.strength_max_,
        float(np.sum(model.objective_)),
        float(np.sum(model.dual_gap_)),
        int(np.sum(model.support_)),
        model.n_iter_,
        model.converged_,
        getattr(model, "strengths_", None),
        getattr(model, "loss_path_" if classes else "mse_path_", None),
        "mean_log_loss" if classes else "mean_squared_error",
    )


def outcome_of_series(fit: SeriesFit) -> Outcome:
    """The numbers of a series."""
    return Outcome(
        fit.strength,
        fit.strength_max,
        fit.objective,
        fit.dual_gap,
        len(fit.changes),
        fit.n_iter,
        fit.converged,
        fit.strengths,
        fit.errors,
    )


def record_of(
    table: Table, options: Options, outcome: Outcome, found: dict[str, Any]
) -> dict[str, Any]:
    """Everything one needs to know to make this fit again, and what came out."""
    record: dict[str, Any] = {
        "symbias": __version__,
        "data": table.path.name,
        "read": table.pandas,
        "data_sha256": hashlib.sha256(table.path.read_bytes()).hexdigest(),
        "penalty": options.penalty,
        "strength": outcome.strength,
        "strength_rule": "given" if options.strength else "one standard error",
        "strength_max": outcome.strength_max if np.isfinite(outcome.strength_max) else None,
        "solver": options.solver,
        "objective": outcome.objective,
        "dual_gap": None if np.isnan(outcome.dual_gap) else outcome.dual_gap,
        "nonzero": outcome.nonzero,
        "n_iter": outcome.n_iter,
        "converged": outcome.converged,
        "seconds": round(found["elapsed"](), 3),
        "warnings": sorted({str(w.message) for w in found["caught"]}),
    }
    if options.groups:
        record["groups"] = options.groups
    if outcome.strengths is not None and outcome.errors is not None:
        record["folds"] = int(outcome.errors.shape[1])
        record["strengths"] = outcome.strengths.tolist()
        record[outcome.score] = outcome.errors.mean(axis=1).tolist()
    return record


def of_constant(options: Options, value: float | None) -> dict[str, Any]:
    """What a record says of a target that is ``value`` everywhere (None: of several targets)."""
    return {"constant": value} | ({} if options.strength else {"strength_rule": "any"})


def csv_of(rows: list[list[str]]) -> str:
    stream = io.StringIO()
    csv.writer(stream, lineterminator="\n").writerows(rows)
    return stream.getvalue()
