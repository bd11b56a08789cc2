"""Trained ReLU networks against the function that is predicted, and what is not promised."""

import numpy as np
import pytest

import symbias as sb
from symbias.studies import function_space as study

SETTINGS = {setting.name: setting for setting in study.SETTINGS}


@pytest.mark.slow
@pytest.mark.parametrize("name", SETTINGS)
def test_networks_end_at_the_prediction_and_not_at_its_rival(name: str) -> None:
    """About 3 s a network; thresholds are the study's own, measured values far below."""
    row = study.row(SETTINGS[name], seed=1)
    assert -1e-8 - row["gap"] < row["excess"] < study.EXCESS
    assert row["away"] < study.AWAY
    assert row["away"] < 0.1 * row["rival"]
    assert row["outside"] < study.AWAY
    assert row["squares"] == pytest.approx(1, abs=study.EXCESS)
    assert [claim.held for claim in study.claims([row])] == [1] * 5


@pytest.mark.slow
def test_networks_from_other_starts_end_inside_of_the_band_and_not_at_one_function() -> None:
    """On a parabola minimisers are many: networks differ by more than they leave the band."""
    one = study.picture(SETTINGS["skip"], starts=4)
    seen = np.array(one["networks"])
    low, high = np.array(one["low"]), np.array(one["high"])
    outside = np.maximum(low - seen, seen - high).max()
    assert outside < 0.01
    assert (seen.max(axis=0) - seen.min(axis=0)).max() > 5 * max(outside, 0.005)
    assert np.abs(seen - one["predicted"]).max() > 0.05
    assert study.figure([one, one]).startswith("data:image/svg+xml;base64,")


@pytest.mark.slow
def test_narrow_networks_stick() -> None:
    """Of 8 starts at width 5 most end at a local minimum: the global one is an assumption."""
    row = study.stuck_row(5, starts=8)
    assert row["stuck"] >= 3
    assert row["largest"] > study.EXCESS


@pytest.mark.slow
def test_verify_trains_a_network_for_a_trend_filter() -> None:
    spacing = np.linspace(0.5, 1.5, 11)
    found = sb.verify(sb.TrendFilter(spacing), sb.FunctionSpace(0.05), shape=12)
    assert found.verdict == "verified"
    assert found.points is not None
    assert found.points[0] == pytest.approx(found.points[1], abs=0.01)


def test_verify_refuses_what_no_trend_filter_is() -> None:
    with pytest.raises(sb.Refused, match=r"never .*L1"):
        sb.verify("l1", sb.FunctionSpace(0.1), shape=12)
    with pytest.raises(sb.Refused, match="not trend filtering but"):
        sb.verify(sb.TrendFilter(), sb.FunctionSpace(0.1, skip=False), shape=12)
    with pytest.raises(ValueError, match="expected 11"):
        sb.verify(sb.TrendFilter([1.0, 2.0]), sb.FunctionSpace(0.1), shape=12)
