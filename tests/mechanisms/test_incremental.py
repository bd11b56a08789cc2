"""Which entry is learned when, against the flow of the factors itself."""

import json
from pathlib import Path

import numpy as np
import pytest

import symbias as sb
from symbias.studies import incremental as study
from symbias.studies.incremental import measured, problem, weights

N, P = 40, 8


def separable(count: int, charge: float) -> list[tuple[np.ndarray, np.ndarray, sb.Incremental]]:
    found = []
    for seed in range(1000):
        x, y = problem(seed)
        law = sb.incremental(x, y, charge=charge)
        if all(event.separable for event in law.events):
            found.append((x, y, law))
        if len(found) == count:
            break
    return found


@pytest.mark.parametrize(
    "charge", [1e-14, *(pytest.param(c, marks=pytest.mark.slow) for c in (1e-8, 1e-28))]
)
def test_order_and_times(charge: float) -> None:
    """Order exact and times within 2% on problems whose events are 5% apart; the median .2%."""
    errors = []
    for x, y, law in separable(6 if charge == 1e-14 else 20, charge):
        on = [event.time for event in law.events if event.on]
        times = measured(law, x, y)
        assert np.all(np.diff(times) > 0)
        errors += list(np.abs(np.array(on) / times - 1))
    assert np.max(errors) < 0.02
    assert np.median(errors) < 0.002


@pytest.mark.slow
def test_the_limit_comes_as_the_logarithm_of_the_charge() -> None:
    medians = []
    for charge in (1e-8, 1e-14, 1e-28, 1e-56):
        errors = []
        for x, y, law in separable(8, charge):
            limit = sb.incremental(x, y, charge=charge, limit=True)
            times = measured(law, x, y)
            names = [event.entry for event in law.events if event.on]
            told = {event.entry: event.time for event in limit.events if event.on}
            errors += [abs(told[n] / t - 1) for n, t in zip(names, times, strict=True) if n in told]
        medians.append(float(np.median(errors)))
    assert np.all(np.diff(medians) < 0)
    logs = np.log(1 / np.array([1e-8, 1e-14, 1e-28, 1e-56]))
    assert np.array(medians) * logs == pytest.approx(np.mean(medians * logs), rel=0.25)


def test_uncorrelated_inputs_in_closed_form() -> None:
    """H = 1: every entry by itself, w' = sqrt(c^2 + 4 w^2) (b - w); half of b at a time of its own.

    t = int_0^(b/2) dw / (sqrt(c^2 + 4 w^2) (b - w)), which is not the law's own formula.
    """
    rng = np.random.default_rng(0)
    q, _ = np.linalg.qr(rng.standard_normal((30, 4)))
    b, charge = np.array([2.0, -1.0, 0.5, 0.25]), 1e-12
    x = np.sqrt(30) * q
    law = sb.incremental(x, x @ b, charge=charge)
    assert [event.entry for event in law.events] == [0, 1, 2, 3]
    from scipy.integrate import quad

    for event in law.events:
        size = abs(b[event.entry])
        # in s with w = c/2 sinh s
        top = np.arcsinh(size / charge)
        time, _ = quad(lambda s, a=size: 1 / (2 * (a - charge / 2 * np.sinh(s))), 0, top, limit=400)
        assert event.time == pytest.approx(time, rel=1e-3)
    assert law.plateaus[-1] == pytest.approx(b)
    assert law.losses[0] == pytest.approx(np.sum(b**2) / 2)
    assert law.losses[-1] == pytest.approx(0, abs=1e-20)
    assert law.loss_at([0.0, law.events[0].time + 1e-9, 1e9]) == pytest.approx(
        law.losses[[0, 1, 4]]
    )


def test_an_entry_whose_sign_would_turn_goes_off() -> None:
    """The third input stands in for the second until that is learned, and comes back negative."""
    z = np.sqrt(400) * np.linalg.qr(np.random.default_rng(0).standard_normal((400, 3)))[0]
    x = np.stack([z[:, 0], z[:, 1], 0.8 * z[:, 0] + 0.6 * z[:, 1] + 0.5 * z[:, 2]], axis=1)
    y = x @ np.array([1.0, 0.5, 0.0]) - 0.4 * z[:, 2]
    law = sb.incremental(x, y, charge=1e-40)
    assert [(e.entry, e.on) for e in law.events] == [
        (0, True), (2, True), (1, True), (2, False), (2, True)
    ]  # fmt: skip
    first, stand_in, second, off, back = (event.time for event in law.events)
    times = np.array([0.0, 0.98 * second, 1.3 * off, (off + back) / 2, 1.3 * back])
    w = weights(x, y, 1e-40, times)
    assert w[2, 1] > 0.1
    assert w[2] == pytest.approx([0, w[2, 1], 0, 0, law.plateaus[-1][2]], abs=0.02)
    assert law.plateaus[2][2] > 0.1 > -0.5 > law.plateaus[-1][2]
    assert first < stand_in < second == off
    on = [event.time for event in law.events if event.on]
    assert measured(law, x, y) == pytest.approx(on, rel=0.01)  # back by what was spent


def test_events_that_are_near_are_not_separable() -> None:
    rng = np.random.default_rng(0)
    q, _ = np.linalg.qr(rng.standard_normal((30, 3)))
    x = np.sqrt(30) * q
    law = sb.incremental(x, x @ np.array([1.0, 0.98, 0.3]), charge=1e-12)
    assert [event.separable for event in law.events] == [False, False, True]


@pytest.mark.parametrize("seed", range(30))
def test_the_last_plateau_is_least_squares(seed: int) -> None:
    """Whatever is learned on the way, also of correlated inputs and of events that overlap."""
    rng = np.random.default_rng(seed)
    x = rng.standard_normal((20, 5)) + 2 * rng.standard_normal((20, 1))
    y = x @ rng.standard_normal(5) + rng.standard_normal(20)
    law = sb.incremental(x, y, charge=1e-12)
    assert law.plateaus[-1] == pytest.approx(np.linalg.lstsq(x, y, rcond=None)[0], abs=1e-9)
    assert np.all(np.diff([event.time for event in law.events]) >= 0)


@pytest.mark.parametrize(("seed", "entry"), [(49, 0), (79, 3), (128, 1)])
def test_what_was_about_to_switch_makes_an_event_not_separable(seed: int, entry: int) -> None:
    """No other event is within 5%, but one would have been, had the plateau lasted."""
    law = sb.incremental(*problem(seed), charge=1e-14)
    event = next(event for event in law.events if event.entry == entry)
    others = [e.time for e in law.events if e is not event]
    assert min(abs(t / event.time - 1) for t in others) > 0.05
    assert not event.separable


def test_an_entry_that_has_passed_its_threshold_switches_at_once() -> None:
    """Entries 3 and 0 rise together: the flow has both, and so has the law, as one step."""
    x, y = problem(28)
    law = sb.incremental(x, y, charge=1e-56)
    pair = [event for event in law.events if event.entry in (0, 3)]
    assert pair[0].time == pair[1].time
    assert not any(event.separable for event in pair)
    w = weights(x, y, 1e-56, np.array([0.0, 1.4 * pair[0].time]))
    assert w[[0, 3], 1] == pytest.approx(law.plateaus[3][[0, 3]], rel=0.01)


def test_descent_with_small_steps_learns_in_that_order() -> None:
    """Through `simulate`: its loss is the staircase, away from the steps."""
    charge, rate, every = 1e-8, 2e-3, 25
    x, y, law = separable(1, charge)[0]
    p = sb.Hadamard(P)
    descent = sb.Problem(
        predict=lambda theta, rows: rows @ p(theta), params=sb.GradientFlow(1e-4).init(p),
        data=(x, y), loss=sb.squared_error, symmetry=p.symmetry,
    )  # fmt: skip
    steps = int(1.2 * law.events[2].time / rate / every) * every
    run = sb.simulate(descent, sb.SGD(rate), steps=steps, every=every, observe={"w": p},
                      progress=False)  # fmt: skip
    w = np.asarray(run.trace.w)[0]
    times = rate * np.asarray(run.trace.step)
    loss = np.sum((w @ x.T - y) ** 2, axis=1) / (2 * N)
    for k, event in enumerate(law.events[:3]):
        half = np.abs(w[:, event.entry]) >= abs(law.plateaus[k + 1][event.entry]) / 2
        assert times[np.argmax(half)] == pytest.approx(event.time, rel=0.03)
    edges = [0.0, *(event.time for event in law.events[:3])]
    middle = (np.array(edges[:-1]) + 2 * np.array(edges[1:])) / 3
    at = np.searchsorted(times, middle)
    assert loss[at] == pytest.approx(law.loss_at(middle), rel=0.1)


@pytest.mark.slow
def test_the_quick_study(tmp_path: Path) -> None:
    result = study.run(tmp_path, quick=True, progress=False)
    assert [row["charge"] for row in result["rows"]] == list(study.CHARGES)
    assert all(row["in_order"] == row["problems"] == 4 for row in result["rows"])
    page = (tmp_path / "index.html").read_text()
    assert page.count("data:image/svg+xml") == 2
    assert "The order is right on 16 of 16 problems" in page
    assert "Directions of W = P Q" in page
    assert all(row["largest_error"] < 0.003 for row in result["matrices"]["rows"])
    held = json.loads((tmp_path / "incremental.json").read_text())
    assert held["staircase"]["losses"][0] > 5 * held["staircase"]["losses"][-1]


@pytest.mark.parametrize(
    ("change", "why"),
    [({"charge": 0.0}, "charge must be positive"), ({"charge": 1.0}, "is no small start beside"),
     ({"y": np.ones(3)}, r"must be \(n, p\) and \(n,\)"),
     ({"X": np.full((N, P), np.nan)}, "must be finite")],
)  # fmt: skip
def test_bad_input(change: dict, why: str) -> None:  # type: ignore[type-arg]
    x, y = problem(0)
    with pytest.raises(ValueError, match=why):
        sb.incremental(**{"X": x, "y": y, "charge": 1e-10} | change)


def test_the_charge_that_is_advised_is_small_enough() -> None:
    x, y = problem(0)
    with pytest.raises(ValueError, match="Take one below") as refusal:
        sb.incremental(x, y, charge=1.0)
    below = float(str(refusal.value).rsplit(" ", 1)[-1])
    assert sb.incremental(x, y, charge=0.9 * below).events


def test_copies_of_a_column_are_refused_and_multiples_are_not() -> None:
    """A copy takes half of the weight, at the same time; a multiple grows at its own rate."""
    x, y = problem(0)
    with pytest.raises(ValueError, match="columns 2 and 8 of X are equal up to sign"):
        sb.incremental(np.column_stack([x, -x[:, 2]]), y, charge=1e-8)
    alone = sb.incremental(x, y, charge=1e-8)
    beside = sb.incremental(np.column_stack([x, x[:, 2] / 3, np.zeros(N)]), y, charge=1e-8)
    assert [e.entry for e in beside.events] == [e.entry for e in alone.events]
    assert [e.time for e in beside.events] == pytest.approx([e.time for e in alone.events])


def test_labels_that_say_nothing() -> None:
    x, _ = problem(0)
    with pytest.raises(ValueError, match="y says nothing of w"):
        sb.incremental(x, np.zeros(N), charge=1e-8)


def test_the_smallest_charge_there_is() -> None:
    x, y = problem(0)
    small, least = (sb.incremental(x, y, charge=c).events[0].time for c in (1e-290, 1e-300))
    wait = np.log(1e-290 / 1e-300) / 2 / np.abs(x.T @ y / N).max()
    assert least - small == pytest.approx(wait, rel=1e-2)
    with pytest.raises(ValueError, match="lost in rounding: charges begin at 1e-300"):
        sb.incremental(x, y, charge=5e-324)
