"""Finite steps on w = u v: runs against the law of a step, and charges estimated before them.

Runs go through `simulate` and know the loss and the factors alone.
"""

from collections.abc import Callable
from functools import cache
from typing import Any

import numpy as np
import optax
import pytest

import symbias as sb
from symbias.mechanisms.charts import Chart
from symbias.mechanisms.finite_steps import start_of_steps
from symbias.studies import finite_steps as study

MADE = study.Sparse.of(0, (8, 20, 2))
X, Y, EDGE = MADE.X, MADE.y, MADE.edge
P, FLOW = sb.Hadamard(20), sb.GradientFlow(study.INIT_SCALE)
FIRST = FLOW.init(P)


def away(w: np.ndarray, theta0: dict[str, np.ndarray]) -> float:
    """Relative distance of w to the projection from these factors."""
    projected = FLOW.bregman_projection(P, X, Y, theta0)
    return float(np.linalg.norm(projected - w) / np.linalg.norm(w))


def logs(run: sb.Run) -> np.ndarray:
    """log of final over first charges, a row for each replica."""
    u, v = run.final["u1"], run.final["u2"]
    return np.log(np.abs((u - v) * (u + v)) / study.INIT_SCALE**2)


def expected(rule: sb.SGD) -> np.ndarray:
    return np.log(FLOW.expected_after(P, X, Y, rule).charges / study.INIT_SCALE**2)


@cache
def descent() -> sb.Run:
    return study.trained(P, X, Y, sb.SGD(0.3 * EDGE), 700.0, follow=True)


@cache
def stochastic() -> sb.Run:
    return study.trained(P, X, Y, sb.SGD(0.04 * EDGE, 1), 700.0, follow=True)


def last(run: sb.Run) -> np.ndarray:
    return np.asarray(P({name: a[0] for name, a in run.final.items()}))


def test_descent_ends_at_the_projection_that_its_gradients_say() -> None:
    """Gradients are those of the loss in w, along the recorded w: no factor enters them."""
    run = descent()
    w = run.trace["u1"].values[0] * run.trace["u2"].values[0]
    gradients = (w[:-1] @ X.T - Y) @ X / len(X)
    moved = start_of_steps(P, FIRST, gradients, run.rule.learning_rate)
    told = sb.Potential(P, moved).charges
    np.testing.assert_allclose(np.log(told / study.INIT_SCALE**2), logs(run)[0], atol=1e-9)
    assert away(last(run), moved) < 1e-8
    assert away(last(run), FIRST) > 1e-2
    unmoved = Chart.at(P, FIRST).moved(np.zeros(20), Chart.at(P, moved).log_charge)
    assert away(last(run), unmoved.factors(P)) > 1e-3


def test_batches_of_one_end_at_the_projection_that_their_gradients_say() -> None:
    run = stochastic()
    gradients = study.recorded_gradients(P, run, run.rule.learning_rate)
    early = gradients[:200]
    along = np.abs(early @ X.T) / np.linalg.norm(X, axis=1)
    np.testing.assert_allclose(along.max(axis=1), np.linalg.norm(early, axis=1), rtol=1e-8)
    moved = start_of_steps(P, FIRST, gradients, run.rule.learning_rate)
    assert away(last(run), moved) < 1e-8
    assert away(last(run), FIRST) > 1e-2


@pytest.mark.parametrize("run", [descent, stochastic])
def test_the_end_of_a_run_tells_the_same_start_up_to_the_row_space(
    run: Callable[[], sb.Run],
) -> None:
    found = FLOW.after(P, run(), X)
    rate = run().rule.learning_rate
    moved = start_of_steps(P, FIRST, study.recorded_gradients(P, run(), rate), rate)
    told, law = Chart.at(P, dict(found.theta0)), Chart.at(P, moved)
    np.testing.assert_allclose(told.log_charge, law.log_charge, atol=1e-8)
    outside = np.eye(20) - np.linalg.pinv(X) @ X
    shift = outside @ law.duals
    np.testing.assert_allclose(told.duals, shift, atol=1e-8)
    assert np.abs(shift).max() > 1e-4
    assert away(last(run()), dict(found.theta0)) < 1e-8
    # what the two divergences say of interpolators differs by a constant
    null = outside @ np.random.default_rng(7).normal(size=20)
    other = last(run()) + 0.1 * null
    law_of = sb.Potential(P, moved)
    rises = [float(d(other) - d(last(run()))) for d in (found, law_of)]
    assert rises[0] == pytest.approx(rises[1], abs=1e-7)
    assert rises[0] > 0


def test_a_start_with_w_of_its_own_keeps_it_in_the_row_space() -> None:
    rng = np.random.default_rng(3)
    flow = sb.GradientFlow(0.5, start=0.3 * rng.normal(size=20))
    problem = sb.Problem(lambda t, x: x @ P(t), flow.init(P), data=(X, Y))
    run = sb.simulate(problem, sb.SGD(0.2 * EDGE), steps=6000, every=6000, progress=False)
    first, end = (Chart.at(P, dict(t)) for t in (flow.init(P), flow.after(P, run, X).theta0))
    np.testing.assert_allclose(X @ first.duals, X @ end.duals, atol=1e-9)
    projected = flow.bregman_projection(P, X, Y, flow.after(P, run, X).theta0)
    np.testing.assert_allclose(projected, last(run), atol=1e-8)


KINDS = {
    "a synthesis with a free level": sb.Synthesis(sb.CumulativeSum(), sb.Hadamard(11)),
    "groups of one": sb.GroupProduct(12, groups=np.arange(12)),
    "two outputs": sb.Hadamard((6, 2)),
}


@pytest.mark.parametrize("name", KINDS)
@pytest.mark.parametrize("batch", [None, pytest.param(1, marks=pytest.mark.slow)])
def test_free_coordinates_groups_and_outputs(name: str, batch: int | None) -> None:
    p, rng = KINDS[name], np.random.default_rng(1)
    inputs = rng.normal(size=(4, p.shape[0]))
    if "synthesis" in name:
        inputs = np.diff(inputs, axis=1, append=0.0)
    y = rng.normal(size=(4, *p.shape[1:]))
    flow = sb.GradientFlow(0.3)
    problem = sb.Problem(lambda t, x: x @ p(t), flow.init(p), data=(inputs, y))
    rate = 0.1 if batch is None else 0.02
    observe = {k: lambda t, k=k: t[k] for k in p.shapes}
    run = sb.simulate(
        problem, sb.SGD(rate, batch), steps=int(2500 / rate), every=1, observe=observe,
        progress=False,
    )  # fmt: skip
    w = np.asarray(p({k: a[0] for k, a in run.final.items()}))
    found = flow.after(p, run, inputs)
    moved = start_of_steps(p, flow.init(p), study.recorded_gradients(p, run, rate), rate)
    for theta0 in (dict(found.theta0), moved):
        np.testing.assert_allclose(flow.bregman_projection(p, inputs, y, theta0), w, atol=1e-7)
    assert np.abs(flow.bregman_projection(p, inputs, y) - w).max() > 1e-4
    first = flow.induced(p).charges
    estimate = np.log(flow.expected_after(p, inputs, y, run.rule).charges / first)
    measured = np.log(found.charges / first)
    assert estimate.sum() == pytest.approx(measured.sum(), rel=0.1)


@pytest.mark.parametrize("share", [0.03, 0.3])
def test_charges_of_descent_before_the_run(share: float) -> None:
    rule = sb.SGD(share * EDGE)
    measured = logs(study.trained(P, X, Y, rule, 300.0))[0]
    error = np.linalg.norm(expected(rule) - measured) / np.linalg.norm(measured)
    assert error < (0.01 if share < 0.1 else 0.05)


def test_momentum_counts_as_its_coefficient_says() -> None:
    """eta (1 + beta)/(1 - beta)^2, within 0.2%: eta/(1 - beta)^2 would be off by 1.9."""
    rule = sb.SGD(0.003 * EDGE * 0.1, momentum=0.9)
    measured = logs(study.trained(P, X, Y, rule, 300.0))[0]
    np.testing.assert_allclose(expected(rule).sum(), measured.sum(), rtol=2e-3)


BATCHES = {
    "one": sb.SGD(0.01, 1),
    "four": sb.SGD(0.01, 4),
    "four of an epoch": sb.SGD(0.01, 4, replace=False),
    "one, momentum": sb.SGD(0.001, 1, momentum=0.9),
    "all, drawn": sb.SGD(0.01, 8),
    "all, of an epoch": sb.SGD(0.01, 8, replace=False),
}


@pytest.mark.slow
@pytest.mark.parametrize("name", BATCHES)
def test_charges_of_batches_before_the_run(name: str) -> None:
    """The mean of the sum of log charges, within 4% and 4 standard errors of 32 replicas.

    A true prediction fails once in some 2,000 draws (Student's t, 31 degrees); draws are fixed.
    """
    rule = BATCHES[name]
    sums = logs(study.trained(P, X, Y, rule, 300.0, replicas=32)).sum(axis=1)
    error = sums.std(ddof=1) / np.sqrt(32)
    assert abs(expected(rule).sum() - sums.mean()) < 0.04 * abs(sums.mean()) + 4 * error
    assert error < 0.03 * abs(sums.mean())


def test_charges_need_no_batches_where_all_are_in_one() -> None:
    whole = expected(sb.SGD(0.01))
    np.testing.assert_allclose(expected(sb.SGD(0.01, 8, replace=False)), whole, rtol=1e-12)
    assert np.all(expected(sb.SGD(0.01, 8)) < whole)


def test_which_steps_make_w_sparser() -> None:
    """The l1 norm over that of the flow: SGD's falls with its steps, that of descent rises."""
    least = np.abs(MADE.limit).sum()
    assert np.abs(last(stochastic())).sum() < least < np.abs(last(descent())).sum()


@pytest.mark.slow
def test_verdicts_on_small_problems(monkeypatch: pytest.MonkeyPatch) -> None:
    """Eight problems, the fewest that a sign test at 1% can decide."""
    monkeypatch.setattr(study, "FOLLOWED", study.FOLLOWED[1::2])
    monkeypatch.setattr(study, "HEAVY", study.HEAVY[:1])
    monkeypatch.setattr(study, "REPLICAS", 8)
    found = study.claims(study.rows(8, (6, 40, 2)))
    verdicts = {c.text: c.evidence.verdict for c in found}
    assert len(verdicts) == 9
    exact = [v for k, v in verdicts.items() if "by its steps" in k or "momentum" in k]
    assert exact == ["consistent"] * 3, verdicts
    assert "rejected" not in verdicts.values(), verdicts


def test_a_claim_counts_runs_that_the_first_charges_miss() -> None:
    """Where the first charges do as well there is nothing to tell apart."""
    row = {"setting": "GD", "share": 0.3, "momentum": 0.0, "error": 0.2, "l1": 0.9}
    row |= {"from_truth": 0.9, "ratio": 1.0}
    other = {"setting": "SGD", "share": 0.003, "momentum": 0.9, "ratio": 1.03, "error": 0.0}
    rows = [
        row | {"share": share, "setting": name, "first": first, "steps": 1e-4}
        for name, _, share in study.FOLLOWED
        for first in (*[1e-4] * 8, *[1e-2] * 8)
    ]
    rows += [other | {"setting": name} for name, _ in study.HEAVY for _ in range(8)]
    found = {c.text: c for c in study.claims(rows)}
    assert found["GD at 0.3 of the edge: distance by its steps"].runs == 8
    assert found["GD at 0.3 of the edge: l1 over that of the flow"].evidence.verdict == "rejected"
    sgd = found["SGD at 0.03 of the edge: l1 over that of the flow"]
    assert sgd.evidence.verdict == "consistent"
    assert sum(c.evidence.verdict == "rejected" for c in found.values()) == 14


def test_the_grid_follows_sgd_or_says_why_not(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(study, "SHARE", 0.1)
    found = study.check_sgd_noise(sb.Hadamard(8))
    assert found.verdict == "verified", found
    assert "0.0" in found.note
    with pytest.raises(sb.Refused, match="products of two numbers"):
        study.check_sgd_noise(DEEP)


def ran(rule: Any = None, p: sb.Parameterization = P, **options: Any) -> sb.Run:
    options = {"data": (X, Y)} | options
    steps = options.pop("steps", 3)
    start = options.pop("start", None) or FLOW.init(p)
    problem = sb.Problem(lambda t, x: x @ p(t), start, **options)
    return sb.simulate(problem, rule or sb.SGD(0.1), steps=steps, every=steps, progress=False)


DEEP = sb.Hadamard(20, depth=3)
LINKED = sb.Linked(P, sb.ExponentialLink(0.1))
ALIKE = {"u1": np.full(20, 0.1), "u2": np.full(20, 0.1)}


@pytest.mark.parametrize(
    ("call", "line"),
    [
        (lambda: FLOW.after(DEEP, ran(p=DEEP), X), "products of two numbers"),
        (lambda: FLOW.expected_after(DEEP, X, Y, sb.SGD(0.1)), "products of two numbers"),
        (lambda: FLOW.expected_after(LINKED, X, Y, sb.SGD(0.1)), "products of two numbers"),
        (lambda: FLOW.expected_after(sb.Plain(20), X, Y, sb.SGD(0.1)), "no products and no"),
        (lambda: FLOW.expected_after(P, X, Y, sb.SGD(0.1), ALIKE), "its sign is frozen"),
        (lambda: FLOW.after(P, ran(sb.SGD(0.1, weight_decay=0.1)), X), "weight decay goes on"),
        (lambda: FLOW.after(P, ran(sb.SGD(0.1, label_noise=0.1)), X), "label noise goes on"),
        (lambda: FLOW.after(P, ran(sb.Optax(optax.adam(0.1))), X), "Optax does not move the dual"),
        (lambda: FLOW.after(P, ran(), X), "ends .* from its labels"),
        (lambda: FLOW.after(P, descent(), 2 * X), "predicts other than"),
        (lambda: FLOW.after(P, descent(), X, replica=1), "replica 1 of 1"),
        (lambda: FLOW.after(sb.GroupProduct(20, groups=np.arange(20)), descent(), X), "factors"),
        (
            lambda: FLOW.expected_after(P, X, Y, sb.SGD(0.1, 2, momentum=0.5, replace=False)),
            "anticorrelated",
        ),
        (lambda: FLOW.expected_after(P, X, Y, sb.SGD(0.1, 9, replace=False)), "exceeds the 8"),
        (
            lambda: FLOW.expected_after(P, X, Y, sb.SGD(0.1, momentum=0.5, nesterov=True)),
            "heavy ball",
        ),
        (lambda: sb.SGD(0.1, momentum=1.0), r"momentum must be in \[0, 1\)"),
        (lambda: sb.GradientFlow(0.1).induced(DEEP).charges, "no products of two numbers"),
    ],
)
def test_refusals(call: Callable[[], Any], line: str) -> None:
    with pytest.raises(ValueError, match=line):
        call()


def test_a_run_that_diverged_or_is_lost_in_rounding_is_refused() -> None:
    with pytest.warns(RuntimeWarning, match="diverged"):
        run = ran(sb.SGD(50.0), steps=200)
    with pytest.raises(ValueError, match="replica 0 diverged"):
        FLOW.after(P, run, X)
    tiny = sb.GradientFlow(1e-3)
    single = {k: v.astype(np.float32) for k, v in tiny.init(P).items()}
    run = ran(sb.SGD(0.2 * EDGE), start=single, steps=20_000)
    with pytest.raises(ValueError, match="rounding hides"):
        tiny.after(P, run, X)


def test_labels_of_the_start_leave_its_charges_and_others_must_fit() -> None:
    x = np.random.default_rng(0).normal(size=(3, 5))
    p, flow, rule = sb.Hadamard(5), sb.GradientFlow(0.1), sb.SGD(0.01, batch_size=1)
    still = flow.expected_after(p, x, np.zeros(3), rule)
    np.testing.assert_allclose(still.charges, 0.01, rtol=1e-12)
    with pytest.raises(ValueError, match="no w fits these data"):
        flow.expected_after(p, np.vstack([x, x, x]), np.arange(9.0), rule)
