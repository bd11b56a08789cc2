"""What a test found, and the correction of several tests for being several."""

import reprlib
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any, Literal

import numpy as np

Verdict = Literal["consistent", "rejected", "undecided"]


@dataclass(frozen=True)
class Evidence:
    """Outcome of one test.

    Attributes
    ----------
    test : str
        Name of the test.
    statistic, p_value : float
        Against the claim; `p_value` is corrected for several tests once `holm` has seen it.
    verdict : str
        "rejected" where p_value is at most `level`: a true claim is so with probability `level`.
        "consistent" where it is not and, for the claim that a number lies in a range, where
        `p_opposite` is at most `level`; "undecided" where the data cannot tell.
    level : float
    draws : int
        Values that entered.
    effective : float
        Independent values that the test took of them.
    estimate, interval : float, pair of float, optional
        Of the mean over replicas, or of the median over runs, with its confidence interval at
        1 - level. Two-sided, as both p-values are: all of them lead to one verdict.
    prediction : float, optional
        What `estimate` was held against.
    p_opposite : float, optional
        The p-value of the opposite claim, that the number lies outside the range.
    """

    test: str
    statistic: float
    p_value: float
    verdict: Verdict
    level: float
    draws: int
    effective: float
    estimate: float | None = None
    interval: tuple[float, float] | None = None
    prediction: float | None = None
    p_opposite: float | None = None

    def to_dict(self) -> dict[str, Any]:
        """Plain numbers and strings, for JSON."""
        return asdict(self)


def judged(p_value: float, level: float, p_opposite: float | None = None) -> Verdict:
    """The verdict that follows from the p-values of a claim and of its opposite."""
    if p_value <= level:
        return "rejected"
    return "consistent" if p_opposite is None or p_opposite <= level else "undecided"


def holm(evidence: Sequence[Evidence]) -> list[Evidence]:
    """The same tests, corrected for being several: p-values by Holm, and what was rejected.

    Of all true claims together, one or more is rejected with probability at most `level`. A claim
    that its own test rejects and the correction does not is undecided; the other verdicts, and
    the intervals, each at its own level, stay.

    Raises
    ------
    TypeError
        For anything that is not `Evidence`.

    References
    ----------
    Holm, "A simple sequentially rejective multiple test procedure", 1979.
    """
    if strange := [e for e in evidence if not isinstance(e, Evidence)]:
        raise TypeError(f"holm takes evidence, as sb.compare returns, got {shown(strange[0])}")
    p = np.array([e.p_value for e in evidence])
    order = np.argsort(p, kind="stable")
    steps = np.maximum.accumulate(p[order] * np.arange(len(p), 0, -1))
    adjusted = np.empty_like(p)
    adjusted[order] = np.minimum(steps, 1.0)
    return [_corrected(e, float(q)) for e, q in zip(evidence, adjusted, strict=True)]


def _corrected(evidence: Evidence, p_value: float) -> Evidence:
    lifted = evidence.verdict == "rejected" and p_value > evidence.level
    verdict = "undecided" if lifted else evidence.verdict
    return replace(evidence, p_value=p_value, verdict=verdict)


def check_level(level: float) -> None:
    """Raise ValueError unless it is a probability between 0 and 1."""
    if not 0 < level < 1:
        raise ValueError(f"level must lie between 0 and 1, got {level}")


def shown(value: Any) -> str:
    """A value in a few words, for a message: of an array its kind and shape."""
    shape = getattr(value, "shape", None)
    if isinstance(shape, tuple) and shape:
        return f"{type(value).__name__} of shape {shape}"
    return reprlib.repr(value)
