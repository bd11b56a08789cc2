"""What other means found of the same problem, in sentences."""

from typing import Any

from symbias.report.answers import names_of
from symbias.report.words import listed


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
        names = listed(names_of(record))
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
