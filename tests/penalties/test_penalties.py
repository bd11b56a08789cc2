"""Every penalty by what a solver asks of it, each against its definition."""

import numpy as np
import pytest
from scipy.optimize import minimize_scalar

import symbias as sb
from symbias.penalties import (
    Elastic,
    Entries,
    Groups,
    Logarithm,
    Piece,
    Power,
    Scalar,
    SingularValues,
    Through,
)

SCALARS: dict[str, Scalar] = {
    "l1": Power(),
    "2.5 l1": Power(1.0, 2.5),
    "ridge": Power(2.0, 0.5),
    "l4/3": Power(4 / 3),
    "l1/2": Power(0.5),
    "elastic": Elastic(0.7, 0.4),
    "log": Logarithm(0.3),
    "behind a link": Through(Power(), sb.ElasticLink(0.5, 1.0)),
    "3 logs": (3.0 * sb.LogSum(0.3)).form((1,)).pieces[0].scalar,
    "custom": sb.Custom(lambda t: t + np.sin(t) / 2).scalar,
    "smooth custom": sb.Custom(lambda t: np.where(t < 1, t * t / 2, t - 0.5), "huber").scalar,
}
CONVEX = ("l1", "2.5 l1", "ridge", "l4/3", "elastic", "behind a link", "smooth custom")


@pytest.mark.parametrize("name", SCALARS)
def test_prox_is_the_minimum(name: str) -> None:
    R, tau = SCALARS[name], 0.4
    x = np.array([0.0, 0.1, 0.5, 0.83, 1.5, 4.0])
    found = R.prox(x, tau)
    grid = np.linspace(0, 4, 400_001)
    cost = np.asarray(R(grid))
    for a, t in zip(x, found, strict=True):
        best = ((grid - a) ** 2 / 2 + tau * cost).min()
        assert (t - a) ** 2 / 2 + tau * float(np.asarray(R(np.array([t])))[0]) <= best + 1e-9


@pytest.mark.parametrize("name", SCALARS)
def test_slopes_are_derivatives(name: str) -> None:
    R = SCALARS[name]
    t = np.array([0.05, 0.4, 0.8, 2.3])
    step = 1e-5
    up, down = np.asarray(R(t + step)), np.asarray(R(t - step))
    np.testing.assert_allclose(R.slope(t), (up - down) / (2 * step), rtol=1e-6)
    bend = (R.slope(t + step) - R.slope(t - step)) / (2 * step)
    np.testing.assert_allclose(R.curvature(t), bend, rtol=1e-4, atol=1e-5)
    at_zero = float(np.asarray(R(np.array([1e-9])))[0] / 1e-9)
    if R.slope_at_zero in (0.0, np.inf):
        assert at_zero < 1e-2 if R.slope_at_zero == 0 else at_zero > 1e2
    else:
        assert R.slope_at_zero == pytest.approx(at_zero, rel=1e-6)


@pytest.mark.parametrize("name", SCALARS)
def test_convexity_and_exponent(name: str) -> None:
    R = SCALARS[name]
    assert R.convex == (name in CONVEX)
    t = np.array([1e-7, 1e-6])
    growth = np.diff(np.log(np.asarray(R(t))))[0] / np.log(10)
    assert R.exponent == pytest.approx(growth, abs=2e-2)


@pytest.mark.parametrize("name", CONVEX)
def test_the_conjugate_is_a_supremum(name: str) -> None:
    R = SCALARS[name]
    budget = float(np.asarray(R(np.array([5.0])))[0])
    for slope in (0.2, 0.9, 1.7):
        if R.corner is not None and R.corner[1] == 0:
            continue  # norms: their polar sizes are a constraint
        best = minimize_scalar(
            lambda t, s=slope: -(s * t - float(np.asarray(R(np.array([t])))[0])),
            bounds=(0, 5),
            method="bounded",
            options={"xatol": 1e-10},
        )
        found = R.conjugate(np.array([slope]), budget)[0]
        # the closed forms know no budget, and are never below
        assert found >= max(-best.fun, 0.0) - 1e-8
        if best.x < 4.9:
            assert found == pytest.approx(max(-best.fun, 0.0), abs=1e-7)


def test_sizes_of_groups_are_stable_and_in_the_order_of_names() -> None:
    groups = Groups(np.array(["b", "a", "b", "c"]))
    assert groups.names.tolist() == ["a", "b", "c"]
    np.testing.assert_allclose(groups.of(np.array([3.0, 1.0, 4.0, 0.0])), [1.0, 5.0, 0.0])
    np.testing.assert_allclose(groups.of(np.full(4, 1e200)), np.array([1, 2**0.5, 1]) * 1e200)


SIZES = {
    "entries": Entries((3, 2)),
    "groups": Groups(np.array([[0, 1], [0, 2], [1, 2]])),
    "singular values": SingularValues((3, 2)),
}


@pytest.mark.parametrize("kind", SIZES)
@pytest.mark.parametrize("scalar", ["l1", "elastic", "ridge"])
def test_prox_and_subdifferential_agree(kind: str, scalar: str) -> None:
    """d = prox(c) iff c - d is in tau times the subdifferential at d."""
    piece = Piece(SIZES[kind], SCALARS[scalar])
    rng = np.random.default_rng(0)
    for tau in (0.1, 0.9):
        c = rng.normal(size=(3, 2))
        d = piece.prox(c, tau)
        off, sizes = piece.distance(d, d - c, tau)
        assert off.max() < 1e-9
        np.testing.assert_allclose(np.sort(sizes), np.sort(piece.sizes.of(d)), atol=1e-9)
        # and a wrong gradient is noticed
        assert piece.distance(d, 1.3 * (d - c) + 0.01, tau)[0].max() > 1e-3
        # the prox lowers the cost more than any other point
        best = np.sum((d - c) ** 2) / 2 + tau * piece.cost(d)
        for _ in range(20):
            e = d + 0.1 * rng.normal(size=d.shape)
            assert np.sum((e - c) ** 2) / 2 + tau * piece.cost(e) > best


def test_a_strength_in_front_scales_everything() -> None:
    penalty, w = sb.GroupLasso(2), np.array([1.0, 2.0, 0.0, -1.0])
    scaled = 0.3 * penalty
    assert float(scaled(w)) == pytest.approx(0.3 * float(penalty(w)))
    assert scaled.form((4,)).value(np.ones(4)) == pytest.approx(
        0.3 * penalty.form((4,)).value(np.ones(4))
    )
    assert scaled.convex
    assert "0.3" in scaled.formula
    with pytest.raises(ValueError, match="a strength must be positive"):
        -1.0 * penalty


@pytest.mark.parametrize(
    ("penalty", "couples"),
    [
        (sb.L1(), False),
        (sb.L1(np.ones((3, 2))), True),
        (sb.GroupLasso([[0, 1], [0, 1]]), True),
        (sb.GroupLasso(2), False),
        (sb.Nuclear(), True),
        (sb.TotalVariation(), False),
        (sb.TotalVariation(joint=True), True),
        (sb.TotalVariation(axis=0), True),
        (sb.TrendFilter(joint=True), True),
    ],
)
def test_a_penalty_says_whether_it_couples_columns(penalty: sb.Penalty, couples: bool) -> None:
    assert penalty.couples == couples


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: sb.L1([1, -1]), "weights must be finite and at least 0"),
        (lambda: sb.L1([1, np.nan]), "weights must be finite and at least 0"),
        (lambda: sb.Spectral("zzz"), "'zzz' is not a discrete wavelet of PyWavelets"),
    ],
)
def test_what_no_design_could_have_is_refused_where_it_is_made(make, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        make()
