"""What a fit says, in sentences."""

from typing import Any

import numpy as np

from symbias._core.arrays import as_columns
from symbias.estimators import SeriesFit

_LISTED, _LARGEST = 8, 5  # changes that are all named, and the largest of more


def unit_of(record: dict[str, Any]) -> str:
    """What periods are measured in."""
    return (
        "days" if record["time_form"] not in ("numbers", "index") else record["time"] or "samples"
    )


def series_findings(fit: SeriesFit, record: dict[str, Any], changes: list[list[str]]) -> list[str]:
    """What became of a series; ``changes`` as they are written in the data."""
    if "constant" in record:
        return [_constant(record)]
    if record["penalty"] == "spectral":
        period = record["strongest_period"]
        unit = unit_of(record)
        unit = unit if unit == "days" else f"(in units of {unit})"
        return [
            f"The strongest period is {period:.2f} {unit}." if period else "No frequency is kept."
        ]
    level = record["penalty"] == "tv"
    count, what = len(changes), "level" if level else "slope"
    if not count:
        return [f"The {what} does not change."]
    where = "between" if level else "at"
    named = [f"{a} and {b}" if a != b else a for a, b in changes]
    times = "once" if count == 1 else f"{count} times"
    if count <= _LISTED:
        found = [f"The {what} changes {times}, {where} {', '.join(named)}."]
    else:
        sizes = change_sizes(fit)
        largest = np.argsort(-np.linalg.norm(sizes, axis=1), kind="stable")[:_LARGEST]
        listed = [f"{where} {named[k]} (by {_by(sizes[k])})" for k in largest]
        found = [f"The {what} changes {times}; most of all {', '.join(listed)}."]
    again = fit.unshrunk
    if count == 1 and level and again is not None:
        names = [record["target"]] if again.ndim == 1 else record["target"]
        ends = as_columns(again)[[0, -1]].T
        moves = [f"from {before:.5g} to {after:.5g}" for before, after in ends]
        if len(names) > 1:
            moves = [f"{name} {move}" for name, move in zip(names, moves, strict=True)]
        found.append(f"With the shrinkage undone (a refit on this one change), {', '.join(moves)}.")
    return found


def change_sizes(fit: SeriesFit) -> np.ndarray:
    """How far the level jumps, or the slope changes (per unit of time, of dates a day).

    Shape (changes, channels).
    """
    fitted = as_columns(fit.fitted)
    before, after = np.searchsorted(fit.times, fit.breaks).T
    if np.any(before != after):
        return fitted[after] - fitted[before]
    slopes = np.diff(fitted, axis=0) / np.diff(fit.in_steps(fit.times) * fit.step)[:, None]
    return slopes[before] - slopes[before - 1]


def _by(sizes: np.ndarray) -> str:
    return " and ".join(f"{size:+.4g}" for size in sizes)


def _constant(record: dict[str, Any]) -> str:
    target = record["target"]
    names = target if isinstance(target, str) else " and ".join(target)
    value = "" if record["constant"] is None else f" ({record['constant']:.6g} everywhere)"
    verb = "is" if isinstance(target, str) else "are"
    return (
        f"{names} {verb} constant{value}: nothing is left to explain, at any strength, and nothing "
        "was cross-validated."
    )


def table_findings(model: Any, record: dict[str, Any], names: list[str]) -> list[str]:
    """Which features a table keeps, and for which class they speak."""
    if "constant" in record:
        return [_constant(record)]
    coef = np.atleast_2d(model.coef_)
    kept = [n for n, used in zip(names, np.abs(coef).max(axis=0), strict=True) if used]
    listed = ", ".join(kept[:12]) + (f" and {len(kept) - 12} more" if len(kept) > 12 else "")
    found = [f"{len(kept)} of {len(names)} features are kept" + (f": {listed}." if kept else ".")]
    if record.get("positive_class"):
        other = next(kind for kind in record["classes"] if kind != record["positive_class"])
        found.append(
            f"A positive coefficient speaks for {record['positive_class']}, a negative one for "
            f"{other}."
        )
    return found


def agreement(record: dict[str, Any]) -> list[str]:
    """What other means found."""
    if "constant" in record:
        return []
    found = [_convex(record)]
    if "trained_note" in record:
        found.append(f"The factors were not trained: {record['trained_note']}.")
    if trained := record.get("trained"):
        apart = trained["relative_objective_difference"]
        found.append(
            "Trained by an optimizer with weight decay alone, the factors end at the same "
            f"objective, to {abs(apart):.1e} of {_scale(record)}."
            if abs(apart) < 1e-6
            else f"WARNING: trained factors end at an objective that differs by {apart:.1e} of "
            f"{_scale(record)}."
        )
    return found


def _convex(record: dict[str, Any]) -> str:
    reference = record["reference"]
    if reference is None:
        return f"No independent convex solution to compare with: {record['reference_note']}."
    apart = reference["relative_objective_difference"]
    if apart < 1e-6:
        targets = record["target"]
        names = targets if isinstance(targets, str) else " and ".join(targets)
        return (
            f"An independent convex solver ({reference['solver']}) finds the same answer: "
            f"objectives agree to {abs(apart):.1e} of {_scale(record)}, fits to "
            f"{reference['relative_fit_difference']:.1e} of the range of {names}."
        )
    return (
        f"WARNING: an independent convex solver ({reference['solver']}) finds a lower objective, "
        f"by {apart:.1e} of {_scale(record)}."
    )


def _scale(record: dict[str, Any]) -> str:
    return "it" if "classes" in record else "that of a constant fit"
