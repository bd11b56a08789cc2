"""A fit in words, figures and tables."""

from typing import Any

import numpy as np

from symbias._core.arrays import as_columns
from symbias.estimators import SeriesFit
from symbias.penalties import PENALTIES
from symbias.report.agreement import agreement
from symbias.report.answers import (
    LISTED,
    series_answer,
    series_title,
    signs,
    table_answer,
    table_title,
    unit_of,
)
from symbias.report.certainty import Table, certainty
from symbias.report.code import series_code, table_code
from symbias.report.figures import (
    coefficients_figure,
    series_figure,
    spectrum_figure,
    validation_figure,
)
from symbias.report.page import Section

_COMPUTED = (
    "The penalty is what weight decay on the factors of a redundant parameterization makes of the "
    "weights. The fit is where training those factors ends, solved for directly."
)
_LEFT_OUT = (
    "The fit has {}, as stairs beside these or no larger than noise can make them: they are left "
    "out of the answer (backward elimination, wrong in 5% of series of noise alone at most)."
)
_MEANS = {
    "auto": "solved directly",
    "varpro": "factors trained (varpro)",
    "gd": "factors trained (gradient descent)",
}


def series_section(
    fit: SeriesFit,
    record: dict[str, Any],
    changes: list[list[str]],
    labels: tuple[str, tuple[str, ...]],
) -> Section:
    """The page of a series; ``changes`` as they are written in the data.

    ``labels`` are the name of the time and those of the channels.
    """
    time, targets = labels
    steps, again = record["penalty"] == "tv", fit.unshrunk
    named = 0 < len(changes) <= LISTED and "intervals" in record["sure"]
    ranges = fit.intervals() if named else None
    parts = zip(
        targets,
        as_columns(fit.fitted).T,
        as_columns(fit.observed).T,
        [None] * len(targets) if again is None else as_columns(again).T,
        strict=True,
    )
    figures = [
        (
            f"{target} over {time}, and the fit.",
            series_figure(
                fit.times,
                fitted,
                fit.observed_times,
                observed,
                fit.places,
                refit,
                (time, target),
                steps,
                ranges,
            ),
        )
        for target, fitted, observed, refit in parts
    ]
    if record["penalty"] == "spectral":
        periods, coefficients = fit.spectrum
        figures.append(
            (
                "Cosine coefficients by period.",
                spectrum_figure(periods, coefficients, unit_of(record)),
            )
        )
    assumed = [_belief(record["penalty"]), "Errors are squared: noise of one size everywhere."]
    if (more := record["knots"] - len(changes)) > 0:
        assumed.append(_LEFT_OUT.format(f"{more} more change{'s' * (more > 1)}"))
    if len(targets) > 1:
        assumed.append("All channels change together.")
    return Section(
        title=series_title(record, len(changes)),
        answer=series_answer(fit, record, changes),
        figures=figures,
        parts=_parts(
            record,
            certainty(record, changes, []),
            assumed,
            _validation(fit.strengths, fit.errors, fit.strength, "squared error"),
            series_code(record),
        ),
    )


def table_section(model: Any, record: dict[str, Any], names: list[str]) -> Section:
    """The page of a regression or classification table."""
    coef = np.atleast_2d(model.coef_)
    size = np.abs(coef).max(axis=0)
    order = np.argsort(-size, kind="stable")
    kept = [names[i] for i in order if size[i]]
    assumed = [_belief(record["penalty"]), "Features are scaled to unit standard deviation."]
    bars, score = names, "squared error"
    if classes := record.get("classes"):
        counted = ", ".join(f"{name} ({count} rows)" for name, count in classes.items())
        assumed.append(f"Logistic regression of the classes {counted}.")
        score = "log loss"
    if len(coef) > 1:
        assumed.append("One class against the rest.")
        bars = [f"{n} ({kind})" for kind in model.classes_ for n in names]
    return Section(
        title=table_title(record, kept),
        answer=table_answer(record, kept),
        findings=signs(record),
        figures=[("Coefficients per standard deviation.", coefficients_figure(bars, coef.ravel()))],
        parts=_parts(
            record,
            certainty(record, [], kept),
            assumed + record["prepared"],
            _validation(
                getattr(model, "strengths_", None),
                getattr(model, "mse_path_", getattr(model, "loss_path_", None)),
                record["strength"],
                score,
            ),
            table_code(record),
        ),
    )


def _belief(name: str) -> str:
    kind = PENALTIES[name]
    return f"Belief: {kind.belief}. Penalty: {kind.formula}."


def _parts(
    record: dict[str, Any],
    sure: tuple[list[str], list[Table]],
    assumed: list[str],
    validation: list[tuple[str, str]],
    code: str,
) -> list[Section]:
    """How sure, what was assumed, and last how it was computed."""
    said, tables = sure
    computed = Section(
        "How it was computed",
        lead=_COMPUTED,
        findings=agreement(record),
        figures=validation,
        tables=[_numbers(record)],
        code=code,
    )
    parts = [Section("What was assumed", findings=assumed), computed]
    return [Section("How sure this is", findings=said, tables=tables), *parts] if said else parts


def _validation(
    strengths: np.ndarray | None, errors: np.ndarray | None, chosen: float, score: str
) -> list[tuple[str, str]]:
    if strengths is None or errors is None or errors.shape[1] < 2:
        return []
    figure = validation_figure(strengths, errors, chosen, "one standard error", score)
    return [("Error on left-out data, and the strength that was chosen.", figure)]


def _numbers(record: dict[str, Any]) -> tuple[str, list[list[str]]]:
    reference = record["reference"]
    strengths = [["strength", _strength(record)]]
    if "constant" not in record and record["strength_max"] is not None:
        strengths.append(["strength_max", f"{record['strength_max']:.6g}"])
    rows = [
        ["quantity", "value"],
        *strengths,
        ["nonzero penalised coordinates", str(record["nonzero"])],
        [f"objective, {_MEANS[record['solver']]}", f"{record['objective']:.10g}"],
    ]
    if record["kind"] == "series":
        when = f"{record['time']} ({record['time_form']})" if record["time"] else "rows in order"
        rows.insert(1, ["time", when])
    if trained := record.get("trained"):
        rows.append(["objective, factors trained (varpro)", f"{trained['objective']:.10g}"])
    if reference:
        rows.append([f"objective, {reference['solver']}", f"{reference['objective']:.10g}"])
    if record["dual_gap"] is not None:
        rows.append(["duality gap", f"{record['dual_gap']:.2e}"])
    rows += [
        ["rounds" if record["solver"] == "auto" else "training steps", str(record["n_iter"])],
        ["converged", "yes" if record["converged"] else "no"],
        ["seconds", f"{record['seconds']:.2f}"],
    ]
    return "The numbers of this fit.", rows


def _strength(record: dict[str, Any]) -> str:
    rule = record["strength_rule"]
    if rule == "any":
        return "any: the target is constant"
    if folds := record.get("folds"):
        rule += f", {folds} folds" if folds < record["n"] else ", leaving one out at a time"
    return f"{record['strength']:.6g} ({rule})"
