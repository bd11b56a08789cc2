"""A fit in words, figures and tables."""

from typing import Any

import numpy as np

from symbias.estimators import SeriesFit
from symbias.penalties import PENALTIES
from symbias.report.figures import (
    coefficients_figure,
    series_figure,
    spectrum_figure,
    validation_figure,
)
from symbias.report.page import Section

_MEANS = {
    "auto": "solved directly",
    "varpro": "factors trained (varpro)",
    "gd": "factors trained (gradient descent)",
}


def _belief(name: str) -> str:
    kind = PENALTIES[name]
    return f"Belief: {kind.belief}. Penalty: {kind.formula}."


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
    rows = (len(fit.times), len(targets))
    parts = zip(
        targets,
        fit.fitted.reshape(rows).T,
        fit.observed.reshape(-1, len(targets)).T,
        [None] * len(targets) if again is None else again.reshape(rows).T,
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
                fit.breaks,
                refit,
                (time, target),
                steps,
            ),
        )
        for target, fitted, observed, refit in parts
    ]
    if record["penalty"] == "spectral":
        periods, coefficients = fit.spectrum
        figures.append(
            (
                "Cosine coefficients by period.",
                spectrum_figure(periods, coefficients, _unit(record)),
            )
        )
    figures += _validation(fit.strengths, fit.errors, fit.strength, "squared error")
    return Section(
        title=f"{', '.join(targets)}: {record['penalty']}",
        lead=_belief(record["penalty"]) + " All channels change together." * (len(targets) > 1),
        findings=[*series_findings(fit, record, changes), *_agreement(record)],
        figures=figures,
        tables=[_numbers(record)],
        code=_series_code(record),
    )


def table_section(model: Any, record: dict[str, Any], names: list[str]) -> Section:
    """The page of a regression or classification table."""
    coef = np.atleast_2d(model.coef_)
    kept = [n for n, used in zip(names, np.abs(coef).max(axis=0), strict=True) if used]
    listed = ", ".join(kept[:12]) + (", ..." if len(kept) > 12 else "")
    finding = f"{len(kept)} of {len(names)} features are kept" + (f": {listed}." if kept else ".")
    lead = " Features are scaled to unit standard deviation."
    bars, score = names, "squared error"
    if classes := record.get("classes"):
        counted = ", ".join(f"{name} ({count} rows)" for name, count in classes.items())
        lead += f" Logistic regression of the classes {counted}."
        score = "log loss"
    if len(coef) > 1:
        lead += " One against the rest."
        bars = [f"{n} ({kind})" for kind in model.classes_ for n in names]
    return Section(
        title=f"{record['target']}: {record['penalty']}",
        lead=_belief(record["penalty"]) + lead,
        findings=[finding, *record["prepared"], *_agreement(record)],
        figures=[
            ("Coefficients per standard deviation.", coefficients_figure(bars, coef.ravel())),
            *_validation(
                getattr(model, "strengths_", None),
                getattr(model, "mse_path_", getattr(model, "loss_path_", None)),
                record["strength"],
                score,
            ),
        ],
        tables=[_numbers(record)],
        code=_table_code(record),
    )


def _unit(record: dict[str, Any]) -> str:
    return (
        "days" if record["time_form"] not in ("numbers", "index") else record["time"] or "samples"
    )


def series_findings(fit: SeriesFit, record: dict[str, Any], changes: list[list[str]]) -> list[str]:
    """What the fit says, in sentences."""
    if record["penalty"] == "spectral":
        period = record["strongest_period"]
        unit = _unit(record)
        unit = unit if unit == "days" else f"(in units of {unit})"
        return [
            f"The strongest period is {period:.2f} {unit}." if period else "No frequency is kept."
        ]
    count, what = len(changes), "level" if record["penalty"] == "tv" else "slope"
    if not count:
        return [f"The {what} does not change."]
    listed = [f"{a} and {b}" if a != b else a for a, b in changes[:8]]
    where = "between " if record["penalty"] == "tv" else "at "
    sentence = f"The {what} changes {'once' if count == 1 else f'{count} times'}, {where}"
    found = [sentence + (", ".join(listed) + (", ..." if count > 8 else "")) + "."]
    again = fit.unshrunk
    if count == 1 and record["penalty"] == "tv" and again is not None:
        names = [record["target"]] if again.ndim == 1 else record["target"]
        ends = np.stack([again[0], again[-1]]).reshape(2, -1).T
        moves = [f"from {before:.5g} to {after:.5g}" for before, after in ends]
        if len(names) > 1:
            moves = [f"{name} {move}" for name, move in zip(names, moves, strict=True)]
        found.append(f"With the shrinkage undone (a refit on this one change), {', '.join(moves)}.")
    return found


def _agreement(record: dict[str, Any]) -> list[str]:
    """What other means found, in sentences."""
    found = _convex(record)
    if "trained_note" in record:
        found.append(f"The factors were not trained: {record['trained_note']}.")
    if trained := record.get("trained"):
        apart = trained["relative_objective_difference"]
        found.append(
            "Trained by an optimizer with weight decay alone, the factors end at the same "
            f"objective, to {abs(apart):.1e}."
            if abs(apart) < 1e-6
            else f"WARNING: trained factors end at an objective that differs by {apart:.1e}."
        )
    return found


def _convex(record: dict[str, Any]) -> list[str]:
    reference = record["reference"]
    if reference is None:
        return [f"No independent convex solution to compare with: {record['reference_note']}."]
    return [
        f"An independent convex solver ({reference['solver']}) finds the same answer: objectives "
        f"agree to {abs(reference['relative_objective_difference']):.1e}, fits to "
        f"{reference['relative_fit_difference']:.1e} of their range."
        if reference["relative_objective_difference"] < 1e-6
        else f"WARNING: an independent convex solver ({reference['solver']}) finds a lower "
        f"objective, by {reference['relative_objective_difference']:.1e}."
    ]


def _validation(
    strengths: np.ndarray | None, errors: np.ndarray | None, chosen: float, score: str
) -> list[tuple[str, str]]:
    if strengths is None or errors is None or errors.shape[1] < 2:
        return []
    figure = validation_figure(strengths, errors, chosen, "one standard error", score)
    return [("Error on left-out data, and the strength that was chosen.", figure)]


def _numbers(record: dict[str, Any]) -> tuple[str, list[list[str]]]:
    reference = record["reference"]
    rows = [
        ["quantity", "value"],
        ["strength", f"{record['strength']:.6g} ({record['strength_rule']})"],
        ["strength_max", f"{record['strength_max']:.6g}"],
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


def _series_code(record: dict[str, Any]) -> str:
    column = f"data[{record['time']!r}]" if record["time"] else "range(len(data))"
    times = record["time_pandas"].format(column)
    penalty = repr(record["penalty"])
    if isinstance(record["target"], list):
        kind = "TotalVariation" if record["penalty"] == "tv" else "TrendFilter"
        penalty = f"sb.{kind}(joint=True)"
    return (
        "import pandas as pd\nimport symbias as sb\n\n"
        f"data = {record['read']}\n"
        f"fit = sb.fit_series({times}, data[{record['target']!r}], {penalty}, "
        f"strength={record['strength']!r})\n"
        "print(fit.breaks, fit.dual_gap)"
    )


def _table_code(record: dict[str, Any]) -> str:
    penalty = repr(record["penalty"])
    sources = record["sources"]
    if record["penalty"] == "group":
        group_of = {name: str(np.int64(i)) for i, name in enumerate(record["columns"])}
        for k, group in enumerate(record.get("groups", "").split(";")):
            for member in filter(None, map(str.strip, group.split(","))):
                group_of[member] = f"g{k}"
        penalty = f"sb.GroupLasso({[group_of[n] for n in sources]!r})"
    kind = "DesignedClassifier" if "classes" in record else "DesignedRegressor"
    code = record["pandas"]
    modules = {
        "compose": "make_column_transformer",
        "impute": "SimpleImputer",
        "pipeline": "make_pipeline",
    }
    imports = [f"from sklearn.{m} import {name}\n" for m, name in modules.items() if name in code]
    scalers = "OneHotEncoder, " * ("OneHotEncoder" in code) + "StandardScaler"
    imports.append(f"from sklearn.preprocessing import {scalers}\n")
    return (
        "import pandas as pd\nimport symbias as sb\n" + "".join(imports) + "\n"
        f"data = {record['read']}\n"
        f"X = {code}\n"
        f"model = sb.{kind}({penalty}, strength={record['strength']!r})\n"
        f"model.fit(X, data[{record['target']!r}])\n"
        "print(model.coef_, model.dual_gap_)"
    )
