"""A design's weight-decay penalty is the penalty that was wished for."""

import numpy as np
import pytest

import symbias as sb
from tests.backends import back, each, to, x64

RNG = np.random.default_rng(2)
SPACING = RNG.uniform(0.2, 3.0, 8)
LABELS = ["x", "y", "x", "z", "z", "x", "w", "y", "z"]

# penalty, and its definition written out once more
CASES = {
    "l1": (sb.L1(), lambda w: np.abs(w).sum()),
    "l1-weights": (sb.L1(np.arange(9.0)), lambda w: (np.arange(9) * np.abs(w)).sum()),
    "lq-2/3": (sb.Lq(2 / 3), lambda w: (np.abs(w) ** (2 / 3)).sum()),
    "lq-1/2": (sb.Lq(0.5), lambda w: np.sqrt(np.abs(w)).sum()),
    "lq-1": (sb.Lq(1.0), lambda w: np.abs(w).sum()),
    "group-size": (
        sb.GroupLasso(4),
        lambda w: 2 * np.linalg.norm(w[:4]) + 2 * np.linalg.norm(w[4:8]) + abs(w[8]),
    ),
    "group-labels": (
        sb.GroupLasso(LABELS, weights={"w": 0.0, "x": 1.0, "y": 2.0, "z": 0.5}),
        lambda w: (
            np.linalg.norm(w[[0, 2, 5]])
            + 2 * np.linalg.norm(w[[1, 7]])
            + 0.5 * np.linalg.norm(w[[3, 4, 8]])
        ),
    ),
    "tv": (sb.TotalVariation(), lambda w: np.abs(np.diff(w)).sum()),
    "trend": (sb.TrendFilter(), lambda w: np.abs(np.diff(w, 2)).sum()),
    "trend-spacing": (
        sb.TrendFilter(SPACING),
        lambda w: np.abs(np.diff(np.diff(w) / SPACING)).sum(),
    ),
    "spectral": (
        sb.Spectral(),
        lambda w: np.abs(
            [
                (np.sqrt(1 / 9) if k == 0 else np.sqrt(2 / 9))
                * (w * np.cos(np.pi * k * (np.arange(9) + 0.5) / 9)).sum()
                for k in range(9)
            ]
        ).sum(),
    ),
}


@each
@pytest.mark.parametrize("name", CASES)
def test_the_design_has_the_penalty(name: str, backend: str) -> None:
    penalty, definition = CASES[name]
    p = sb.design(penalty, sb.WeightDecay(1.0), shape=9)
    assert p.shape == (9,)
    for w in [RNG.normal(size=9), np.where(RNG.random(9) < 0.5, 0.0, RNG.normal(size=9))]:
        expected = definition(w)
        with x64():
            found = sb.WeightDecay(0.7).penalty(p, to(backend, w))
            np.testing.assert_allclose(back(found), 0.7 * expected, rtol=1e-11)
            np.testing.assert_allclose(back(penalty(to(backend, w))), expected, rtol=1e-11)


@pytest.mark.parametrize("penalty", ["tv", "trend"])
def test_the_null_space_is_free(penalty: str) -> None:
    p = sb.design(penalty, sb.WeightDecay(1.0), shape=6)
    line = 2.0 + 3.0 * np.arange(6.0) * (penalty == "trend")
    assert sb.WeightDecay(1.0).penalty(p, line) == pytest.approx(0, abs=1e-12)
    assert p.free == {"free"}


@pytest.mark.parametrize("size", [1, 2, 3])
@pytest.mark.parametrize("penalty", ["l1", "lq", "group", "tv", "trend", "spectral"])
def test_short_parameters_have_designs_too(penalty: str, size: int) -> None:
    p = sb.design(penalty, sb.WeightDecay(1.0), shape=size)
    w = np.arange(1.0, size + 1)
    np.testing.assert_allclose(p(p.section(w, charge=0.1)), w)


@pytest.mark.parametrize(
    ("penalty", "shape", "message"),
    [
        ("ridge", 3, "unknown penalty 'ridge'.*l1, lq, group, tv, trend, spectral"),
        (sb.Lq(2.0), 3, "ridge is plain weight decay"),
        (sb.Lq(0.7), 3, "the nearest is q = 2/3"),
        (sb.Lq(1.5), 3, "the nearest is q = 2/2"),
        (sb.Lq(-1.0), 3, "0 < q < 2"),
        (sb.GroupLasso([0, 1]), 3, "one label per coefficient"),
        (sb.GroupLasso([[0, 1], [1, 2]]), 3, "latent group lasso"),
        (sb.GroupLasso([[0, 1, 2], [1, 2]]), 3, "latent group lasso"),
        (sb.GroupLasso([0, 0, 1], weights=[1.0]), 3, "expected 2 group weights"),
        (sb.GroupLasso(["a", "b"], weights={"a": 1.0}), 2, "no weight for the groups \\['b'\\]"),
        (sb.GroupLasso([0, 1], weights=[1.0, -1.0]), 2, "at least 0"),
        (sb.GroupLasso(0), 3, "size of a group"),
        (sb.L1([1.0]), 3, "one per coefficient"),
        (sb.L1([1.0, np.nan]), 2, "finite"),
        (sb.TotalVariation(), (3, 4), "no exact square synthesis"),
        (sb.TrendFilter([1.0]), 3, "spacing must have 2 entries"),
    ],
)
def test_what_cannot_be_reached_is_refused(penalty, shape, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        sb.design(penalty, sb.WeightDecay(1.0), shape=shape)


def test_a_mechanism_that_is_not_one_is_refused() -> None:
    with pytest.raises(TypeError, match="Adam"):
        sb.design("l1", "adamw", shape=3)
