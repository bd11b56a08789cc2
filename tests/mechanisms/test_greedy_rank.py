"""Greedy low rank of W = P Q: which direction is learned when, against closed forms and flows."""

import numpy as np
import pytest
from scipy.integrate import quad

import symbias as sb
from symbias.studies.greedy_rank import gradient, leading, measured, problem, products


def white(seed: int, values: list[float], shape: tuple[int, int]) -> tuple[np.ndarray, ...]:
    """Inputs with X^T X = n and labels of a matrix with these singular values."""
    rng = np.random.default_rng(seed)
    d = shape[0]
    x = np.linalg.qr(rng.standard_normal((30, d)))[0] * np.sqrt(30)
    u, v = (np.linalg.qr(rng.standard_normal((k, k)))[0][:, : len(values)] for k in shape)
    return x, x @ (u * values) @ v.T, u, v


@pytest.mark.parametrize("charge", [1e-6, 1e-20, 1e-200])
@pytest.mark.parametrize("shape", [(4, 4), (3, 5)])
def test_white_inputs_have_a_closed_form(charge: float, shape: tuple[int, int]) -> None:
    """Singular values are products u v of charge c each: dw/dt = (s - w) sqrt(4 w^2 + c^2)."""
    values = [3.0, 1.2, 0.4]
    x, y, u, v = white(0, values, shape)
    law = sb.greedy_rank(x, y, charge=charge)
    assert len(law.events) == 3
    for k, (event, s) in enumerate(zip(law.events, values, strict=True)):
        half, _ = quad(
            lambda a, s=s: 0.5 / (s - charge * np.sinh(a) / 2), 0, np.arcsinh(s / charge),
            epsrel=1e-10, limit=500,
        )  # fmt: skip
        assert event.time == pytest.approx(half, rel=1e-3)
        assert abs(event.left @ u[:, k]) == pytest.approx(1, abs=1e-6)
        assert abs(event.right @ v[:, k]) == pytest.approx(1, abs=1e-6)
        plateau = (u[:, : k + 1] * values[: k + 1]) @ v[:, : k + 1].T
        np.testing.assert_allclose(law.plateaus[k + 1], plateau, atol=1e-6)
        assert law.losses[k + 1] == pytest.approx(np.sum(np.square(values[k + 1 :])) / 2, abs=1e-9)
    assert law.loss_at([0.0, 1e9]) == pytest.approx([law.losses[0], law.losses[-1]])


@pytest.mark.parametrize(("seed", "charge"), [(0, 1e-16), (2, 1e-8), (9, 1e-8)])
def test_the_flow_of_the_factors_keeps_these_times(seed: int, charge: float) -> None:
    """All of them, separable or not; and it visits the plateaus of events that are."""
    x, y = problem(seed)
    law = sb.greedy_rank(x, y, charge=charge)
    times, near = measured(law, x, y)
    assert [event.time for event in law.events] == pytest.approx(times, rel=3e-3)
    assert [event.rank for event in law.events] == [1, 2, 3, 4]
    separable = np.array([event.separable for event in law.events])
    assert np.all(near[separable] < 0.06)


def test_rank_1_is_often_not_reached() -> None:
    x, y = problem(7)
    law = sb.greedy_rank(x, y, charge=1e-8)
    _, near = measured(law, x, y)
    assert near[0] > 0.3
    assert not law.events[0].separable
    assert not law.events[1].separable
    assert all(event.separable for event in sb.greedy_rank(x, y, charge=1e-32).events)


def test_the_leading_order_is_the_limit() -> None:
    """t1 and t2 in closed form; the error falls as 1 / log(1/c)."""
    x, y = problem(4)
    errors = []
    for charge in (1e-20, 1e-80, 1e-280):
        law = sb.greedy_rank(x, y, charge=charge)
        errors.append(np.abs(leading(law, x, y) / [e.time for e in law.events] - 1))
        s0, s1 = (np.linalg.svdvals(gradient(x, y, W)) for W in law.plateaus[:2])
        first = np.log(1 / charge) / 2 / s0[0]
        second = first + (1 - s0[1] / s0[0]) * np.log(1 / charge) / 2 / s1[0]
        np.testing.assert_allclose(leading(law, x, y)[:2], [first, second], rtol=1e-12)
    np.testing.assert_allclose(280 * errors[2], 80 * errors[1], rtol=0.05)
    assert errors[0].max() > 0.08
    assert errors[2].max() < 0.01


def test_a_tall_matrix_starts_as_gradient_flow_does() -> None:
    rng = np.random.default_rng(1)
    x = rng.standard_normal((40, 5, 3))
    y = np.tensordot(x, rng.standard_normal((5, 3)), 2)
    law = sb.greedy_rank(x, y, charge=1e-10)
    start = sb.GradientFlow(1e-5).init(sb.MatrixProduct(5, 3))
    np.testing.assert_array_equal(start["p1"], 1e-5 * np.eye(5, 3))
    assert not start["p2"].any()
    times, _ = measured(law, x, y)
    assert [event.time for event in law.events] == pytest.approx(times, rel=5e-3)
    assert law.losses[-1] == pytest.approx(0, abs=1e-12)


def test_what_the_start_has_no_part_of_is_not_learned() -> None:
    """d > m, and W in rows that P leaves out: the factors stand still."""
    x = np.eye(4).reshape(4, 4, 1)
    law = sb.greedy_rank(x, np.array([0.0, 1.0, 0.0, 0.0]), charge=1e-8)
    assert not law.events
    assert law.plateaus.shape == (1, 4, 1)


def test_the_flow_in_logarithms_is_that_of_the_factors() -> None:
    """Where nothing is too small for plain numbers."""
    from scipy.integrate import solve_ivp

    x, y = problem(5)
    d, m = x.shape[1:]

    def field(_: float, z: np.ndarray) -> np.ndarray:
        P, Q = z[: d * d].reshape(d, d), z[d * d :].reshape(d, m)
        G = gradient(x, y, P @ Q)
        return np.concatenate([(G @ Q.T).ravel(), (P.T @ G).ravel()])

    start = np.concatenate([0.01 * np.eye(d).ravel(), np.zeros(d * m)])
    times = np.linspace(0, 20, 5)
    flow = solve_ivp(field, (0, 20), start, t_eval=times, method="DOP853", rtol=1e-11, atol=1e-13)
    plain = [z[: d * d].reshape(d, d) @ z[d * d :].reshape(d, m) for z in flow.y.T]
    np.testing.assert_allclose(products(x, y, 1e-4, times), plain, atol=1e-7)


@pytest.mark.slow
def test_descent_with_small_steps_learns_in_that_order() -> None:
    """Through `simulate`, from the start of `GradientFlow`."""
    x, y = problem(3)
    law, p = sb.greedy_rank(x, y, charge=1e-8), sb.MatrixProduct(4, 5)
    descent = sb.Problem(
        predict=lambda theta, rows: rows @ p(theta).reshape(-1),
        params=sb.GradientFlow(1e-4).init(p), data=(x.reshape(len(x), -1), y),
        symmetry=p.symmetry,
    )  # fmt: skip
    rate, every = 2e-3, 5
    steps = int(1.4 * law.events[1].time / rate / every) * every
    run = sb.simulate(descent, sb.SGD(rate), steps=steps, every=every, observe={"w": p},
                      progress=False)  # fmt: skip
    s = np.linalg.svdvals(np.asarray(run.trace.w)[0])
    times = rate * np.asarray(run.trace.step)
    for k in (0, 1):
        half = np.linalg.svdvals(law.plateaus[k + 1])[k] / 2
        assert times[np.argmax(s[:, k] >= half)] == pytest.approx(law.events[k].time, rel=0.02)


@pytest.mark.parametrize(
    ("change", "why"),
    [({"charge": 0.0}, "charge must be positive"), ({"charge": 1.0}, "is no small start beside"),
     ({"y": np.ones(3)}, r"\(n, d, m\) and \(n,\), or"), ({"y": np.zeros(60)}, "says nothing of W"),
     ({"X": np.full((60, 4, 5), np.inf)}, "must be finite")],
)  # fmt: skip
def test_bad_input(change: dict, why: str) -> None:  # type: ignore[type-arg]
    x, y = problem(0)
    with pytest.raises(ValueError, match=why):
        sb.greedy_rank(**{"X": x, "y": y, "charge": 1e-10} | change)


@pytest.mark.parametrize("values", [[1.0, 1.0, 1.0], [1.0, 1.0, 0.5], [1.0, 0.5, 0.5]])
def test_equal_singular_values_rise_at_once(values: list[float]) -> None:
    """White inputs: each at log(4 s/c) / (2 s), and those that rise together are not separable."""
    law = sb.greedy_rank(np.sqrt(3) * np.eye(3), np.sqrt(3) * np.diag(values), charge=1e-8)
    times = [np.log(4 * s / 1e-8) / (2 * s) for s in values]
    assert [event.time for event in law.events] == pytest.approx(times, rel=1e-3)
    assert [event.separable for event in law.events] == [values.count(s) == 1 for s in values]
    np.testing.assert_allclose(law.plateaus[-1], np.diag(values), atol=1e-8)
