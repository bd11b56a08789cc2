"""A claim, what was predicted, what was measured over seeds, and a computed verdict."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from symbias.evidence import Evidence, compare_median, compare_point

_BASIS: dict[bool, Literal["theory", "band"]] = {True: "theory", False: "band"}
_CAPTIONS = {
    "theory": "Predicted by theory; only the tolerance was chosen",
    "band": "Bands that were chosen, from what was published or from trial runs",
}
HEADER = ["claim", "prediction", "measured (99% interval)", "verdict", "holds in"]


@dataclass(frozen=True)
class Claim:
    """One row of a study's table.

    Attributes
    ----------
    text : str
        What is claimed.
    prediction : str
        The number or range it is held against.
    evidence : Evidence
        The test over all runs; the verdict is this one's.
    basis : str
        "theory" where the number is predicted and only the tolerance was chosen; "band" where the
        range itself was, from what was published or from trial runs.
    held, runs : int
        In how many of the runs the claim holds, each taken alone: had only one seed been run, the
        verdict would have been the other one in the rest.
    """

    text: str
    prediction: str
    evidence: Evidence
    held: int
    runs: int
    basis: Literal["theory", "band"]

    def to_dict(self) -> dict[str, Any]:
        """For JSON, where an interval may be unbounded."""
        evidence = self.evidence.to_dict()
        interval = self.evidence.interval or (-math.inf, math.inf)
        evidence["interval"] = [x if math.isfinite(x) else None for x in interval]
        rest = {"held": self.held, "runs": self.runs, "basis": self.basis}
        return {"claim": self.text, "expected": self.prediction, **evidence, **rest}


def in_range(
    text: str,
    values: Any,
    low: float = -math.inf,
    high: float = math.inf,
    *,
    theory: bool = False,
) -> Claim:
    """The median over seeds lies in [low, high]; with `theory` about a number that it predicts."""
    x = np.asarray(values, dtype=float)
    held = int(np.sum((low <= x) & (x <= high)))
    if math.isinf(low):
        said = f"at most {high:.3g}"
    else:
        said = f"at least {low:.3g}" if math.isinf(high) else f"{low:.3g} to {high:.3g}"
    return Claim(text, said, compare_median(x, low, high), held, len(x), _BASIS[theory])


def equal(text: str, prediction: float, values: Any, tolerance: float) -> Claim:
    """The mean over replicas is the prediction, within a relative tolerance."""
    x = np.asarray(values, dtype=float)
    held = int(np.sum(np.abs(x - prediction) <= tolerance * abs(prediction)))
    said = f"{prediction:.4g} (to {tolerance:.0%})"
    return Claim(
        text, said, compare_point(prediction, x, tolerance=tolerance), held, len(x), "theory"
    )


def tables(rows: Sequence[dict[str, Any]]) -> list[tuple[str, list[list[str]]]]:
    """Rows of `Claim.to_dict` for a page: predictions of theory apart from bands, with captions."""
    parts = [(_CAPTIONS[b], [r for r in rows if r["basis"] == b]) for b in ("theory", "band")]
    return [(caption, [HEADER, *map(_cells, part)]) for caption, part in parts if part]


def _cells(row: dict[str, Any]) -> list[str]:
    low, high = row["interval"]
    interval = "too few runs" if low is None else f"{low:.3g} to {high:.3g}"
    measured = f"{row['estimate']:.3g} ({interval})"
    held = f"{row['held']} of {row['runs']}"
    return [row["claim"], row["expected"], measured, row["verdict"], held]
