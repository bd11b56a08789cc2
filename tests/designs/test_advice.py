"""Every advice in a refusal is followed: what a message sends a user to must not refuse as well."""

import re
import warnings
from itertools import product
from typing import Any

import numpy as np
import pytest

import symbias as sb

PENALTIES: dict[str, Any] = {
    "l1": sb.L1(),
    "weights": sb.L1([1.0, 2.0, 3.0, 4.0]),
    "ridge": sb.Ridge(),
    "elastic": sb.ElasticNet(),
    "lq": sb.Lq(0.3),
    "lq above 1": sb.Lq(1.5),
    "logsum": sb.LogSum(),
    "w^4": sb.Custom(lambda w: w**4),
    "w^3": sb.Custom(lambda w: w**3),
    "bounded": sb.Custom(lambda w: w / (1 + w)),
    "groups": sb.GroupLasso(2),
    "labels": sb.GroupLasso([0, 0, 1, 1]),
    "latent": sb.LatentGroupLasso([[0, 1], [1, 2, 3]]),
    "nuclear": sb.Nuclear(),
    "schatten 2": sb.Schatten(2.0),
    "schatten 0.6": sb.Schatten(0.6),
    "schatten 1.5": sb.Schatten(1.5),
    "tv": sb.TotalVariation(),
    "joint tv": sb.TotalVariation(joint=True),
    "tree": sb.TotalVariation(tree=[-1, 0, 0, 1]),
    "trend": sb.TrendFilter(),
    "spectral": sb.Spectral(),
    "fused": sb.L1() + sb.TotalVariation(),
    "l1 and trend": 2 * sb.L1() + 0.5 * sb.TrendFilter(),
    "l1 and groups": sb.L1() + sb.GroupLasso(2),
    "reshaped": sb.Reshaped(sb.Nuclear(), (2, -1)),
    "log": sb.LogPenalty(0.05),
    "strong log": sb.LogPenalty(0.5),
}
MECHANISMS: dict[str, Any] = {
    "weight decay": sb.WeightDecay(0.1),
    "label noise": sb.LabelNoise(0.5, 0.05),
    "gradient flow": sb.GradientFlow(0.1),
    "ambient": sb.Langevin(0.1, reference="ambient"),
    "predictor": sb.Langevin(0.1, reference="predictor"),
    "isotropic": sb.Langevin(0.1, 1.0, reference="ambient"),
    "slice": sb.Langevin(0.1, reference="slice"),
}
SHAPES = [(), (4,), (4, 3)]


def reached(penalty: Any, mechanism: Any, shape: tuple[int, ...]) -> sb.Refused | bool:
    """Whether there is a design; the refusal if it is refused; False if the shape is wrong."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # bounded penalties hold locally
        try:
            sb.design(penalty, mechanism, shape=shape)
        except sb.Refused as refusal:
            return refusal
        except (ValueError, IndexError):
            return False
    return True


@pytest.mark.parametrize("name", PENALTIES)
def test_every_advice_is_followed(name: str) -> None:
    for mechanism, shape in product(MECHANISMS.values(), SHAPES):
        found = reached(PENALTIES[name], mechanism, shape)
        if not isinstance(found, sb.Refused):
            continue
        if "no exact square synthesis" in str(found):
            continue  # what it advises is followed below
        for penalty, other in found.advice:
            assert reached(penalty, other, shape) is True, f"{shape}: {found}"
        said = re.findall(r"sb\.(\w+)\(.*?\) (?:takes it|is the nearest that works)", str(found))
        meant = [
            type(other if penalty is PENALTIES[name] else penalty).__name__
            for penalty, other in found.advice
        ]
        assert said == meant
        assert re.findall(r"sb\.(\w+)\(", str(found)) == meant  # and nothing else is
        assert "Weight decay" not in str(found)


@pytest.mark.parametrize("name", PENALTIES)
def test_no_way_is_kept_back(name: str) -> None:
    """Where weight decay takes what another mechanism refused, the message says so."""
    for mechanism, shape in product(MECHANISMS.values(), SHAPES):
        found = reached(PENALTIES[name], mechanism, shape)
        if (
            isinstance(found, sb.Refused)
            and reached(PENALTIES[name], sb.WeightDecay(1.0), shape) is True
        ):
            assert "sb.WeightDecay(strength) takes it" in str(found)


def test_advice_for_a_grid_is_followed() -> None:
    shape = (4, 4)
    with pytest.raises(ValueError, match="no exact square synthesis") as error:
        sb.design("tv", sb.WeightDecay(1.0), shape=shape)
    ways = [*re.findall(r"sb\.\w+\([^()]*\)", str(error.value)), "sb.TotalVariation(joint=True)"]
    assert len(ways) == 4
    for way in ways:
        penalty = eval(way, {"sb": sb, "shape": shape})
        assert reached(penalty, sb.WeightDecay(1.0), (16,) if "shape" in way else shape) is True


def test_schatten_two_is_a_sum_of_squares() -> None:
    w = np.random.default_rng(0).normal(size=(4, 3))
    p = sb.design(sb.Schatten(2.0), sb.WeightDecay(0.3), shape=(4, 3))
    assert sb.WeightDecay(0.3).induced(p)(w) == pytest.approx(0.3 * np.sum(w**2), rel=1e-8)
    X = np.random.default_rng(1).normal(size=(20, 4))
    Y = X @ w
    twice = sb.DesignedRegressor(sb.Ridge(), 0.6).fit(X, Y)
    again = sb.DesignedRegressor(sb.Schatten(2.0), 0.3).fit(X, Y)
    np.testing.assert_allclose(again.coef_, twice.coef_, atol=1e-7)
