"""simulate: trajectories, records, pairs, divergence and bad input."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from symbias.dynamics import SGD, Langevin, Optax, Problem, simulate

N = 12
X = np.random.default_rng(0).normal(size=(N, 3))
Y = X @ np.array([1.0, -2.0, 0.5]) + 0.1
START = {"w": np.array([0.1, 0.2, -0.3]), "b": np.array(0.05)}


def linear(params, x):
    return (x * params["w"]).sum(-1) + params["b"]


PROBLEM = Problem(predict=linear, params=START, data=(X, Y))
FRESH = Problem(
    predict=linear,
    params={"w": np.zeros(3, np.float32), "b": np.float32(0)},
    sampler=lambda key, size: (jax.random.normal(key, (size, 3)), jnp.ones(size)),
)
QUIET = {"progress": False}


def test_full_batch_sgd_is_the_textbook_loop() -> None:
    rule = SGD(0.05, weight_decay=0.1, momentum=0.9)
    run = simulate(PROBLEM, rule, steps=40, observe={"w": lambda p: p["w"]}, every=10, **QUIET)
    w, b, vw, vb = START["w"], START["b"], np.zeros(3), 0.0
    seen = [w]
    for step in range(1, 41):
        error = X @ w + b - Y
        vw = 0.9 * vw + X.T @ error / N + 0.1 * w
        vb = 0.9 * vb + error.mean() + 0.1 * b
        w, b = w - 0.05 * vw, b - 0.05 * vb
        if step % 10 == 0:
            seen.append(w)
    np.testing.assert_allclose(run.final["w"][0], w, rtol=1e-12)
    np.testing.assert_allclose(run.final["b"][0], b, rtol=1e-12)
    np.testing.assert_allclose(run.trace.w[0], np.stack(seen), rtol=1e-12)
    assert list(run.trace.step.values) == [0, 10, 20, 30, 40]
    assert run.trace.w.dims == ("replica", "step", "w_0")


def test_sgd_agrees_with_optax_on_the_same_batches() -> None:
    import optax

    chain = optax.chain(optax.add_decayed_weights(0.02), optax.sgd(0.05, momentum=0.8))
    ours = SGD(0.05, 4, weight_decay=0.02, momentum=0.8, label_noise=0.3)
    a = simulate(PROBLEM, ours, steps=300, replicas=3, key=5, **QUIET)
    b = simulate(PROBLEM, Optax(chain, 4, label_noise=0.3), steps=300, replicas=3, key=5, **QUIET)
    np.testing.assert_allclose(a.final["w"], b.final["w"], rtol=1e-10)
    assert np.ptp(a.final["w"], axis=0).min() > 1e-4  # replicas differ


@pytest.mark.slow
@pytest.mark.parametrize("problem", [PROBLEM, FRESH], ids=["float64 data", "float32 sampler"])
def test_trajectory_does_not_depend_on_records_or_chunks(problem: Problem) -> None:
    rule = SGD(0.02, 5, label_noise=0.2, replace=problem is FRESH)
    finals = [
        simulate(problem, rule, steps=2400, replicas=2, key=3, every=every, chunk=chunk, **QUIET)
        for every, chunk in [(3, None), (200, 200), (1300, 1)]
    ]
    for other in finals[1:]:
        np.testing.assert_array_equal(finals[0].final["w"], other.final["w"])


@pytest.mark.slow
def test_records_of_a_finer_trace_contain_the_coarser() -> None:
    runs = [
        simulate(FRESH, SGD(0.02, 2), steps=2400, observe={"b": lambda p: p["b"]}, every=e, **QUIET)
        for e in (3, 1200)
    ]
    fine, coarse = (run.trace.b for run in runs)
    assert coarse.shape == (1, 3)
    np.testing.assert_array_equal(fine.sel(step=coarse.step), coarse)
    np.testing.assert_array_equal(runs[0].final["b"], fine[:, -1])


def test_replica_does_not_depend_on_how_many_there_are() -> None:
    few = simulate(FRESH, SGD(0.02, 2), steps=50, replicas=2, key=1, **QUIET)
    many = simulate(FRESH, SGD(0.02, 2), steps=50, replicas=5, key=1, **QUIET)
    np.testing.assert_allclose(few.final["w"], many.final["w"][:2], rtol=1e-5)


def test_starts_drawn_for_each_replica() -> None:
    drawn = Problem(
        predict=linear,
        params=lambda key: {"w": jax.random.normal(key, (3,)), "b": jnp.zeros(())},
        data=(X, Y),
    )
    run = simulate(
        drawn, SGD(1e-9), steps=1, replicas=4, observe={"w": lambda p: p["w"]}, every=1, **QUIET
    )
    assert run.final["w"].dtype == np.float32
    assert np.ptp(run.trace.w[:, 0].values, axis=0).min() > 0.01


def test_antithetic_pairs_cancel_label_noise_where_it_enters_linearly() -> None:
    rule = SGD(0.05, label_noise=1.0)
    run = simulate(PROBLEM, rule, steps=200, replicas=6, antithetic=True, key=2, **QUIET)
    quiet = simulate(PROBLEM, SGD(0.05), steps=200, **QUIET)
    pairs = run.final["w"].reshape(3, 2, 3)
    np.testing.assert_allclose(pairs.mean(1), np.repeat(quiet.final["w"], 3, 0), rtol=1e-10)
    assert np.abs(pairs[:, 0] - pairs[:, 1]).min() > 1e-3
    assert np.ptp(pairs[:, 0], axis=0).min() > 1e-3


def test_an_epoch_without_replacement_sees_every_sample_once() -> None:
    """Each step lowers the counter of the rows of its batch by one."""
    counter = Problem(
        predict=lambda p, x: x @ p["count"],
        params={"count": np.zeros(7)},
        loss=lambda prediction, y: prediction.sum(),
        data=(np.eye(7), np.zeros(7)),
    )
    rule = SGD(1.0, 2, replace=False)  # three steps an epoch, one row is dropped
    run = simulate(
        counter, rule, steps=3000, observe={"n": lambda p: -p["count"]}, every=3, **QUIET
    )
    rows = np.diff(run.trace.n[0].values, axis=0)
    assert (np.sort(rows, axis=1) == [0, 1, 1, 1, 1, 1, 1]).all()
    assert len(np.unique(rows, axis=0)) == 7  # another row is dropped in other epochs
    # with replacement a batch may hold a row twice: 1/7 of them do (1,000 steps, 5 sd)
    twice = simulate(
        counter, SGD(1.0, 2), steps=1000, observe={"n": lambda p: -p["count"]}, every=1, **QUIET
    )
    share = (np.diff(twice.trace.n[0].values, axis=0).max(1) == 2).mean()
    assert abs(share - 1 / 7) < 5 * np.sqrt(6 / 49 / 1000)


CUBIC = Problem(  # theta <- theta (1 + lr |theta|): explodes from any start, at a step it decides
    predict=lambda p: p["t"],
    params=lambda key: {"t": jnp.float32(10.0) ** (-6 * jax.random.uniform(key))},
    loss=lambda t: -jnp.sum(jnp.abs(t) ** 3) / 3,
)


def test_diverged_replicas_freeze_at_their_last_finite_state() -> None:
    watch = {"t": lambda p: p["t"]}
    with pytest.warns(RuntimeWarning, match=r"\d of 8 replicas diverged, the first at step"):
        fine = simulate(
            CUBIC, SGD(0.5), steps=3000, replicas=8, observe=watch, every=1, key=0, **QUIET
        )
    gone = fine.diverged >= 0
    assert 0 < gone.sum() < 8
    assert np.isfinite(fine.final["t"]).all()
    t = fine.trace.t.values
    for i in np.flatnonzero(gone):
        at = fine.diverged[i]
        assert np.isfinite(t[i, :at]).all()
        assert np.isnan(t[i, at:]).all()
        assert fine.final["t"][i] == t[i, at - 1]
        assert 0.5 * float(t[i, at - 1]) ** 2 > float(np.finfo(np.float32).max)
    with pytest.warns(RuntimeWarning):
        coarse = simulate(CUBIC, SGD(0.5), steps=3000, replicas=8, every=1500, **QUIET)
    np.testing.assert_array_equal(coarse.diverged, fine.diverged)
    np.testing.assert_array_equal(coarse.final["t"], fine.final["t"])
    np.testing.assert_array_equal(fine.final["t"][~gone], t[~gone, -1])


def test_vmapped_replicas_agree_with_mapped_ones() -> None:
    """Accelerators run replicas side by side; the same program must hold there."""
    from symbias.dynamics.engine import Plan, advance, start

    rule = SGD(0.5)
    rows = jnp.arange(8, dtype=jnp.uint32)
    state = jax.vmap(lambda i: start(CUBIC, rule, jax.random.key(0), i, False))(rows)
    done = [
        advance(
            Plan(CUBIC, rule, (), 500, 100, 1, together), None, state, jnp.uint32(0), records=6
        )[0]
        for together in (1, 8)
    ]
    assert (done[0].diverged >= 0).any()
    for other in done[1:]:
        np.testing.assert_array_equal(done[0].diverged, other.diverged)
        np.testing.assert_allclose(done[0].params["t"], other.params["t"], rtol=1e-4)


def test_progress_lines(capsys: pytest.CaptureFixture, monkeypatch: pytest.MonkeyPatch) -> None:
    from symbias._core import progress as _progress

    monkeypatch.setattr(_progress, "FIRST_LINE", 0.0)
    monkeypatch.setattr(_progress, "MORE_LINES", 0.0)
    simulate(FRESH, SGD(0.1, 1), steps=4000, every=1000)
    out, err = capsys.readouterr()
    assert out == ""
    assert "simulate: 4000 of 4000" in err
    simulate(FRESH, SGD(0.1, 1), steps=4000, every=1000, progress=False)
    assert capsys.readouterr() == ("", "")


def bad_observable(params):
    return params["no such"]


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: SGD(0.0), "learning_rate must be positive"),
        (lambda: SGD(-1.0), "learning_rate must be positive"),
        (lambda: SGD(float("nan")), "learning_rate must be positive"),
        (lambda: SGD(0.1, 0), "batch_size"),
        (lambda: SGD(0.1, momentum=1.0), "momentum"),
        (lambda: SGD(0.1, weight_decay=-1.0), "weight_decay"),
        (lambda: SGD(0.1, label_noise=-1.0), "label_noise"),
        (lambda: Langevin(0.0), "temperature must be positive"),
        (lambda: Langevin(1.0, step_size=0.0), "step_size must be positive"),
        (lambda: Langevin(1.0, orbital=1.5), "orbital"),
        (lambda: Langevin(1.0, orbital=0.5, metropolis=True), "isotropic"),
        (lambda: Problem(predict=linear, params=START, data=(X, Y[:3])), "same non-zero length"),
        (
            lambda: Problem(predict=linear, params=START, data=(X, Y), sampler=FRESH.sampler),
            "not both",
        ),
        (lambda: simulate(PROBLEM, SGD(0.1), steps=0), "steps must be at least 1"),
        (lambda: simulate(PROBLEM, SGD(0.1), steps=1, replicas=0), "replicas"),
        (lambda: simulate(PROBLEM, SGD(0.1), steps=1, replicas=3, antithetic=True), "even"),
        (lambda: simulate(PROBLEM, SGD(0.1, 99), steps=1), "exceeds the 12 samples"),
        (lambda: simulate(FRESH, SGD(0.1), steps=1), "needs a batch_size"),
        (lambda: simulate(FRESH, Langevin(1.0), steps=1), "full loss"),
        (lambda: simulate(PROBLEM, Langevin(1.0), steps=1), "needs a symmetry"),
        (
            lambda: simulate(
                Problem(predict=lambda p, x: x @ p["w"], params={"w": np.ones(4)}, data=(X, Y)),
                SGD(0.1),
                steps=1,
            ),
            r"one step fails for parameters \{'w': \(4,\)\}",
        ),
        (
            lambda: simulate(
                Problem(predict=linear, params=START, data=(X, Y[:, None])), SGD(0.1), steps=1
            ),
            r"predictions \(12,\) and targets \(12, 1\) differ",
        ),
        (
            lambda: simulate(
                Problem(
                    predict=linear, params=START, data=(X, Y), loss=lambda prediction, y: prediction
                ),
                SGD(0.1),
                steps=1,
            ),
            "scalar",
        ),
    ],
)
def test_bad_values_are_refused(make, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        make()


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Problem(predict=linear, params={}), "non-empty flat dict"),
        (lambda: Problem(predict=linear, params=[1.0]), "non-empty flat dict"),
        (lambda: Problem(predict=linear, params={"w": np.ones(3, int)}), "floating-point"),
        (lambda: Optax("adam"), "optax transformation"),
        (lambda: simulate(PROBLEM, "sgd", steps=1), "not a training rule"),
        (
            lambda: simulate(PROBLEM, SGD(0.1), steps=1, observe={"w": 3.0}),
            "observable 'w' must be a function of the parameters",
        ),
        (
            lambda: simulate(PROBLEM, SGD(0.1), steps=1, observe={"w": bad_observable}),
            "observable 'w' is not a function of the parameters",
        ),
    ],
)
def test_bad_types_are_refused(make, message: str) -> None:
    with pytest.raises(TypeError, match=message):
        make()


GAUSSIAN = Problem(
    predict=lambda p: p["z"],
    params={"z": np.zeros(2, np.float32)},
    loss=lambda z: 0.5 * jnp.sum(z**2),
)


@pytest.mark.parametrize("metropolis", [False, pytest.param(True, marks=pytest.mark.slow)])
def test_langevin_variance(metropolis: bool) -> None:
    """Euler-Maruyama has variance T/(1 - h/2) in a unit well; Metropolis has exactly T.

    40,000 values: a sample variance is off by 5 standard errors (5 sqrt(2/40000) = 3.5%) once in
    two million; h = 0.8 puts the two laws 67% apart.
    """
    h, temperature = 0.8, 0.7
    rule = Langevin(temperature, orbital=1.0, step_size=h, metropolis=metropolis)
    run = simulate(GAUSSIAN, rule, steps=60, replicas=20_000, key=1, **QUIET)
    expected = temperature if metropolis else temperature / (1 - h / 2)
    assert abs(run.final["z"].var() / expected - 1) < 0.035


def test_langevin_antithetic_pairs_mirror_each_other_in_an_even_well() -> None:
    run = simulate(
        GAUSSIAN, Langevin(1.0, orbital=1.0), steps=100, replicas=4, antithetic=True, **QUIET
    )
    np.testing.assert_array_equal(run.final["z"][0::2], -run.final["z"][1::2])
