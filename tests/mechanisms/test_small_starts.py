"""Small starts beyond u v: order and times against the flow of the factors, written out."""

import jax
import numpy as np
import pytest
from scipy.integrate import quad, solve_ivp

import symbias as sb
from symbias.studies import small_starts as study

LINKED = sb.Linked(sb.Hadamard(4), sb.ExponentialLink(0.3))
FAST = ["s v, groups of 3", "h(u v), log-sum", "cumsum(u v)", "|x|^2"]


@pytest.mark.parametrize("name", FAST)
def test_order_and_times_of_a_problem(name: str) -> None:
    row = study.row(name, 1e-14, 1)
    assert row["in_order"] == 1
    assert row["largest_error"] < 0.02
    assert row["median_error"] < 0.005


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "charge"), [(name, charge) for name in study.KINDS for charge in study.CHARGES[name]]
)
def test_three_problems(name: str, charge: float) -> None:
    """Medians below 1%, largest errors below 6%: docs/mechanisms.md has those of ten problems."""
    row = study.row(name, charge, 3)
    assert row["in_order"] == 3
    assert row["median_error"] < 0.01
    assert row["largest_error"] < 0.06


def one(k: float, p: sb.Parameterization, **start) -> float:  # type: ignore[no-untyped-def]
    """The time that the law gives to a single entry on its way to k, at H = 1."""
    x = 2 * np.eye(4)
    law = sb.incremental(x, x @ np.array([k, 0.0, 0.0, 0.0]), p=p, **start)
    assert [event.entry for event in law.events] == [0]
    return law.events[0].time


@pytest.mark.parametrize("k", [0.7, 3.0])
def test_one_entry_in_closed_form(k: float) -> None:
    """int_0^(k/2) dw / (rate(w) (k - w)), rate that of the factors: no formula of the law."""
    c = 1e-12

    def until_half(rate, low: float) -> float:  # type: ignore[no-untyped-def]
        def inside(t: float) -> float:
            w = np.exp(t)
            return float(w / (rate(w) * (k - w)))

        return quad(inside, np.log(low), np.log(k / 2), limit=400)[0]

    h, low = sb.ExponentialLink(0.3), 1e-3 * c

    def through(w: float) -> float:
        z = float(h.inverse(np.array(w)))
        return float(h.slope(np.array(z))) ** 2 * np.hypot(c, 2 * z)

    linked = until_half(through, low) + low / float(h.slope(np.array(0.0))) ** 2 / c / k
    assert one(k, LINKED, charge=c) == pytest.approx(linked, rel=1e-3)
    lengths = sb.Radial(4, 2, sb.PowerLink(2.0))
    start = lengths.section(np.full(4, 1e-12))
    found = one(k, lengths, start=start)
    assert found == pytest.approx(until_half(lambda w: 4 * w, 1e-12), rel=1e-3)
    a = 1e-2  # three factors, sqrt(2) a, a and 0 at the start

    def flow(_: float, f: np.ndarray) -> np.ndarray:
        return (k - np.prod(f)) * np.array([f[1] * f[2], f[0] * f[2], f[0] * f[1]])

    def half(_: float, f: np.ndarray) -> float:
        return float(np.prod(f)) - k / 2

    half.terminal = True  # type: ignore[attr-defined]
    run = solve_ivp(
        flow, (0, 1e6), a * np.sqrt([2.0, 1.0, 0.0]), events=half, rtol=1e-9, atol=1e-12
    )
    time = float(run.t_events[0][0])
    assert one(k, sb.Hadamard(4, depth=3), charge=a**2) == pytest.approx(time, rel=5e-3)


def test_a_group_that_turns_waits_for_the_norm_of_its_gradient() -> None:
    """Two groups, white inputs: the first is learned, and the gradient of the second is turned.

    By b_2 - H_21 w_1 to another direction, phi away: log(4K/c)/2 = |g|t + |g'|t' + 2 log cos(phi/2)
    to leading orders; the integral of the gradient itself would need longer.
    """
    turn = np.array([[0.0, 0.5], [0.0, 0.0]])
    H = np.block([[np.eye(2), turn.T], [turn, np.eye(2)]])
    x = np.sqrt(40) * np.linalg.qr(np.random.default_rng(0).normal(size=(40, 4)))[0]
    x = x @ np.linalg.cholesky(H).T
    b = np.array([0.0, 2.0, 0.6, 0.6])
    y = x @ np.linalg.solve(H, b)
    charge = 1e-60
    law = sb.incremental_groups(x, y, [0, 0, 1, 1], charge=charge)
    assert [event.entry for event in law.events] == [0, 1]
    first, second = (event.time for event in law.events)
    before, after = b[2:], (b - H @ law.plateaus[1])[2:]
    cosine = before @ after / np.linalg.norm(before) / np.linalg.norm(after)
    size = np.linalg.norm(law.plateaus[2][2:])
    wait = np.log(4 * size / charge) / 2 - np.log((1 + cosine) / 2)
    told = first + (wait - np.linalg.norm(before) * first) / np.linalg.norm(after)
    assert cosine < 0.8
    assert second == pytest.approx(told, rel=0.01)
    np.testing.assert_allclose(law.plateaus[-1], np.linalg.solve(H, b), atol=1e-9)


def test_the_gradient_of_a_length_at_zero_is_zero() -> None:
    p = sb.Radial(2, 3, sb.PowerLink(2.0))
    found = jax.grad(lambda x: p({"x": x}).sum())(np.zeros(6, dtype=np.float32))
    np.testing.assert_array_equal(found, 0)


X = np.random.default_rng(0).normal(size=(20, 4))
Y = X @ np.array([2.0, -1.0, 0.5, 1.0])
G = [0, 0, 1, 1]


@pytest.mark.parametrize(
    ("call", "line"),
    [
        (lambda: sb.incremental(X, Y), "give a charge, or the factors"),
        (lambda: sb.incremental(X, Y, charge=1e-8, start={"u1": Y}), "give a charge, or the"),
        (lambda: sb.incremental(X, Y, charge=1e-8, p=sb.Plain(4)), "learned from the start"),
        (
            lambda: sb.incremental(X, Y, charge=1e-8, p=sb.GroupProduct(4, groups=G)),
            "take sb.incremental_groups",
        ),
        (
            lambda: sb.incremental(
                X, Y, charge=1e-8, p=sb.Linked(sb.Hadamard(4), sb.PowerLink(1.5))
            ),
            "never moves from 0",
        ),
        (lambda: sb.incremental(X, Y, charge=30.0, p=LINKED), "rise together. Take one below"),
        (
            lambda: sb.incremental(
                X, Y, p=sb.Linked(sb.Plain(4), sb.PowerLink(1.5)), start={"u": np.full(4, 1e-9)}
            ),
            "these factors are no small start",
        ),
        (lambda: sb.incremental_groups(X, Y, G, charge=1.0), "Take one below"),
        (lambda: sb.incremental_groups(X, Y, [0, 0, 0, 1], charge=1e-8), "group 1 has one entry"),
        (lambda: sb.incremental_groups(X[:3], Y[:3], G, charge=1e-8), "not linearly independent"),
        (lambda: sb.incremental_groups(X, Y, [0, 0], charge=1e-8), "X, y and groups must be"),
        (lambda: sb.incremental_groups(X, Y * np.nan, G, charge=1e-8), "must be finite"),
    ],
)
def test_refusals(call, line: str) -> None:  # type: ignore[no-untyped-def]
    with pytest.raises(ValueError, match=line):
        call()
