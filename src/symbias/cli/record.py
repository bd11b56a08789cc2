"""What every fit has in common: its options, its record, its comparison, its CSV."""

import csv
import hashlib
import io
from dataclasses import dataclass
from typing import Any

import numpy as np

from symbias._version import __version__
from symbias.cli.read import Table
from symbias.designs import Penalty
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
    target: str | None = None
    time: str | None = None
    groups: str | None = None
    drop: tuple[str, ...] = ()
    folds: int = 5
    solver: str = "lbfgs"
    show_progress: bool = True


def record_of(table: Table, options: Options, model: Any, found: dict[str, Any]) -> dict[str, Any]:
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


def compare(model: Any, penalty: Penalty, X: np.ndarray, y: np.ndarray) -> dict[str, Any]:
    """The same problem by an independent convex solver, if there is one for it."""
    from symbias.training.reference import convex_reference

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


def csv_of(rows: list[list[str]]) -> str:
    stream = io.StringIO()
    csv.writer(stream, lineterminator="\n").writerows(rows)
    return stream.getvalue()
