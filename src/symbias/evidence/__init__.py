"""A prediction against a run: a statistic, a p-value, and a verdict with a known error rate."""

from symbias._core.extras import needed_by
from symbias.evidence.chains import autocorrelation_time, independent
from symbias.evidence.record import Evidence, Verdict, holm

with needed_by("symbias.evidence"):
    from symbias.evidence.laws import compare, energy_test
    from symbias.evidence.points import compare_median, compare_point

__all__ = [
    "Evidence",
    "Verdict",
    "autocorrelation_time",
    "compare",
    "compare_median",
    "compare_point",
    "energy_test",
    "holm",
    "independent",
]
